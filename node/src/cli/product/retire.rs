//! `comity product retire`.

use comity_protocol::address::Address;

use crate::admin::Client;
use crate::admin::api;
use crate::cli::output::{Output, Problem};
use crate::home::Home;

/// Withdraw a major version for good.
///
/// Refused while agreements permit reading it and the end that was announced
/// has not come.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity product retire orders")]
pub(super) struct Retire {
    /// NAME, which is major 1, or NAME@MAJOR.
    product: Address,
}

impl Retire {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let ask = api::Retire {
            product: self.product,
        };
        let product: api::Product = Client::new(home.admin_socket())
            .post("/v1/retirements", &ask)
            .await?;
        output.answer(&product, |p| {
            format!(
                "retired {} {}: it is announced no more\n",
                p.product, p.version
            )
        });
        Ok(())
    }
}

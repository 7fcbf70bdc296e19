//! `comity product deprecate`.

use comity_identity::Timestamp;
use comity_protocol::address::Address;

use crate::admin::Client;
use crate::admin::api;
use crate::cli::output::{Output, Problem};
use crate::home::Home;

/// Announce the end of a major version, signed, to everybody who may read it.
///
/// It is served until the sunset at least, which is the notice period away or
/// more: the contract's service level deprecationNotice, or 90 days.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity product deprecate orders --sunset 2027-06-30 --replacement orders@2"
)]
pub(super) struct Deprecate {
    /// NAME, which is major 1, or NAME@MAJOR.
    product: Address,
    /// The first moment at which it may be gone: YYYY-MM-DD or YYYY-MM-DDThh:mm:ssZ, in UTC.
    #[arg(long, value_name = "DATE")]
    sunset: Timestamp,
    /// What to read instead, as NAME or NAME@MAJOR.
    #[arg(long, value_name = "PRODUCT")]
    replacement: Option<Address>,
}

impl Deprecate {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let ask = api::Deprecate {
            product: self.product,
            sunset: self.sunset,
            replacement: self.replacement,
        };
        let product: api::Product = Client::new(home.admin_socket())
            .post("/v1/deprecations", &ask)
            .await?;
        output.answer(&product, |p| {
            format!(
                "announced: {} {} is served until {}\n",
                p.product, p.version, ask.sunset
            )
        });
        Ok(())
    }
}

//! `comity product retire`.

use comity_protocol::address::Address;

use crate::admin::Client;
use crate::admin::api;
use crate::cli::output::{Output, Problem};
use crate::home::Home;

/// Withdraw a major version for good.
///
/// It is final: this major cannot be published again. Without `--yes` nothing
/// happens but that this is said, and the command ends with 1. Refused while
/// agreements permit reading it and the end that was announced has not come.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity product retire orders\n  comity product retire orders --yes"
)]
pub(super) struct Retire {
    /// NAME, which is major 1, or NAME@MAJOR.
    product: Address,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

impl Retire {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let client = Client::new(home.admin_socket());
        if !self.yes {
            return Err(self.asked(&client).await?);
        }
        let ask = api::Retire {
            product: self.product,
        };
        let product: api::Product = client.post("/v1/retirements", &ask).await?;
        output.answer(&product, |p| {
            format!(
                "retired {} {}: it is announced no more\n",
                p.product, p.version
            )
        });
        Ok(())
    }
}

impl Retire {
    /// What would happen, and the command that does it. No question is asked:
    /// nobody answers a script's.
    async fn asked(&self, client: &Client) -> Result<Problem, Problem> {
        let alias = client.get::<api::Status>("/v1/status").await?.alias;
        let path = format!("/v1/products/{alias}/{}", self.product);
        let product: api::Product = client.get(&path).await?;
        let major = product.version.split('.').next().unwrap_or_default();
        let message = format!(
            "this is final: major {major} of {} ({}) cannot be published again; \
             partners see it no more, and nobody can ask for it",
            self.product.product, product.version,
        );
        let again = format!("comity product retire {} --yes", self.product);
        Ok(Problem::failed(message).next(again))
    }
}

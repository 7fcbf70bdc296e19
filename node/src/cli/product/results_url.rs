//! `comity product results-url`.

use crate::admin::{Client, api};
use crate::cli::output::{Output, Problem};
use crate::home::Home;

/// Print where a pipeline publishes what `datacontract test` finds.
///
/// The URL has a token in it, which lets its holder publish results for the
/// announced products and do nothing else. It works on this machine.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  datacontract test --publish \"$(comity product results-url)\" orders.odcs.yaml"
)]
pub(super) struct ResultsUrl {}

impl ResultsUrl {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let client = Client::new(home.admin_socket());
        let answer: api::ResultsUrl = client.get("/v1/results-url").await?;
        output.answer(&answer, |answer| answer.url.clone());
        Ok(())
    }
}

//! `comity product`: authoring data products. One file per subcommand.

mod deprecate;
mod diff;
mod init;
mod lint;
mod list;
mod measure;
mod preview;
mod publish;
mod results_url;
mod retire;

use clap::Subcommand;

use super::output::{Output, Problem};
use crate::home::Home;

pub(super) use publish::Publish;

/// Author data products: draft, check, look, compare, announce, measure, list, end.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity product init data/orders.parquet\n  comity product lint orders.odcs.yaml\n  comity product preview orders.odcs.yaml\n  comity product diff orders orders.odcs.yaml\n  comity product publish orders.odcs.yaml\n  comity product measure orders\n  comity product list"
)]
pub(super) struct Product {
    #[command(subcommand)]
    command: Command,
}

// No doc comments here: they would hide those of the commands themselves, which are the help.
#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Lint(lint::Lint),
    Preview(preview::Preview),
    Diff(diff::Diff),
    Publish(Publish),
    Measure(measure::Measure),
    ResultsUrl(results_url::ResultsUrl),
    List(list::List),
    Deprecate(deprecate::Deprecate),
    Retire(retire::Retire),
}

impl Product {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        match self.command {
            Command::Init(c) => c.run(home, output).await,
            Command::Lint(c) => c.run(home, output),
            Command::Preview(c) => c.run(home, output).await,
            Command::Diff(c) => c.run(home, output).await,
            Command::Publish(c) => c.run(home, output).await,
            Command::Measure(c) => c.run(home, output).await,
            Command::ResultsUrl(c) => c.run(home, output).await,
            Command::List(c) => c.run(home, output).await,
            Command::Deprecate(c) => c.run(home, output).await,
            Command::Retire(c) => c.run(home, output).await,
        }
    }
}

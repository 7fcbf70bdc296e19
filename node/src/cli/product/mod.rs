//! `comity product`: authoring data products. One file per subcommand.

mod deprecate;
mod diff;
mod list;
mod publish;
mod retire;

use clap::Subcommand;

use super::output::{Output, Problem};
use crate::home::Home;

pub(super) use publish::Publish;

/// Author data products: compare, announce, list, end.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity product diff orders orders.odcs.yaml\n  comity product publish orders.odcs.yaml\n  comity product list"
)]
pub(super) struct Product {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what changed between two versions, and the version that it needs.
    Diff(diff::Diff),
    /// Announce a data product from its ODCS file.
    Publish(Publish),
    /// List the products that this organization announces.
    List(list::List),
    /// Announce the end of a major version, signed, to everybody who may read it.
    Deprecate(deprecate::Deprecate),
    /// Withdraw a major version for good.
    Retire(retire::Retire),
}

impl Product {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        match self.command {
            Command::Diff(c) => c.run(home, output).await,
            Command::Publish(c) => c.run(home, output).await,
            Command::List(c) => c.run(home, output).await,
            Command::Deprecate(c) => c.run(home, output).await,
            Command::Retire(c) => c.run(home, output).await,
        }
    }
}

//! `comity policy`.

use super::output::{Output, Problem};
use crate::home::Home;

mod check;
mod explain;
mod show;
mod test;

/// Check, test and explain the policies that decide what happens here.
///
/// Policies are Cedar, in HOME/policies/*.cedar. They take away from what
/// agreements, grants and rules permit, and never add to it. The running node
/// notices a change within seconds; a set with any mistake is refused as a whole.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity policy check && comity policy explain --action query --partner port-authority --product weather --purpose marketing"
)]
pub(super) struct Policy {
    #[command(subcommand)]
    verb: Verb,
}

// No doc comments here: they would hide those of the commands themselves.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    Check(check::Check),
    Test(test::Test),
    Explain(explain::Explain),
    Show(show::Show),
}

impl Policy {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        match self.verb {
            Verb::Check(c) => c.run(home, output),
            Verb::Test(c) => c.run(home, output),
            Verb::Explain(c) => c.run(home, output).await,
            Verb::Show(c) => c.run(home, output).await,
        }
    }
}

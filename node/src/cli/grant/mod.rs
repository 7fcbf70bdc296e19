//! `comity grant`.

use super::output::{Output, Problem};
use crate::home::Home;

mod client;
mod file;
mod issue;
mod key;
mod narrow;
mod show;

/// Give a person, service or job a grant with a key of its own.
///
/// A grant says that its holder acts for a member under an agreement, for
/// minutes. It is no secret: without the holder's key it opens nothing. The
/// holder may narrow it and hand it on, without any node, and may go to the
/// provider's peer listener by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    comity grant key -o job.key > job.pub\n  \
    comity grant issue --agreement 1c9d04ab --to job.pub --for analyst --actor job:train-42 -o job.grant\n  \
    comity grant client job.grant --key job.key -o job-client")]
pub(super) struct Grant {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Issue(issue::Issue),
    Renew(issue::Renew),
    Key(key::Key),
    Narrow(narrow::Narrow),
    Show(show::Show),
    Client(client::ClientFiles),
}

impl Grant {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        match self.verb {
            Verb::Issue(c) => c.run(home, output).await,
            Verb::Renew(c) => c.run(home, output).await,
            Verb::Key(c) => c.run(output),
            Verb::Narrow(c) => c.run(output),
            Verb::Show(c) => c.run(output),
            Verb::Client(c) => c.run(output),
        }
    }
}

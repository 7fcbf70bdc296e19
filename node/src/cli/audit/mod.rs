//! `comity audit`: the journal as evidence. Reads files; the node may run or not.

use std::path::PathBuf;

use super::agreements::beginning;
use super::caller::Caller;
use super::output::{Output, Problem};
use crate::audit;
use crate::home::Home;

mod show;
mod verify;

/// Prove what this organization did, from its journal.
///
/// Reads the journal's files directly: the node may run or be stopped, and
/// nothing is changed except by 'erase', for which it must be stopped.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity audit verify\n  comity audit show --partner weather-service\n  comity audit export --agreement sha256:4be1 -o agreement.json"
)]
pub(super) struct Audit {
    #[command(subcommand)]
    verb: Verb,
}

// No doc comments here: they would hide those of the commands themselves.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    Verify(verify::Verify),
    Show(show::Show),
    Export(Export),
    Checkpoint(Checkpoint),
    Erase(Erase),
}

/// Write everything that proves one agreement into a file.
///
/// An expert verifies it with spec/verifier/verify_bundle.py, which uses no code of this program.
/// With --token-file the running node makes it, if its policies permit ('export').
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity audit export --agreement sha256:4be1 -o agreement.json")]
struct Export {
    /// The agreement's id, or the beginning of it.
    #[arg(long, value_name = "ID")]
    agreement: String,
    /// The file to write; one that exists is not overwritten.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    caller: Caller,
}

/// Sign what the journal is now, for a partner or an auditor to keep.
///
/// Whoever keeps it can show later whether records were removed or changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity audit checkpoint > checkpoints.txt")]
struct Checkpoint {}

/// Erase the personal data about a former member from the journal.
///
/// Record by record it leaves a hash, so that the journal still proves
/// everything else. What organizations signed together is never erased.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity member remove analyst\n  comity audit erase --member analyst"
)]
struct Erase {
    /// The member's name.
    #[arg(long, value_name = "NAME")]
    member: String,
}

impl Audit {
    pub(super) fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        match self.verb {
            Verb::Verify(c) => c.run(home, output),
            Verb::Show(c) => c.run(home, output),
            Verb::Export(c) => c.run(home, output),
            Verb::Checkpoint(_) => {
                let text = audit::checkpoint(home).map_err(|f| Problem::from_failure(&f))?;
                output.answer(&text, String::clone);
                Ok(())
            }
            Verb::Erase(c) => {
                let done =
                    audit::erase_member(home, &c.member).map_err(|f| Problem::from_failure(&f))?;
                output.answer(&done, |done| {
                    format!(
                        "erased {} of {} records; what remains proves as before\n",
                        done.records, done.journal
                    )
                });
                Ok(())
            }
        }
    }
}

impl Export {
    fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let bundle = match self.caller.is_member() {
            false => audit::export(home, &self.agreement).map_err(|f| Problem::from_failure(&f))?,
            true => {
                let id = beginning(&self.agreement)?;
                let client = self.caller.client(home)?;
                let path = format!("/v1/agreements/{id}/evidence");
                super::runtime()?.block_on(client.get(&path))?
            }
        };
        let text = serde_json::to_string_pretty(&bundle)
            .map_err(|e| Problem::failed(format!("the bundle does not serialise: {e}")))?;
        write_new(&self.output, &text)
            .map_err(|e| Problem::failed(format!("{}: {e}", self.output.display())))?;
        let said = serde_json::json!({
            "agreement": bundle.agreement,
            "records": bundle.records.len(),
            "file": self.output,
        });
        output.answer(&said, |_| {
            format!(
                "wrote {} records about {} to {}\n",
                bundle.records.len(),
                bundle.agreement,
                self.output.display()
            )
        });
        Ok(())
    }
}

fn write_new(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create_new(path)?;
    writeln!(file, "{text}")
}

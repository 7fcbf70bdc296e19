//! `comity grant key`.

use std::path::PathBuf;

use serde::Serialize;

use super::super::output::{Output, Problem};
use crate::clock;
use crate::keys::HolderKey;

/// Make a key for a holder of grants. Nothing runs and nobody is asked.
///
/// The key goes into a file for its owner alone. What is printed is no secret:
/// whoever issues a grant, or hands one on, needs it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity grant key -o job.key > job.pub")]
pub(super) struct Key {
    /// The file for the key. It must not exist.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Serialize)]
struct Made {
    key: String,
    certificate: Option<String>,
    file: PathBuf,
}

impl Key {
    pub(super) fn run(self, output: &Output) -> Result<(), Problem> {
        let key = HolderKey::create(clock::now()).map_err(Problem::failed)?;
        let file = key
            .write(self.output)
            .map_err(|e| Problem::failed(e.to_string()))?;
        let name = key.name();
        let made = Made {
            key: name.key.to_string(),
            certificate: name.certificate.map(|c| c.to_string()),
            file,
        };
        output.answer(&made, |_| format!("{name}\n"));
        Ok(())
    }
}

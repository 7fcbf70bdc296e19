//! `comity product lint`.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::output::{Output, Problem};
use crate::home::Home;
use crate::products::draft::unwritten;
use crate::products::{Status, read};

/// Check a contract without a node and without its data.
///
/// Everything that `comity product publish` would refuse in the file itself is
/// told with line, column and remedy; and what still waits for you.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity product lint orders.odcs.yaml")]
pub(super) struct Lint {
    /// The ODCS v3.1 contract file.
    file: PathBuf,
}

impl Lint {
    pub(super) fn run(self, _: &Home, output: &Output) -> Result<(), Problem> {
        let contract =
            read(&self.file).map_err(|problems| Problem::failed(problems.to_string()))?;
        let mut waits = Vec::new();
        if !contract.status().announced() {
            let state = match contract.status() {
                Status::Retired => "retired",
                _ => "a draft",
            };
            waits.push(format!("it is {state}: 'status: active' announces it"));
        }
        for (table, column) in contract.under_review() {
            waits.push(format!("{table}.{column} is under review and not served"));
        }
        if contract.offers().is_empty() {
            waits.push("no role offers anything: every request waits for a person".to_owned());
        }
        waits.extend(unwritten(&contract));
        let told = json!({
            "file": self.file, "product": contract.name(), "version": contract.version(),
            "ok": true, "waits": waits,
        });
        output.answer(&told, |_| {
            let mut text = format!(
                "{} {} is well formed\n",
                contract.name(),
                contract.version()
            );
            for wait in &waits {
                text.push_str(&format!("  {wait}\n"));
            }
            text
        });
        Ok(())
    }
}

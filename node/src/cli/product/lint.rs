//! `comity product lint`.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::output::{Output, Problem};
use crate::home::Home;
use crate::products::draft::unwritten;
use crate::products::{self, Problems, Status, read};

/// Check a contract without a node and without its data.
///
/// Everything that `comity product publish` would refuse in the file itself is
/// told with line, column and remedy; what may be a mistake; and what still
/// waits for you. With `--json` a file that is refused is one document too:
/// `ok` is false, and `problems` has file, line, column, message and what to
/// write. Ends with 1 if the file is refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity product lint orders.odcs.yaml")]
pub(super) struct Lint {
    /// The ODCS v3.1 contract file.
    file: PathBuf,
}

impl Lint {
    pub(super) fn run(self, _: &Home, output: &Output) -> Result<(), Problem> {
        let contract = read(&self.file).map_err(|problems| self.refused(&problems, output))?;
        let doubts: Vec<Value> = contract.doubts().iter().map(told).collect();
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
            "ok": true, "problems": [], "warnings": doubts, "waits": waits,
        });
        output.answer(&told, |_| {
            let mut text = format!(
                "{} {} is well formed\n",
                contract.name(),
                contract.version()
            );
            for doubt in contract.doubts() {
                text.push_str(&format!("warning: {doubt}\n"));
            }
            for wait in &waits {
                text.push_str(&format!("  {wait}\n"));
            }
            text
        });
        Ok(())
    }
}

impl Lint {
    /// A file that is refused: for programs one document, as for one that is not.
    fn refused(&self, problems: &Problems, output: &Output) -> Problem {
        if !output.is_json() {
            return Problem::failed(problems.to_string());
        }
        let found: Vec<Value> = problems.as_slice().iter().map(told).collect();
        let answer = json!({"file": self.file, "ok": false, "problems": found});
        output.answer(&answer, Value::to_string);
        Problem::told()
    }
}

/// A problem of a file, for programs.
fn told(problem: &products::Problem) -> Value {
    json!({
        "file": problem.file, "line": problem.line, "column": problem.column,
        "path": problem.path, "message": problem.message, "write": problem.instead,
    })
}

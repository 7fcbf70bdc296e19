//! `comity policy test`.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use serde::Serialize;

use super::check;
use crate::access::policy::{CaseFailure, CedarEngine, Corpus, ValidSet};
use crate::cli::output::{Output, Problem, printable};
use crate::home::Home;

/// The most bytes of a file of cases.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Run requests with expected decisions against the policies.
///
/// A file is a JSON list of {"name", "request", "expect": "allow" or "deny",
/// "by": [policy ids]}; "by" may be left out. Without a file, the tests in
/// HOME/policies/tests run, which a set must pass before the node takes it.
/// Ends with 1 when a case is decided otherwise.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity policy test\n  comity policy test before-the-audit.json"
)]
pub(super) struct Test {
    /// Files of cases.
    files: Vec<PathBuf>,
}

/// How the cases went.
#[derive(Debug, Serialize)]
struct Tested {
    cases: usize,
    failures: Vec<CaseFailure>,
}

impl Test {
    pub(super) fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let told = |problems: Vec<crate::access::policy::Problem>| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Problem::failed(lines.join("\n")).next("correct the files, then 'comity policy check'")
        };
        let files = check::files(home).map_err(told)?;
        let set = ValidSet::validate(&files).map_err(told)?;
        let mut corpus = Corpus::default();
        if self.files.is_empty() {
            corpus = Corpus::read(&files).map_err(told)?;
        }
        for path in &self.files {
            let name = path.display().to_string();
            let text = read(path)?;
            corpus.add(&name, &text).map_err(|p| told(vec![p]))?;
        }
        if corpus.is_empty() {
            return Err(Problem::failed("there is no case to run")
                .next("name a file, or write one into the folder policies/tests"));
        }
        let tested = Tested {
            cases: corpus.len(),
            failures: corpus.run(&CedarEngine::new(set)),
        };
        output.answer(&tested, text);
        match tested.failures.is_empty() {
            true => Ok(()),
            false => Err(Problem::told()),
        }
    }
}

fn read(path: &std::path::Path) -> Result<String, Problem> {
    let failed = |e: &dyn std::fmt::Display| Problem::failed(format!("{}: {e}", path.display()));
    let file = File::open(path).map_err(|e| failed(&e))?;
    let mut text = String::new();
    let mut bounded = file.take(MAX_BYTES + 1);
    bounded.read_to_string(&mut text).map_err(|e| failed(&e))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(failed(&format!("has more than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

fn text(tested: &Tested) -> String {
    let mut text = String::new();
    for failure in &tested.failures {
        let (file, case) = (printable(&failure.file), printable(&failure.case));
        text.push_str(&format!("{file}: {case}: {}\n", printable(&failure.reason)));
    }
    let (cases, failed) = (tested.cases, tested.failures.len());
    text.push_str(&format!(
        "{} of {cases} cases as expected\n",
        cases - failed
    ));
    text
}

//! `comity audit verify`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::super::output::{Output, Problem, printable};
use crate::audit::{self, Held, MAX_HELD_BYTES, Report, Verdict};
use crate::home::Home;

/// Check that the journal is whole, unchanged, and what was signed about it.
///
/// Exit codes: 0 intact; 2 tampered: a checksum, a root or a signature is
/// wrong; 3 fork or rollback: a signed checkpoint says that the journal was
/// another one, or longer; 4 incomplete: records are missing.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity audit verify\n  comity audit verify --peer-checkpoints from-the-partner.txt"
)]
pub(super) struct Verify {
    /// Signed checkpoints and receipts that a partner holds about this
    /// organization: a JSON array, or one a line.
    #[arg(long, value_name = "FILE")]
    peer_checkpoints: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let held = match &self.peer_checkpoints {
            Some(path) => read(path)?,
            None => Vec::new(),
        };
        let report =
            audit::verify(&home.journal(), &held).map_err(|f| Problem::from_failure(&f))?;
        output.answer(&report, text);
        match report.verdict {
            Verdict::Intact => Ok(()),
            verdict => Err(Problem::verdict(verdict.exit_code())),
        }
    }
}

fn read(path: &Path) -> Result<Vec<Held>, Problem> {
    let failed = |e: std::io::Error| Problem::failed(format!("{}: {e}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    let read = file.take(MAX_HELD_BYTES + 1).read_to_string(&mut text);
    if read.map_err(failed)? as u64 > MAX_HELD_BYTES {
        let message = format!("{} has more than {MAX_HELD_BYTES} bytes", path.display());
        return Err(Problem::failed(message));
    }
    audit::read_held(&text).map_err(|f| Problem::from_failure(&f))
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let verdict = match report.verdict {
        Verdict::Intact => "intact",
        Verdict::Tampered => "TAMPERED",
        Verdict::Forked => "FORKED OR ROLLED BACK",
        Verdict::Incomplete => "INCOMPLETE",
    };
    text.push_str(&format!(
        "{verdict}: {} records in {} segments, {} erased\n",
        report.records, report.segments, report.erased
    ));
    text.push_str(&format!("  root         {}\n", report.root));
    text.push_str(&format!(
        "  checkpoints  {} in the journal, {} from the partner, {} about others\n",
        report.own_checkpoints, report.held_checkpoints, report.about_others
    ));
    text.push_str(&format!(
        "  broken off   {} deliveries without an end (those running now among them)\n",
        report.broken_off
    ));
    text.push_str(&format!(
        "  unstated     {} deliveries to partners that are in no receipt yet\n",
        report.unstated
    ));
    if report.unfinished_bytes > 0 {
        text.push_str(&format!(
            "  unfinished   {} bytes at the end, never acknowledged\n",
            report.unfinished_bytes
        ));
    }
    for problem in &report.problems {
        text.push_str(&format!("  {}: {}\n", problem.place, problem.what));
    }
    let listed = report.problems.len() as u64;
    if report.problem_count > listed {
        text.push_str(&format!("  … and {} more\n", report.problem_count - listed));
    }
    if report.verdict == Verdict::Intact && report.held_checkpoints == 0 {
        text.push_str(
            "  only a partner's checkpoints show whether the whole journal was replaced:\n  \
             compare them with --peer-checkpoints FILE\n",
        );
    }
    printable(text)
}

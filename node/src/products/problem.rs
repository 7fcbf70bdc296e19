//! What is wrong with a file, where, and what to write instead.

use core::fmt;
use std::path::{Path, PathBuf};

/// The most problems that one reading reports; the rest would not help anybody.
pub(super) const MAX_PROBLEMS: usize = 50;

/// The most characters shown of one message, path or remedy.
const MAX_SHOWN: usize = 400;

/// One thing that is wrong with a contract file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named to [`read`](super::read).
    pub file: PathBuf,
    /// The line, from 1; 0 where the problem is the file as a whole.
    pub line: usize,
    /// The column in characters, from 1; 0 where the problem is the file as a whole.
    pub column: usize,
    /// The JSON pointer of the value, `/schema/0/name`; empty for the whole document.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that can be said.
    pub instead: Option<String>,
}

impl Problem {
    /// A problem of the file as a whole.
    pub(super) fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            path: String::new(),
            message: message.into(),
            instead: None,
        }
    }
}

/// `file:line:column: message`, and below it the place and the remedy.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.file.to_string_lossy()))?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", printable(&self.message))?;
        if !self.path.is_empty() {
            write!(f, "\n    at {}", printable(&self.path))?;
        }
        if let Some(instead) = &self.instead {
            write!(f, "\n    write: {}", printable(instead))?;
        }
        Ok(())
    }
}

/// All problems that one gate found: never empty, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `Err` if there is at least one problem.
    pub(super) fn check(mut found: Vec<Problem>) -> Result<(), Self> {
        if found.is_empty() {
            return Ok(());
        }
        found.sort_by(|a, b| (a.line, a.column, &a.path).cmp(&(b.line, b.column, &b.path)));
        found.dedup();
        found.truncate(MAX_PROBLEMS);
        Err(Self(found))
    }

    /// The problems, in the order of the file.
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// Whether a character may not occur in a text that a person reads: it moves
/// the cursor, hides, or turns the direction of its neighbours (A27).
pub(super) fn deceives(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// For a terminal: a long value is cut, and nothing moves the cursor.
fn printable(text: &str) -> String {
    text.chars()
        .take(MAX_SHOWN)
        .map(|c| if deceives(c) { '\u{fffd}' } else { c })
        .collect()
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

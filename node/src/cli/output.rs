//! What the command line prints: text for people or JSON for programs.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use crate::admin::ClientError;
use crate::failure::Failure;

/// Where and how a command answers.
#[derive(Debug)]
pub(super) struct Output {
    json: bool,
}

/// Why a command failed, and what the person can do about it.
#[derive(Debug)]
pub(super) struct Problem {
    code: String,
    message: String,
    next: Option<String>,
    usage: bool,
    /// The exit code, when standard output has the answer already.
    told: Option<u8>,
}

impl Problem {
    /// The command could not do its work.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self {
            code: "failed".into(),
            message: message.into(),
            next: None,
            usage: false,
            told: None,
        }
    }

    /// The command was called wrongly.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: "usage".into(),
            message: message.into(),
            next: None,
            usage: true,
            told: None,
        }
    }

    /// The answer, printed already, is that something is not well: exit code 1
    /// and nothing more to say.
    pub(super) fn told() -> Self {
        Self::verdict(1)
    }

    /// The answer, printed already, is a verdict with an exit code of its own.
    pub(super) fn verdict(code: u8) -> Self {
        Self {
            told: Some(code),
            ..Self::failed("")
        }
    }

    /// Whether it says what to do next.
    pub(super) fn has_next(&self) -> bool {
        self.next.is_some()
    }

    /// Adds what to do next.
    pub(super) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

impl Problem {
    /// As an operation of the node itself failed.
    pub(super) fn from_failure(failure: &Failure) -> Self {
        let said = failure.to_api();
        Self {
            usage: is_usage(&said.code),
            code: said.code,
            message: said.message,
            next: said.next,
            told: None,
        }
    }
}

/// Whether an argument was malformed, as only the node can tell. What is well
/// formed and names nothing is a failure like others.
fn is_usage(code: &str) -> bool {
    matches!(
        code,
        "bad-alias" | "bad-invitation" | "bad-node-name" | "bad-name" | "nothing-countered"
    )
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        Self {
            usage: is_usage(error.code()),
            code: error.code().to_owned(),
            message: error.to_string(),
            next: error.next(),
            told: None,
        }
    }
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read the answer.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints an answer: `value` as JSON, or what `text` makes of it.
    pub(super) fn answer<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) {
        let line = if self.json {
            serde_json::to_string_pretty(value).unwrap_or_else(|e| format!("\"{e}\""))
        } else {
            text(value)
        };
        // A closed pipe (`comity search | head`) is the reader's choice, not a failure.
        let _ = writeln!(std::io::stdout(), "{}", line.trim_end());
    }

    /// Prints a problem to standard error and gives the exit code.
    pub(super) fn fail(&self, problem: &Problem) -> ExitCode {
        if let Some(code) = problem.told {
            return ExitCode::from(code);
        }
        let mut err = std::io::stderr().lock();
        if self.json {
            let value = serde_json::json!({"error": {
                "code": problem.code, "message": problem.message, "next": problem.next,
            }});
            let _ = writeln!(err, "{value}");
        } else {
            let _ = writeln!(err, "comity: {}", printable(&problem.message));
            if let Some(next) = &problem.next {
                let _ = writeln!(err, "  try: {}", printable(next));
            }
        }
        ExitCode::from(if problem.usage { super::EXIT_USAGE } else { 1 })
    }
}

/// `text` without the characters that steer a terminal or reorder what is
/// read: names and notes come from other organizations (A27).
pub(super) fn printable(text: impl Display) -> String {
    text.to_string()
        .chars()
        .map(|c| match c {
            '\n' => '\n',
            '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => '\u{fffd}',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Lays `rows` out in columns under `head`.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|r| r.iter().map(|c| printable(c).replace('\n', " ")).collect())
        .collect();
    let width = |i: usize| {
        let cells = rows
            .iter()
            .filter_map(|r| r.get(i))
            .map(|c| c.chars().count());
        cells.chain(head.get(i).map(|h| h.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::new();
        for (cell, width) in cells.zip(&widths) {
            out.push_str(cell);
            out.extend(std::iter::repeat_n(
                ' ',
                width + 2 - cell.chars().count().min(*width),
            ));
        }
        out.trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut head.iter().copied());
    for row in &rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a27_hostile_text_cannot_steer_the_terminal() {
        let hostile = "ok\u{1b}[2J\u{202e}txt\u{200b}\r";
        let shown = printable(hostile);
        assert!(
            shown
                .chars()
                .all(|c| !c.is_control() && c != '\u{202e}' && c != '\u{200b}')
        );
        assert!(shown.starts_with("ok"));
    }

    #[test]
    fn columns_line_up() {
        let text = table(
            &["A", "B"],
            &[
                vec!["long".into(), "x".into()],
                vec!["y".into(), "z".into()],
            ],
        );
        assert_eq!(text, "A     B\nlong  x\ny     z\n");
    }
}

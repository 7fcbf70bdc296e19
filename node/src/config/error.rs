//! Why a configuration is refused: where, and what to write instead.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::{MAX_CONFIG_BYTES, Problem};

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}; `comity init` writes one", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is longer than [`MAX_CONFIG_BYTES`].
    #[error("{} is longer than {MAX_CONFIG_BYTES} bytes", file.display())]
    TooLong {
        /// The file.
        file: PathBuf,
    },
    /// A key that does not exist.
    #[error(transparent)]
    UnknownKey(Box<UnknownKey>),
    /// A value that is not allowed, or a text that is not TOML.
    #[error("{}:{line}: {}{message}", file.display(), key.as_ref().map(|key| format!("{key}: ")).unwrap_or_default())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The key, where one can be named.
        key: Option<String>,
        /// What is wrong, and what is allowed.
        message: String,
    },
}

/// A key that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// The section that the key is in, as it is written in the file.
    pub section: String,
    /// The key.
    pub key: String,
    /// The nearest known key, if one is near.
    pub suggestion: Option<String>,
    /// The known keys.
    pub allowed: Vec<String>,
}

impl std::error::Error for UnknownKey {}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: unknown key `{}` in {}",
            self.file.display(),
            self.line,
            self.key,
            self.section
        )?;
        match &self.suggestion {
            Some(suggestion) => write!(f, ", did you mean `{suggestion}`?"),
            None => write!(f, "; allowed are {}", self.allowed.join(", ")),
        }
    }
}

/// The parser's `error` about `text`, in words of the file.
pub(super) fn explain(text: &str, file: &Path, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let message = error.message();
    if let Some((key, allowed)) = unknown_field(message) {
        return ConfigError::UnknownKey(Box::new(UnknownKey {
            file: file.to_owned(),
            line,
            section: section_at(before),
            suggestion: nearest(&key, &allowed),
            key,
            allowed,
        }));
    }
    ConfigError::Invalid {
        file: file.to_owned(),
        line,
        key: key_of_line(text.lines().nth(line - 1).unwrap_or_default()),
        message: message.replace('\n', "; "),
    }
}

/// `problem` of the configuration that `text` holds.
pub(super) fn refused(text: &str, file: &Path, problem: Problem) -> ConfigError {
    let (section, key) = problem.key.split_once('.').unwrap_or((&problem.key, ""));
    ConfigError::Invalid {
        file: file.to_owned(),
        line: line_of(text, section, key),
        message: problem.message,
        key: Some(problem.key),
    }
}

/// The line, from 1, of `key` in `section`; of the section, or 1, where it is not written.
fn line_of(text: &str, section: &str, key: &str) -> usize {
    let mut within = false;
    let mut best = 1;
    for (i, line) in text.lines().enumerate() {
        if let Some(name) = header(line) {
            within = name == section;
            if within {
                best = i + 1;
            }
        } else if within && key_of_line(line).is_some_and(|found| found == key) {
            return i + 1;
        }
    }
    best
}

/// The header that is in force at the end of `before`, as it is written.
fn section_at(before: &str) -> String {
    // The error may be about the header itself, whose line has only begun.
    before
        .lines()
        .rev()
        .find_map(header)
        .map_or_else(|| "the file".to_owned(), |name| format!("[{name}]"))
}

fn header(line: &str) -> Option<&str> {
    let line = line.trim();
    let name = line.strip_prefix("[[").or_else(|| line.strip_prefix('['))?;
    Some(name.split(']').next().unwrap_or_default().trim())
}

fn key_of_line(line: &str) -> Option<String> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.\"".contains(c);
    (!key.is_empty() && key.chars().all(plain)).then(|| key.to_owned())
}

/// The key and the known keys of serde's message about an unknown field.
fn unknown_field(message: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (key, expected) = rest.split_once('`')?;
    // Every second piece between backquotes is a name.
    let allowed = expected.split('`').skip(1).step_by(2).map(str::to_owned);
    Some((key.to_owned(), allowed.collect()))
}

/// The known key that `key` was most likely meant to be.
fn nearest(key: &str, allowed: &[String]) -> Option<String> {
    let most = (key.chars().count() / 3).clamp(1, 4);
    allowed
        .iter()
        .map(|candidate| (distance(key, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate.clone())
}

/// How many characters must be added, removed or changed to get from `a` to `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    // A key in a file may be of any length; names that long are not near anything.
    let a: Vec<char> = a.chars().take(MAX_COMPARED_CHARS).collect();
    let b: Vec<char> = b.chars().take(MAX_COMPARED_CHARS).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Characters of a key that are compared with known ones.
const MAX_COMPARED_CHARS: usize = 64;

//! What can go wrong with a SQLite source.

use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::sources::code::{Code, Coded};

/// Why a table of a SQLite file cannot be read. For the owner: it names files and columns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteError {
    /// The file is away, no such file, or damaged; or it has no such table or column.
    #[error("cannot read {table} of {path}: {reason}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The table.
        table: String,
        /// What SQLite said.
        reason: String,
    },
    /// There is no such table, for a draft.
    #[error("{path} has no table or view {table}; it has {there}", path = path.display(), there = listed(.there))]
    NoTable {
        /// The file.
        path: PathBuf,
        /// The table.
        table: String,
        /// The tables that there are.
        there: Vec<String>,
    },
    /// As many answers as may be are being read, or a writer holds the file.
    #[error(
        "{path} cannot be read now: {reason}; raise `connections` in [sources] of comity.toml if many read it",
        path = path.display()
    )]
    Busy {
        /// The file.
        path: PathBuf,
        /// Who holds it.
        reason: String,
    },
    /// The answer took longer than the configuration permits.
    #[error("{table} of {path} was not read within its time limit", path = path.display())]
    Timeout {
        /// The file.
        path: PathBuf,
        /// The table.
        table: String,
    },
    /// A column of the contract has a type that no value of SQLite has.
    #[error(
        "column {column} of {table} is {kind} in the contract, which this release does not read from SQLite; leave it out of the contract"
    )]
    Unsupported {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The contract's type.
        kind: String,
    },
    /// A value that is not of the contract's type: SQLite holds values of any type in any column.
    #[error(
        "column {column} of {table} is {kind} in the contract and holds {what}; correct the value, or publish a view without it"
    )]
    Value {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The contract's type.
        kind: String,
        /// What was met, without the value.
        what: String,
    },
}

/// The first of the tables of a file.
fn listed(tables: &[String]) -> String {
    const SHOWN: usize = 10;
    match tables {
        [] => "none".to_owned(),
        tables => tables[..tables.len().min(SHOWN)].join(", "),
    }
}

impl SqliteError {
    /// What SQLite said while it read `table` of the file at `path`.
    pub(super) fn said(path: &std::path::Path, table: &str, error: &rusqlite::Error) -> Self {
        let (path, table) = (path.to_owned(), table.to_owned());
        let reason = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Busy { path, reason }
            }
            // Only our own clock interrupts a statement that somebody still waits for.
            Some(ErrorCode::OperationInterrupted) => Self::Timeout { path, table },
            _ => Self::Unreadable {
                path,
                table,
                reason,
            },
        }
    }
}

impl Coded for SqliteError {
    fn code(&self) -> Code {
        match self {
            Self::Busy { .. } => Code::Busy,
            Self::Timeout { .. } => Code::Budget,
            _ => Code::Unavailable,
        }
    }
}

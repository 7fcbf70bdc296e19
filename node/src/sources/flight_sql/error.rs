//! What can go wrong with a Flight SQL source.

use std::path::PathBuf;

use arrow_flight::error::FlightError;
use tonic::{Code, Status};

use crate::query::QueryError;
use crate::sources::code::{Code as Answer, Coded};

/// The longest reason of a server that is passed on, in characters.
const MAX_REASON: usize = 500;

/// Why a table of a Flight SQL server cannot be read. For the owner: it names
/// servers and columns, never a password or a token (`spec/5-data-plane.md#D-151`).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlightSqlError {
    /// A file that the configuration names cannot be used.
    #[error("cannot use {path} for the server {server}: {reason}", path = path.display())]
    File {
        /// The server's name in the contract.
        server: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without any part of it.
        reason: String,
    },
    /// The server is away, or is not who it should be.
    #[error("cannot connect to the server {server} at {at}: {reason}")]
    Connect {
        /// The server's name in the contract.
        server: String,
        /// Host and port.
        at: String,
        /// What the network said.
        reason: String,
    },
    /// The server lets us not in.
    #[error(
        "the server {server} refused the login: {reason}; set `username` and `password_file` in [sources.{server}] of comity.toml, or only `password_file` if that file holds a token"
    )]
    Login {
        /// The server's name in the contract.
        server: String,
        /// What it said.
        reason: String,
    },
    /// All answers that may be read at a time are being read.
    #[error("the server {server} has no room for a statement: {reason}")]
    Busy {
        /// The server's name in the contract.
        server: String,
        /// Whose bound it is.
        reason: String,
    },
    /// A statement took longer than the configuration permits.
    #[error(
        "the server {server} did not answer a statement over {table} within its time limit: {reason}"
    )]
    Timeout {
        /// The server's name in the contract.
        server: String,
        /// The table.
        table: String,
        /// Whose clock it was.
        reason: String,
    },
    /// The server refused or broke off a statement.
    #[error("the server {server} did not answer a statement over {table}: {reason}")]
    Statement {
        /// The server's name in the contract.
        server: String,
        /// The table.
        table: String,
        /// What the server said.
        reason: String,
    },
    /// The server means something else by a name in double quotes.
    #[error(
        "the server {server} takes a name in double quotes that is no column for a text: a column that goes would be answered with its own name; this release cannot read it"
    )]
    Quotes {
        /// The server's name in the contract.
        server: String,
    },
    /// The answer lies at another server, which nobody configured.
    #[error(
        "the server {server} says that the answer lies at {to}, and only the server of the contract is asked; name that one in the contract, or make it answer itself"
    )]
    Redirect {
        /// The server's name in the contract.
        server: String,
        /// Where it pointed to.
        to: String,
    },
    /// The table is not what was published.
    #[error(
        "column {column} of {table} is now {found}, and was published as {published}; correct the contract and publish it again"
    )]
    Changed {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// What is in its place.
        found: String,
        /// Its Arrow type when it was published.
        published: String,
    },
    /// The answer is not one.
    #[error("the answer over {table} cannot be read: {what}")]
    Broken {
        /// The table.
        table: String,
        /// What is wrong.
        what: String,
    },
}

impl FlightSqlError {
    /// The failure of a call over `table`.
    pub(super) fn call(server: &str, table: &str, status: &Status) -> Self {
        let (server, table, reason) = (server.to_owned(), table.to_owned(), said(status));
        match status.code() {
            Code::DeadlineExceeded => Self::Timeout {
                server,
                table,
                reason,
            },
            Code::ResourceExhausted => Self::Busy { server, reason },
            Code::Unauthenticated => Self::Login { server, reason },
            _ => Self::Statement {
                server,
                table,
                reason,
            },
        }
    }

    /// The failure of a stream over `table`.
    pub(super) fn stream(server: &str, table: &str, error: FlightError) -> Self {
        match error {
            FlightError::Tonic(status) => Self::call(server, table, &status),
            error => Self::Broken {
                table: table.to_owned(),
                what: error.to_string(),
            },
        }
    }
}

/// What the server said, in bounds.
pub(super) fn said(status: &Status) -> String {
    let message = status.message().chars().take(MAX_REASON);
    format!("{} ({:?})", message.collect::<String>(), status.code())
}

impl Coded for FlightSqlError {
    fn code(&self) -> Answer {
        match self {
            Self::Busy { .. } => Answer::Busy,
            Self::Timeout { .. } => Answer::Budget,
            _ => Answer::Unavailable,
        }
    }
}

impl From<FlightSqlError> for QueryError {
    fn from(error: FlightSqlError) -> Self {
        error.code().with(error.to_string())
    }
}

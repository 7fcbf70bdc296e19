//! What can go wrong with a PostgreSQL source.

use std::error::Error as _;
use std::path::PathBuf;

use tokio_postgres::error::SqlState;

use crate::sources::code::{Code, Coded};

/// Why a PostgreSQL table cannot be read. For the owner: it names servers and
/// columns, never a password (`spec/5-data-plane.md#D-151`).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// Nobody said as whom to connect.
    #[error(
        "no user name for the server {server}; set `username` in [sources.{server}] of comity.toml, or DATACONTRACT_POSTGRES_USERNAME"
    )]
    NoUser {
        /// The server's name in the contract.
        server: String,
    },
    /// A file that the configuration names cannot be read.
    #[error("cannot read {path} for the server {server}: {reason}", path = path.display())]
    File {
        /// The server's name in the contract.
        server: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The server's certificate cannot be checked.
    #[error(
        "the server {server} is on another machine, and nothing says whose certificate it has: set `ca_file` in [sources.{server}] of comity.toml, or `tls = false` for a network that nobody else is in"
    )]
    NoAuthority {
        /// The server's name in the contract.
        server: String,
    },
    /// The server is away, or lets us not in.
    #[error("cannot connect to the server {server} at {at}: {reason}")]
    Connect {
        /// The server's name in the contract.
        server: String,
        /// Host, port and database.
        at: String,
        /// What the server or the network said.
        reason: String,
    },
    /// All connections that the configuration permits are in use.
    #[error(
        "all connections to the server {server} are in use; raise `connections` in [sources.{server}] of comity.toml if the server has room"
    )]
    Busy {
        /// The server's name in the contract.
        server: String,
    },
    /// The server ended the statement because of its time limit.
    #[error("the server {server} ended a statement after its time limit: {reason}")]
    Timeout {
        /// The server's name in the contract.
        server: String,
        /// What the server said.
        reason: String,
    },
    /// The server refused or broke off a statement.
    #[error("the server {server} did not answer a statement over {table}: {reason}")]
    Statement {
        /// The server's name in the contract.
        server: String,
        /// The table, with its schema.
        table: String,
        /// What the server said.
        reason: String,
    },
    /// A column of a type that is not read.
    #[error(
        "column {column} of {table} is of type {found}, which this release does not read; {instead}"
    )]
    Unsupported {
        /// The table, with its schema.
        table: String,
        /// The column.
        column: String,
        /// Its type in the database.
        found: String,
        /// What to do.
        instead: String,
    },
    /// The table is not what was published.
    #[error(
        "column {column} of {table} is now of type {found}, and was published as {published}; correct the contract and publish it again"
    )]
    Changed {
        /// The table, with its schema.
        table: String,
        /// The column.
        column: String,
        /// Its type in the database now.
        found: String,
        /// Its Arrow type when it was published.
        published: String,
    },
    /// A unique index that a join relied on is gone.
    #[error(
        "a unique index of {table} is gone since a join over it was planned; the next one is planned without it"
    )]
    KeyGone {
        /// The table, with its schema.
        table: String,
    },
    /// A value that has no place in the column's type.
    #[error(
        "column {column} of {table} holds {what}; correct the value, or publish a view without it"
    )]
    Value {
        /// The table, with its schema.
        table: String,
        /// The column.
        column: String,
        /// What was met, without the value.
        what: &'static str,
    },
    /// The copy ended before its end, or is not one.
    #[error("the copy of {table} is not whole: {what}")]
    Broken {
        /// The table, with its schema.
        table: String,
        /// What is wrong.
        what: &'static str,
    },
}

impl PostgresError {
    /// The failure of a statement over `table`.
    pub(super) fn statement(server: &str, table: &str, error: &tokio_postgres::Error) -> Self {
        let (server, reason) = (server.to_owned(), said(error));
        // What else cancels a statement of ours is our own cancel, after which nobody listens.
        if error.code() == Some(&SqlState::QUERY_CANCELED) {
            return Self::Timeout { server, reason };
        }
        Self::Statement {
            server,
            table: table.to_owned(),
            reason,
        }
    }
}

impl Coded for PostgresError {
    fn code(&self) -> Code {
        match self {
            Self::Busy { .. } => Code::Busy,
            Self::Timeout { .. } => Code::Budget,
            _ => Code::Unavailable,
        }
    }
}

/// What the server or the network said: the driver's own text is only "db error".
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", said.message(), said.code().code());
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

//! What can go wrong with a PostgreSQL source.

use std::error::Error as _;
use std::path::PathBuf;

use tokio_postgres::error::SqlState;

use crate::query::identifier;
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
    /// The server does not take the user or the password.
    #[error(
        "the server {server} at {at} does not let {user} in: {reason}; set DATACONTRACT_POSTGRES_PASSWORD, or `password_file` in [sources.{server}] of comity.toml"
    )]
    Login {
        /// The server's name in the contract.
        server: String,
        /// Host, port and database.
        at: String,
        /// The user.
        user: String,
        /// What the server said.
        reason: String,
    },
    /// The server has no such database.
    #[error("the server {server} at {at} has no such database: {reason}; name another one")]
    NoDatabase {
        /// The server's name in the contract.
        server: String,
        /// Host, port and database.
        at: String,
        /// What the server said.
        reason: String,
    },
    /// The server is away, or lets us not in.
    #[error("cannot connect to the server {server} at {at}: {reason}{}", if_away(.reason))]
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
    /// The user may not read the table.
    #[error("{user} may not read {table}: {reason}; its owner can permit it: {grant}")]
    NotPermitted {
        /// The table, with its schema.
        table: String,
        /// The user.
        user: String,
        /// What the server said.
        reason: String,
        /// The statement that permits it.
        grant: String,
    },
    /// There is no such table, or not this column of it.
    #[error("the server {server} cannot find all of {table}: {reason}{}", to_read(.there))]
    NoTable {
        /// The server's name in the contract.
        server: String,
        /// The table, with its schema.
        table: String,
        /// What the server said.
        reason: String,
        /// Tables that the user may read, if they were asked for.
        there: Vec<String>,
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
    /// The failure of a statement of `user` over `table`.
    pub(super) fn statement(
        server: &str,
        user: Option<&str>,
        table: &str,
        error: &tokio_postgres::Error,
    ) -> Self {
        let (server, reason, table) = (server.to_owned(), said(error), table.to_owned());
        let Some(state) = error.code() else {
            return Self::Statement {
                server,
                table,
                reason,
            };
        };
        // What else cancels a statement of ours is our own cancel, after which nobody listens.
        if *state == SqlState::QUERY_CANCELED {
            return Self::Timeout { server, reason };
        }
        if *state == SqlState::INSUFFICIENT_PRIVILEGE {
            let user = user.unwrap_or("the user").to_owned();
            let grant = grant(&table, &user, &reason);
            return Self::NotPermitted {
                table,
                user,
                reason,
                grant,
            };
        }
        let gone = [
            SqlState::UNDEFINED_TABLE,
            SqlState::UNDEFINED_COLUMN,
            SqlState::INVALID_SCHEMA_NAME,
        ];
        if gone.contains(state) {
            return Self::NoTable {
                server,
                table,
                reason,
                there: Vec::new(),
            };
        }
        Self::Statement {
            server,
            table,
            reason,
        }
    }

    /// Whether the contract names what is not there, so that it has to be corrected.
    pub(crate) fn is_of_contract(&self) -> bool {
        matches!(
            self,
            Self::NoTable { .. }
                | Self::NoDatabase { .. }
                | Self::Unsupported { .. }
                | Self::Changed { .. }
        )
    }
}

/// What permits it. Of a table that nobody was let as far as, its schema comes first.
fn grant(table: &str, user: &str, reason: &str) -> String {
    let user = identifier(user);
    match table.split_once("\".\"") {
        Some((schema, _)) if reason.contains("for schema") => {
            format!("GRANT USAGE ON SCHEMA {schema}\" TO {user}; GRANT SELECT ON {table} TO {user}")
        }
        _ => format!("GRANT SELECT ON {table} TO {user}"),
    }
}

fn if_away(reason: &str) -> &'static str {
    match reason.contains("refused") {
        true => "; is it running, and are host and port right?",
        false => "",
    }
}

fn to_read(tables: &[String]) -> String {
    match tables {
        [] => String::new(),
        tables => format!("; the user can read {}", tables.join(", ")),
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

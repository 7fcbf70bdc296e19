//! Where the data of each table lies. Private: nothing of this is published.
//!
//! A kind of source is a variant of [`SourceSpec`], a row of [`KINDS`] and a
//! module here that reads its `servers` entry.

mod delta;
mod files;
mod flight_sql;
mod postgres;
mod s3;
mod sqlite;

use std::collections::BTreeMap;

use serde_json::Value;

pub use self::delta::{DeltaSpec, Travel};
pub use self::files::{FileSpec, Format};
pub use self::flight_sql::{FlightSqlDialect, FlightSqlServer, FlightSqlSpec};
pub use self::postgres::{PostgresServer, PostgresSpec};
pub use self::s3::{Content, S3Spec};
pub use self::sqlite::SqliteSpec;
use super::problem::Problem;
use super::rules::{self, Text};
use super::table::Table;
use super::yaml::{Document, child};

/// The data of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceSpec {
    /// Files in the file system.
    Files(FileSpec),
    /// A table of a PostgreSQL database.
    Postgres(PostgresSpec),
    /// A table of a Flight SQL server.
    FlightSql(FlightSqlSpec),
    /// A Delta table in the file system.
    Delta(DeltaSpec),
    /// Objects of an S3-compatible store.
    S3(S3Spec),
    /// A table of a SQLite file.
    Sqlite(SqliteSpec),
}

/// The custom property of a contract that names the server to read.
const CHOICE: &str = "comityServer";

/// Reads one entry of `servers` at a place in the document, for all tables.
type Read =
    fn(&Value, &str, &[Table], &Document, &mut Vec<Problem>) -> BTreeMap<String, SourceSpec>;

/// The types of servers that this release reads; of type `custom`, the protocols.
const KINDS: [(&str, Read); 6] = [
    ("local", files::specs),
    ("s3", s3::specs),
    ("postgresql", postgres::specs),
    ("postgres", postgres::specs),
    (flight_sql::FLIGHT_SQL, flight_sql::specs),
    (sqlite::SQLITE, sqlite::specs),
];

/// The source of every table, from the one server that holds the data: the only
/// one of a known type, or the one that `comityServer` names.
pub(super) fn sources(
    document: &Document,
    tables: &[Table],
    found: &mut Vec<Problem>,
) -> BTreeMap<String, SourceSpec> {
    let root = document.value();
    let kind = |server: &Value| {
        let kind = match server.text("type")? {
            "custom" => rules::custom(server, flight_sql::PROTOCOL)?.as_str()?,
            kind => kind,
        };
        let known = KINDS.iter().find(|(name, _)| *name == kind);
        known.map(|(_, read)| *read)
    };
    let choice = rules::custom(root, CHOICE).and_then(Value::as_str);
    let servers = root.list("servers").iter().enumerate();
    let mut readable = servers
        .filter(|(_, server)| choice.is_none_or(|name| server.text("server") == Some(name)))
        .filter_map(|(index, server)| Some((index, server, kind(server)?)));
    let Some((index, server, read)) = readable.next() else {
        let types: Vec<_> = KINDS.iter().map(|(name, _)| *name).collect();
        let types = types.join(", ") + " (the last two as comityProtocol of type custom)";
        let message = match choice {
            Some(_) => {
                format!("{CHOICE} names no server of a type that this release reads: {types}")
            }
            None => {
                format!("this release reads servers of type {types}, and the contract has none")
            }
        };
        let instead = "servers: [ { server: files, type: local, path: ./data/orders.parquet, format: parquet } ]";
        found.push(document.problem("/servers", message, Some(instead.to_owned())));
        return BTreeMap::new();
    };
    if let Some((second, server, _)) = readable.next() {
        let at = child("/servers", &second.to_string());
        let name = server.text("server").unwrap_or_default();
        let message = "a second server that could hold the data: which one does?";
        let instead = format!(
            "one of them, or customProperties: [ {{ property: {CHOICE}, value: {name} }} ]"
        );
        found.push(document.problem(&at, message, Some(instead)));
    }
    let at = child("/servers", &index.to_string());
    read(server, &at, tables, document, found)
}

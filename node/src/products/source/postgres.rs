//! PostgreSQL: a server of type `postgresql` or `postgres`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::SourceSpec;
use crate::products::problem::Problem;
use crate::products::rules::Text;
use crate::products::table::Table;
use crate::products::yaml::{Document, child};

/// One table of a PostgreSQL database. Who reads it is in the node's
/// configuration and environment, never here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresSpec {
    /// Where the database is.
    pub server: PostgresServer,
    /// The schema in the database.
    pub schema: String,
    /// The table or view: the contract's `physicalName`, else its name.
    pub table: String,
}

/// One PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PostgresServer {
    /// The entry's name in the contract (`server`), under which the node's
    /// configuration has what it needs to connect.
    pub name: String,
    /// A host name, an address, or the folder of a Unix socket.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database.
    pub database: String,
}

/// The tables of a server of type `postgresql`.
pub(super) fn specs(
    server: &Value,
    at: &str,
    tables: &[Table],
    document: &Document,
    found: &mut Vec<Problem>,
) -> BTreeMap<String, SourceSpec> {
    let mut text = |key: &str| {
        let value = server.text(key).unwrap_or_default();
        let wrong = if value.is_empty() {
            format!("a PostgreSQL server needs its {key}")
        } else if value.contains("${") {
            "variables are not replaced in servers".to_owned()
        } else {
            return value.to_owned();
        };
        let instead = format!("{key}: the {key} itself");
        found.push(document.problem(&child(at, key), wrong, Some(instead)));
        String::new()
    };
    let (name, host) = (text("server"), text("host"));
    let (database, schema) = (text("database"), text("schema"));
    let port = server.get("port").and_then(Value::as_u64);
    let Some(port) = port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0) else {
        let message = "a PostgreSQL server needs its port, 1 to 65535";
        found.push(document.problem(&child(at, "port"), message, Some("port: 5432".to_owned())));
        return BTreeMap::new();
    };
    let server = PostgresServer {
        name,
        host,
        port,
        database,
    };
    tables
        .iter()
        .map(|table| {
            let spec = PostgresSpec {
                server: server.clone(),
                schema: schema.clone(),
                table: table.physical_name().to_owned(),
            };
            (table.name.clone(), SourceSpec::Postgres(spec))
        })
        .collect()
}

//! Flight SQL servers: a server of type `custom` whose `comityProtocol` is
//! `arrow-flight-sql`, because ODCS has no type for them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::SourceSpec;
use crate::products::problem::Problem;
use crate::products::rules::{self, Text};
use crate::products::table::Table;
use crate::products::yaml::{Document, child};

/// One table of a Flight SQL server. Who reads it is in the node's configuration
/// and environment, never here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlightSqlSpec {
    /// Where the server is.
    pub server: FlightSqlServer,
    /// The parts of the table's name, outermost first: its catalog and schema
    /// where the contract names them, and the table.
    pub path: Vec<String>,
    /// How the server's SQL is.
    pub dialect: FlightSqlDialect,
}

/// One Flight SQL server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlightSqlServer {
    /// The entry's name in the contract (`server`), under which the node's
    /// configuration has what it needs to connect.
    pub name: String,
    /// A host name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What is known of a server's SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlightSqlDialect {
    /// Nothing but the standard's names in double quotes: little is handed down.
    Plain,
    /// Apache DataFusion, the engine of this node, as in another Comity node.
    DataFusion,
}

/// The custom property of a server that says how it is spoken to.
pub(super) const PROTOCOL: &str = "comityProtocol";
/// Its value for Flight SQL.
pub(super) const FLIGHT_SQL: &str = "arrow-flight-sql";
const DIALECT: &str = "comityDialect";

/// The tables of a Flight SQL server.
pub(super) fn specs(
    server: &Value,
    at: &str,
    tables: &[Table],
    document: &Document,
    found: &mut Vec<Problem>,
) -> BTreeMap<String, SourceSpec> {
    let mut text = |key: &str, needed: bool| {
        let value = server.text(key).unwrap_or_default();
        let wrong = if value.is_empty() && needed {
            format!("a Flight SQL server needs its {key}")
        } else if value.contains("${") {
            "variables are not replaced in servers".to_owned()
        } else if key == "host" && !value.bytes().all(is_of_host) {
            format!("{value} is not a host")
        } else {
            return value.to_owned();
        };
        let instead = format!("{key}: the {key} itself");
        found.push(document.problem(&child(at, key), wrong, Some(instead)));
        String::new()
    };
    let (name, host) = (text("server", true), text("host", true));
    let outer = [text("catalog", false), text("schema", false)];
    let port = server.get("port").and_then(Value::as_u64);
    let Some(port) = port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0) else {
        let message = "a Flight SQL server needs its port, 1 to 65535";
        found.push(document.problem(&child(at, "port"), message, Some("port: 32010".to_owned())));
        return BTreeMap::new();
    };
    let [catalog, schema] = &outer;
    if schema.is_empty() && !catalog.is_empty() {
        let message = "a table of a catalog is in a schema, which is missing";
        found.push(document.problem(at, message, Some("schema: its name".to_owned())));
    }
    let dialect = match rules::custom(server, DIALECT).and_then(Value::as_str) {
        Some("datafusion") => FlightSqlDialect::DataFusion,
        _ => FlightSqlDialect::Plain,
    };
    let server = FlightSqlServer { name, host, port };
    tables
        .iter()
        .map(|table| {
            let outer = outer.iter().filter(|part| !part.is_empty()).cloned();
            let spec = FlightSqlSpec {
                server: server.clone(),
                path: outer.chain([table.physical_name().to_owned()]).collect(),
                dialect,
            };
            (table.name.clone(), SourceSpec::FlightSql(spec))
        })
        .collect()
}

/// What a host name or an address is written with: no part of a URI besides.
fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':')
}

//! SQLite files: a server of type `custom` whose `comityProtocol` is `sqlite`,
//! because ODCS has no type for them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::SourceSpec;
use crate::products::problem::Problem;
use crate::products::rules::Text;
use crate::products::table::Table;
use crate::products::yaml::{Document, child};

/// One table or view of a SQLite file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteSpec {
    /// The entry's name in the contract (`server`), under which the node's
    /// configuration may bound how it is read.
    pub server: String,
    /// The file, as the contract has it: relative to the contract's own folder, or absolute.
    pub path: PathBuf,
    /// The table or view: the contract's `physicalName`, else its name.
    pub table: String,
}

/// The value of `comityProtocol` for SQLite.
pub(super) const SQLITE: &str = "sqlite";

/// The tables of a SQLite file.
pub(super) fn specs(
    server: &Value,
    at: &str,
    tables: &[Table],
    document: &Document,
    found: &mut Vec<Problem>,
) -> BTreeMap<String, SourceSpec> {
    let path = server.text("path").unwrap_or_default();
    if path.is_empty() || path.contains("://") || path.contains("${") {
        let message = "a SQLite server needs the path of its file";
        let instead = "path: ./data/orders.sqlite".to_owned();
        found.push(document.problem(&child(at, "path"), message, Some(instead)));
    }
    tables
        .iter()
        .map(|table| {
            let spec = SqliteSpec {
                server: server.text("server").unwrap_or_default().to_owned(),
                path: path.into(),
                table: table.physical_name().to_owned(),
            };
            (table.name.clone(), SourceSpec::Sqlite(spec))
        })
        .collect()
}

//! Files in the file system: a server of type `local`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::SourceSpec;
use super::delta::{self, DeltaSpec, Travel};
use crate::products::problem::Problem;
use crate::products::rules::Text;
use crate::products::table::Table;
use crate::products::yaml::{Document, child};

/// The files of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// How the data is written.
    pub format: Format,
    /// A file or folder, as the contract has it: relative to the contract's own folder, or absolute.
    pub path: PathBuf,
}

/// The forms of data that this release reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated text with a header line.
    Csv,
    /// One JSON object a line.
    Json,
    /// Arrow IPC files.
    Arrow,
}

impl Format {
    /// As `format` in the contract names it, and as the names of such files end.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Arrow => "arrow",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Parquet, Self::Csv, Self::Json, Self::Arrow]
            .into_iter()
            .find(|format| format.name() == name)
    }
}

/// Stands for the table's physical name in a path, as in `datacontract`.
pub(super) const MODEL: &str = "{model}";

/// The files of every table of a server of type `local`.
pub(super) fn specs(
    server: &Value,
    at: &str,
    tables: &[Table],
    document: &Document,
    found: &mut Vec<Problem>,
) -> BTreeMap<String, SourceSpec> {
    let path = server.text("path").unwrap_or_default();
    path_rules(path, tables.len(), &child(at, "path"), document, found);
    let travel = delta::travel(server, at, document, found);
    let Some(kind) = kind(server, at, travel, document, found) else {
        return BTreeMap::new();
    };
    tables
        .iter()
        .map(|table| {
            let path = path.replace(MODEL, table.physical_name()).into();
            let spec = match kind {
                Kind::Files(format) => SourceSpec::Files(FileSpec { format, path }),
                Kind::Delta(travel) => SourceSpec::Delta(DeltaSpec { path, travel }),
            };
            (table.name.clone(), spec)
        })
        .collect()
}

/// What `format` says.
#[derive(Clone, Copy)]
enum Kind {
    Files(Format),
    Delta(Travel),
}

fn kind(
    server: &Value,
    at: &str,
    travel: Travel,
    document: &Document,
    found: &mut Vec<Problem>,
) -> Option<Kind> {
    let name = server.text("format").unwrap_or_default();
    if name == delta::FORMAT {
        return Some(Kind::Delta(travel));
    }
    let format = Format::parse(name);
    if format.is_none() {
        let message = format!("this release cannot read the format {name}");
        let instead = "format: parquet, csv, json, arrow or delta".to_owned();
        found.push(document.problem(&child(at, "format"), message, Some(instead)));
    }
    format.map(Kind::Files)
}

fn path_rules(path: &str, tables: usize, at: &str, document: &Document, found: &mut Vec<Problem>) {
    if path.is_empty() || path.contains("://") {
        let instead = "a file or folder, relative to this contract".to_owned();
        found.push(document.problem(
            at,
            "a local server needs a path in the file system",
            Some(instead),
        ));
    }
    if path.contains("${") {
        found.push(document.problem(
            at,
            "variables are not replaced in a path",
            Some("the path itself".to_owned()),
        ));
    }
    if path.contains(['*', '?', '[']) {
        let message = "a path with a pattern may match other files tomorrow";
        found.push(document.problem(
            at,
            message,
            Some("the folder that holds the files".to_owned()),
        ));
    }
    if tables > 1 && !path.contains(MODEL) {
        let message = format!("{tables} tables cannot share one path");
        found.push(document.problem(
            at,
            message,
            Some("path: \"./data/{model}.parquet\", with one file a table".to_owned()),
        ));
    }
}

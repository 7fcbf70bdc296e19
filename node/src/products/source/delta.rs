//! Delta tables: `format: delta` of a server that holds files.

use std::path::PathBuf;

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use serde_json::Value;

use crate::products::problem::Problem;
use crate::products::rules::{self, Text};
use crate::products::yaml::{Document, child};

/// One Delta table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaSpec {
    /// Its folder, as the contract has it: relative to the contract's own folder, or absolute.
    pub path: PathBuf,
    /// Which of its versions is read.
    pub travel: Travel,
}

/// Which version of a lake's table is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Travel {
    /// The newest, at each query.
    Newest,
    /// This one, always.
    Version(u64),
    /// The newest one at this time, in milliseconds since the Unix epoch.
    Timestamp(i64),
}

/// The value of `format` that means a Delta table.
pub(super) const FORMAT: &str = "delta";
const VERSION: &str = "comityDeltaVersion";
const TIMESTAMP: &str = "comityDeltaTimestamp";

/// The version that a server of either format names. Both properties have passed
/// their schemas: a whole number, a time in UTC.
pub(super) fn travel(
    server: &Value,
    at: &str,
    document: &Document,
    found: &mut Vec<Problem>,
) -> Travel {
    let version = rules::custom(server, VERSION).and_then(Value::as_u64);
    let timestamp = rules::custom(server, TIMESTAMP).and_then(Value::as_str);
    let at = child(at, "customProperties");
    if (version.is_some() || timestamp.is_some()) && server.text("format") != Some(FORMAT) {
        let message = "only a Delta table has versions to choose from";
        found.push(document.problem(&at, message, Some("format: delta".to_owned())));
    }
    match (version, timestamp) {
        (None, None) => Travel::Newest,
        (Some(version), None) => Travel::Version(version),
        (None, Some(text)) => match string_to_timestamp_nanos(text) {
            Ok(nanoseconds) => Travel::Timestamp(nanoseconds.div_euclid(1_000_000)),
            Err(_) => {
                let message = format!("{text} is not a time");
                let instead = "\"2026-01-31T12:00:00Z\"".to_owned();
                found.push(document.problem(&at, message, Some(instead)));
                Travel::Newest
            }
        },
        (Some(_), Some(_)) => {
            let message = format!("{VERSION} and {TIMESTAMP} name two versions");
            found.push(document.problem(&at, message, Some("one of the two".to_owned())));
            Travel::Newest
        }
    }
}

//! S3-compatible object stores: a server of type `s3`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::SourceSpec;
use super::delta::{self, Travel};
use super::files::{Format, MODEL};
use crate::products::problem::Problem;
use crate::products::rules::Text;
use crate::products::table::Table;
use crate::products::yaml::{Document, child};

/// The objects of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Spec {
    /// The server, for one that is not Amazon's. Without user, query and fragment.
    pub endpoint: Option<String>,
    /// The bucket.
    pub bucket: String,
    /// The key of one object, or of a folder without the last `/`.
    pub key: String,
    /// What lies there.
    pub content: Content,
}

/// What lies at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Files of one format.
    Files(Format),
    /// A Delta table.
    Delta(Travel),
}

/// The objects of every table of a server of type `s3`.
pub(super) fn specs(
    server: &Value,
    at: &str,
    tables: &[Table],
    document: &Document,
    found: &mut Vec<Problem>,
) -> BTreeMap<String, SourceSpec> {
    let endpoint = endpoint(server, at, document, found);
    let travel = delta::travel(server, at, document, found);
    let content = match server.text("format").unwrap_or_default() {
        delta::FORMAT => Some(Content::Delta(travel)),
        name => Format::parse(name).map(Content::Files),
    };
    if content.is_none() {
        let message = "this release needs a format that it reads";
        let instead = "format: parquet, csv, json, arrow or delta".to_owned();
        found.push(document.problem(&child(at, "format"), message, Some(instead)));
    }
    if let Some(other) = server.text("delimiter").filter(|d| *d != "new_line") {
        let message = format!("this release reads JSON with one object a line, not {other}");
        let instead = "delimiter: new_line".to_owned();
        found.push(document.problem(&child(at, "delimiter"), message, Some(instead)));
    }
    let location = location(
        server,
        tables.len(),
        &child(at, "location"),
        document,
        found,
    );
    let (Some(content), Some((bucket, key))) = (content, location) else {
        return BTreeMap::new();
    };
    tables
        .iter()
        .map(|table| {
            let spec = S3Spec {
                endpoint: endpoint.clone(),
                bucket: bucket.to_owned(),
                key: key.replace(MODEL, table.physical_name()),
                content,
            };
            (table.name.clone(), SourceSpec::S3(spec))
        })
        .collect()
}

/// Bucket and key of `s3://bucket/key`.
fn location<'a>(
    server: &'a Value,
    tables: usize,
    at: &str,
    document: &Document,
    found: &mut Vec<Problem>,
) -> Option<(&'a str, &'a str)> {
    let mut refuse = |message: String, instead: &str| {
        found.push(document.problem(at, message, Some(instead.to_owned())));
    };
    let text = server.text("location").unwrap_or_default();
    let parts = text
        .strip_prefix("s3://")
        .map(|rest| rest.split_once('/').unwrap_or((rest, "")));
    let named = |bucket: &str| {
        let plain =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
        (3..=63).contains(&bucket.len()) && bucket.bytes().all(plain)
    };
    let Some((bucket, key)) = parts.filter(|(bucket, _)| named(bucket)) else {
        refuse(
            format!("{text} names no bucket"),
            "location: s3://bucket/folder",
        );
        return None;
    };
    if text.contains("${") {
        refuse(
            "variables are not replaced in a location".to_owned(),
            "the location itself",
        );
    }
    if text.contains(['*', '?', '[']) {
        let message = "a location with a pattern may match other files tomorrow";
        refuse(message.to_owned(), "the folder that holds the files");
    }
    if tables > 1 && !key.contains(MODEL) {
        refuse(
            format!("{tables} tables cannot share one location"),
            "location: s3://bucket/{model}",
        );
    }
    Some((bucket, key.trim_matches('/')))
}

fn endpoint(
    server: &Value,
    at: &str,
    document: &Document,
    found: &mut Vec<Problem>,
) -> Option<String> {
    let text = server.text("endpointUrl")?;
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let authority = rest
        .map(|rest| rest.trim_end_matches('/'))
        .unwrap_or_default();
    // A user in the address would be a credential in the contract.
    if authority.is_empty() || authority.contains(['@', '/', '?', '#', '$']) {
        let message = "the address of an S3 server is a scheme, a host and a port";
        let instead = "endpointUrl: https://s3.example.com".to_owned();
        found.push(document.problem(&child(at, "endpointUrl"), message, Some(instead)));
    }
    Some(text.trim_end_matches('/').to_owned())
}

//! What a dbt project says of one of its models (`target/manifest.json`).
//!
//! The artifact's format is dbt's `manifest/v12`, written by dbt 1.8 and later;
//! only what a draft needs is read of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::notes::{ColumnNotes, Notes};

/// The longest manifest, in bytes. Those of large projects have tens of MiB.
const MAX_BYTES: u64 = 256 << 20;

/// A model of a dbt project.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its name in the project.
    pub name: String,
    /// The schema that dbt builds it in.
    pub schema: String,
    /// The name of the table that it builds.
    pub table: String,
    /// The database that dbt builds it in.
    pub database: Option<String>,
    /// What `dbt` calls the kind of database: `postgres`, `duckdb`, …
    pub adapter: String,
    /// What is written down about it.
    pub notes: Notes,
}

impl Model {
    /// What the database calls the types of the columns, as far as it is written down.
    pub fn types(&self) -> BTreeMap<String, String> {
        let columns = self.notes.columns.iter();
        columns
            .filter_map(|(name, noted)| Some((name.clone(), noted.data_type.clone()?)))
            .collect()
    }
}

/// Why a manifest says nothing about a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DbtError {
    /// The file cannot be read, or is no manifest.
    #[error("{path} is not a dbt manifest: {reason}; 'dbt parse' writes target/manifest.json", path = path.display())]
    Manifest {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        reason: String,
    },
    /// There is no such model.
    #[error("the dbt project has no model {model}; it has {known}")]
    NoModel {
        /// The name that was looked for.
        model: String,
        /// Some that there are.
        known: String,
    },
    /// There are several packages or versions with a model of this name.
    #[error("the dbt project has several models {model}: {ids}; name one of them")]
    Several {
        /// The name that was looked for.
        model: String,
        /// Their ids.
        ids: String,
    },
}

#[derive(Deserialize)]
struct Manifest {
    metadata: Metadata,
    nodes: BTreeMap<String, Node>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    adapter_type: Option<String>,
}

#[derive(Deserialize)]
struct Node {
    resource_type: String,
    name: String,
    #[serde(default)]
    alias: Option<String>,
    #[serde(default)]
    database: Option<String>,
    #[serde(default)]
    schema: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    columns: BTreeMap<String, Column>,
    #[serde(default)]
    constraints: Option<Vec<Constraint>>,
    /// A number or a text.
    #[serde(default)]
    version: Value,
    #[serde(default)]
    latest_version: Value,
    #[serde(default)]
    deprecation_date: Option<String>,
    #[serde(default)]
    access: Option<String>,
    #[serde(default)]
    meta: Value,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    attached_node: Option<String>,
    #[serde(default)]
    column_name: Option<String>,
    #[serde(default)]
    test_metadata: Option<Test>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    data_type: Option<String>,
    #[serde(default)]
    constraints: Vec<Constraint>,
    #[serde(default)]
    meta: Value,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
struct Constraint {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    columns: Vec<String>,
}

#[derive(Deserialize)]
struct Test {
    name: String,
    #[serde(default)]
    kwargs: Value,
}

/// Reads what the manifest at `path` says of `model`: its name, `NAME.vN`, or
/// its whole id. Blocking. Of a model with versions, the latest counts.
///
/// # Errors
/// [`DbtError`].
pub fn read(path: &Path, model: &str) -> Result<Model, DbtError> {
    let wrong = |reason: String| DbtError::Manifest {
        path: path.to_owned(),
        reason,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| wrong(e.to_string()))?;
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|e| wrong(e.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong(format!("it is longer than {MAX_BYTES} bytes")));
    }
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
    let (id, node) = find(&manifest, model)?;
    let mut notes = notes(node);
    let tests = manifest
        .nodes
        .values()
        .filter(|n| n.resource_type == "test");
    for test in tests.filter(|t| t.attached_node.as_ref() == Some(id)) {
        rule(test, &mut notes);
    }
    Ok(Model {
        name: node.name.clone(),
        schema: node.schema.clone().unwrap_or_else(|| "public".to_owned()),
        table: node.alias.clone().unwrap_or_else(|| node.name.clone()),
        database: node.database.clone(),
        adapter: manifest.metadata.adapter_type.clone().unwrap_or_default(),
        notes,
    })
}

fn find<'a>(manifest: &'a Manifest, model: &str) -> Result<(&'a String, &'a Node), DbtError> {
    let models = || {
        let nodes = manifest.nodes.iter();
        nodes.filter(|(_, node)| node.resource_type == "model")
    };
    let named = |(id, node): &(&String, &Node)| {
        let latest = node.version == node.latest_version;
        **id == model || node.name == model && latest || id.ends_with(&format!(".{model}"))
    };
    let found: Vec<_> = models().filter(named).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => {
            // Their ids: a model with versions has one for each.
            let known = models().map(|(id, _)| id.as_str()).take(20);
            Err(DbtError::NoModel {
                model: model.to_owned(),
                known: known.collect::<Vec<_>>().join(", "),
            })
        }
        several => {
            let ids = several.iter().map(|(id, _)| id.as_str());
            Err(DbtError::Several {
                model: model.to_owned(),
                ids: ids.collect::<Vec<_>>().join(", "),
            })
        }
    }
}

fn said(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty()).cloned()
}

fn notes(node: &Node) -> Notes {
    let mut notes = Notes {
        origin: Some("dbt".to_owned()),
        description: said(node.description.as_ref()),
        major: match &node.version {
            Value::String(text) => text.trim_start_matches('v').parse().ok(),
            number => number.as_u64(),
        },
        // A date, or a moment that begins with one.
        end: node
            .deprecation_date
            .as_ref()
            .and_then(|date| date.get(..10).map(str::to_owned)),
        // dbt: private is for one group, protected for one project, public for all.
        closed: node.access.as_deref() != Some("public"),
        ..Notes::default()
    };
    for column in node.columns.values() {
        let has =
            |kinds: &[&str]| {
                let mut own = column.constraints.iter();
                own.any(|c| kinds.contains(&c.kind.as_str()))
                    || node.constraints.iter().flatten().any(|c| {
                        kinds.contains(&c.kind.as_str()) && c.columns == [column.name.clone()]
                    })
            };
        let classification = column.meta.get("classification").and_then(Value::as_str);
        let marked = |meta: &Value, tags: &[String]| {
            meta.get("pii") == Some(&Value::Bool(true))
                || tags.iter().any(|tag| tag.eq_ignore_ascii_case("pii"))
        };
        let known = ColumnNotes {
            description: said(column.description.as_ref()),
            never_null: has(&["not_null", "primary_key"]),
            unique: has(&["unique", "primary_key"]),
            values: Vec::new(),
            classification: classification.map(str::to_owned),
            personal: marked(&column.meta, &column.tags) || marked(&node.meta, &node.tags),
            data_type: said(column.data_type.as_ref()),
        };
        notes.columns.insert(column.name.clone(), known);
    }
    notes
}

/// A test of dbt as a rule of the contract, where it has one.
fn rule(test: &Node, notes: &mut Notes) {
    let column = test.column_name.clone().unwrap_or_default();
    let (Some(metadata), Some(known)) = (&test.test_metadata, notes.columns.get_mut(&column))
    else {
        notes.left_out.push(test.name.clone());
        return;
    };
    // A condition on the rows makes it another rule.
    let conditional = metadata.kwargs.get("where").is_some_and(|w| !w.is_null());
    match metadata.name.as_str() {
        "not_null" if !conditional => known.never_null = true,
        "unique" if !conditional => known.unique = true,
        "accepted_values" if !conditional => {
            let values = metadata.kwargs.get("values").and_then(Value::as_array);
            let plain = |v: &Value| v.is_string() || v.is_i64();
            match values.filter(|all| !all.is_empty() && all.iter().all(plain)) {
                Some(values) => known.values.clone_from(values),
                None => notes.left_out.push(test.name.clone()),
            }
        }
        _ => notes.left_out.push(test.name.clone()),
    }
}

//! The `comity*` entries of `customProperties`: known names, at the right level, with valid values.
//!
//! The official schema looks at no custom property, so a misspelt `comityMsak`
//! would lose a mask in silence. Names that resemble Comity's and are not
//! Comity's are refused; all others are none of our business and stay private.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

use super::problem::Problem;
use super::schema;
use super::spelling::nearest;
use super::yaml::{Document, child};

/// Checks every `customProperties` list of a document.
pub(super) fn check(document: &Document, found: &mut Vec<Problem>) {
    walk(document.value(), "", Level::Contract, document, found);
}

/// Where in a contract a `customProperties` list stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Contract,
    Column,
    Rule,
    Role,
    Server,
    Other,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Contract => "contract",
            Self::Column => "column",
            Self::Rule => "rule",
            Self::Role => "role",
            Self::Server => "server",
            Self::Other => "other",
        }
    }

    /// The level of what stands under `key`.
    fn below(self, key: &str) -> Self {
        match (self, key) {
            (Self::Contract, "roles") => Self::Role,
            (Self::Contract, "servers") => Self::Server,
            (_, "properties" | "items") => Self::Column,
            (_, "quality") => Self::Rule,
            _ => Self::Other,
        }
    }
}

struct Extensions {
    levels: BTreeMap<String, BTreeSet<String>>,
    validators: BTreeMap<String, Validator>,
}

static EXTENSIONS: LazyLock<Extensions> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(include_str!("comity-properties.schema.json"))
        .expect("our own schema is JSON");
    let levels: BTreeMap<String, BTreeSet<String>> =
        serde_json::from_value(schema["x-levels"].clone()).expect("our own schema has levels");
    let validators = levels
        .values()
        .flatten()
        .map(|name| {
            let mut one = schema.clone();
            one["$ref"] = Value::String(format!("#/$defs/{name}"));
            let validator = jsonschema::validator_for(&one).expect("our own schema compiles");
            (name.clone(), validator)
        })
        .collect();
    Extensions { levels, validators }
});

/// Checks every `customProperties` list below `value`.
fn walk(value: &Value, at: &str, level: Level, document: &Document, found: &mut Vec<Problem>) {
    match value {
        Value::Object(entries) => {
            for (key, below) in entries {
                let here = child(at, key);
                if key == "customProperties" {
                    for (index, entry) in below.as_array().into_iter().flatten().enumerate() {
                        extension(
                            entry,
                            &child(&here, &index.to_string()),
                            level,
                            document,
                            found,
                        );
                    }
                } else {
                    walk(below, &here, level.below(key), document, found);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &child(at, &index.to_string()), level, document, found);
            }
        }
        _ => {}
    }
}

fn extension(entry: &Value, at: &str, level: Level, document: &Document, found: &mut Vec<Problem>) {
    let Some(name) = entry.get("property").and_then(Value::as_str) else {
        return;
    };
    let known = EXTENSIONS.levels.values().flatten().map(String::as_str);
    let here = EXTENSIONS.levels.get(level.name());
    if here.is_some_and(|names| names.contains(name)) {
        if let (Some(validator), Some(value)) =
            (EXTENSIONS.validators.get(name), entry.get("value"))
        {
            let mut own = Vec::new();
            // Of its own keys the schema says enough.
            let known = |_: &str| BTreeSet::new();
            schema::official(
                value,
                &child(at, "value"),
                validator,
                &known,
                document,
                &mut own,
            );
            found.extend(own);
        }
        return;
    }
    let home = EXTENSIONS
        .levels
        .iter()
        .find(|(_, names)| names.contains(name));
    let at = child(at, "property");
    if let Some((home, _)) = home {
        let message = format!("{name} belongs to a {home}, not here");
        found.push(document.problem(
            &at,
            message,
            Some(format!("it in the customProperties of a {home}")),
        ));
    } else if let Some(near) = nearest(name, known) {
        found.push(document.problem(
            &at,
            format!("{name} is not a property of Comity"),
            Some(near.to_owned()),
        ));
    } else if name.to_ascii_lowercase().starts_with("comity") {
        let names: Vec<&str> = here.into_iter().flatten().map(String::as_str).collect();
        let instead = (!names.is_empty()).then(|| format!("one of {}", names.join(", ")));
        found.push(document.problem(&at, format!("{name} is not a property of Comity"), instead));
    }
}

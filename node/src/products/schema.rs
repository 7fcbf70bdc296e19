//! The two schemas of a contract: the official one of ODCS, and Comity's own
//! for the values of `comity*` properties.
//!
//! `datacontract lint` passes a misspelt `clasification: restricted`, and the
//! column loses its protection; the full JSON schema refuses it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::extension;
use super::problem::{Problem, Problems};
use super::spelling::nearest;
use super::yaml::{Document, child};

/// The version of ODCS that this release reads.
pub(super) const API_VERSION: &str = "v3.1.0";

/// Refuses what is not a valid ODCS v3.1.0 contract or has an unknown `comity*` property.
pub(super) fn check(document: &Document) -> Result<(), Problems> {
    api_version(document)?;
    let mut found = Vec::new();
    official(document.value(), "", &ODCS, document, &mut found);
    Problems::check(found)?;

    let mut found = Vec::new();
    extension::check(document, &mut found);
    Problems::check(found)
}

static ODCS_TEXT: &str = include_str!("odcs-v3.1.0.schema.json");

static ODCS_SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(ODCS_TEXT).expect("the vendored schema is JSON; a test pins its hash")
});

static ODCS: LazyLock<Validator> = LazyLock::new(|| {
    jsonschema::validator_for(&ODCS_SCHEMA)
        .expect("the vendored schema compiles; a test pins its hash")
});

fn api_version(document: &Document) -> Result<(), Problems> {
    let problem = match document.value().get("apiVersion") {
        Some(Value::String(version)) if version == API_VERSION => return Ok(()),
        Some(other) => document.problem(
            "/apiVersion",
            format!("this release reads ODCS {API_VERSION}, not {other}"),
            Some(format!("apiVersion: {API_VERSION}")),
        ),
        None => document.problem(
            "",
            "this is not an ODCS contract: apiVersion is missing",
            Some(format!("apiVersion: {API_VERSION}")),
        ),
    };
    Err(problem.into())
}

/// Collects what `validator` finds in `value`, which stands at `base` in the document.
pub(super) fn official(
    value: &Value,
    base: &str,
    validator: &Validator,
    document: &Document,
    found: &mut Vec<Problem>,
) {
    let errors: Vec<ValidationError<'_>> = validator.iter_errors(value).collect();
    for error in &errors {
        explain(error, base, document, found);
    }
    if let (Some(first), true) = (errors.first(), found.is_empty()) {
        // Only keys that are right elsewhere were found, such as a path at a server of type s3.
        let at = format!("{base}{}", first.instance_path().as_str());
        let keys = match first.kind() {
            ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected.join(", "),
            _ => "this".to_owned(),
        };
        found.push(document.problem(&at, format!("{keys} does not belong here"), None));
    }
}

fn explain(error: &ValidationError<'_>, base: &str, document: &Document, found: &mut Vec<Problem>) {
    let at = format!("{base}{}", error.instance_path().as_str());
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let allowed = allowed_at(&at);
            for key in unexpected {
                // A column with one wrong value "unevaluates" all its other keys; those are not wrong.
                if !allowed.contains(key.as_str()) {
                    let instead = nearest(key, allowed.iter().copied()).map_or_else(
                        || "customProperties for what the standard does not know".to_owned(),
                        str::to_owned,
                    );
                    found.push(document.problem(
                        &child(&at, key),
                        format!("{key} is not a key of ODCS here"),
                        Some(instead),
                    ));
                }
            }
        }
        ValidationErrorKind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            found.push(document.problem(
                &at,
                format!("{key} is missing"),
                Some(format!("{key}: …")),
            ));
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<&str> = options
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let value = error.instance().as_str().unwrap_or_default();
            let near = nearest(value, options.iter().copied()).map(str::to_owned);
            let instead = near.unwrap_or_else(|| format!("one of {}", options.join(", ")));
            found.push(document.problem(
                &at,
                format!("{} is not one of the allowed values", error.instance()),
                Some(instead),
            ));
        }
        ValidationErrorKind::Type { kind } => {
            let expected = type_names(kind);
            let scalar = error.instance().is_number() || error.instance().is_boolean();
            let instead = (expected == "string" && scalar)
                .then(|| super::scalar::quoted(&error.instance().to_string()));
            found.push(document.problem(
                &at,
                format!("a value of type {expected} is needed here"),
                instead,
            ));
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            // The alternative with the fewest errors is the one that was meant.
            match context.iter().min_by_key(|branch| branch.len()) {
                Some(branch) if !branch.is_empty() => {
                    for inner in branch {
                        explain(inner, base, document, found);
                    }
                }
                _ => found.push(document.problem(
                    &at,
                    "the value fits none of the allowed forms",
                    None,
                )),
            }
        }
        _ => {
            let message = error.masked_with("the value").to_string();
            found.push(document.problem(&at, message, None));
        }
    }
}

/// The keys that the official schema allows at a place, for suggestions.
fn allowed_at(pointer: &str) -> BTreeSet<&'static str> {
    let named = pointer
        .rsplit('/')
        .find(|step| step.parse::<usize>().is_err());
    let definitions: &[&str] = match named.unwrap_or_default() {
        "schema" => &["/$defs/SchemaElement", "/$defs/SchemaObject"],
        "properties" | "items" => &["/$defs/SchemaElement", "/$defs/SchemaBaseProperty"],
        "servers" => &[
            "/$defs/Server",
            "/$defs/ServerSource/LocalServer",
            "/$defs/ServerSource/PostgresServer",
        ],
        "quality" => &[
            "/$defs/DataQuality",
            "/$defs/DataQualityLibrary",
            "/$defs/DataQualitySql",
            "/$defs/DataQualityCustom",
        ],
        "roles" => &["/$defs/Role"],
        "slaProperties" => &["/$defs/ServiceLevelAgreementProperty"],
        "team" => &["/$defs/Team"],
        "members" => &["/$defs/TeamMember"],
        "support" => &["/$defs/SupportItem"],
        "price" => &["/$defs/Pricing"],
        "customProperties" => &["/$defs/CustomProperty"],
        "" => &[""],
        _ => &[],
    };
    definitions
        .iter()
        .filter_map(|definition| ODCS_SCHEMA.pointer(&format!("{definition}/properties")))
        .filter_map(Value::as_object)
        .flat_map(|properties| properties.keys().map(String::as_str))
        .chain(if named == Some("quality") {
            OPERATORS
        } else {
            [""; 8]
        })
        .filter(|key| !key.is_empty())
        .collect()
}

/// The comparison operators of a quality rule.
pub(super) const OPERATORS: [&str; 8] = [
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
];

fn type_names(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(set) => {
            let names: Vec<String> = set.iter().map(|one| one.to_string()).collect();
            names.join(" or ")
        }
    }
}

#[cfg(test)]
mod tests {
    use comity_identity::Digest;

    use super::*;

    #[test]
    fn the_vendored_schema_is_the_one_its_note_names() {
        assert_eq!(
            Digest::of(ODCS_TEXT.as_bytes()).to_string(),
            "sha256:e2893c5a50ea91cab2f1548279e5677e7cd8bfe4970d7016d538512ebecbc915"
        );
    }
}

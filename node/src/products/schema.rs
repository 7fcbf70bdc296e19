//! The two schemas of a contract: the official one of ODCS, and Comity's own
//! for the values of `comity*` properties.
//!
//! `datacontract lint` passes a misspelt `clasification: restricted`, and the
//! column loses its protection; the full JSON schema refuses it.

use std::collections::BTreeSet;

use comity_protocol::results::OPERATORS;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::extension;
use super::odcs::{CURRENT, Odcs};
use super::problem::{Problem, Problems};
use super::spelling::nearest;
use super::yaml::{Document, child};
use super::{promised, rules};

/// Refuses what is not a valid contract of its version of ODCS, or has an unknown `comity*` property.
pub(super) fn check(document: &Document) -> Result<(), Problems> {
    let odcs = grammar(document)?;
    let mut found = Vec::new();
    let known = |at: &str| allowed_at(odcs, at);
    official(
        document.value(),
        "",
        &odcs.validator,
        &known,
        document,
        &mut found,
    );
    name_numberless(document, &mut found);
    Problems::check(found)?;

    let mut found = Vec::new();
    extension::check(document, &mut found);
    Problems::check(found)
}

/// Of a rule that has an operator without a number the schema says that another
/// operator is missing: what is said instead is what is wrong.
fn name_numberless(document: &Document, found: &mut Vec<Problem>) {
    let below = |path: &str, rule: &str| {
        let rest = path.strip_prefix(rule);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut named = promised::numberless(document);
    named.retain(|(rule, _)| found.iter().any(|p| below(&p.path, rule)));
    found.retain(|p| !named.iter().any(|(rule, _)| below(&p.path, rule)));
    found.extend(named.into_iter().map(|(_, problem)| problem));
}

/// The grammar that the document's `apiVersion` names.
fn grammar(document: &Document) -> Result<&'static Odcs, Problems> {
    let version = document.value().get("apiVersion");
    if let Some(odcs) = version.and_then(Value::as_str).and_then(Odcs::of) {
        return Ok(odcs);
    }
    let instead = Some(format!("apiVersion: {CURRENT}"));
    let problem = match version {
        Some(other) => {
            let versions = Odcs::versions();
            let message = format!("this release reads ODCS {versions}, not {other}");
            document.problem("/apiVersion", message, instead)
        }
        None => document.problem(
            "",
            "this is not an ODCS contract: apiVersion is missing",
            instead,
        ),
    };
    Err(problem.into())
}

/// The keys that are known at a place, for suggestions.
type Known<'a> = &'a dyn Fn(&str) -> BTreeSet<&'static str>;

/// Collects what `validator` finds in `value`, which stands at `base` in the document.
pub(super) fn official(
    value: &Value,
    base: &str,
    validator: &Validator,
    known: Known<'_>,
    document: &Document,
    found: &mut Vec<Problem>,
) {
    let errors: Vec<ValidationError<'_>> = validator.iter_errors(value).collect();
    for error in &errors {
        explain(error, base, known, document, found);
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

fn explain(
    error: &ValidationError<'_>,
    base: &str,
    known: Known<'_>,
    document: &Document,
    found: &mut Vec<Problem>,
) {
    let at = format!("{base}{}", error.instance_path().as_str());
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let allowed = known(&at);
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
            let text = error.instance().to_string();
            let version = (at == "/version").then(|| rules::release(&text)).flatten();
            let instead = (expected == "string" && scalar)
                .then(|| super::scalar::quoted(&version.unwrap_or(text)));
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
                        explain(inner, base, known, document, found);
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
fn allowed_at(odcs: &'static Odcs, pointer: &str) -> BTreeSet<&'static str> {
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
        .filter_map(|definition| odcs.schema.pointer(&format!("{definition}/properties")))
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

fn type_names(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(set) => {
            let names: Vec<String> = set.iter().map(|one| one.to_string()).collect();
            names.join(" or ")
        }
    }
}

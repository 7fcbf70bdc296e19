//! What the schemas cannot see: names, versions, states, keys that no one reads.

use std::collections::BTreeMap;

use comity_protocol::version::Version;
use serde_json::Value;

use super::problem::Problem;
use super::yaml::{Document, child};

/// Reading JSON that a schema has already checked.
pub(super) trait Text {
    /// The text under a key.
    fn text(&self, key: &str) -> Option<&str>;
    /// The list under a key; empty when there is none.
    fn list(&self, key: &str) -> &[Value];
}

impl Text for Value {
    fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Self::as_str)
    }

    fn list(&self, key: &str) -> &[Self] {
        self.get(key)
            .and_then(Self::as_array)
            .map_or(&[], Vec::as_slice)
    }
}

/// Refuses what is wrong with the contract's own keys.
pub(super) fn check(document: &Document, found: &mut Vec<Problem>) {
    let root = document.value();
    match root.text("name") {
        Some(name) if is_product_name(name) => {}
        Some(name) => {
            let message = format!("a product's name is [a-z][a-z0-9_-]{{0,62}}, not {name}");
            found.push(document.problem(
                "/name",
                message,
                slug(name).map(|slug| format!("name: {slug}")),
            ));
        }
        None => found.push(document.problem(
            "",
            "name is missing",
            Some("name: …, the product's name".to_owned()),
        )),
    }
    let version = root.text("version").map(str::parse::<Version>);
    if !matches!(version, Some(Ok(_))) {
        let message = "a product's version is major.minor.patch";
        let near = root.text("version").and_then(release);
        let near = near.as_deref().unwrap_or("1.0.0");
        found.push(document.problem("/version", message, Some(format!("version: \"{near}\""))));
    }
    description(document, found);
    twice(root, "", document, found);
}

/// The official schema lets any key pass below `description`; a misspelt `limitations` would vanish.
fn description(document: &Document, found: &mut Vec<Problem>) {
    const KNOWN: [&str; 5] = [
        "usage",
        "purpose",
        "limitations",
        "authoritativeDefinitions",
        "customProperties",
    ];
    let keys = document
        .value()
        .get("description")
        .and_then(Value::as_object);
    for key in keys.into_iter().flat_map(|keys| keys.keys()) {
        if !KNOWN.contains(&key.as_str()) {
            let message = format!("{key} is not a key of description");
            let instead = "purpose, usage or limitations".to_owned();
            found.push(document.problem(&child("/description", key), message, Some(instead)));
        }
    }
}

/// Refuses a custom property that occurs twice in one list: the first and the last reader would differ.
fn twice(value: &Value, at: &str, document: &Document, found: &mut Vec<Problem>) {
    match value {
        Value::Object(entries) => {
            let mut seen = BTreeMap::new();
            for (index, entry) in value.list("customProperties").iter().enumerate() {
                let Some(name) = entry.text("property") else {
                    continue;
                };
                if seen.insert(name, index).is_some() {
                    let at = child(&child(at, "customProperties"), &index.to_string());
                    found.push(document.problem(
                        &at,
                        format!("{name} occurs twice"),
                        Some(format!("{name} once")),
                    ));
                }
            }
            for (key, below) in entries {
                twice(below, &child(at, key), document, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                twice(item, &child(at, &index.to_string()), document, found);
            }
        }
        _ => {}
    }
}

/// Refuses two entries of a list with one name (in any case) or one id.
pub(super) fn unique<'a>(
    names: impl Iterator<Item = (&'a str, &'a str)>,
    what: &str,
    list: &str,
    document: &Document,
    found: &mut Vec<Problem>,
) {
    let (mut by_name, mut by_id) = (BTreeMap::new(), BTreeMap::new());
    for (index, (name, id)) in names.enumerate() {
        // SQL folds the case of unquoted names, so `Year` and `year` would be one column to some.
        let again = by_name.insert(name.to_ascii_lowercase(), index).is_some();
        if by_id.insert(id, index).is_some() || again {
            let at = child(list, &index.to_string());
            found.push(document.problem(
                &at,
                format!("a second {what} has this name or id: {name}"),
                None,
            ));
        }
    }
}

/// The value of a custom property.
pub(super) fn custom<'a>(value: &'a Value, property: &str) -> Option<&'a Value> {
    let entry = value
        .list("customProperties")
        .iter()
        .find(|entry| entry.text("property") == Some(property))?;
    entry.get("value")
}

/// `[a-z][a-z0-9_-]{0,62}`: ASCII only, so that no two names look alike (A27).
pub(super) fn is_product_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
}

/// `[A-Za-z_][A-Za-z0-9_-]{0,62}`.
pub(super) fn is_column_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// The `major.minor.patch` that `text` begins, if it is one or two numbers.
pub(super) fn release(text: &str) -> Option<String> {
    let zeros = match text.matches('.').count() {
        0 => ".0.0",
        1 => ".0",
        _ => "",
    };
    let whole = format!("{text}{zeros}");
    whole.parse::<Version>().is_ok().then_some(whole)
}

/// A name of the right form that resembles `name`, if there is one.
pub(super) fn slug(name: &str) -> Option<String> {
    let slug: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    Some(slug.trim_matches('-').to_owned()).filter(|slug| is_product_name(slug))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        let longest = format!("a{}", "b".repeat(62));
        assert!(is_product_name(&longest) && is_column_name(&longest));
        assert!(
            !is_product_name(&format!("{longest}c")) && !is_column_name(&format!("{longest}c"))
        );
        for wrong in ["", "Weather", "1weather", "wëather", "we ather", "-w"] {
            assert!(!is_product_name(wrong), "{wrong}");
        }
        assert_eq!(slug("Weather Data"), Some("weather-data".to_owned()));
        assert_eq!(slug("7"), None);
    }

    #[test]
    fn versions_are_completed_and_never_guessed() {
        for (text, whole) in [
            ("2", Some("2.0.0")),
            ("1.10", Some("1.10.0")),
            ("1.2.3", Some("1.2.3")),
            ("1.2.3.4", None),
            ("v1", None),
            ("", None),
        ] {
            assert_eq!(release(text).as_deref(), whole, "{text}");
        }
    }
}

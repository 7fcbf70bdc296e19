//! The public projection: what peers may see of a contract.
//!
//! An allow-list. A key that is not named here is private, whatever it is and
//! whoever adds it to the standard: hosts, paths, physical names, SQL,
//! schedules, teams and approvers stay at home because nobody wrote them here.
//! The result is a valid contract of its version of ODCS in its own right.

use comity_protocol::results::OPERATORS;
use serde_json::{Map, Value, json};

use super::problem::Problem;
use super::rules::Text;
use super::table::under_review;
use super::yaml::{Document, child};

/// The public part of a document that passed both schemas.
pub(super) fn project(document: &Document, found: &mut Vec<Problem>) -> Value {
    let mut projector = Projector { document, found };
    projector.contract()
}

const CONTRACT: &[&str] = &[
    "apiVersion",
    "kind",
    "id",
    "name",
    "version",
    "status",
    "domain",
    "tenant",
    "dataProduct",
    "tags",
    "contractCreatedTs",
];
const DESCRIPTION: &[&str] = &["purpose", "usage", "limitations"];
const TABLE: &[&str] = &[
    "id",
    "name",
    "businessName",
    "description",
    "logicalType",
    "physicalType",
    "dataGranularityDescription",
    "tags",
];
const COLUMN: &[&str] = &[
    "id",
    "name",
    "businessName",
    "description",
    "logicalType",
    "logicalTypeOptions",
    "physicalType",
    "required",
    "unique",
    "primaryKey",
    "primaryKeyPosition",
    "classification",
    "criticalDataElement",
    "tags",
];
const RULE: &[&str] = &[
    "id",
    "name",
    "type",
    "metric",
    "rule",
    "arguments",
    "description",
    "dimension",
    "severity",
    "unit",
    "businessImpact",
    "tags",
];
/// Of a rule whose text is SQL or a program, its words only.
const RULE_IN_WORDS: &[&str] = &["id", "description", "dimension", "severity"];
const SERVICE_LEVEL: &[&str] = &[
    "id",
    "property",
    "value",
    "valueExt",
    "unit",
    "element",
    "driver",
    "description",
];
const SUPPORT: &[&str] = &["id", "channel", "description", "tool", "scope"];
const PRICE: &[&str] = &["id", "priceAmount", "priceCurrency", "priceUnit"];
const ROLE: &[&str] = &["id", "role", "description", "access"];
const LINK: &[&str] = &["id", "type", "url", "description"];
const CUSTOM: &[&str] = &["id", "property", "value", "description"];
/// The custom properties that are published; all others are private.
const PUBLISHED: &[&str] = &[
    "comityOutputPorts",
    "comityVisibility",
    "comityCompatibility",
    "comityInputs",
    "comityTerms",
    "comityCategory",
    "comityMask",
    "comityDistinct",
    "comityReadRestrictions",
    "comityPurposes",
    "comityLimits",
    "comityProtection",
];

struct Projector<'a> {
    document: &'a Document,
    found: &'a mut Vec<Problem>,
}

impl Projector<'_> {
    fn contract(&mut self) -> Value {
        let document = self.document;
        let source = document.value();
        let mut out = self.pick(source, "", CONTRACT);
        if let Some(description) = source.get("description") {
            let kept = self.pick(description, "/description", DESCRIPTION);
            out.insert("description".to_owned(), Value::Object(kept));
        }
        self.each(&mut out, source, "", "authoritativeDefinitions", Self::link);
        self.each(&mut out, source, "", "schema", Self::table);
        self.each(&mut out, source, "", "slaProperties", |this, value, at| {
            this.only(value, at, SERVICE_LEVEL)
        });
        self.each(&mut out, source, "", "support", Self::support);
        self.each(&mut out, source, "", "roles", Self::role);
        self.each(&mut out, source, "", "customProperties", Self::custom);
        if let Some(price) = source.get("price") {
            let kept = self.pick(price, "/price", PRICE);
            out.insert("price".to_owned(), Value::Object(kept));
        }
        Value::Object(out)
    }

    fn table(&mut self, table: &Value, at: &str) -> Option<Value> {
        let mut out = self.pick(table, at, TABLE);
        self.each(&mut out, table, at, "authoritativeDefinitions", Self::link);
        self.each(&mut out, table, at, "properties", Self::column);
        self.each(&mut out, table, at, "quality", Self::rule);
        self.each(&mut out, table, at, "customProperties", Self::custom);
        Some(Value::Object(out))
    }

    fn column(&mut self, column: &Value, at: &str) -> Option<Value> {
        // spec/3-catalog.md#C-50: that there is such a column may be what it gives away.
        if under_review(column) {
            return None;
        }
        let mut out = self.pick(column, at, COLUMN);
        self.each(&mut out, column, at, "authoritativeDefinitions", Self::link);
        self.each(&mut out, column, at, "quality", Self::rule);
        self.each(&mut out, column, at, "customProperties", Self::custom);
        // `examples` are values of the data. They could leave after the column's
        // mask; until something needs them they do not leave at all.
        Some(Value::Object(out))
    }

    /// A rule in SQL or in another tool's language becomes a text rule with its threshold beside it:
    /// `query` may not leave, and `sql` without `query` is not valid ODCS.
    fn rule(&mut self, rule: &Value, at: &str) -> Option<Value> {
        let operators = OPERATORS.iter().copied();
        if !matches!(rule.text("type"), Some("sql" | "custom")) {
            let mut out = self.pick(rule, at, RULE);
            let mut operands = Map::new();
            operators.for_each(|key| self.copy(&mut operands, rule, at, key));
            out.append(&mut operands);
            return Some(Value::Object(out));
        }
        let mut out = self.pick(rule, at, RULE_IN_WORDS);
        out.insert("type".to_owned(), json!("text"));
        let mut threshold = Map::new();
        operators
            .chain(["unit"])
            .for_each(|key| self.copy(&mut threshold, rule, at, key));
        if !threshold.is_empty() {
            let entry = json!([{ "property": "comityThreshold", "value": threshold }]);
            out.insert("customProperties".to_owned(), entry);
        }
        Some(Value::Object(out))
    }

    fn role(&mut self, role: &Value, at: &str) -> Option<Value> {
        let mut out = self.pick(role, at, ROLE);
        self.each(&mut out, role, at, "customProperties", Self::custom);
        Some(Value::Object(out))
    }

    fn custom(&mut self, entry: &Value, at: &str) -> Option<Value> {
        let name = entry.text("property").unwrap_or_default();
        PUBLISHED
            .contains(&name)
            .then(|| Value::Object(self.pick(entry, at, CUSTOM)))
    }

    /// The contact for partners; an address inside the house is left out.
    fn support(&mut self, item: &Value, at: &str) -> Option<Value> {
        let mut out = self.pick(item, at, SUPPORT);
        if is_public(item.text("url").unwrap_or_default()) {
            self.copy(&mut out, item, at, "url");
        }
        Some(Value::Object(out))
    }

    /// Only what a stranger can reach: a file path or an internal name would tell how the house is built.
    fn link(&mut self, link: &Value, at: &str) -> Option<Value> {
        is_public(link.text("url").unwrap_or_default())
            .then(|| Value::Object(self.pick(link, at, LINK)))
    }

    fn only(&mut self, value: &Value, at: &str, keys: &[&str]) -> Option<Value> {
        Some(Value::Object(self.pick(value, at, keys)))
    }

    /// Copies the named keys.
    fn pick(&mut self, from: &Value, at: &str, keys: &[&str]) -> Map<String, Value> {
        let mut out = Map::new();
        for key in keys {
            self.copy(&mut out, from, at, key);
        }
        out
    }

    fn copy(&mut self, to: &mut Map<String, Value>, from: &Value, at: &str, key: &str) {
        if let Some(value) = from.get(key) {
            self.publishable(value, &child(at, key));
            to.insert(key.to_owned(), value.clone());
        }
    }

    /// Copies a list through a projection of its entries; a list that becomes empty is left out.
    fn each(
        &mut self,
        to: &mut Map<String, Value>,
        from: &Value,
        at: &str,
        key: &str,
        mut project: impl FnMut(&mut Self, &Value, &str) -> Option<Value>,
    ) {
        let here = child(at, key);
        let kept: Vec<Value> = from
            .list(key)
            .iter()
            .enumerate()
            .filter_map(|(index, value)| project(self, value, &child(&here, &index.to_string())))
            .collect();
        if !kept.is_empty() {
            to.insert(key.to_owned(), Value::Array(kept));
        }
    }

    /// Refuses a variable in what is published: its value is unknown here and may be a secret there.
    fn publishable(&mut self, value: &Value, at: &str) {
        match value {
            Value::String(text) if text.contains("${") => {
                let message = "a variable stands in the published part";
                self.found.push(self.document.problem(
                    at,
                    message,
                    Some("the value itself".to_owned()),
                ));
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.publishable(item, &child(at, &index.to_string()));
                }
            }
            Value::Object(entries) => {
                for (key, below) in entries {
                    let here = child(at, key);
                    if key.contains("${") {
                        let message = "a variable stands in the published part";
                        self.found.push(self.document.problem(&here, message, None));
                    }
                    self.publishable(below, &here);
                }
            }
            _ => {}
        }
    }
}

/// Whether a link leads to the open web: `https` or `mailto`, and a host with a dot that is not an address.
fn is_public(url: &str) -> bool {
    if url.starts_with("mailto:") {
        return true;
    }
    let Some(rest) = url.strip_prefix("https://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority
        .split(':')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let suffix = host.rsplit('.').next().unwrap_or_default();
    !authority.contains('@')
        && host.contains('.')
        && suffix.bytes().all(|b| b.is_ascii_alphabetic())
        && suffix.len() >= 2
        && !matches!(
            suffix,
            "local" | "internal" | "lan" | "localhost" | "home" | "corp" | "intranet"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_to_the_open_web_are_public() {
        for url in [
            "https://acme.example/terms.pdf",
            "https://www.transtats.bts.gov:443/x?y",
            "mailto:a@b.example",
        ] {
            assert!(is_public(url), "{url}");
        }
        for url in [
            "http://acme.example",
            "https://10.0.0.7/x",
            "https://[::1]/x",
            "https://wiki/x",
            "https://git.corp/x",
            "https://user:secret@acme.example/",
            "./terms.pdf",
            "file:///etc/passwd",
            "https://",
            "https://db.INTERNAL/",
        ] {
            assert!(!is_public(url), "{url}");
        }
    }
}

//! How a difference is graded: one rule for each field of the public contract.
//!
//! The names of rules are the contract's own, with `table`, `column`, `rule`,
//! `sla`, `role`, `port`, `input`, `link` and `projection` for the entries of
//! its lists.

mod access;
mod promise;

use serde_json::Value;

use super::Kind;
use super::meaning;
use crate::version::Bump;

pub(super) use access::mask as mask_change;

/// A difference, as its rule sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change<'a> {
    /// What differs.
    pub(super) rule: &'a str,
    /// What happened.
    pub(super) kind: Kind,
    /// What it was.
    pub(super) old: Option<&'a Value>,
    /// What it is.
    pub(super) new: Option<&'a Value>,
}

/// What a difference means for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grade {
    pub(super) impact: Bump,
    pub(super) producer: bool,
    pub(super) second_look: bool,
    pub(super) reason: &'static str,
}

impl Grade {
    const fn new(impact: Bump, reason: &'static str) -> Self {
        Self {
            impact,
            producer: false,
            second_look: false,
            reason,
        }
    }

    /// A query, an obligation or a meaning may break.
    pub(super) const fn breaking(reason: &'static str) -> Self {
        Self::new(Bump::Major, reason)
    }

    /// Whatever worked still works, and there is more.
    pub(super) const fn additive(reason: &'static str) -> Self {
        Self::new(Bump::Minor, reason)
    }

    /// Words for people.
    pub(super) const fn text(reason: &'static str) -> Self {
        Self::new(Bump::Patch, reason)
    }

    /// Data that passed the producer's checks may fail them now.
    pub(super) const fn checked(mut self) -> Self {
        self.producer = true;
        self
    }

    /// More may leave the house.
    pub(super) const fn second_look(mut self) -> Self {
        self.second_look = true;
        self
    }

    /// More leaves the house; nothing of the consumer's breaks.
    pub(super) const fn wider(reason: &'static str) -> Self {
        Self::additive(reason).second_look()
    }

    /// Nobody can say by looking at the values whether it is more or less.
    pub(super) const fn undetermined(reason: &'static str) -> Self {
        Self::breaking(reason).second_look()
    }
}

impl Change<'_> {
    pub(super) fn old_text(&self) -> Option<&str> {
        self.old.and_then(Value::as_str)
    }

    pub(super) fn new_text(&self) -> Option<&str> {
        self.new.and_then(Value::as_str)
    }

    /// What a value that is not stated means, by `rank`, on both sides.
    fn ranks<T: PartialOrd>(&self, rank: impl Fn(Option<&Value>) -> Option<T>) -> Option<(T, T)> {
        Some((rank(self.old)?, rank(self.new)?))
    }

    /// One grade for each thing that may happen.
    const fn by_kind(&self, add: Grade, remove: Grade, change: Grade) -> Grade {
        match self.kind {
            Kind::Add => add,
            Kind::Remove => remove,
            Kind::Change => change,
        }
    }
}

/// Grades one difference.
pub(super) fn grade(change: &Change<'_>) -> Grade {
    if let Some(grade) = access::grade(change).or_else(|| promise::grade(change)) {
        return grade;
    }
    let c = change;
    match c.rule {
        // Who the product is.
        "id" | "name" | "tenant" | "kind" => Grade::breaking("it is another product"),
        "status" => status(c),
        // The shape.
        "table" => c.by_kind(
            Grade::additive("a new table"),
            Grade::breaking("queries over the table fail"),
            UNKNOWN,
        ),
        "column" => column(c),
        "table/name" => Grade::breaking("queries name the table"),
        "column/name" => Grade::breaking("queries name the column"),
        "table/id" | "column/id" => {
            Grade::breaking("policies name it by its id: another id is another thing")
        }
        "table/logicalType" | "column/logicalType" | "column/physicalType" => {
            Grade::breaking("values have another type")
        }
        "column/primaryKeyPosition" => Grade::breaking("the key is another one"),
        "table/dataGranularityDescription" => said(c, Grade::breaking("a row is something else")),
        // The words. Meaning hides in them.
        "description/purpose"
        | "description/usage"
        | "table/description"
        | "column/description"
        | "rule/description"
        | "sla/description"
        | "role/description" => described(c),
        "apiVersion"
        | "domain"
        | "dataProduct"
        | "contractCreatedTs"
        | "table/businessName"
        | "column/businessName"
        | "table/physicalType"
        | "column/criticalDataElement"
        | "rule/id"
        | "rule/name"
        | "rule/dimension"
        | "rule/businessImpact"
        | "sla/id"
        | "sla/driver"
        | "role/id"
        | "price/id"
        | "link/id"
        | "link/description"
        | "support" => Grade::text("words for people"),
        "order" => Grade::text("another order; queries and policies name things"),
        "shape" => Grade::text("written another way"),
        rule if rule.starts_with("support/") || rule.starts_with("custom/") => {
            Grade::text("words for people")
        }
        rule if rule.ends_with("tags/word") => tag(c),
        "input" | "input/range" => Grade::text("what it is made from"),
        _ => UNKNOWN,
    }
}

/// What no rule speaks of counts as breaking.
const UNKNOWN: Grade =
    Grade::undetermined("no rule says what this change means, so it counts as breaking");

/// How a value is shown: a service level with its unit.
pub(super) fn shown(rule: &str, value: &Value) -> Value {
    if rule == "sla/value" {
        return promise::shown(value);
    }
    value.clone()
}

fn column(c: &Change<'_>) -> Grade {
    let required = c.new.and_then(|v| v.get("required")) == Some(&Value::Bool(true));
    match c.kind {
        Kind::Add if required => Grade::additive("a new column").checked(),
        Kind::Add => Grade::additive("a new column"),
        Kind::Remove => Grade::breaking("queries over the column fail"),
        Kind::Change => UNKNOWN,
    }
}

/// `active` promises most; an announced end breaks nothing yet.
fn status(c: &Change<'_>) -> Grade {
    match (c.old_text(), c.new_text()) {
        (Some("active"), Some("deprecated")) => Grade::additive("its end is announced"),
        (_, Some("active")) => Grade::additive("it is in service"),
        (Some("draft" | "proposed"), Some("draft" | "proposed" | "deprecated")) => {
            Grade::additive("another state before service")
        }
        _ => Grade::breaking("it is no longer in service"),
    }
}

fn described(c: &Change<'_>) -> Grade {
    let (old, new) = (
        c.old_text().unwrap_or_default(),
        c.new_text().unwrap_or_default(),
    );
    let whole = c.kind == Kind::Change;
    if whole && meaning::differs(old, new) {
        return Grade::breaking(
            "a unit, a number or a negation changed: it may mean something else",
        );
    }
    Grade::text("words for people")
}

/// Words that bind: only their spelling may change.
fn said(c: &Change<'_>, otherwise: Grade) -> Grade {
    match (c.old_text(), c.new_text()) {
        (Some(old), Some(new)) if meaning::same_words(old, new) => {
            Grade::text("the same words, written another way")
        }
        (None, Some(_)) if c.rule == "table/dataGranularityDescription" => {
            Grade::additive("what a row is, is said")
        }
        _ => otherwise,
    }
}

/// Tags that say whose data it is are protection.
fn tag(c: &Change<'_>) -> Grade {
    const PERSONAL: [&str; 8] = [
        "pii",
        "phi",
        "pci",
        "gdpr",
        "hipaa",
        "personal",
        "sensitive",
        "confidential",
    ];
    let word = c.old.or(c.new).and_then(Value::as_str).unwrap_or_default();
    let word = word.to_ascii_lowercase();
    let protects = PERSONAL.iter().any(|p| word.contains(p));
    match c.kind {
        Kind::Remove if protects => Grade::text("a tag that protects is gone").second_look(),
        _ => Grade::text("a label"),
    }
}

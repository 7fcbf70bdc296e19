//! What is on the wire, and what partners may ask for: typed on both sides.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::grade::{Grade, mask_change};
use super::{Edition, Finding, Kind};
use crate::product::{Column, Table};
use crate::terms::{Mask, TableTerms, Terms};

/// Differences of the served tables, beyond those that the contract tells already.
pub(super) fn tables(old: &[Table], new: &[Table], findings: &mut Vec<Finding>) {
    let mut found = Vec::new();
    let (before, after) = (by_name(old), by_name(new));
    for name in before
        .keys()
        .chain(after.keys().filter(|n| !before.contains_key(*n)))
    {
        let here = Spot::new("tables", &[name]);
        match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) => columns(name, old, new, &mut found),
            (Some(_), None) => here.gone(
                name,
                Grade::breaking("queries over the table fail"),
                &mut found,
            ),
            (None, _) => here.come(name, Grade::additive("a new table"), &mut found),
        }
    }
    // The contract lists the same tables and columns: once is enough.
    let told = |f: &Finding| {
        let mut known = findings
            .iter()
            .filter(|k| k.section == "schema" && k.kind == f.kind);
        let path = f.path.replacen("tables", "schema", 1);
        let renamed = |k: &Finding| f.kind != Kind::Change && k.field == f.field && k.path == path;
        known.any(renamed)
    };
    found.retain(|f| !told(f));
    findings.append(&mut found);
}

fn by_name(tables: &[Table]) -> BTreeMap<&str, &Table> {
    tables.iter().map(|t| (t.name.as_str(), t)).collect()
}

fn columns(table: &str, old: &Table, new: &Table, found: &mut Vec<Finding>) {
    let named = |t: &'_ Table| -> BTreeMap<String, Column> {
        t.columns
            .iter()
            .map(|c| (c.name.clone(), c.clone()))
            .collect()
    };
    let (before, after) = (named(old), named(new));
    for name in before
        .keys()
        .chain(after.keys().filter(|n| !before.contains_key(*n)))
    {
        let here = Spot::new("tables", &[table, "properties", name]);
        match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) if old.kind != new.kind => {
                let here = Spot::new("tables", &[table, "properties", name, "type"]);
                here.other(
                    &old.kind,
                    &new.kind,
                    Grade::breaking("values have another type"),
                    found,
                );
            }
            // Descriptions and classes are the contract's.
            (Some(_), Some(_)) => {}
            (Some(_), None) => {
                here.gone(name, Grade::breaking("queries over the column fail"), found)
            }
            (None, _) => here.come(name, Grade::additive("a new column"), found),
        }
    }
}

/// Differences of what partners may ask for without further talk.
pub(super) fn offers(old: &Edition<'_>, new: &Edition<'_>, findings: &mut Vec<Finding>) {
    let here = Spot::new("offer", &[]);
    match (old.offer, new.offer) {
        (None, None) => {}
        (Some(_), None) => here.gone(
            "offer",
            Grade::breaking("nothing is offered any more"),
            findings,
        ),
        (None, Some(_)) => here.come("offer", Grade::wider("it is offered now"), findings),
        (Some(before), Some(after)) => terms(before, after, old, new, findings),
    }
}

fn terms(
    before: &Terms,
    after: &Terms,
    old: &Edition<'_>,
    new: &Edition<'_>,
    out: &mut Vec<Finding>,
) {
    let narrower = Grade::breaking("less is offered");
    let wider = Grade::wider("more is offered");
    let has = |edition: &Edition<'_>, table: &str, column: Option<&str>| match edition.tables {
        Some(tables) => {
            let mut tables = tables.iter().filter(|t| t.name.as_str() == table);
            tables.any(|t| column.is_none_or(|c| t.columns.iter().any(|k| k.name == c)))
        }
        None => listed(edition.contract, table, column),
    };
    for (name, table) in &before.tables {
        let here = Spot::new("offer", &[name]);
        match after.tables.get(name) {
            Some(later) => {
                // A column that came or went with the product is told there.
                for column in table.columns.difference(&later.columns) {
                    if has(new, name, Some(column)) {
                        Spot::new("offer", &[name, column]).gone(column, narrower, out);
                    }
                }
                for column in later.columns.difference(&table.columns) {
                    if has(old, name, Some(column)) {
                        Spot::new("offer", &[name, column]).come(column, wider, out);
                    }
                }
                rows_and_masks(name, table, later, out);
            }
            None if has(new, name, None) => here.gone(name, narrower, out),
            None => {}
        }
    }
    for name in after
        .tables
        .keys()
        .filter(|n| !before.tables.contains_key(*n))
    {
        if has(old, name, None) {
            Spot::new("offer", &[name]).come(name, wider, out);
        }
    }
    let here = Spot::new("offer", &["purposes"]);
    for purpose in before.purposes.difference(&after.purposes) {
        here.gone(purpose, narrower, out);
    }
    for purpose in after.purposes.difference(&before.purposes) {
        here.come(purpose, wider, out);
    }
    if before.limits != after.limits {
        let grade = if after.limits.narrows(&before.limits) {
            narrower
        } else {
            wider
        };
        let here = Spot::new("offer", &["limits"]);
        here.other(&before.limits, &after.limits, grade, out);
    }
}

/// Whether the contract lists the table, and in it the column.
fn listed(contract: &Value, table: &str, column: Option<&str>) -> bool {
    let entry = |list: &Value, name: &str| -> Option<Value> {
        let mut entries = list.as_array()?.iter();
        entries.find(|e| e["name"] == name).cloned()
    };
    entry(&contract["schema"], table)
        .is_some_and(|t| column.is_none_or(|c| entry(&t["properties"], c).is_some()))
}

fn rows_and_masks(name: &str, old: &TableTerms, new: &TableTerms, out: &mut Vec<Finding>) {
    if old.filter != new.filter {
        let grade = if new.filter.0.is_subset(&old.filter.0) {
            Grade::wider("more rows are offered")
        } else if new.filter.0.is_superset(&old.filter.0) {
            Grade::breaking("fewer rows are offered")
        } else {
            Grade::undetermined("other rows are offered; whether more or fewer cannot be said")
        };
        Spot::new("offer", &[name, "filter"]).other(&old.filter, &new.filter, grade, out);
    }
    for column in old.columns.intersection(&new.columns) {
        let (before, after) = (old.masks.get(column), new.masks.get(column));
        if before != after {
            let word = |mask: Option<&Mask>| mask.map(|m| json!(m));
            let (before, after) = (word(before), word(after));
            let text =
                |mask: &Option<Value>| mask.as_ref().and_then(Value::as_str).map(str::to_owned);
            let grade = mask_change(text(&before).as_deref(), text(&after).as_deref());
            Spot::new("offer", &[name, column, "mask"]).push(before, after, grade, out);
        }
    }
}

/// Where a typed difference is.
struct Spot {
    section: &'static str,
    path: Vec<String>,
}

impl Spot {
    fn new(section: &'static str, below: &[&str]) -> Self {
        let path = std::iter::once(section).chain(below.iter().copied());
        Self {
            section,
            path: path.map(str::to_owned).collect(),
        }
    }

    fn gone(&self, what: &str, grade: Grade, out: &mut Vec<Finding>) {
        self.push(Some(json!(what)), None, grade, out);
    }

    fn come(&self, what: &str, grade: Grade, out: &mut Vec<Finding>) {
        self.push(None, Some(json!(what)), grade, out);
    }

    fn other<T: Serialize>(&self, old: &T, new: &T, grade: Grade, out: &mut Vec<Finding>) {
        self.push(Some(json!(old)), Some(json!(new)), grade, out);
    }

    fn push(&self, old: Option<Value>, new: Option<Value>, grade: Grade, out: &mut Vec<Finding>) {
        out.push(Finding {
            kind: match (&old, &new) {
                (None, _) => Kind::Add,
                (_, None) => Kind::Remove,
                _ => Kind::Change,
            },
            section: self.section.to_owned(),
            path: self.path.join("."),
            field: self.path.last().cloned().unwrap_or_default(),
            old,
            new,
            impact: grade.impact,
            producer: grade.producer,
            second_look: grade.second_look,
            reason: grade.reason,
        });
    }
}

//! Promises that nobody could judge: a service level about no column, in no
//! unit, or with no number; a rule whose operator has no number; SQL that cannot
//! be read.
//!
//! The official schema lets all of them pass, and the node would measure them
//! and have no verdict, for ever.

use arrow::datatypes::DataType;
use comity_protocol::results::{OPERATORS, Threshold};
use serde_json::Value;

use super::duration;
use super::problem::Problem;
use super::quality::{self, SqlRule};
use super::rules::Text;
use super::spelling::nearest;
use super::table::{Column, Table};
use super::yaml::{Document, child};
use crate::query::readable;

/// Service levels that are measured.
const MEASURED: [&str; 2] = ["freshness", "retention"];

/// The seconds of a service level, of its value and unit.
type Age = fn(&Value, Option<&str>) -> Option<u64>;

/// Refuses promises that can never have a verdict, and gives what may be a
/// mistake: ODCS allows service levels of any name, and rules in any dialect.
pub(super) fn check(
    document: &Document,
    tables: &[Table],
    found: &mut Vec<Problem>,
) -> Vec<Problem> {
    let mut doubts = Vec::new();
    for (index, level) in document.value().list("slaProperties").iter().enumerate() {
        let at = child("/slaProperties", &index.to_string());
        service_level(level, &at, tables, document, found, &mut doubts);
    }
    // What is counted is compared with a number, though the schema lets 'mustBe'
    // be anything; what another tool makes of a query is its own business.
    for (at, problem) in numberless(document) {
        let rule = document.value().pointer(&at);
        match rule.and_then(|rule| rule.text("type")).unwrap_or("library") {
            "library" => found.push(problem),
            "sql" => doubts.push(problem),
            _ => {}
        }
    }
    for rule in quality::sql_rules(document.value()) {
        doubts.extend(unreadable(&rule, document));
    }
    doubts
}

/// Operators of quality rules without a number, each with its rule's pointer.
///
/// Where the schema refuses the rule for it, it says that another operator is
/// missing. Rules of other tools may compare with anything.
pub(super) fn numberless(document: &Document) -> Vec<(String, Problem)> {
    let mut found = Vec::new();
    for (at, rule) in quality::rules(document.value()) {
        for operator in OPERATORS {
            let Some(value) = rule.get(operator).filter(|v| !v.is_null()) else {
                continue;
            };
            let alone = serde_json::json!({ operator: value });
            if Threshold::of(&alone).is_ok() {
                continue;
            }
            let (needed, instead) = match operator.ends_with("Between") {
                true => ("two numbers", format!("{operator}: [0, 100]")),
                false => ("a number", format!("{operator}: 0")),
            };
            let message = format!("{operator} needs {needed}, not {value}");
            let problem = document.problem(&child(&at, operator), message, Some(instead));
            found.push((at.clone(), problem));
        }
    }
    found
}

fn service_level(
    level: &Value,
    at: &str,
    tables: &[Table],
    document: &Document,
    found: &mut Vec<Problem>,
    doubts: &mut Vec<Problem>,
) {
    let property = level.text("property").unwrap_or_default();
    let (age, units): (Age, _) = match property {
        "freshness" => (duration::freshness, "d, h or m (minutes)"),
        "retention" => (duration::retention, "y, m (months), d, h, min or s"),
        other => {
            if let Some(near) = nearest(other, MEASURED.into_iter()) {
                let message = format!("{other} is a service level of your own: nobody measures it");
                let instead = Some(format!("property: {near}"));
                doubts.push(document.problem(&child(at, "property"), message, instead));
            }
            return;
        }
    };
    match level.text("element") {
        None => {
            let message = format!("the {property} is of no column: nobody measures it");
            let instead = Some("element: TABLE.COLUMN, a column of timestamps".to_owned());
            doubts.push(document.problem(at, message, instead));
        }
        Some(element) => {
            if let Some((message, instead)) = not_an_age(property, element, tables) {
                found.push(document.problem(&child(at, "element"), message, instead));
            }
        }
    }
    let (value, unit) = (&level["value"], level.text("unit"));
    if age(value, unit).is_some() {
        return;
    }
    // A day is a unit of both: what is no number of days is no number.
    let (key, message, instead) = match age(value, None) {
        None => (
            "value",
            format!("{property} needs a number of at least 0, not {value}"),
            "value: 24, or a duration such as \"P1D\"".to_owned(),
        ),
        Some(_) => (
            "unit",
            format!(
                "{} cannot be the unit of this {property}",
                unit.unwrap_or_default()
            ),
            format!("unit: {units}"),
        ),
    };
    found.push(document.problem(&child(at, key), message, Some(instead)));
}

/// Why `element` is no column with an age, and what to write.
fn not_an_age(property: &str, element: &str, tables: &[Table]) -> Option<(String, Option<String>)> {
    let aged =
        |column: &&Column| matches!(column.arrow, DataType::Timestamp(..) | DataType::Date32);
    let all = || {
        tables.iter().flat_map(|table| {
            let columns = table.columns.iter().filter(aged);
            columns.map(move |column| format!("{}.{}", table.name, column.name))
        })
    };
    let named = tables.iter().find_map(|table| {
        let column = element
            .strip_prefix(table.name.as_str())?
            .strip_prefix('.')?;
        table.columns.iter().find(|c| c.name == column)
    });
    let message = match named {
        Some(column) if aged(&column) => return None,
        Some(_) => {
            format!("the {property} of {element} cannot be measured: it has no timestamps or dates")
        }
        None => format!("{element} is no column of the contract"),
    };
    let known: Vec<String> = all().collect();
    let near = nearest(element, known.iter().map(String::as_str));
    let only = || known.first().filter(|_| known.len() == 1);
    let one = near.or_else(|| only().map(String::as_str));
    let instead = one.map(|one| format!("element: {one}"));
    Some((
        message,
        instead
            .or_else(|| Some("element: TABLE.COLUMN, a column of timestamps or dates".to_owned())),
    ))
}

/// A rule in SQL that the node cannot read. It may be in the warehouse's own
/// dialect, for another tool.
fn unreadable(rule: &SqlRule, document: &Document) -> Option<Problem> {
    let product = document.value().text("name").unwrap_or_default();
    let error = readable(&rule.statement("organization", product)).err()?;
    let message = format!("this rule will have no verdict: {error}");
    let instead = "one query in the dialect of 'comity sql', over ${table}".to_owned();
    Some(document.problem(&rule.pointer, message, Some(instead)))
}

//! From facts to verdicts.

use std::collections::BTreeMap;

use comity_identity::Timestamp;
use comity_protocol::product::Descriptor;
use comity_protocol::results::{Check, Extent, Kind, Measure, Status, TableExtent};

use super::plan::{Fact, is_counted, may_be_told};
use super::promise::{Metric, Promise};

/// What statements found out: a number, no value at all, or why nobody knows.
pub(super) type Facts = BTreeMap<Fact, Result<Option<f64>, String>>;

/// The verdict about the promise at place `at`, and for the owner alone why
/// there is none (`spec/3-catalog.md#C-99`).
pub(super) fn verdict(
    promise: &Promise,
    at: usize,
    facts: &Facts,
    now: Timestamp,
) -> (Check, Option<String>) {
    let measured = number(promise, at, facts, now);
    let (status, value, reason) = match (measured, &promise.threshold) {
        (Ok(Some(value)), Some(threshold)) if threshold.holds(value) => {
            (Status::Ok, Some(value), None)
        }
        (Ok(Some(value)), Some(_)) => (Status::Failed, Some(value), None),
        // A column without any moment is not fresh: nothing came.
        (Ok(None), Some(_)) => (Status::Failed, None, None),
        (Ok(_), None) => {
            let reason = "what it must be is not a number".to_owned();
            (Status::Error, None, Some(reason))
        }
        (Err(reason), _) => (Status::Error, None, Some(reason)),
    };
    (check(promise, status, value), reason)
}

/// What of a verdict may be stated to others (`spec/3-catalog.md#C-100`): the age
/// of a column is its first or last moment by another name, and told of those
/// columns alone of which that is; so is what was counted over columns that
/// nobody is told of. The verdict itself always is.
pub(super) fn stated(mut check: Check, promise: &Promise, descriptor: &Descriptor) -> Check {
    let (table, column) = promise.target.parts();
    let told = match &promise.metric {
        Metric::Freshness | Metric::Retention => {
            column.is_some_and(|column| may_be_told(descriptor, table, column))
        }
        Metric::DuplicateValues(keys) => {
            let shape = descriptor.tables.iter().find(|t| t.name.as_str() == table);
            let columns = shape.map_or(&[][..], |t| t.columns.as_slice());
            keys.iter().all(|k| columns.iter().any(|c| c.name == *k))
        }
        _ => true,
    };
    check.measure.value = check.measure.value.filter(|_| told);
    check
}

/// The verdict, without what a query of the author gave.
pub(super) fn check(promise: &Promise, status: Status, value: Option<f64>) -> Check {
    let unit = match promise.metric {
        Metric::Sql { .. } | Metric::Unknown(_) => None,
        Metric::Freshness | Metric::Retention => Some("seconds"),
        _ if promise.percent => Some("percent"),
        Metric::DuplicateValues(_) => Some("keys"),
        _ => Some("rows"),
    };
    Check {
        id: promise.id.clone(),
        kind: Kind::Metric,
        status,
        target: promise.target.clone(),
        measure: Measure {
            metric: promise.metric.name().to_owned(),
            // Of a query anything may come: the greatest salary, one name's number.
            value: value.filter(|_| !matches!(promise.metric, Metric::Sql { .. })),
            unit: unit.map(str::to_owned),
            threshold: promise.threshold,
        },
    }
}

/// How far the tables reach, as far as it is known and may be told.
pub(super) fn extents(descriptor: &Descriptor, facts: &Facts) -> Vec<TableExtent> {
    let known = |fact: &Fact| {
        facts
            .get(fact)
            .and_then(|f| f.as_ref().ok())
            .copied()
            .flatten()
    };
    let tables = descriptor.tables.iter().filter_map(|table| {
        let name = table.name.to_string();
        let rows = known(&Fact::Rows(name.clone()))?;
        let columns = table.columns.iter().filter_map(|column| {
            let of = || (name.clone(), column.name.clone());
            let ((t, c), (u, d)) = (of(), of());
            let earliest = known(&Fact::Earliest(t, c))?;
            let latest = known(&Fact::Latest(u, d))?;
            // A column that has a promise has these facts too.
            let told = may_be_told(descriptor, &name, &column.name);
            let extent = Extent {
                earliest: earliest as i64,
                latest: latest as i64,
            };
            told.then(|| (column.name.clone(), extent))
        });
        let distinct = table.columns.iter().filter_map(|column| {
            let fact = Fact::Distinct(name.clone(), column.name.clone());
            let count = known(&fact).filter(|_| is_counted(descriptor, &name, &column.name))?;
            let bucket = (count as u64).max(1).checked_next_power_of_two()?;
            Some((column.name.clone(), bucket))
        });
        let distinct = distinct.collect();
        Some(TableExtent {
            table: table.name.clone(),
            rows: rows as u64,
            columns: columns.collect(),
            distinct,
        })
    });
    tables.collect()
}

fn number(
    promise: &Promise,
    at: usize,
    facts: &Facts,
    now: Timestamp,
) -> Result<Option<f64>, String> {
    if let Some(Err(reason)) = facts.get(&Fact::Of(at)) {
        return Err(reason.clone());
    }
    let fact = |fact: Fact| match facts.get(&fact) {
        Some(found) => found.clone(),
        None => Err("it was not measured".to_owned()),
    };
    let needed = |of: Fact| fact(of)?.ok_or_else(|| "the query gives no value".to_owned());
    let (table, column) = promise.target.parts();
    let (table, column) = (table.to_owned(), column.unwrap_or_default().to_owned());
    let now = now.as_secs() as f64;
    let counted = match &promise.metric {
        Metric::RowCount => needed(Fact::Rows(table))?,
        Metric::NullValues => {
            let rows = needed(Fact::Rows(table.clone()))?;
            let nulls = rows - needed(Fact::Filled(table, column))?;
            share(promise, nulls, rows)
        }
        Metric::MissingValues(_) | Metric::InvalidValues { .. } => {
            let count = needed(Fact::Of(at))?;
            share(promise, count, needed(Fact::Rows(table))?)
        }
        Metric::DuplicateValues(_) | Metric::Sql { .. } => needed(Fact::Of(at))?,
        Metric::Freshness => {
            return Ok(fact(Fact::Latest(table, column))?.map(|latest| now - latest));
        }
        Metric::Retention => {
            return Ok(fact(Fact::Earliest(table, column))?.map(|earliest| now - earliest));
        }
        Metric::Unknown(why) => return Err((*why).to_owned()),
    };
    Ok(Some(counted))
}

/// A count of rows, in percent where the promise is; of no rows it is 0, as the
/// `datacontract` command has it (`spec/3-catalog.md#C-103`).
fn share(promise: &Promise, count: f64, rows: f64) -> f64 {
    match promise.percent {
        true if rows > 0.0 => (count / rows * 100.0 * 1e6).round() / 1e6,
        true => 0.0,
        false => count,
    }
}

//! Promised beside measured, for people and programs.

use std::collections::BTreeMap;

use comity_identity::Timestamp;
use comity_protocol::product::Descriptor;
use comity_protocol::results::{Check, Status};

use super::promise::{Promise, promises};
use crate::admin::api;
use crate::catalog::Stated;

/// What a product promises, beside the newest verdict of every process that
/// measured it. `statements` are the newest first.
pub fn measured(
    descriptor: &Descriptor,
    statements: &[Stated],
    rewritten: Option<(u64, Timestamp)>,
    now: Timestamp,
) -> api::Measured {
    // One process does not speak over another: a pipeline and the node itself
    // measure at different times, perhaps different data.
    let mut newest: BTreeMap<&str, &Stated> = BTreeMap::new();
    for stated in statements {
        newest.entry(&stated.results.process).or_insert(stated);
    }
    let promises = promises(&descriptor.contract);
    let mut rows: Vec<api::Promised> = promises.iter().map(promised).collect();
    for stated in newest.values() {
        for check in &stated.results.checks {
            let verdict = verdict(check, stated);
            match rows.iter_mut().find(|row| row.id == check.id) {
                Some(row) => row.verdicts.push(verdict),
                None => rows.push(api::Promised {
                    id: check.id.clone(),
                    about: about(check.target.parts()),
                    metric: check.measure.metric.clone(),
                    promise: check.measure.threshold.map(|t| t.to_string()),
                    unit: check.measure.unit.clone(),
                    severity: None,
                    verdicts: vec![verdict],
                }),
            }
        }
    }
    let extents = newest.values().flat_map(|s| &s.results.tables);
    api::Measured {
        promises: rows,
        tables: extents.cloned().collect(),
        statements: newest
            .values()
            .map(|stated| statement(stated, descriptor, now))
            .collect(),
        observed: None,
        rewritten: rewritten.map(|(seq, at)| api::Rewritten { seq, at }),
    }
}

/// The chain of a product, newest first.
pub fn history(
    descriptor: &Descriptor,
    statements: &[Stated],
    now: Timestamp,
) -> Vec<api::Measurement> {
    let chain = statements.iter().enumerate().map(|(at, stated)| {
        let count = |status| {
            let of = |c: &&Check| c.status == status;
            stated.results.checks.iter().filter(of).count()
        };
        let before = statements.get(at + 1);
        let follows = before.is_none_or(|b| stated.results.prev == Some(b.digest));
        api::Measurement {
            statement: statement(stated, descriptor, now),
            ok: count(Status::Ok),
            failed: count(Status::Failed),
            error: count(Status::Error),
            unbroken: follows && (before.is_some() || stated.results.seq == 1),
            failures: stated
                .results
                .checks
                .iter()
                .filter(|c| c.status != Status::Ok)
                .map(|c| (c.id.clone(), word(c.status).to_owned()))
                .collect(),
        }
    });
    chain.collect()
}

fn promised(promise: &Promise) -> api::Promised {
    let check = super::verdict::check(promise, Status::Error, None);
    api::Promised {
        id: promise.id.clone(),
        about: about(promise.target.parts()),
        metric: check.measure.metric,
        promise: promise.threshold.map(|t| t.to_string()),
        unit: check.measure.unit,
        severity: promise.severity.clone(),
        verdicts: Vec::new(),
    }
}

fn about((table, column): (&str, Option<&str>)) -> String {
    column.map_or_else(|| table.to_owned(), |column| format!("{table}.{column}"))
}

fn verdict(check: &Check, stated: &Stated) -> api::Verdict {
    api::Verdict {
        status: word(check.status).to_owned(),
        value: check.measure.value,
        by: stated.results.process.clone(),
        at: stated.results.at,
    }
}

fn statement(stated: &Stated, descriptor: &Descriptor, now: Timestamp) -> api::Statement {
    let results = &stated.results;
    api::Statement {
        seq: results.seq,
        id: stated.digest,
        at: results.at,
        due: results.due,
        // spec/3-catalog.md#C-105
        late: results.due.is_some_and(|due| now > due),
        by: results.process.clone(),
        by_version: results.process_version.clone(),
        version: results.version.to_string(),
        other_contract: results.contract_digest != descriptor.contract_digest,
        omitted: results.omitted,
    }
}

/// A verdict in a word.
fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Failed => "failed",
        Status::Error => "error",
    }
}

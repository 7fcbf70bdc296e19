//! What `datacontract test --publish` sends (`spec/3-catalog.md#C-104`).
//!
//! Only the verdict, the number and what it is about are taken over, and every
//! word of those comes from the public contract or from lists in this file.
//! Reasons, queries, logs, samples and names of the warehouse are not read.

use std::collections::BTreeMap;

use comity_identity::Timestamp;
use comity_protocol::product::Descriptor;
use comity_protocol::results::{Check, Kind, Measure, Status, Target, is_id};
use serde::Deserialize;
use serde_json::Value;

use super::promise::{Metric, Promise, promises};
use super::verdict;
use crate::catalog::Measurement;
use crate::failure::Failure;
use crate::products::Contract;

/// The most bytes of a run that are read: 22 checks have 17 kB, most of it is
/// queries and logs.
pub const MAX_RUN_BYTES: usize = 4 << 20;

/// The most checks of a run that are looked at.
const MAX_RUN_CHECKS: usize = 10_000;

/// What measured, in statements.
const PROCESS: &str = "datacontract-cli";

/// Checks of the schema, which no promise of a number stands for, by the names
/// that the command has for them.
const SCHEMA_CHECKS: [&str; 14] = [
    "field_enum",
    "field_is_present",
    "field_max_items",
    "field_max_length",
    "field_maximum",
    "field_min_items",
    "field_min_length",
    "field_minimum",
    "field_not_equal",
    "field_physical_type",
    "field_regex",
    "field_relationships",
    "field_type",
    "field_unique_items",
];

/// Those of them that count nothing.
const UNCOUNTED: [&str; 3] = ["field_is_present", "field_physical_type", "field_type"];

/// The parts of a run that are read; what else it holds is skipped.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The contract's `id`.
    pub data_contract_id: Option<String>,
    /// The contract's `version`.
    pub data_contract_version: Option<String>,
    #[serde(default)]
    datacontract_cli_version: Option<String>,
    #[serde(default)]
    timestamp_end: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(default)]
    filters: Option<Value>,
    #[serde(default)]
    checks: Option<Vec<RunCheck>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunCheck {
    #[serde(default)]
    key: Option<String>,
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    field: Option<String>,
    #[serde(default)]
    quality_id: Option<String>,
    #[serde(default)]
    result: Option<String>,
    #[serde(default)]
    diagnostics: Option<Value>,
}

impl Run {
    /// Reads a run.
    ///
    /// # Errors
    /// It is none, or one that says nothing about the product: a dry one, or
    /// one over a part of the rows.
    pub fn read(bytes: &[u8]) -> Result<Self, Failure> {
        let refused = |why: &str| Err(Failure::caller("bad-results", why.to_owned()));
        let Ok(run) = serde_json::from_slice::<Self>(bytes) else {
            return refused("the body is not what 'datacontract test --publish' sends");
        };
        if run.dry_run != Some(false) {
            return refused(
                "a dry run, or one that does not say that it is none, measures nothing",
            );
        }
        if run.filters.as_ref().is_some_and(|f| !f.is_null()) {
            return refused("the run is over a part of the rows; publish one without --filter");
        }
        match &run.checks {
            Some(checks) if !checks.is_empty() && checks.len() <= MAX_RUN_CHECKS => Ok(run),
            _ => refused("the run has no checks, or too many"),
        }
    }
}

/// What was taken from a run.
#[derive(Clone, Debug)]
pub struct Taken {
    /// What may be stated.
    pub measurement: Measurement,
    /// Checks that are about nothing announced: for the owner alone, as it
    /// counts columns that nobody is told of (`spec/3-catalog.md#C-100`).
    pub left_out: u64,
}

/// The verdicts of `run` over the product of `descriptor`. `contract` is the
/// private file, for the names that tables have in the warehouse.
pub fn ingest(
    run: &Run,
    descriptor: &Descriptor,
    contract: Option<&Contract>,
    now: Timestamp,
) -> Taken {
    let promises = promises(&descriptor.contract);
    let mut checks: BTreeMap<String, Check> = BTreeMap::new();
    let mut left_out = 0;
    for said in run.checks.iter().flatten() {
        if said.result.as_deref() == Some("skipped") {
            continue;
        }
        let Some(target) = said.target(descriptor, contract) else {
            left_out += 1;
            continue;
        };
        let Some(check) = said.check(&target, &promises, descriptor) else {
            left_out += 1;
            continue;
        };
        // A column that is unique and the key is checked once or twice.
        match checks.get(&check.id) {
            Some(known) if rank(known.status) >= rank(check.status) => {}
            _ => drop(checks.insert(check.id.clone(), check)),
        }
    }
    let version = run.datacontract_cli_version.as_deref().unwrap_or_default();
    let sound = (1..=32).contains(&version.len())
        && version
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.');
    let measurement = Measurement {
        at: ended(run.timestamp_end.as_deref()).map_or(now, |at| at.min(now)),
        due: None,
        process: PROCESS.to_owned(),
        process_version: if sound { version } else { "unknown" }.to_owned(),
        checks: checks.into_values().collect(),
        omitted: 0,
        tables: Vec::new(),
    };
    Taken {
        measurement,
        left_out,
    }
}

impl RunCheck {
    /// What the check is about, if the product announces it. The command names
    /// tables as the warehouse does.
    fn target(&self, descriptor: &Descriptor, contract: Option<&Contract>) -> Option<Target> {
        let model = self.model.as_deref()?;
        let tables = contract.map_or(&[][..], Contract::tables).iter();
        let physical = tables.clone().find(|t| t.physical_name() == model);
        let name = physical.map_or(model, |t| t.name.as_str());
        let mut shapes = descriptor.tables.iter();
        let shape = shapes.find(|t| t.name.as_str() == name)?;
        let column = match &self.field {
            None => None,
            Some(field) => {
                let column = shape.columns.iter().find(|c| c.name == *field)?;
                Some(column.name.as_str())
            }
        };
        Some(Target::of(name, column))
    }

    fn check(
        &self,
        target: &Target,
        promises: &[Promise],
        descriptor: &Descriptor,
    ) -> Option<Check> {
        let kind = self.kind.as_deref().unwrap_or_default();
        if let Some(promise) = self.promise(kind, target, promises) {
            let status = self.status();
            let value = match &promise.metric {
                _ if status == Status::Error => None,
                Metric::Freshness | Metric::Retention => self.number("age_seconds"),
                _ if promise.percent => self.number("percent"),
                _ => self.number("value"),
            };
            let check = verdict::check(promise, status, value);
            return Some(verdict::stated(check, promise, descriptor));
        }
        let kind = SCHEMA_CHECKS.into_iter().find(|known| *known == kind)?;
        let (table, column) = target.parts();
        let place = column.map_or_else(|| table.to_owned(), |c| format!("{table}.{c}"));
        let id = format!("{place}.{kind}");
        is_id(&id).then(|| Check {
            id,
            kind: Kind::Metric,
            status: self.status(),
            target: target.clone(),
            measure: Measure {
                metric: kind.to_owned(),
                value: None,
                unit: None,
                threshold: None,
            },
        })
    }

    /// The promise that was checked: the one that is named, or the one that is
    /// the only one of its kind there.
    fn promise<'a>(
        &self,
        kind: &str,
        target: &Target,
        promises: &'a [Promise],
    ) -> Option<&'a Promise> {
        let here = || promises.iter().filter(|p| p.target == *target);
        if let Some(id) = &self.quality_id {
            return here().find(|p| p.id == *id);
        }
        let (table, column) = target.parts();
        let column = column.unwrap_or_default();
        let derived = match kind {
            "field_required" | "field_primary_key_required" => format!("{table}.{column}.required"),
            "field_unique" | "field_primary_key_unique" => format!("{table}.{column}.unique"),
            "primary_key_unique" => format!("{table}.primaryKey"),
            _ => {
                let metric = match kind {
                    "row_count" => "rowCount",
                    "field_null_values" => "nullValues",
                    "field_missing_values" => "missingValues",
                    "field_invalid_values" => "invalidValues",
                    "field_duplicate_values" | "model_duplicate_values" => "duplicateValues",
                    "model_quality_sql" | "field_quality_sql" => "sql",
                    "servicelevel_freshness" => "freshness",
                    "servicelevel_retention" => "retention",
                    _ => return None,
                };
                let ours = |p: &&Promise| p.metric.name() == metric && self.is_rule(p);
                let mut found = here().filter(ours);
                let one = found.next();
                return one.filter(|_| found.next().is_none());
            }
        };
        here().find(|p| p.id == derived)
    }

    /// Whether it may be this rule: of those in SQL the key says which, and the
    /// derived promises of keys have checks of their own.
    fn is_rule(&self, promise: &Promise) -> bool {
        match promise.metric {
            Metric::Sql { index } => {
                let key = self.key.as_deref().unwrap_or_default();
                let said = key.rsplit_once('_').and_then(|(_, n)| n.parse().ok());
                said == Some(index)
            }
            Metric::NullValues => !promise.id.ends_with(".required"),
            Metric::DuplicateValues(_) => !promise.id.ends_with(".unique"),
            _ => true,
        }
    }

    /// The verdict. A warning with a number is a rule that is broken and does
    /// not matter much to its author; one without is a check that did not run.
    /// So is a failure without diagnostics (the table was not there, the query
    /// broke), except of the few checks that look at the schema and count nothing.
    fn status(&self) -> Status {
        let counted = || {
            self.number("value")
                .or_else(|| self.number("age_seconds"))
                .is_some()
        };
        match self.result.as_deref() {
            Some("passed") => Status::Ok,
            Some("failed") if self.looked() => Status::Failed,
            Some("warning") if counted() => Status::Failed,
            _ => Status::Error,
        }
    }

    /// Whether the check ran to its end.
    fn looked(&self) -> bool {
        let kind = self.kind.as_deref().unwrap_or_default();
        self.diagnostics.as_ref().is_some_and(|d| !d.is_null()) || UNCOUNTED.contains(&kind)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.diagnostics.as_ref()?.get(name)?.as_f64()
    }
}

/// Of two verdicts about one promise the worse one counts.
fn rank(status: Status) -> u8 {
    match status {
        Status::Ok => 0,
        Status::Error => 1,
        Status::Failed => 2,
    }
}

/// A moment as the command writes it: `2026-11-21T15:30:00.123456Z`, in UTC.
fn ended(text: Option<&str>) -> Option<Timestamp> {
    let text = text?;
    let zone = text
        .get(19..)?
        .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    if !matches!(zone, "Z" | "+00:00") {
        return None;
    }
    format!("{}Z", text.get(..19)?).parse().ok()
}

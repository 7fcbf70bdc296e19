//! What a contract promises that can be measured.

use std::collections::BTreeSet;

use comity_protocol::product::{Descriptor, Table};
use comity_protocol::results::{NotAThreshold, Target, Threshold, is_id};
use comity_protocol::terms::TableTerms;
use serde_json::Value;

use crate::products::duration;

/// One promise of a public contract.
#[derive(Clone, Debug, PartialEq)]
pub struct Promise {
    /// The `id` of its rule or service level, or else what and where it is.
    pub id: String,
    /// What it is about.
    pub target: Target,
    /// What is counted.
    pub metric: Metric,
    /// Whether the number is a share of the rows, in percent.
    pub percent: bool,
    /// What the number must be; `None` when nobody can say.
    pub threshold: Option<Threshold>,
    /// How much it matters, in the author's words.
    pub severity: Option<String>,
}

/// What is counted for a promise.
#[derive(Clone, Debug, PartialEq)]
pub enum Metric {
    /// Rows of the table.
    RowCount,
    /// Nulls.
    NullValues,
    /// Nulls and these values.
    MissingValues(Vec<Value>),
    /// Values, not null, that are none of these or do not match.
    InvalidValues {
        /// The valid values.
        values: Option<Vec<Value>>,
        /// What a valid value has somewhere in it: a regular expression.
        pattern: Option<String>,
    },
    /// Keys that occur more than once; those with a null in them do not count.
    DuplicateValues(Vec<String>),
    /// Whatever the rule's query gives. `index` is its place in its list.
    Sql {
        /// Its place among the rules of its table or column.
        index: usize,
    },
    /// The age of the newest moment, in seconds.
    Freshness,
    /// The age of the oldest moment, in seconds.
    Retention,
    /// Something that this release cannot count, and why.
    Unknown(&'static str),
}

impl Metric {
    /// Its name in statements.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RowCount => "rowCount",
            Self::NullValues => "nullValues",
            Self::MissingValues(_) => "missingValues",
            Self::InvalidValues { .. } => "invalidValues",
            Self::DuplicateValues(_) => "duplicateValues",
            Self::Sql { .. } => "sql",
            Self::Freshness => "freshness",
            Self::Retention => "retention",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// Every promise of a public contract that has a number: keys, quality rules,
/// freshness and retention (`spec/3-catalog.md#C-98`).
pub fn promises(contract: &Value) -> Vec<Promise> {
    let mut found = Found::default();
    for table in list(contract, "schema") {
        found.table(table);
    }
    for level in list(contract, "slaProperties") {
        found.service_level(level, contract);
    }
    found.promises
}

/// The column of `table` whose freshness is promised, if `terms` show its true
/// values.
pub fn freshness(descriptor: &Descriptor, table: &Table, terms: &TableTerms) -> Option<String> {
    let promises = promises(&descriptor.contract).into_iter();
    let mut columns = promises.filter_map(|promise| {
        let (of, column) = promise.target.parts();
        let fresh = promise.metric == Metric::Freshness && of == table.name.as_str();
        column.filter(|_| fresh).map(str::to_owned)
    });
    columns.find(|column| terms.shows(column))
}

#[derive(Default)]
struct Found {
    promises: Vec<Promise>,
    ids: BTreeSet<String>,
}

impl Found {
    fn table(&mut self, table: &Value) {
        let name = text(table, "name").unwrap_or_default();
        let mut keys: Vec<(u64, &str)> = Vec::new();
        let columns = list(table, "properties");
        for column in columns {
            if column["primaryKey"] == true {
                let position = column["primaryKeyPosition"].as_u64().unwrap_or_default();
                keys.push((position, text(column, "name").unwrap_or_default()));
            }
        }
        keys.sort_by_key(|(position, _)| *position);
        let keys: Vec<String> = keys.into_iter().map(|(_, name)| name.to_owned()).collect();
        for column in columns {
            let of = text(column, "name").unwrap_or_default();
            let target = Target::of(name, Some(of));
            if column["required"] == true || column["primaryKey"] == true {
                self.none(format!("{name}.{of}.required"), &target, Metric::NullValues);
            }
            let alone = keys.len() == 1 && column["primaryKey"] == true;
            if column["unique"] == true || alone {
                let key = Metric::DuplicateValues(vec![of.to_owned()]);
                self.none(format!("{name}.{of}.unique"), &target, key);
            }
            for (index, rule) in list(column, "quality").iter().enumerate() {
                self.rule(rule, index, name, Some(of));
            }
        }
        if keys.len() > 1 {
            let target = Target::of(name, None);
            let key = Metric::DuplicateValues(keys);
            self.none(format!("{name}.primaryKey"), &target, key);
        }
        for (index, rule) in list(table, "quality").iter().enumerate() {
            self.rule(rule, index, name, None);
        }
    }

    /// A promise that something does not occur.
    fn none(&mut self, id: String, target: &Target, metric: Metric) {
        self.push(Promise {
            id,
            target: target.clone(),
            metric,
            percent: false,
            threshold: Some(Threshold::none()),
            severity: None,
        });
    }

    fn rule(&mut self, rule: &Value, index: usize, table: &str, column: Option<&str>) {
        let unit = text(rule, "unit").unwrap_or_default().to_lowercase();
        let (metric, threshold) = match text(rule, "type").unwrap_or("library") {
            "library" => (library(rule, column), Threshold::of(rule)),
            // How a rule in SQL looks in public. One in another tool's language
            // looks the same and has no query at home.
            "text" => match comity_threshold(rule) {
                Some(threshold) => (Metric::Sql { index }, Threshold::of(threshold)),
                None => return,
            },
            _ => return,
        };
        let percent = matches!(unit.as_str(), "percent" | "percentage" | "%");
        let threshold = match threshold {
            Ok(Some(threshold)) => Some(threshold),
            // Without an operator nothing is promised.
            Ok(None) => return,
            Err(NotAThreshold) => None,
        };
        let place = column.map_or_else(|| table.to_owned(), |column| format!("{table}.{column}"));
        let derived = format!("{place}.quality.{index}");
        self.push(Promise {
            id: self.own(text(rule, "id"), derived),
            target: Target::of(table, column),
            metric,
            percent,
            threshold,
            severity: text(rule, "severity").map(str::to_owned),
        });
    }

    /// `freshness` and `retention` of a column, in the units of the
    /// `datacontract` command.
    fn service_level(&mut self, level: &Value, contract: &Value) {
        let property = text(level, "property").unwrap_or_default();
        let metric = match property {
            "freshness" => Metric::Freshness,
            "retention" => Metric::Retention,
            _ => return,
        };
        let element = text(level, "element").unwrap_or_default();
        let Some((table, column)) = element.split_once('.') else {
            return;
        };
        let known = list(contract, "schema").iter().any(|t| {
            let columns = list(t, "properties");
            text(t, "name") == Some(table)
                && columns.iter().any(|c| text(c, "name") == Some(column))
        });
        if !known {
            return;
        }
        let seconds = match metric {
            Metric::Freshness => duration::freshness(&level["value"], text(level, "unit")),
            _ => duration::retention(&level["value"], text(level, "unit")),
        };
        let derived = format!("{table}.{column}.{property}");
        self.push(Promise {
            id: self.own(text(level, "id"), derived),
            target: Target::of(table, Some(column)),
            metric,
            percent: false,
            threshold: seconds.map(|seconds| Threshold::below(seconds as f64)),
            severity: None,
        });
    }

    /// The author's id, unless it is used twice or is no line of text.
    fn own(&self, id: Option<&str>, derived: String) -> String {
        let free = |id: &&str| is_id(id) && !self.ids.contains(*id);
        id.filter(free).map_or(derived, str::to_owned)
    }

    fn push(&mut self, promise: Promise) {
        self.ids.insert(promise.id.clone());
        self.promises.push(promise);
    }
}

/// The metric of a library rule, where it means something.
fn library(rule: &Value, column: Option<&str>) -> Metric {
    let arguments = &rule["arguments"];
    let values = |name: &str| arguments[name].as_array().cloned();
    let metric = text(rule, "metric").or_else(|| text(rule, "rule"));
    let percent = text(rule, "unit").is_some_and(|u| u.to_lowercase().starts_with("percent"));
    match (metric.unwrap_or_default(), column) {
        ("rowCount" | "duplicateValues", _) if percent => {
            Metric::Unknown("a share in percent is counted of nulls, missing and invalid values")
        }
        ("rowCount", None) => Metric::RowCount,
        ("nullValues", Some(_)) => Metric::NullValues,
        ("missingValues", Some(_)) => {
            Metric::MissingValues(values("missingValues").unwrap_or_default())
        }
        ("invalidValues", Some(_)) => {
            let (values, pattern) = (values("validValues"), arguments["pattern"].as_str());
            if values.is_none() && pattern.is_none() {
                return Metric::Unknown("invalidValues needs validValues or a pattern");
            }
            Metric::InvalidValues {
                values,
                pattern: pattern.map(str::to_owned),
            }
        }
        ("duplicateValues", Some(column)) => Metric::DuplicateValues(vec![column.to_owned()]),
        ("duplicateValues", None) => {
            let names = values("properties").unwrap_or_default();
            let names: Vec<String> = names
                .iter()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect();
            if names.is_empty() {
                return Metric::Unknown("duplicateValues of a table needs arguments.properties");
            }
            Metric::DuplicateValues(names)
        }
        _ => Metric::Unknown("the metric is not known, or means nothing at this place"),
    }
}

/// The operators of a rule whose text is private.
fn comity_threshold(rule: &Value) -> Option<&Value> {
    let mut entries = list(rule, "customProperties").iter();
    let entry = entries.find(|e| e["property"] == "comityThreshold")?;
    entry.get("value")
}

pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let list = value.get(key).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

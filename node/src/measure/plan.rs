//! Which statements measure which promises.
//!
//! Rows, nulls and moments of a table come from one aggregate over plain
//! columns, which a warehouse can answer itself; everything else is a count of
//! its own. No statement brings rows here.

use std::collections::{BTreeMap, BTreeSet};

use comity_protocol::product::{ColumnType, Descriptor};
use serde_json::Value;

use super::promise::{Metric, Promise, list, text};
use crate::products::SqlRule;
use crate::query::{TableName, identifier, text as literal_text};

/// Aggregates in one statement.
const MAX_AGGREGATES: usize = 200;

/// Something that a statement finds out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fact {
    /// The rows of a table.
    Rows(String),
    /// The values of a column that are not null.
    Filled(String, String),
    /// The first moment in a column.
    Earliest(String, String),
    /// The last moment in a column.
    Latest(String, String),
    /// About how many different values a column has.
    Distinct(String, String),
    /// The number of the promise at this place.
    Of(usize),
}

/// One statement of one row, and what its columns are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) facts: Vec<Fact>,
}

/// The statements of a product, and the promises that none can measure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) queries: Vec<Query>,
    pub(super) unplanned: BTreeMap<usize, String>,
}

/// Plans the promises of `descriptor`, a product of the organization `alias`,
/// with the private text of its rules in SQL.
pub(super) fn plan(
    alias: &str,
    descriptor: &Descriptor,
    promises: &[Promise],
    rules: &[SqlRule],
) -> Plan {
    let mut plan = Plan::default();
    let mut columns: BTreeMap<String, BTreeSet<Fact>> = BTreeMap::new();
    for table in &descriptor.tables {
        let extents = table
            .columns
            .iter()
            .filter(|c| may_be_told(descriptor, table.name.as_str(), &c.name));
        let of = |name: &String| (table.name.to_string(), name.clone());
        let both = extents.flat_map(|c| {
            let ((t, c), (u, d)) = (of(&c.name), of(&c.name));
            [Fact::Earliest(t, c), Fact::Latest(u, d)]
        });
        let counted = table.columns.iter().map(|c| &c.name);
        let counted = counted.filter(|c| is_counted(descriptor, table.name.as_str(), c));
        // Apart: no source computes it, and the others are counted where they are.
        plan.queries.extend(counted.map(|column| {
            let quoted = identifier(column);
            let from = from(alias, descriptor, table.name.as_str());
            let (table, column) = of(column);
            Query {
                sql: format!("SELECT approx_distinct({quoted}) AS c0 FROM {from}"),
                facts: vec![Fact::Distinct(table, column)],
            }
        }));
        columns.insert(table.name.to_string(), both.collect());
    }
    for (at, promise) in promises.iter().enumerate() {
        match want(alias, descriptor, promise, at, rules) {
            Ok(Want::Column(fact)) => {
                let table = promise.target.parts().0.to_owned();
                columns.entry(table).or_default().insert(fact);
            }
            Ok(Want::Rows) => {}
            Ok(Want::Query(sql)) => plan.queries.push(Query {
                sql,
                facts: vec![Fact::Of(at)],
            }),
            Err(reason) => {
                plan.unplanned.insert(at, reason);
            }
        }
    }
    for (table, facts) in columns {
        let facts: Vec<Fact> = facts.into_iter().collect();
        let mut chunks: Vec<&[Fact]> = facts.chunks(MAX_AGGREGATES).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        let queries = chunks
            .into_iter()
            .map(|facts| overview(&from(alias, descriptor, &table), &table, facts));
        plan.queries.splice(0..0, queries);
    }
    plan
}

/// What a promise needs.
enum Want {
    /// The number of rows, which every overview has.
    Rows,
    /// A fact of the table's overview.
    Column(Fact),
    /// A statement of its own.
    Query(String),
}

fn want(
    alias: &str,
    descriptor: &Descriptor,
    promise: &Promise,
    at: usize,
    rules: &[SqlRule],
) -> Result<Want, String> {
    if promise.threshold.is_none() {
        return Err("what it must be is not a number, or not in a known unit".to_owned());
    }
    let (table, column) = promise.target.parts();
    let shape = descriptor.tables.iter().find(|t| t.name.as_str() == table);
    let shape = shape.ok_or("no such table is served")?;
    let served = |name: &str| match shape.columns.iter().find(|c| c.name == name) {
        Some(column) => Ok(&column.kind),
        None => Err(format!("no such column is served: {name}")),
    };
    let kind = column.map(served).transpose()?;
    let of = column.unwrap_or_default();
    let column_of = || (table.to_owned(), of.to_owned());
    let from = from(alias, descriptor, table);
    let quoted = identifier(of);
    Ok(match &promise.metric {
        Metric::RowCount => Want::Rows,
        Metric::NullValues => {
            let (table, column) = column_of();
            Want::Column(Fact::Filled(table, column))
        }
        Metric::Freshness | Metric::Retention => {
            if !kind.is_some_and(|kind| is_moment(kind) || *kind == ColumnType::Date32) {
                return Err("it is not a column of timestamps or dates".to_owned());
            }
            let (table, column) = column_of();
            Want::Column(match promise.metric {
                Metric::Freshness => Fact::Latest(table, column),
                _ => Fact::Earliest(table, column),
            })
        }
        Metric::MissingValues(values) => {
            let values = literals(values)?;
            let among = if values.is_empty() {
                String::new()
            } else {
                format!(" OR {quoted} IN ({values})")
            };
            Want::Query(format!(
                "SELECT count(*) AS n FROM {from} WHERE {quoted} IS NULL{among}"
            ))
        }
        Metric::InvalidValues { values, pattern } => {
            let mut valid = Vec::new();
            if let Some(values) = values {
                let values = literals(values)?;
                // Of no valid values every value is an invalid one.
                valid.push(match values.is_empty() {
                    true => "false".to_owned(),
                    false => format!("{quoted} IN ({values})"),
                });
            }
            if let Some(pattern) = pattern {
                let pattern = literal_text(pattern);
                valid.push(format!("regexp_like(CAST({quoted} AS VARCHAR), {pattern})"));
            }
            let valid = valid.join(" AND ");
            Want::Query(format!(
                "SELECT count(*) AS n FROM {from} WHERE {quoted} IS NOT NULL AND NOT ({valid})"
            ))
        }
        Metric::DuplicateValues(keys) => {
            for key in keys {
                served(key)?;
            }
            let keys: Vec<String> = keys.iter().map(|key| identifier(key)).collect();
            let (list, known) = (keys.join(", "), keys.join(" IS NOT NULL AND "));
            Want::Query(format!(
                "SELECT count(*) AS n FROM (SELECT {list} FROM {from} WHERE {known} IS NOT NULL \
                 GROUP BY {list} HAVING count(*) > 1) AS twice"
            ))
        }
        Metric::Sql { index } => {
            let rule = rules.iter().find(|rule| {
                rule.table == table && rule.column.as_deref() == column && rule.index == *index
            });
            let rule = rule.ok_or("it is a rule for another tool")?;
            Want::Query(rule.statement(alias, descriptor.product.as_str()))
        }
        Metric::Unknown(why) => return Err(format!("{why} (promise {at})")),
    })
}

/// Rows, and these facts, of one table.
fn overview(from: &str, table: &str, facts: &[Fact]) -> Query {
    let mut select = vec!["count(*) AS c0".to_owned()];
    for (at, fact) in facts.iter().enumerate() {
        let at = at + 1;
        select.extend(match fact {
            Fact::Filled(_, column) => Some(format!("count({}) AS c{at}", identifier(column))),
            Fact::Earliest(_, column) => Some(format!("min({}) AS c{at}", identifier(column))),
            Fact::Latest(_, column) => Some(format!("max({}) AS c{at}", identifier(column))),
            Fact::Rows(_) | Fact::Distinct(..) | Fact::Of(_) => None,
        });
    }
    let rows = std::iter::once(Fact::Rows(table.to_owned()));
    Query {
        sql: format!("SELECT {} FROM {from}", select.join(", ")),
        facts: rows.chain(facts.iter().cloned()).collect(),
    }
}

/// The table's full name in the view of a measurement.
fn from(alias: &str, descriptor: &Descriptor, table: &str) -> String {
    TableName {
        catalog: alias.to_owned(),
        schema: descriptor.product.to_string(),
        table: table.to_owned(),
    }
    .to_string()
}

/// Values of a contract as SQL; nulls are counted on their own.
fn literals(values: &[Value]) -> Result<String, String> {
    let known = values.iter().filter(|v| !v.is_null());
    let written = known.map(|value| match value {
        Value::String(value) => Ok(literal_text(value)),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        _ => Err("a value of the rule is a list or an object".to_owned()),
    });
    Ok(written.collect::<Result<Vec<_>, _>>()?.join(", "))
}

fn is_moment(kind: &ColumnType) -> bool {
    matches!(
        kind,
        ColumnType::TimestampMicros | ColumnType::TimestampMicrosUtc
    )
}

/// Whether the first and last moment of a column, and so its age, may be told
/// to everybody who sees the product (`spec/3-catalog.md#C-100`): it has
/// timestamps, is offered without a mask, in no role masked, and not classified
/// as more than internal. Moments of persons, such as births, are dates as a
/// rule, and not told at all.
pub(super) fn may_be_told(descriptor: &Descriptor, table: &str, column: &str) -> bool {
    let mut shapes = descriptor.tables.iter();
    let shape = shapes.find(|t| t.name.as_str() == table);
    let shape = shape.and_then(|t| t.columns.iter().find(|c| c.name == column));
    let timestamps = shape.is_some_and(|c| is_moment(&c.kind));
    // What is offered to nobody is told to nobody.
    let offered = descriptor.offer.as_ref().is_some_and(|offer| {
        let terms = offer.tables.get(table);
        terms.is_some_and(|t| t.columns.contains(column) && !t.masks.contains_key(column))
    });
    let contract = &descriptor.contract;
    let Some(property) = property(contract, table, column) else {
        return false;
    };
    let class = text(property, "classification").map(str::to_lowercase);
    let open = class.is_none_or(|class| matches!(class.as_str(), "public" | "internal"));
    let masks = list(property, "customProperties").iter();
    let masked = masks.into_iter().any(|p| p["property"] == "comityMask");
    let id = text(property, "id").unwrap_or(column);
    // Wherever a role's restrictions name it, it is not for everybody.
    let roles = list(contract, "roles").iter();
    let restricted = roles
        .flat_map(|role| list(role, "customProperties"))
        .filter(|p| p["property"] == "comityReadRestrictions")
        .any(|p| names(&p["value"], id) || names(&p["value"], column));
    timestamps && offered && open && !masked && !restricted
}

/// Whether the owner tells about how many different values a column has
/// (`spec/3-catalog.md#C-106`).
pub(super) fn is_counted(descriptor: &Descriptor, table: &str, column: &str) -> bool {
    let property = property(&descriptor.contract, table, column);
    let all = property.map_or(&[][..], |p| list(p, "customProperties"));
    all.iter()
        .any(|p| p["property"] == "comityDistinct" && p["value"] == true)
}

/// What the contract says of a column.
fn property<'a>(contract: &'a Value, table: &str, column: &str) -> Option<&'a Value> {
    let mut tables = list(contract, "schema").iter();
    let object = tables.find(|t| text(t, "name") == Some(table))?;
    let mut columns = list(object, "properties").iter();
    columns.find(|c| text(c, "name") == Some(column))
}

/// Whether `name` is the column of a projection anywhere in `value`.
fn names(value: &Value, name: &str) -> bool {
    match value {
        Value::Object(entries) => {
            text(value, "property-id") == Some(name) || entries.values().any(|v| names(v, name))
        }
        Value::Array(items) => items.iter().any(|v| names(v, name)),
        _ => false,
    }
}

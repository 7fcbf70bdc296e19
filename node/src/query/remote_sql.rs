//! The SQL text a partner is asked: written here, never by an unparser.

use std::fmt::Write;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::logical_expr::{Expr, Operator};
use datafusion::scalar::ScalarValue;

use super::RemoteTable;
use super::predicate::leak_proof;
use super::predicate_sql::{self, Dialect, identifier, text};
use super::pushdown::Grouping;

/// The most text of one pushed predicate, in bytes: with [`MAX_TEXT`] in all,
/// a quarter of what the partner's gate reads.
const MAX_PREDICATE_TEXT: usize = 4 * 1024;
/// The most text of all predicates together, in bytes.
pub(crate) const MAX_TEXT: usize = 16 * 1024;
/// The most operators that one predicate may cost at the partner's gate.
const MAX_PREDICATE_OPERATORS: usize = 64;

/// One predicate as SQL, if it is simple enough to travel.
pub(crate) fn predicate(expr: &Expr, schema: &Schema) -> Option<String> {
    if !leak_proof(expr, schema, &|_| true) {
        return None;
    }
    let (sql, operators) = predicate_sql::write(expr, &Gate)?;
    (sql.len() <= MAX_PREDICATE_TEXT && operators <= MAX_PREDICATE_OPERATORS).then_some(sql)
}

/// The statement for one scan (`spec/5-data-plane.md#D-10`). No column at all is asked as the constant 1, so
/// that the answer still has its rows.
pub(crate) fn select(
    table: &RemoteTable,
    schema: &Schema,
    predicates: &[String],
    limit: Option<usize>,
) -> String {
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .map(|f| identifier(f.name()))
        .collect();
    let columns = if columns.is_empty() {
        "1 AS \"one\"".to_owned()
    } else {
        columns.join(", ")
    };
    let mut sql = from(&columns, table, predicates);
    if let Some(limit) = limit {
        let _ = write!(sql, " LIMIT {limit}");
    }
    sql
}

/// The statement for the groups of one table (`spec/5-data-plane.md#D-158`).
pub(crate) fn group(table: &RemoteTable, grouping: &Grouping, predicates: &[String]) -> String {
    let keys: Vec<_> = grouping.keys.iter().map(|key| identifier(key)).collect();
    let measures = grouping.measures.iter().map(|measure| {
        let column = measure.column.as_deref();
        let column = column.map_or_else(|| "*".to_owned(), identifier);
        format!("{}({column})", measure.function.name())
    });
    let named: Vec<_> = keys
        .iter()
        .cloned()
        .chain(measures)
        .enumerate()
        .map(|(i, value)| format!("{value} AS \"c{i}\""))
        .collect();
    let mut sql = from(&named.join(", "), table, predicates);
    if !keys.is_empty() {
        let _ = write!(sql, " GROUP BY {}", keys.join(", "));
    }
    sql
}

fn from(columns: &str, table: &RemoteTable, predicates: &[String]) -> String {
    let mut sql = format!("SELECT {columns} FROM {}", address(table));
    for (i, predicate) in predicates.iter().enumerate() {
        let _ = write!(
            sql,
            " {} ({predicate})",
            if i == 0 { "WHERE" } else { "AND" }
        );
    }
    sql
}

/// What a table is called in a statement to its owner.
pub(crate) fn address(table: &RemoteTable) -> String {
    let (product, table) = (identifier(&table.product), identifier(&table.table));
    format!("{product}.{table}")
}

/// The SQL of the gate at the partner.
struct Gate;

impl Dialect for Gate {
    fn column(&self, name: &str) -> Option<String> {
        Some(identifier(name))
    }

    fn comparison(&self, name: &str, op: Operator, value: &ScalarValue) -> Option<String> {
        Some(format!("{} {op} {}", identifier(name), literal(value)?))
    }

    fn membership(&self, name: &str, values: &[&ScalarValue], negated: bool) -> Option<String> {
        let values = values.iter().map(|v| literal(v));
        let values = values.collect::<Option<Vec<_>>>()?.join(", ");
        let not = if negated { "NOT " } else { "" };
        Some(format!("{} {not}IN ({values})", identifier(name)))
    }
}

/// A literal in exactly its type, so that the partner compares without a cast of the column.
pub(super) fn literal(value: &ScalarValue) -> Option<String> {
    let as_text = || match value.cast_to(&DataType::Utf8) {
        Ok(ScalarValue::Utf8(Some(text))) => Some(text),
        _ => None,
    };
    match value {
        ScalarValue::Boolean(Some(b)) => return Some(if *b { "TRUE" } else { "FALSE" }.to_owned()),
        ScalarValue::Int64(Some(n)) if *n >= 0 => return Some(n.to_string()),
        ScalarValue::Utf8(Some(s)) => return Some(text(s)),
        // Not a number and infinity have no literal.
        ScalarValue::Float32(Some(f)) if !f.is_finite() => return None,
        ScalarValue::Float64(Some(f)) if !f.is_finite() => return None,
        _ => {}
    }
    let data_type = value.data_type();
    let name = type_name(&data_type)?;
    let shown = match value {
        ScalarValue::Float32(Some(f)) => format!("{f:?}"),
        ScalarValue::Float64(Some(f)) => format!("{f:?}"),
        _ => as_text()?,
    };
    // Only what reads back as the same value may travel.
    let back = ScalarValue::try_from_string(shown.clone(), &data_type).ok()?;
    (back == *value).then(|| format!("arrow_cast({}, {})", text(&shown), text(&name)))
}

/// The name of a type as `arrow_cast` reads it; `None` for one that does not travel.
pub(super) fn type_name(data_type: &DataType) -> Option<String> {
    Some(match data_type {
        t if t.is_integer() => t.to_string(),
        DataType::Boolean
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32
        | DataType::Utf8
        | DataType::LargeUtf8 => data_type.to_string(),
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            format!("Decimal128({precision}, {scale})")
        }
        DataType::Timestamp(unit, zone) => {
            let unit = match unit {
                TimeUnit::Second => "Second",
                TimeUnit::Millisecond => "Millisecond",
                TimeUnit::Microsecond => "Microsecond",
                TimeUnit::Nanosecond => "Nanosecond",
            };
            match zone.as_deref() {
                None => format!("Timestamp({unit}, None)"),
                Some(zone @ ("UTC" | "+00:00")) => format!("Timestamp({unit}, Some(\"{zone}\"))"),
                Some(_) => return None,
            }
        }
        _ => return None,
    })
}

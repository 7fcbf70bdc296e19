//! The SQL that a Flight SQL server is asked, written here.
//!
//! The engine behind it may be any. Handed down is what every engine answers
//! alike, and what an engine answers with too many rows at most, which are
//! judged again here (`spec/5-data-plane.md#D-154`). Texts of a caller travel
//! only if no engine reads anything but a text in them (A28).

use std::fmt::Write as _;

use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::{Expr, Operator, TableProviderFilterPushDown};
use datafusion::scalar::ScalarValue;

use crate::products::FlightSqlDialect;
use crate::query::{
    Dialect, Function, Grouping, Measure, identifier, leak_proof, predicate_text, remote_predicate,
    text,
};

/// The most text of all predicates of a statement together, in bytes.
pub(super) const MAX_TEXT: usize = 16 * 1024;
/// The longest text of a caller that travels, in bytes.
const MAX_LITERAL: usize = 1024;

/// The columns of a table: as the server has them, and as they are read.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) stored: Schema,
    pub(super) read: arrow::datatypes::SchemaRef,
    pub(super) dialect: FlightSqlDialect,
}

/// A predicate as the server is asked, and what its answer is worth
/// (`spec/5-data-plane.md#D-195`).
pub(super) fn predicate(
    expr: &Expr,
    columns: &Columns,
) -> Option<(String, TableProviderFilterPushDown)> {
    use TableProviderFilterPushDown::{Exact, Inexact};
    if !leak_proof(expr, &columns.read, &|_| true) {
        return None;
    }
    let written = |wide| predicate_text(expr, &Plain { columns, wide }).map(|(sql, _)| sql);
    let same = || match columns.dialect {
        FlightSqlDialect::DataFusion if columns.as_stored(expr) => {
            remote_predicate(expr, &columns.read)
        }
        _ => None,
    };
    let found = same()
        .or_else(|| written(false))
        .map(|sql| (sql, Exact))
        // Too many rows of what is negated are too few.
        .or_else(|| {
            (!negates(expr))
                .then(|| written(true))
                .flatten()
                .map(|sql| (sql, Inexact))
        });
    found.filter(|(sql, _)| sql.len() <= MAX_TEXT)
}

fn negates(expr: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode as _;
    expr.exists(|e| Ok(matches!(e, Expr::Not(_))))
        .unwrap_or(true)
}

/// `SELECT columns FROM table WHERE … LIMIT n`. No column at all is asked as the
/// constant 1, so that the answer still has its rows.
pub(super) fn select<'a>(
    columns: impl IntoIterator<Item = &'a str>,
    table: &str,
    predicates: &[String],
    limit: Option<usize>,
) -> String {
    let columns: Vec<_> = columns.into_iter().map(identifier).collect();
    let columns = match columns.is_empty() {
        true => "1 AS \"one\"".to_owned(),
        false => columns.join(", "),
    };
    let mut sql = from(&columns, table, predicates);
    if let Some(limit) = limit {
        // Writing to a string cannot fail.
        let _ = write!(sql, " LIMIT {limit}");
    }
    sql
}

/// The groups of a table, for a server that computes each exactly as this node
/// does; else why they are computed here (`spec/5-data-plane.md#D-195`).
pub(super) fn group(
    grouping: &Grouping,
    columns: &Columns,
    table: &str,
    predicates: &[String],
) -> Result<String, String> {
    let same = columns.dialect == FlightSqlDialect::DataFusion;
    for key in &grouping.keys {
        let kind = columns.kind(key);
        let alike = kind.is_some_and(|kind| is_exact(kind) || *kind == DataType::Boolean)
            || (same && columns.is_as_stored(key));
        if !alike {
            return Err(format!("the server may group {key} otherwise"));
        }
    }
    let keys: Vec<_> = grouping.keys.iter().map(|key| identifier(key)).collect();
    let mut values = keys.clone();
    for measure in &grouping.measures {
        values.push(match same {
            true => columns.measure(measure),
            false => columns.plain_measure(measure),
        }?);
    }
    let names = grouping.schema.fields().iter();
    let named: Vec<_> = values
        .iter()
        .zip(names)
        .map(|(value, field)| format!("{value} AS {}", identifier(field.name())))
        .collect();
    let mut sql = from(&named.join(", "), table, predicates);
    if !keys.is_empty() {
        let _ = write!(sql, " GROUP BY {}", keys.join(", "));
    }
    Ok(sql)
}

fn called(measure: &Measure) -> String {
    let column = measure.column.as_deref();
    let column = column.map_or_else(|| "*".to_owned(), identifier);
    format!("{}({column})", measure.function.name())
}

fn otherwise(sql: &str) -> String {
    format!("the server may compute {sql} otherwise")
}

fn from(columns: &str, table: &str, predicates: &[String]) -> String {
    let mut sql = format!("SELECT {columns} FROM {table}");
    for (i, predicate) in predicates.iter().enumerate() {
        let word = if i == 0 { "WHERE" } else { "AND" };
        let _ = write!(sql, " {word} ({predicate})");
    }
    sql
}

impl Columns {
    fn kind(&self, name: &str) -> Option<&DataType> {
        let field = self.read.field_with_name(name).ok()?;
        Some(field.data_type())
    }

    fn is_as_stored(&self, name: &str) -> bool {
        let stored = self.stored.field_with_name(name);
        stored.is_ok_and(|f| Some(f.data_type()) == self.kind(name))
    }

    /// An aggregate of the engine that this node has as well.
    fn measure(&self, measure: &Measure) -> Result<String, String> {
        let kind = measure.column.as_ref().and_then(|c| self.kind(c));
        let exact = match measure.function {
            // Every value is one, of whatever type.
            Function::Count => measure.column.is_none() || kind.is_some(),
            Function::Min | Function::Max => kind.is_some_and(is_exact),
            Function::Sum => kind.is_some_and(DataType::is_integer),
            Function::Avg => false,
        };
        let sql = called(measure);
        exact.then(|| sql.clone()).ok_or_else(|| otherwise(&sql))
    }

    /// An aggregate of any engine. The type of its result, unlike the result, may
    /// be the engine's own choice, so it is asked for; and there is none for a sum
    /// that every engine has room in.
    fn plain_measure(&self, measure: &Measure) -> Result<String, String> {
        let sql = called(measure);
        let kind = match (measure.function, &measure.column) {
            (Function::Count, _) => Some(&DataType::Int64),
            (Function::Min | Function::Max, Some(column)) => self.kind(column),
            _ => None,
        };
        let kind = match kind {
            Some(DataType::Int16) => "SMALLINT".to_owned(),
            Some(DataType::Int32) => "INTEGER".to_owned(),
            Some(DataType::Int64) => "BIGINT".to_owned(),
            Some(DataType::Date32) => "DATE".to_owned(),
            Some(DataType::Decimal128(precision, scale)) => {
                format!("DECIMAL({precision}, {scale})")
            }
            _ => return Err(otherwise(&sql)),
        };
        Ok(format!("CAST({sql} AS {kind})"))
    }

    fn as_stored(&self, expr: &Expr) -> bool {
        expr.column_refs()
            .iter()
            .all(|c| self.is_as_stored(&c.name))
    }
}

/// Types whose values are equal, and in order, in every engine alike.
fn is_exact(kind: &DataType) -> bool {
    kind.is_integer() || matches!(kind, DataType::Decimal128(..) | DataType::Date32)
}

/// What the standard says, of an engine of which nothing is known.
struct Plain<'a> {
    columns: &'a Columns,
    /// Whether the answer may have rows more than it should: under a collation
    /// `=` holds for texts that differ, but never fails for equal ones.
    wide: bool,
}

impl Dialect for Plain<'_> {
    fn column(&self, name: &str) -> Option<String> {
        self.columns.kind(name).map(|_| identifier(name))
    }

    fn comparison(&self, name: &str, op: Operator, value: &ScalarValue) -> Option<String> {
        let value = match self.columns.kind(name)? {
            kind if is_exact(kind) => literal(value)?,
            DataType::Utf8 if self.wide && op == Operator::Eq => string(value)?,
            _ => return None,
        };
        let sign = match op {
            Operator::NotEq => "<>".to_owned(),
            op => op.to_string(),
        };
        Some(format!("{} {sign} {value}", identifier(name)))
    }

    fn membership(&self, name: &str, values: &[&ScalarValue], negated: bool) -> Option<String> {
        let write = match self.columns.kind(name)? {
            kind if is_exact(kind) => literal,
            DataType::Utf8 if self.wide && !negated => string,
            _ => return None,
        };
        let values = values.iter().map(|v| write(v));
        let values = values.collect::<Option<Vec<_>>>()?.join(", ");
        let not = if negated { "NOT " } else { "" };
        Some(format!("{} {not}IN ({values})", identifier(name)))
    }
}

/// A value of an exact type.
fn literal(value: &ScalarValue) -> Option<String> {
    let kind = value.data_type();
    let Ok(ScalarValue::Utf8(Some(shown))) = value.cast_to(&DataType::Utf8) else {
        return None;
    };
    // Only what reads back as the same value may travel.
    let back = ScalarValue::try_from_string(shown.clone(), &kind).ok()?;
    if back != *value {
        return None;
    }
    match &kind {
        kind if kind.is_integer() => {
            // Its digits without the sign must be an integer of 64 bits, too.
            shown.trim_start_matches('-').parse::<i64>().ok()?;
            Some(match shown.starts_with('-') {
                true => format!("({shown})"),
                false => shown,
            })
        }
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            Some(format!("CAST('{shown}' AS DECIMAL({precision}, {scale}))"))
        }
        // Four digits of a year after Christ: other years are written otherwise.
        DataType::Date32 if shown.len() == 10 && !shown.starts_with(['-', '+']) => {
            (!shown.starts_with("0000")).then(|| format!("CAST('{shown}' AS DATE)"))
        }
        _ => None,
    }
}

/// A text in which no engine sees an end, an escape or a variable.
fn string(value: &ScalarValue) -> Option<String> {
    let ScalarValue::Utf8(Some(s)) = value else {
        return None;
    };
    let plain = |c: char| c.is_alphanumeric() || " _-.,/()+".contains(c);
    (s.len() <= MAX_LITERAL && s.chars().all(plain)).then(|| text(s))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, TimeUnit};
    use datafusion::logical_expr::{col, lit};
    use datafusion::scalar::ScalarValue as V;

    use super::*;

    fn columns(dialect: FlightSqlDialect) -> Columns {
        let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let stored = [
            ("i", DataType::Int64),
            ("u", DataType::UInt64),
            ("d", DataType::Decimal128(10, 2)),
            ("day", DataType::Date32),
            ("s", DataType::LargeUtf8),
            ("f", DataType::Float64),
            ("b", DataType::Boolean),
            ("t", nanos),
        ];
        let fields = |read: &dyn Fn(&DataType) -> DataType| {
            let fields = stored.iter().map(|(n, k)| Field::new(*n, read(k), true));
            Schema::new(fields.collect::<Vec<_>>())
        };
        Columns {
            stored: fields(&Clone::clone),
            read: Arc::new(fields(&crate::sources::wire::plain)),
            dialect,
        }
    }

    #[test]
    fn an_unknown_engine_is_asked_what_all_answer_alike() {
        use TableProviderFilterPushDown::{Exact, Inexact};
        let decimal = lit(V::Decimal128(Some(-1_250), 10, 2));
        let day = lit(V::Date32(Some(15_857)));
        for (expr, expected) in [
            (col("i").gt(lit(5_i64)), Some(("\"i\" > 5", Exact))),
            (col("i").lt_eq(lit(-5_i64)), Some(("\"i\" <= (-5)", Exact))),
            (col("i").gt(lit(i64::MIN)), None),
            (col("u").eq(lit(u64::MAX)), None),
            (col("u").eq(lit(7_u64)), Some(("\"u\" = 7", Exact))),
            (
                col("d").not_eq(decimal),
                Some(("\"d\" <> CAST('-12.50' AS DECIMAL(10, 2))", Exact)),
            ),
            (
                col("day").gt_eq(day),
                Some(("\"day\" >= CAST('2013-06-01' AS DATE)", Exact)),
            ),
            (col("day").eq(lit(V::Date32(Some(i32::MAX)))), None),
            (col("b"), Some(("\"b\"", Exact))),
            (col("s").is_null(), Some(("\"s\" IS NULL", Exact))),
            (col("s").eq(lit("a b")), Some(("\"s\" = 'a b'", Inexact))),
            (
                col("s").in_list(vec![lit("a"), lit("é")], false),
                Some(("\"s\" IN ('a', 'é')", Inexact)),
            ),
            (
                col("s").eq(lit("a")).and(col("i").eq(lit(1_i64))),
                Some(("(\"s\" = 'a') AND (\"i\" = 1)", Inexact)),
            ),
            // Where rows more would be rows less, or the order is another one.
            (!col("s").eq(lit("a")), None),
            (col("s").not_eq(lit("a")), None),
            (col("s").in_list(vec![lit("a")], true), None),
            (col("s").gt(lit("a")), None),
            (col("f").gt(lit(1.5)), None),
            (
                col("t").gt(lit(V::TimestampMicrosecond(Some(0), None))),
                None,
            ),
        ] {
            let found = predicate(&expr, &columns(FlightSqlDialect::Plain));
            let found = found
                .as_ref()
                .map(|(sql, worth)| (sql.as_str(), worth.clone()));
            assert_eq!(found, expected, "{expr}");
        }
    }

    #[test]
    fn a_text_that_some_engine_reads_otherwise_stays_here() {
        for hostile in [
            "a'b",
            "a''; DROP TABLE t",
            "\\",
            "\"",
            "`",
            "a\0",
            "a\nb",
            "$1",
            "?",
            ":x",
            "%",
            "{d",
            "@v",
            ";",
            "--'",
            "/*'",
        ] {
            let expr = col("s").eq(lit(hostile));
            let found = predicate(&expr, &columns(FlightSqlDialect::Plain));
            assert!(found.is_none(), "{hostile}: {found:?}");
        }
        let long = |n| col("s").eq(lit("x".repeat(n)));
        assert!(predicate(&long(MAX_LITERAL), &columns(FlightSqlDialect::Plain)).is_some());
        assert!(predicate(&long(MAX_LITERAL + 1), &columns(FlightSqlDialect::Plain)).is_none());
    }

    #[test]
    fn the_same_engine_is_asked_what_it_answers_alike_of_columns_as_it_has_them() {
        use TableProviderFilterPushDown::Exact;
        let asked = |expr: &Expr| predicate(expr, &columns(FlightSqlDialect::DataFusion));
        let (sql, worth) = asked(&col("f").gt(lit(1.5))).unwrap();
        assert_eq!((sql.contains("\"f\" >"), worth), (true, Exact));
        // Stored in another type, it is compared in that one.
        assert!(asked(&col("t").gt(lit(V::TimestampMicrosecond(Some(0), None)))).is_none());
    }
}

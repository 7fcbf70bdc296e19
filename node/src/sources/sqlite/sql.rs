//! The SQL that a SQLite file is asked, written here.
//!
//! A column of SQLite may hold a value of any type, and one that is not of the
//! contract's is an error. So it must be an error whatever a caller asks for:
//! each predicate comes with the values that do not fit
//! (`spec/5-data-plane.md#D-197`).

use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::{Expr, Operator};
use datafusion::scalar::ScalarValue;

use crate::query::{Dialect, identifier, leak_proof, predicate_text, text};

/// One predicate as SQL that is true for its rows and for those that do not fit.
pub(super) fn predicate(expr: &Expr, schema: &Schema) -> Option<String> {
    if !leak_proof(expr, schema, &|_| true) {
        return None;
    }
    let (mut sql, _) = predicate_text(expr, &Sqlite { schema })?;
    sql = format!("({sql})");
    let mut columns: Vec<_> = expr.column_refs().into_iter().collect();
    columns.sort();
    for column in columns {
        let field = schema.field_with_name(&column.name).ok()?;
        sql.push_str(&format!(" OR {}", misfit(&column.name, field.data_type())?));
    }
    Some(sql)
}

/// `SELECT columns FROM table WHERE … LIMIT n`. No column at all is asked as the
/// constant 1, so that the answer still has its rows.
pub(super) fn select(
    schema: &Schema,
    table: &str,
    predicates: &[String],
    limit: Option<usize>,
) -> String {
    let columns = schema.fields().iter();
    let columns: Vec<_> = columns.map(|f| identifier(f.name())).collect();
    let columns = match columns.is_empty() {
        true => "1".to_owned(),
        false => columns.join(", "),
    };
    let mut sql = format!("SELECT {columns} FROM {}", identifier(table));
    for (i, predicate) in predicates.iter().enumerate() {
        let word = if i == 0 { "WHERE" } else { "AND" };
        sql.push_str(&format!(" {word} ({predicate})"));
    }
    if let Some(limit) = limit {
        sql.push_str(&format!(" LIMIT {limit}"));
    }
    sql
}

/// What holds for the values that are not of the column's type.
fn misfit(name: &str, kind: &DataType) -> Option<String> {
    let column = identifier(name);
    let other = |class: &str| format!("typeof({column}) NOT IN ('{class}', 'null')");
    let beyond = |low: i64, high: i64| {
        format!(
            "{} OR {column} NOT BETWEEN {low} AND {high}",
            other("integer")
        )
    };
    Some(match kind {
        DataType::Int64 => other("integer"),
        DataType::Int32 => beyond(i32::MIN.into(), i32::MAX.into()),
        DataType::Int16 => beyond(i16::MIN.into(), i16::MAX.into()),
        DataType::Int8 => beyond(i8::MIN.into(), i8::MAX.into()),
        DataType::Utf8 => other("text"),
        _ => return None,
    })
}

struct Sqlite<'a> {
    schema: &'a Schema,
}

impl Sqlite<'_> {
    fn kind(&self, name: &str) -> Option<&DataType> {
        let field = self.schema.field_with_name(name).ok()?;
        Some(field.data_type())
    }
}

impl Dialect for Sqlite<'_> {
    fn column(&self, name: &str) -> Option<String> {
        // Truth of a boolean is asked this way, too: 2 is true there and no boolean here.
        self.kind(name)
            .filter(|kind| **kind != DataType::Boolean)
            .map(|_| identifier(name))
    }

    fn comparison(&self, name: &str, op: Operator, value: &ScalarValue) -> Option<String> {
        let kind = self.kind(name)?;
        // Another encoding than UTF-8 has another order.
        let exact = kind.is_signed_integer() || matches!(op, Operator::Eq | Operator::NotEq);
        let value = exact.then(|| literal(value)).flatten()?;
        let sign = match op {
            Operator::NotEq => "<>".to_owned(),
            op => op.to_string(),
        };
        Some(format!("{} {sign} {value}", compared(name, kind)))
    }

    fn membership(&self, name: &str, values: &[&ScalarValue], negated: bool) -> Option<String> {
        let values = values.iter().map(|v| literal(v));
        let values = values.collect::<Option<Vec<_>>>()?.join(", ");
        let not = if negated { "NOT " } else { "" };
        let column = compared(name, self.kind(name)?);
        Some(format!("{column} {not}IN ({values})"))
    }
}

/// The column without the collation that it may have.
fn compared(name: &str, kind: &DataType) -> String {
    let column = identifier(name);
    match kind {
        DataType::Utf8 => format!("{column} COLLATE BINARY"),
        _ => column,
    }
}

fn literal(value: &ScalarValue) -> Option<String> {
    let number = |n: i64| match n {
        0.. => Some(n.to_string()),
        // Its digits without the sign are no integer.
        i64::MIN => None,
        _ => Some(format!("({n})")),
    };
    match value {
        ScalarValue::Int8(Some(n)) => number((*n).into()),
        ScalarValue::Int16(Some(n)) => number((*n).into()),
        ScalarValue::Int32(Some(n)) => number((*n).into()),
        ScalarValue::Int64(Some(n)) => number(*n),
        ScalarValue::Utf8(Some(s)) if !s.contains('\0') => Some(text(s)),
        _ => None,
    }
}

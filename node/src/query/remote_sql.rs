//! The SQL text a partner is asked: written here, never by an unparser.

use std::fmt::Write;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::scalar::ScalarValue;

use super::RemoteTable;
use super::predicate::{chain, leak_proof, literal_value};

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
    let mut writer = Writer {
        sql: String::new(),
        operators: 0,
    };
    writer.predicate(expr)?;
    (writer.sql.len() <= MAX_PREDICATE_TEXT && writer.operators <= MAX_PREDICATE_OPERATORS)
        .then_some(writer.sql)
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
    let mut sql = format!(
        "SELECT {columns} FROM {}.{}",
        identifier(&table.product),
        identifier(&table.table)
    );
    for (i, predicate) in predicates.iter().enumerate() {
        let _ = write!(
            sql,
            " {} ({predicate})",
            if i == 0 { "WHERE" } else { "AND" }
        );
    }
    if let Some(limit) = limit {
        let _ = write!(sql, " LIMIT {limit}");
    }
    sql
}

struct Writer {
    sql: String,
    operators: usize,
}

impl Writer {
    fn predicate(&mut self, expr: &Expr) -> Option<()> {
        self.operators += 1;
        match expr {
            Expr::BinaryExpr(BinaryExpr {
                op: op @ (Operator::And | Operator::Or),
                ..
            }) => {
                for (i, part) in chain(expr, *op).into_iter().enumerate() {
                    if i > 0 {
                        self.sql.push_str(if *op == Operator::And {
                            " AND "
                        } else {
                            " OR "
                        });
                        self.operators += 1;
                    }
                    self.sql.push('(');
                    self.predicate(part)?;
                    self.sql.push(')');
                }
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                self.operand(left)?;
                let _ = write!(self.sql, " {op} ");
                self.operand(right)?;
            }
            Expr::Not(inner) => {
                self.sql.push_str("NOT (");
                self.predicate(inner)?;
                self.sql.push(')');
            }
            Expr::IsNull(e) => {
                self.operand(e)?;
                self.sql.push_str(" IS NULL");
            }
            Expr::IsNotNull(e) => {
                self.operators += 1;
                self.operand(e)?;
                self.sql.push_str(" IS NOT NULL");
            }
            Expr::InList(list) if !list.list.is_empty() => {
                self.operators += 1;
                self.operand(&list.expr)?;
                self.sql
                    .push_str(if list.negated { " NOT IN (" } else { " IN (" });
                for (i, value) in list.list.iter().enumerate() {
                    if i > 0 {
                        self.sql.push_str(", ");
                    }
                    self.operand(value)?;
                }
                self.sql.push(')');
            }
            Expr::Between(between) => {
                self.operators += 2;
                self.operand(&between.expr)?;
                self.sql.push_str(if between.negated {
                    " NOT BETWEEN "
                } else {
                    " BETWEEN "
                });
                self.operand(&between.low)?;
                self.sql.push_str(" AND ");
                self.operand(&between.high)?;
            }
            Expr::Column(_) => self.operand(expr)?,
            Expr::Literal(ScalarValue::Boolean(None), _) => {
                self.sql.push_str("CAST(NULL AS BOOLEAN)");
            }
            Expr::Literal(..) => self.operand(expr)?,
            _ => return None,
        }
        Some(())
    }

    fn operand(&mut self, expr: &Expr) -> Option<()> {
        // A quoted name counts as a word, a sign of a number as an operator.
        self.operators += 1;
        match expr {
            Expr::Column(c) => self.sql.push_str(&identifier(&c.name)),
            other => self.sql.push_str(&literal(literal_value(other)?)?),
        }
        Some(())
    }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// A literal in exactly its type, so that the partner compares without a cast of the column.
fn literal(value: &ScalarValue) -> Option<String> {
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
    let name = match &data_type {
        t if t.is_integer() => t.to_string(),
        DataType::Float32 | DataType::Float64 | DataType::Date32 | DataType::LargeUtf8 => {
            data_type.to_string()
        }
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
    };
    let shown = match value {
        ScalarValue::Float32(Some(f)) => format!("{f:?}"),
        ScalarValue::Float64(Some(f)) => format!("{f:?}"),
        _ => as_text()?,
    };
    // Only what reads back as the same value may travel.
    let back = ScalarValue::try_from_string(shown.clone(), &data_type).ok()?;
    (back == *value).then(|| format!("arrow_cast({}, {})", text(&shown), text(&name)))
}

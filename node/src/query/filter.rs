//! The row filter of the terms, compiled to an expression typed by its columns.

use arrow::datatypes::{DataType, Schema, TimeUnit};
use comity_protocol::terms::{Comparison, Literal, Predicate, RowFilter};
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, Operator, binary_expr, lit};
use datafusion::scalar::ScalarValue;

use super::QueryError;

/// The deepest row filter that is compiled.
const MAX_DEPTH: usize = 32;
/// Whole numbers up to this size are exact as 64-bit floats.
const EXACT_IN_DOUBLE: u64 = 1 << 53;

/// Compiles a row filter against the schema of its source. Values become
/// literals of the column's own type, never SQL text (A17); a literal that does
/// not fit its column is an error, so that terms fail closed when they are
/// compiled and not when a row is met.
pub(crate) fn compile(filter: &RowFilter, schema: &Schema) -> Result<Expr, QueryError> {
    all(filter.0.iter(), schema, MAX_DEPTH)
}

fn predicate(predicate: &Predicate, schema: &Schema, depth: usize) -> Result<Expr, QueryError> {
    if depth == 0 {
        return Err(QueryError::terms_mismatch(
            "the row filter of the terms is nested too deeply",
        ));
    }
    match predicate {
        Predicate::Compare { column, op, value } => {
            let data_type = type_of(column, schema)?;
            Ok(binary_expr(
                reference(column),
                operator(*op),
                lit(scalar(column, value, data_type)?),
            ))
        }
        Predicate::In { column, values } => {
            let data_type = type_of(column, schema)?;
            if values.is_empty() {
                return Err(QueryError::terms_mismatch(format!(
                    "the row filter names no value for column {column}"
                )));
            }
            let values = values
                .iter()
                .map(|value| Ok(lit(scalar(column, value, data_type)?)))
                .collect::<Result<Vec<_>, QueryError>>()?;
            Ok(reference(column).in_list(values, false))
        }
        Predicate::IsNull { column } => {
            type_of(column, schema)?;
            Ok(reference(column).is_null())
        }
        Predicate::Not(inner) => Ok(Expr::Not(Box::new(self::predicate(
            inner,
            schema,
            depth - 1,
        )?))),
        Predicate::Any(parts) => {
            let mut any = lit(false);
            for (i, part) in parts.iter().enumerate() {
                let part = self::predicate(part, schema, depth - 1)?;
                any = if i == 0 { part } else { any.or(part) };
            }
            Ok(any)
        }
        Predicate::All(parts) => all(parts.iter(), schema, depth - 1),
    }
}

fn all<'a>(
    parts: impl Iterator<Item = &'a Predicate>,
    schema: &Schema,
    depth: usize,
) -> Result<Expr, QueryError> {
    let mut all = lit(true);
    for (i, part) in parts.enumerate() {
        let part = predicate(part, schema, depth)?;
        all = if i == 0 { part } else { all.and(part) };
    }
    Ok(all)
}

fn type_of<'a>(column: &str, schema: &'a Schema) -> Result<&'a DataType, QueryError> {
    schema
        .field_with_name(column)
        .map(|f| f.data_type())
        .map_err(|_| {
            QueryError::terms_mismatch(format!(
                "the terms name the column {column}, which the source does not have"
            ))
        })
}

fn reference(column: &str) -> Expr {
    Expr::Column(Column::new_unqualified(column))
}

fn operator(op: Comparison) -> Operator {
    match op {
        Comparison::Eq => Operator::Eq,
        Comparison::NotEq => Operator::NotEq,
        Comparison::Lt => Operator::Lt,
        Comparison::LtEq => Operator::LtEq,
        Comparison::Gt => Operator::Gt,
        Comparison::GtEq => Operator::GtEq,
    }
}

fn scalar(column: &str, value: &Literal, data_type: &DataType) -> Result<ScalarValue, QueryError> {
    let data_type = match data_type {
        DataType::Dictionary(_, inner) => inner.as_ref(),
        other => other,
    };
    let misfit = || {
        QueryError::terms_mismatch(format!(
            "the row filter compares column {column} ({data_type}) with a value of another type or range"
        ))
    };
    let parse = |text: String| match ScalarValue::try_from_string(text, data_type) {
        Ok(value) if !value.is_null() => Ok(value),
        _ => Err(misfit()),
    };
    match (value, data_type) {
        (Literal::Bool(value), DataType::Boolean) => Ok(ScalarValue::Boolean(Some(*value))),
        (Literal::Int(value), t) if t.is_integer() => parse(value.to_string()),
        (Literal::Int(value), DataType::Decimal128(..) | DataType::Decimal256(..)) => {
            parse(value.to_string())
        }
        (Literal::Int(value), DataType::Float64) if value.unsigned_abs() <= EXACT_IN_DOUBLE => {
            Ok(ScalarValue::Float64(Some(*value as f64)))
        }
        (Literal::Decimal(text), DataType::Float64) if is_decimal(text) => parse(text.clone()),
        // Arrow would round the excess digits, and `x < 1.255` is not `x < 1.26`.
        (
            Literal::Decimal(text),
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale),
        ) if is_decimal(text) && fraction_digits(text) <= usize::try_from(*scale).unwrap_or(0) => {
            parse(text.clone())
        }
        (Literal::Text(text), DataType::Utf8) => Ok(ScalarValue::Utf8(Some(text.clone()))),
        (Literal::Text(text), DataType::LargeUtf8) => {
            Ok(ScalarValue::LargeUtf8(Some(text.clone())))
        }
        (Literal::Text(text), DataType::Utf8View) => Ok(ScalarValue::Utf8View(Some(text.clone()))),
        (Literal::Date(text), DataType::Date32 | DataType::Date64) if is_date(text) => {
            parse(text.clone())
        }
        // Nor is `t >= …01.5Z` the same as `t >= …01Z` where seconds are stored.
        (Literal::Timestamp(text), DataType::Timestamp(unit, _))
            if is_moment(text)
                && fraction_digits(text.trim_end_matches('Z')) <= digits_of(unit) =>
        {
            parse(text.clone())
        }
        _ => Err(misfit()),
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    text.len() <= 80
        && text
            .strip_prefix('-')
            .unwrap_or(text)
            .split_once('.')
            .is_some_and(|(whole, part)| digits(whole) && digits(part))
}

fn fraction_digits(text: &str) -> usize {
    text.split_once('.')
        .map_or(0, |(_, part)| part.trim_end_matches('0').len())
}

/// The digits of a second's fraction that are stored.
fn digits_of(unit: &TimeUnit) -> usize {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

fn is_date(text: &str) -> bool {
    shaped(text, "0000-00-00")
}

fn is_moment(text: &str) -> bool {
    let Some(body) = text.strip_suffix('Z') else {
        return false;
    };
    match body.split_once('.') {
        None => shaped(body, "0000-00-00T00:00:00"),
        Some((body, part)) => {
            shaped(body, "0000-00-00T00:00:00")
                && (1..=9).contains(&part.len())
                && part.bytes().all(|b| b.is_ascii_digit())
        }
    }
}

/// Whether `text` has the shape of `pattern`, in which `0` stands for any digit.
fn shaped(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(t, p)| {
            if p == b'0' {
                t.is_ascii_digit()
            } else {
                t == p
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(value: Literal, data_type: &DataType) -> Result<ScalarValue, &'static str> {
        scalar("c", &value, data_type).map_err(|e| e.code())
    }

    #[test]
    fn literals_take_the_type_of_their_column() {
        assert_eq!(
            typed(Literal::Int(7), &DataType::Int16),
            Ok(ScalarValue::Int16(Some(7)))
        );
        assert_eq!(
            typed(Literal::Date("1970-01-02".into()), &DataType::Date32),
            Ok(ScalarValue::Date32(Some(1)))
        );
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(
            typed(Literal::Timestamp("1970-01-01T00:00:01Z".into()), &micros),
            Ok(ScalarValue::TimestampMicrosecond(
                Some(1_000_000),
                Some("UTC".into())
            ))
        );
        assert_eq!(
            typed(Literal::Decimal("1.50".into()), &DataType::Decimal128(9, 2)),
            Ok(ScalarValue::Decimal128(Some(150), 9, 2))
        );
        assert_eq!(
            typed(Literal::Text("it's -- x".into()), &DataType::Utf8),
            Ok(ScalarValue::from("it's -- x"))
        );
    }

    #[test]
    fn a_literal_that_does_not_fit_fails_closed() {
        for (value, data_type) in [
            (Literal::Int(40_000), DataType::Int16),
            (Literal::Int(-1), DataType::UInt32),
            (Literal::Int(1 << 54), DataType::Float64),
            (Literal::Text("7".into()), DataType::Int64),
            (Literal::Int(7), DataType::Utf8),
            (Literal::Decimal("1.255".into()), DataType::Decimal128(9, 2)),
            (Literal::Decimal("1e5".into()), DataType::Float64),
            (Literal::Date("2013-02-30".into()), DataType::Date32),
            (Literal::Date("now".into()), DataType::Date32),
            (
                Literal::Timestamp("2013-01-01 00:00:00".into()),
                DataType::Timestamp(TimeUnit::Second, None),
            ),
            // Regression: it was cut to the second, and the filter let more through.
            (
                Literal::Timestamp("2013-01-01T00:00:01.5Z".into()),
                DataType::Timestamp(TimeUnit::Second, None),
            ),
            (
                Literal::Timestamp("2013-01-01T00:00:01.0005Z".into()),
                DataType::Timestamp(TimeUnit::Millisecond, None),
            ),
        ] {
            assert_eq!(
                typed(value.clone(), &data_type),
                Err("terms-mismatch"),
                "{value:?} against {data_type}"
            );
        }
    }
}

//! A row filter in the vocabulary of Iceberg's `read-restrictions` as a typed predicate.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use comity_protocol::terms::{Comparison, Literal, Predicate};
use serde_json::Value;

use super::offer::Reader;
use super::rules::Text;
use super::table::Table;
use super::yaml::child;

/// The most predicates of one row filter (A31).
pub(super) const MAX_PREDICATES: usize = 256;

impl Reader<'_> {
    /// An Iceberg expression as a predicate over the table's columns.
    pub(super) fn predicate(
        &mut self,
        table: &Table,
        condition: &Value,
        at: &str,
        budget: &mut usize,
    ) -> Option<Predicate> {
        *budget = match budget.checked_sub(1) {
            Some(left) => left,
            None => {
                self.refuse(
                    at,
                    format!("a row filter has at most {MAX_PREDICATES} conditions"),
                    "fewer conditions",
                );
                return None;
            }
        };
        let kind = condition.text("type").unwrap_or_default();
        let mut below = |reader: &mut Self, key: &str| match condition.get(key) {
            Some(inner) => reader.predicate(table, inner, &child(at, key), budget),
            None => {
                reader.refuse(
                    at,
                    format!("a filter of type {kind} needs {key}"),
                    &format!("{key}: {{ … }}"),
                );
                None
            }
        };
        match kind {
            "not" => return Some(Predicate::Not(Box::new(below(self, "child")?))),
            "and" | "or" => {
                let (left, right) = (below(self, "left"), below(self, "right"));
                let both = BTreeSet::from([left?, right?]);
                return Some(if kind == "and" {
                    Predicate::All(both)
                } else {
                    Predicate::Any(both)
                });
            }
            _ => {}
        }
        let column = self.column(
            table,
            condition.text("term").unwrap_or_default(),
            &child(at, "term"),
        )?;
        let op = match kind {
            "is-null" => return Some(Predicate::IsNull { column }),
            "not-null" => return Some(Predicate::Not(Box::new(Predicate::IsNull { column }))),
            "in" => {
                let values = condition.list("values").iter().enumerate();
                let list = child(at, "values");
                let literals: Vec<Option<Literal>> = values
                    .map(|(index, value)| {
                        self.literal(table, &column, value, &child(&list, &index.to_string()))
                    })
                    .collect();
                let values = literals
                    .into_iter()
                    .collect::<Option<BTreeSet<Literal>>>()?;
                if values.is_empty() {
                    self.refuse(
                        at,
                        "a filter of type in needs values".to_owned(),
                        "values: [ … ]",
                    );
                    return None;
                }
                return Some(Predicate::In { column, values });
            }
            "eq" => Comparison::Eq,
            "not-eq" => Comparison::NotEq,
            "lt" => Comparison::Lt,
            "lt-eq" => Comparison::LtEq,
            "gt" => Comparison::Gt,
            _ => Comparison::GtEq,
        };
        let value = condition.get("value").unwrap_or(&Value::Null);
        let value = self.literal(table, &column, value, &child(at, "value"))?;
        Some(Predicate::Compare { column, op, value })
    }

    /// A literal of the type of the column that it is compared with.
    fn literal(&mut self, table: &Table, column: &str, value: &Value, at: &str) -> Option<Literal> {
        let arrow = table
            .columns
            .iter()
            .find(|c| c.name == column)
            .map(|c| &c.arrow)?;
        let literal = match (arrow, value) {
            // The contract's schema has checked its name.
            (DataType::Utf8, Value::Object(object)) => {
                let name = object.get("claim").and_then(Value::as_str);
                name.map(|name| Literal::Claim(name.to_owned()))
            }
            (DataType::Boolean, Value::Bool(value)) => Some(Literal::Bool(*value)),
            (DataType::Utf8, Value::String(text)) => Some(Literal::Text(text.clone())),
            (DataType::Date32, Value::String(text)) => {
                is_date(text).then(|| Literal::Date(text.clone()))
            }
            (DataType::Timestamp(..), Value::String(text)) => {
                is_moment(text).then(|| Literal::Timestamp(text.clone()))
            }
            (arrow, Value::Number(number)) if arrow.is_integer() => {
                number.as_i64().map(Literal::Int)
            }
            (arrow, Value::Number(number)) if arrow.is_numeric() => Some(match number.as_i64() {
                Some(whole) => Literal::Int(whole),
                None => Literal::Decimal(number.to_string()),
            }),
            _ => None,
        };
        if literal.is_none() {
            self.refuse(
                at,
                format!("{value} cannot be compared with {column}"),
                "a value of the column's type",
            );
        }
        literal
    }
}

/// `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let widths = parts.iter().map(|part| part.len()).eq([4, 2, 2]);
    widths
        && in_range(parts.get(1), 1, 12)
        && in_range(parts.get(2), 1, 31)
        && in_range(parts.first(), 1, 9999)
}

/// RFC 3339 in UTC: `YYYY-MM-DDTHH:MM:SSZ`, with at most six digits of a fraction.
fn is_moment(text: &str) -> bool {
    let Some((date, clock)) = text.strip_suffix('Z').and_then(|text| text.split_once('T')) else {
        return false;
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    is_date(date)
        && parts.iter().map(|part| part.len()).eq([2, 2, 2])
        && in_range(parts.first(), 0, 23)
        && in_range(parts.get(1), 0, 59)
        && in_range(parts.get(2), 0, 59)
        && (1..=6).contains(&fraction.len())
        && fraction.bytes().all(|b| b.is_ascii_digit())
}

fn in_range(part: Option<&&str>, least: u16, most: u16) -> bool {
    part.filter(|part| part.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|part| part.parse().ok())
        .is_some_and(|number: u16| (least..=most).contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_moments_have_one_form() {
        assert!(
            is_date("2013-12-31")
                && is_moment("2013-12-31T23:59:59Z")
                && is_moment("2013-01-01T00:00:00.000001Z")
        );
        for wrong in [
            "2013-13-01",
            "2013-1-1",
            "2013-01-32",
            "+013-01-01",
            "2013-01-01-",
            "",
        ] {
            assert!(!is_date(wrong), "{wrong}");
        }
        for wrong in [
            "2013-01-01",
            "2013-01-01T00:00:00",
            "2013-01-01 00:00:00Z",
            "2013-01-01T24:00:00Z",
            "2013-01-01T00:00Z",
            "2013-01-01T00:00:00.Z",
            "2013-01-01T00:00:00+01:00",
        ] {
            assert!(!is_moment(wrong), "{wrong}");
        }
    }
}

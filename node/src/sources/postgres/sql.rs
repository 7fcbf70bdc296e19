//! The SQL that a PostgreSQL server is asked, written here.
//!
//! Only what the server answers exactly as this node's engine does
//! (`spec/5-data-plane.md#D-154`); the rest is done here. The session's
//! `search_path` is `pg_catalog`, so no operator or type of the owner's
//! stands in for the server's own.

use arrow::datatypes::DataType;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::scalar::ScalarValue;

use super::Column;
use super::types::Kind;
use crate::query::{Dialect, identifier, leak_proof, predicate_text, text};

/// One predicate as SQL, if the server answers it exactly.
pub(super) fn predicate(
    expr: &Expr,
    columns: &[Column],
    schema: &arrow::datatypes::Schema,
    utf8: bool,
) -> Option<String> {
    if !leak_proof(expr, schema, &|_| true) {
        return None;
    }
    Some(predicate_text(expr, &Postgres { columns, utf8 })?.0)
}

/// `SELECT columns FROM relation WHERE … LIMIT n`; no column at all still has its rows.
pub(super) fn select<'a>(
    columns: impl IntoIterator<Item = &'a Column>,
    relation: &str,
    predicates: &[String],
    limit: Option<usize>,
) -> String {
    let columns: Vec<_> = columns.into_iter().map(|c| identifier(&c.name)).collect();
    let mut sql = from(&columns, relation, predicates);
    if let Some(limit) = limit {
        sql.push_str(&format!(" LIMIT {limit}"));
    }
    sql
}

/// `SELECT values FROM relation WHERE …`.
pub(super) fn from(values: &[String], relation: &str, predicates: &[String]) -> String {
    let mut sql = format!("SELECT {} FROM {relation}", values.join(", "));
    for (i, predicate) in predicates.iter().enumerate() {
        sql.push_str(if i == 0 { " WHERE " } else { " AND " });
        sql.push_str(&format!("({predicate})"));
    }
    sql
}

/// A table with its schema, quoted.
pub(super) fn table(schema: &str, table: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(table))
}

struct Postgres<'a> {
    columns: &'a [Column],
    /// Whether the database's encoding is UTF-8: the order of another one's bytes differs.
    utf8: bool,
}

/// How a column is compared.
struct Form {
    /// What compares as this node's engine does.
    exact: String,
    /// What finds at least the same rows for `=`, and an index can serve.
    wide: Option<String>,
    values: Vec<String>,
}

impl Postgres<'_> {
    fn kind(&self, name: &str) -> Option<&Kind> {
        self.columns
            .iter()
            .find(|c| c.name == name)
            .map(|c| &c.kind)
    }

    fn form(&self, name: &str, values: &[&ScalarValue]) -> Option<Form> {
        let column = identifier(name);
        let kind = self.kind(name)?;
        let plain = |write: &dyn Fn(&ScalarValue) -> Option<String>| {
            let values = values.iter().map(|v| write(v)).collect::<Option<_>>()?;
            Some(Form {
                exact: column.clone(),
                wide: None,
                values,
            })
        };
        match kind {
            Kind::Uuid => plain(&uuid).or_else(|| self.texts(kind, &column, values)),
            Kind::Text | Kind::Name | Kind::Char | Kind::Enum => self.texts(kind, &column, values),
            _ => plain(&literal),
        }
    }

    /// Texts are compared byte by byte, whatever the column's collation is:
    /// under another one `=` may hold for texts that differ, and `<` is
    /// another order.
    fn texts(&self, kind: &Kind, column: &str, values: &[&ScalarValue]) -> Option<Form> {
        if !self.utf8 {
            return None;
        }
        let as_text = match kind {
            Kind::Text => column.to_owned(),
            _ => format!("CAST({column} AS text)"),
        };
        let values = values.iter().map(|v| string(v)).collect::<Option<_>>()?;
        Some(Form {
            exact: format!("{as_text} COLLATE \"C\""),
            wide: (*kind == Kind::Text).then_some(as_text),
            values,
        })
    }
}

impl Dialect for Postgres<'_> {
    fn column(&self, name: &str) -> Option<String> {
        self.kind(name).map(|_| identifier(name))
    }

    fn comparison(&self, name: &str, op: Operator, value: &ScalarValue) -> Option<String> {
        let form = self.form(name, &[value])?;
        let value = form.values.first()?;
        let sign = match op {
            Operator::NotEq => "<>".to_owned(),
            op => op.to_string(),
        };
        let exact = format!("{} {sign} {value}", form.exact);
        Some(match form.wide {
            Some(wide) if op == Operator::Eq => format!("({wide} = {value} AND {exact})"),
            _ => exact,
        })
    }

    fn membership(&self, name: &str, values: &[&ScalarValue], negated: bool) -> Option<String> {
        let form = self.form(name, values)?;
        let values = form.values.join(", ");
        Some(match form.wide {
            _ if negated => format!("{} NOT IN ({values})", form.exact),
            Some(wide) => format!("({wide} IN ({values}) AND {} IN ({values}))", form.exact),
            None => format!("{} IN ({values})", form.exact),
        })
    }
}

/// A value whose comparison is the same in both engines.
fn literal(value: &ScalarValue) -> Option<String> {
    let number = |n: i64| match n {
        0.. => Some(n.to_string()),
        // Its digits without the sign are no integer.
        i64::MIN => None,
        _ => Some(format!("({n})")),
    };
    let typed = |name: &str| {
        let Ok(ScalarValue::Utf8(Some(shown))) = value.cast_to(&DataType::Utf8) else {
            return None;
        };
        // Only what reads back as the same value may travel.
        let back = ScalarValue::try_from_string(shown.clone(), &value.data_type()).ok()?;
        (back == *value).then(|| (format!("{}::{name}", text(&shown)), shown))
    };
    let moment = |name: &str| {
        let (literal, shown) = typed(name)?;
        // Four digits of a year after Christ: other years are written otherwise.
        let year = shown.split_once('-')?.0;
        let plain = year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()) && year != "0000";
        plain.then_some(literal)
    };
    match value {
        ScalarValue::Boolean(Some(b)) => Some(if *b { "TRUE" } else { "FALSE" }.to_owned()),
        ScalarValue::Int16(Some(n)) => number((*n).into()),
        ScalarValue::Int32(Some(n)) => number((*n).into()),
        ScalarValue::Int64(Some(n)) => number(*n),
        // Negative zero equals zero there and not here.
        ScalarValue::Float32(Some(f)) if f.is_finite() && *f != 0.0 => {
            Some(format!("'{f:?}'::float4"))
        }
        ScalarValue::Float64(Some(f)) if f.is_finite() && *f != 0.0 => {
            Some(format!("'{f:?}'::float8"))
        }
        ScalarValue::Decimal128(Some(_), _, _) => typed("numeric").map(|(literal, _)| literal),
        ScalarValue::Date32(Some(_)) => moment("date"),
        ScalarValue::TimestampMicrosecond(Some(_), None) => moment("timestamp"),
        ScalarValue::TimestampMicrosecond(Some(_), Some(zone)) if &**zone == "UTC" => {
            moment("timestamptz")
        }
        _ => None,
    }
}

fn string(value: &ScalarValue) -> Option<String> {
    match value {
        // The server has no such character, and would refuse the statement.
        ScalarValue::Utf8(Some(s)) if s.contains('\0') => None,
        // Whether a backslash escapes is a setting; in this form it does.
        ScalarValue::Utf8(Some(s)) if s.contains('\\') => {
            Some(format!("E{}::text", text(&s.replace('\\', "\\\\"))))
        }
        ScalarValue::Utf8(Some(s)) => Some(format!("{}::text", text(s))),
        _ => None,
    }
}

/// The canonical form of a UUID sorts as its bytes do.
fn uuid(value: &ScalarValue) -> Option<String> {
    let ScalarValue::Utf8(Some(s)) = value else {
        return None;
    };
    let canonical = s.len() == 36
        && s.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
        });
    canonical.then(|| format!("{}::uuid", text(s)))
}

//! Groupings that a PostgreSQL server answers exactly as this node's engine does.

use arrow::datatypes::DataType;

use super::types::Kind;
use super::{Column, PostgresTable, sql};
use crate::query::{Function, Grouping, Measure, identifier};

/// The most digits of a decimal whose sum has room for ten thousand million values.
const MAX_SUMMED_DIGITS: u8 = 28;

impl PostgresTable {
    /// The statement and the columns of its answer; else why this node computes it.
    pub(super) fn group(&self, grouping: &Grouping) -> Result<(String, Vec<Column>), String> {
        let predicates = self.predicates(&grouping.predicates)?;
        let mut values = Vec::new();
        for name in &grouping.keys {
            let column = self.column(name)?;
            let (sql, kind) = key(column, self.utf8)?;
            values.push((sql, kind, column.said.clone()));
        }
        for Measure { function, column } in &grouping.measures {
            values.push(match column {
                None => ("count(*)".to_owned(), Kind::Int8, "count(*)".to_owned()),
                Some(column) => {
                    let column = self.column(column)?;
                    let (sql, kind) = measure(*function, column, self.utf8)?;
                    (sql, kind, format!("{}({})", function.name(), column.said))
                }
            });
        }
        let mut answer = Vec::with_capacity(values.len());
        let mut selected = Vec::with_capacity(values.len());
        for ((sql, kind, said), field) in values.into_iter().zip(grouping.schema.fields()) {
            let kind = as_engine(kind, field.data_type());
            if kind.arrow() != *field.data_type() {
                return Err(format!("the server's {sql} is of another type"));
            }
            selected.push(format!("{sql} AS {}", identifier(field.name())));
            answer.push(Column {
                name: field.name().clone(),
                said,
                kind,
            });
        }
        let mut sql = sql::from(&selected, &self.relation, &predicates);
        if !grouping.keys.is_empty() {
            let places = 1..=grouping.keys.len();
            let places: Vec<_> = places.map(|n| n.to_string()).collect();
            sql.push_str(&format!(" GROUP BY {}", places.join(", ")));
        }
        Ok((sql, answer))
    }
}

/// Values that are one group there and here.
fn key(column: &Column, utf8: bool) -> Result<(String, Kind), String> {
    let name = identifier(&column.name);
    match &column.kind {
        // Other encodings have several forms of one character.
        kind if utf8 && is_text(kind) => Ok((bytewise(&name, kind), Kind::Text)),
        kind @ (Kind::Bool
        | Kind::Int2
        | Kind::Int4
        | Kind::Int8
        | Kind::Numeric { .. }
        | Kind::Uuid
        | Kind::Bytea
        | Kind::Date
        | Kind::Time
        | Kind::Timestamp
        | Kind::Timestamptz) => Ok((name, kind.clone())),
        // Zeros of both signs are one group there and two here; JSON has no equality.
        Kind::Float4 | Kind::Float8 => Err(format!("it groups by {name}, a float")),
        _ => Err(format!(
            "it groups by {name}, of a type that is grouped here only"
        )),
    }
}

fn measure(function: Function, column: &Column, utf8: bool) -> Result<(String, Kind), String> {
    let name = identifier(&column.name);
    let (kind, called) = (&column.kind, function.name());
    Ok(match (function, kind) {
        (Function::Count, _) => (format!("count({name})"), Kind::Int8),
        // Beyond 64 bits the server says so, where the engine would go round.
        (Function::Sum, Kind::Int2 | Kind::Int4 | Kind::Int8) => {
            (format!("CAST(sum({name}) AS bigint)"), Kind::Int8)
        }
        // The sum is exact, so this is the number nearest to the average; the
        // engine's is that one as long as its own sum is exact (2^53).
        (Function::Avg, Kind::Int2 | Kind::Int4 | Kind::Int8) => (
            format!("CAST(sum({name}) AS float8) / CAST(count({name}) AS float8)"),
            Kind::Float8,
        ),
        (Function::Sum, Kind::Numeric { precision, .. }) if *precision <= MAX_SUMMED_DIGITS => {
            (format!("sum({name})"), kind.clone())
        }
        // The engine cuts off after four more digits.
        (Function::Avg, Kind::Numeric { precision, scale }) if *precision <= MAX_SUMMED_DIGITS => {
            let digits = usize::try_from(*scale).unwrap_or_default() + 4;
            let zeros = "0".repeat(digits);
            let sql = format!(
                "div(sum({name}) * 1{zeros}, count({name})) * 0.{}1",
                &zeros[1..]
            );
            (sql, kind.clone())
        }
        // The last digits depend on the order of the rows, in the engine as well.
        // Beyond the range the server says so, where the engine is infinite.
        (Function::Sum, Kind::Float4 | Kind::Float8) => {
            (format!("sum(CAST({name} AS float8))"), Kind::Float8)
        }
        // Its own average sums squares too, and is beyond the range for numbers whose sum is not.
        (Function::Avg, Kind::Float4 | Kind::Float8) => (
            format!("sum(CAST({name} AS float8)) / CAST(count({name}) AS float8)"),
            Kind::Float8,
        ),
        (
            Function::Min | Function::Max,
            Kind::Int2
            | Kind::Int4
            | Kind::Int8
            | Kind::Float4
            | Kind::Float8
            | Kind::Numeric { .. }
            | Kind::Date
            | Kind::Time
            | Kind::Timestamp
            | Kind::Timestamptz,
        ) => (format!("{called}({name})"), kind.clone()),
        (Function::Min | Function::Max, kind) if utf8 && is_text(kind) || *kind == Kind::Uuid => {
            (format!("{called}({})", bytewise(&name, kind)), Kind::Text)
        }
        _ => {
            return Err(format!(
                "{called} of {name}, of a type that is aggregated here only"
            ));
        }
    })
}

/// A decimal has the digits that the engine gives the result.
fn as_engine(kind: Kind, wanted: &DataType) -> Kind {
    match (kind, wanted) {
        (Kind::Numeric { .. }, DataType::Decimal128(precision, scale)) => Kind::Numeric {
            precision: *precision,
            scale: *scale,
        },
        (kind, _) => kind,
    }
}

pub(super) fn is_text(kind: &Kind) -> bool {
    matches!(kind, Kind::Text | Kind::Name | Kind::Char | Kind::Enum)
}

/// The column as a text that is compared byte by byte.
pub(super) fn bytewise(name: &str, kind: &Kind) -> String {
    match kind {
        Kind::Text => format!("{name} COLLATE \"C\""),
        _ => format!("CAST({name} AS text) COLLATE \"C\""),
    }
}

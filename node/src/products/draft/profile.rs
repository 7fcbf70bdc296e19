//! What a table holds, as far as a draft needs to know.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::expr_fn::{count, max};
use datafusion::logical_expr::{Expr, cast as cast_expr, lit};
use datafusion::prelude::{SessionConfig, SessionContext, ident};

use super::notes::{ColumnNotes, Notes};
use super::personal::{Guess, by_company, by_name, by_numbers, by_values};
use super::typed::of_database;
use crate::sources::SAMPLE_ROWS;

/// The longest look at a whole table. A table that takes longer is drafted from
/// its first rows, and its draft promises less.
const WHOLE_TIME: Duration = Duration::from_secs(60);

/// What was found in a table.
#[derive(Debug)]
pub(super) struct Profile {
    /// Whether the data itself was looked at.
    pub(super) looked: bool,
    /// Rows in all, if they could be counted in time.
    pub(super) rows: Option<u64>,
    /// Rows whose values were looked at.
    pub(super) sampled: usize,
    /// Its columns, in the source's order.
    pub(super) columns: Vec<ColumnProfile>,
}

/// What was found in a column.
#[derive(Debug)]
pub(super) struct ColumnProfile {
    /// Its name in the source.
    pub(super) name: String,
    /// Its type in the source.
    pub(super) kind: DataType,
    /// Whether it holds nulls.
    pub(super) nulls: Nulls,
    /// Seconds since the epoch of its newest value, of a timestamp.
    pub(super) newest: Option<i64>,
    /// Whether it may hold personal data.
    pub(super) guess: Option<Guess>,
}

/// What is known about nulls in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nulls {
    /// The source does not permit them.
    Never,
    /// There is none today.
    NoneToday,
    /// There are some, or nobody counted.
    Possible,
}

/// Looks at `table`, called `name`: at all of its rows for counts, at the first
/// ones for values.
pub(super) async fn profile(
    name: &str,
    table: Arc<dyn TableProvider>,
    never_null: Option<&BTreeSet<String>>,
    notes: &Notes,
) -> Result<Profile> {
    let context =
        SessionContext::new_with_config(SessionConfig::new().with_information_schema(false));
    let schema = table.schema();
    let frame = context.read_table(table)?;
    let sample = frame.clone().limit(0, Some(SAMPLE_ROWS))?.collect().await?;
    let counted = frame.aggregate(Vec::new(), measures(&schema))?.collect();
    let counted = match tokio::time::timeout(WHOLE_TIME, counted).await {
        Ok(batches) => Some(one(&batches?)?),
        Err(_) => None,
    };
    let mut at = 1;
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (index, field) in schema.fields().iter().enumerate() {
        let mut number = |counted: &RecordBatch| {
            at += 1;
            integer(counted.column(at - 1))
        };
        let rows = counted.as_ref().and_then(|c| integer(c.column(0)));
        let present = counted.as_ref().and_then(&mut number);
        let newest = match field.data_type() {
            DataType::Timestamp(..) => counted.as_ref().and_then(&mut number),
            _ => None,
        };
        let noted = notes.column(field.name());
        let never = !field.is_nullable()
            || noted.is_some_and(|n| n.never_null)
            || never_null.is_some_and(|n| n.contains(field.name()));
        let nulls = match (rows, present) {
            _ if never => Nulls::Never,
            // A source that could refuse nulls and does not, permits them.
            _ if never_null.is_some() => Nulls::Possible,
            (Some(rows), Some(present)) if rows == present && rows > 0 => Nulls::NoneToday,
            _ => Nulls::Possible,
        };
        columns.push(ColumnProfile {
            name: field.name().clone(),
            kind: field.data_type().clone(),
            nulls,
            newest: newest.map(|micros| micros.div_euclid(1_000_000)),
            guess: marked(noted).or_else(|| guess(field.name(), index, &sample)),
        });
    }
    in_company(name, &mut columns);
    Ok(Profile {
        looked: true,
        rows: counted
            .as_ref()
            .and_then(|c| integer(c.column(0)))
            .and_then(|rows| u64::try_from(rows).ok()),
        sampled: sample.iter().map(RecordBatch::num_rows).sum(),
        columns,
    })
}

/// `count(*)`, then for each column how many values, and the newest of a timestamp.
fn measures(schema: &SchemaRef) -> Vec<Expr> {
    let mut measures = vec![count(lit(1)).alias("rows")];
    for (index, field) in schema.fields().iter().enumerate() {
        let column = || ident(field.name());
        measures.push(count(column()).alias(format!("present{index}")));
        if let DataType::Timestamp(..) = field.data_type() {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
            measures.push(max(cast_expr(column(), micros)).alias(format!("newest{index}")));
        }
    }
    measures
}

fn one(batches: &[RecordBatch]) -> Result<RecordBatch> {
    let found = batches.iter().find(|batch| batch.num_rows() == 1);
    found.cloned().ok_or_else(|| {
        DataFusionError::Internal("an aggregate without groups has one row".to_owned())
    })
}

/// The number in the one row of a column.
fn integer(column: &dyn Array) -> Option<i64> {
    if column.is_empty() || column.is_null(0) {
        return None;
    }
    let any = column.as_any();
    any.downcast_ref::<Int64Array>()
        .map(|c| c.value(0))
        .or_else(|| {
            any.downcast_ref::<TimestampMicrosecondArray>()
                .map(|c| c.value(0))
        })
}

/// The columns as they are written down elsewhere, without a look at the data.
/// Those without a known type come as `left_out`.
pub(super) fn noted(table: &str, notes: &Notes, left_out: &mut Vec<(String, String)>) -> Profile {
    let mut columns = Vec::new();
    for (name, noted) in &notes.columns {
        let Some(kind) = noted.data_type.as_deref().and_then(of_database) else {
            let reason = match &noted.data_type {
                Some(kind) => format!("the type {kind} is not known here"),
                None => "its type is not written down; name the database to look there".to_owned(),
            };
            left_out.push((name.clone(), reason));
            continue;
        };
        columns.push(ColumnProfile {
            name: name.clone(),
            nulls: if noted.never_null {
                Nulls::Never
            } else {
                Nulls::Possible
            },
            newest: None,
            guess: marked(Some(noted)).or_else(|| by_name(name, kind.is_string())),
            kind,
        });
    }
    in_company(table, &mut columns);
    Profile {
        looked: false,
        rows: None,
        sampled: 0,
        columns,
    }
}

/// What is marked as personal needs no guess.
fn marked(noted: Option<&ColumnNotes>) -> Option<Guess> {
    let personal = noted.is_some_and(|n| n.personal);
    personal.then(|| Guess {
        kind: "personal data",
        why: "it is marked so".to_owned(),
    })
}

/// The kind comes from the name where it says one, the number from the values.
fn guess(name: &str, index: usize, sample: &[RecordBatch]) -> Option<Guess> {
    let texts: Vec<_> = sample
        .iter()
        .filter_map(|batch| cast(batch.column(index), &DataType::Utf8).ok())
        .collect();
    let values = texts
        .iter()
        .flat_map(|texts| texts.as_string::<i32>().iter().flatten());
    let kind = sample.first().map(|batch| batch.column(index).data_type());
    let is_text = kind.is_none_or(DataType::is_string);
    let by_values = match kind {
        Some(kind) if kind.is_integer() => by_numbers(values),
        // Of a list the texts in it.
        Some(kind) if is_text || matches!(kind, DataType::List(_)) => by_values(values),
        _ => None,
    };
    match (by_name(name, is_text), by_values) {
        (Some(named), Some(valued)) => Some(Guess {
            kind: named.kind,
            why: format!("{} and {}", named.why, valued.why),
        }),
        (named, valued) => named.or(valued),
    }
}

/// Adds the columns whose names count only in the company of others.
fn in_company(table: &str, columns: &mut [ColumnProfile]) {
    let others = columns.iter().any(|column| column.guess.is_some());
    for column in columns {
        if column.guess.is_none() {
            column.guess = by_company(&column.name, table, others);
        }
    }
}

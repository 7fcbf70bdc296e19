//! Running a measurement through the node's own engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use comity_identity::Timestamp;
use comity_protocol::results::{Check, TableExtent};
use datafusion::scalar::ScalarValue;
use futures::StreamExt as _;
use tokio::time::Instant;

use super::plan::{self, Query};
use super::promise::promises;
use super::verdict::{self, Facts};
use crate::access::measuring_view;
use crate::catalog::OwnProduct;
use crate::products::SqlRule;
use crate::query::{Engine, QueryError, View};

/// What measures, in statements.
pub const PROCESS: &str = "comity";

/// How long to wait for a place among the running queries before asking again.
const BUSY_WAIT: Duration = Duration::from_millis(500);

/// What a measurement found.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    /// The verdicts, which may be stated.
    pub checks: Vec<Check>,
    /// How far the tables reach.
    pub tables: Vec<TableExtent>,
    /// Why there is no verdict, by the promise's id: for the owner alone, as it
    /// may hold data, queries and names of the warehouse.
    pub reasons: BTreeMap<String, String>,
    /// Numbers that are not stated, by the promise's id: for the owner alone.
    pub kept: BTreeMap<String, f64>,
}

/// Measures every promise of `product`, an own product of `alias`.
///
/// A statement may take `timeout`, all of them ten times as long: what is not
/// measured by then has no verdict. `rules` are those in SQL of the private
/// file; one that is not there has none.
pub async fn measure(
    engine: &Engine,
    alias: &str,
    product: &OwnProduct,
    rules: &[SqlRule],
    timeout: Duration,
    now: Timestamp,
) -> Verdicts {
    let descriptor = &product.descriptor;
    let promises = promises(&descriptor.contract);
    let plan = plan::plan(alias, descriptor, &promises, rules);
    let mut facts = Facts::new();
    for (at, reason) in plan.unplanned {
        facts.insert(plan::Fact::Of(at), Err(reason));
    }
    let until = Instant::now() + timeout * 10;
    let view = measuring_view(alias, product, now);
    for query in plan.queries {
        let found = match &view {
            Ok(view) => {
                let limit = until.min(Instant::now() + timeout);
                match tokio::time::timeout_at(limit, row(engine, view, &query)).await {
                    Ok(found) => found,
                    Err(_) => Err("it took too long; see 'timeout_seconds' under [measure]".into()),
                }
            }
            Err(reason) => Err(reason.clone()),
        };
        for (at, fact) in query.facts.into_iter().enumerate() {
            let value = match &found {
                Ok(row) => row
                    .get(at)
                    .copied()
                    .ok_or_else(|| "no such column".to_owned()),
                Err(reason) => Err(reason.clone()),
            };
            facts.insert(fact, value);
        }
    }
    let mut verdicts = Verdicts {
        tables: verdict::extents(descriptor, &facts),
        ..Verdicts::default()
    };
    for (at, promise) in promises.iter().enumerate() {
        let (check, reason) = verdict::verdict(promise, at, &facts, now);
        if let Some(reason) = reason {
            verdicts.reasons.insert(check.id.clone(), reason);
        }
        let stated = verdict::stated(check.clone(), promise, descriptor);
        if let (Some(value), None) = (check.measure.value, stated.measure.value) {
            verdicts.kept.insert(check.id, value);
        }
        verdicts.checks.push(stated);
    }
    verdicts
}

/// The one row that `query` gives, as numbers.
async fn row(engine: &Engine, view: &Arc<View>, query: &Query) -> Result<Vec<Option<f64>>, String> {
    loop {
        match ask(engine, view, query).await {
            // Partners and members go first: a measurement can wait.
            Err(error) if error.code() == "busy" => tokio::time::sleep(BUSY_WAIT).await,
            Err(error) => return Err(reason(&error)),
            Ok(row) => return row,
        }
    }
}

async fn ask(
    engine: &Engine,
    view: &Arc<View>,
    query: &Query,
) -> Result<Result<Vec<Option<f64>>, String>, QueryError> {
    let prepared = engine.prepare(Arc::clone(view), &query.sql).await?;
    let mut rows = prepared.run().await?;
    let mut found = None;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|e| QueryError::of(&e))?;
        if batch.num_rows() == 0 {
            continue;
        }
        if found.is_some() || batch.num_rows() > 1 {
            return Ok(Err("the query gives more than one row".to_owned()));
        }
        if batch.num_columns() != query.facts.len() {
            return Ok(Err("the query gives more than one column".to_owned()));
        }
        let values = batch.columns().iter().map(|column| {
            let value = ScalarValue::try_from_array(column, 0).map_err(|e| e.to_string())?;
            number(&value)
        });
        found = Some(values.collect::<Result<Vec<_>, String>>());
    }
    Ok(found.unwrap_or_else(|| Err("the query gives no row".to_owned())))
}

/// A number, or a moment as seconds since the Unix epoch, rounded down.
fn number(value: &ScalarValue) -> Result<Option<f64>, String> {
    use ScalarValue as S;
    if value.is_null() {
        return Ok(None);
    }
    let number = match value {
        S::Int8(Some(n)) => f64::from(*n),
        S::Int16(Some(n)) => f64::from(*n),
        S::Int32(Some(n)) => f64::from(*n),
        S::Int64(Some(n)) => *n as f64,
        S::UInt8(Some(n)) => f64::from(*n),
        S::UInt16(Some(n)) => f64::from(*n),
        S::UInt32(Some(n)) => f64::from(*n),
        S::UInt64(Some(n)) => *n as f64,
        S::Float32(Some(n)) => f64::from(*n),
        S::Float64(Some(n)) => *n,
        S::Decimal128(Some(n), _, scale) => *n as f64 / 10f64.powi(i32::from(*scale)),
        S::TimestampSecond(Some(n), _) => *n as f64,
        S::TimestampMillisecond(Some(n), _) => n.div_euclid(1_000) as f64,
        S::TimestampMicrosecond(Some(n), _) => n.div_euclid(1_000_000) as f64,
        S::TimestampNanosecond(Some(n), _) => n.div_euclid(1_000_000_000) as f64,
        S::Date32(Some(days)) => f64::from(*days) * 86_400.0,
        _ => return Err("the query gives no number".to_owned()),
    };
    match number.is_finite() {
        true => Ok(Some(number)),
        false => Err("the query gives a number that is none".to_owned()),
    }
}

/// What went wrong, for the owner.
fn reason(error: &QueryError) -> String {
    match error.owner_detail() {
        Some(detail) => format!("{error}: {detail}"),
        None => error.to_string(),
    }
}

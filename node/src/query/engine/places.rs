//! Statements with places for values: what each place takes.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;

use super::state::state;
use super::{Shared, plan};
use crate::query::{QueryError, View, advertised};

/// The most places of one statement. A client that binds a list of keys has hundreds.
pub const MAX_PLACES: usize = 1024;

/// What a statement needs and gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// One field for each place, in order: `$1`, `$2`, … with the type of what
    /// it is compared with; text where nothing tells.
    pub places: SchemaRef,
    /// The schema of the answer.
    pub schema: SchemaRef,
}

/// Plans `sql` without values, then with nulls of the types found: the schema
/// that is announced is the one that any values will give.
pub(super) async fn describe(
    shared: Arc<Shared>,
    view: Arc<View>,
    sql: &str,
) -> Result<Described, QueryError> {
    let (statement, _) = shared.parse(&view, sql, MAX_PLACES)?;
    let state = state(&shared.template, &shared.settings, &view);
    let unbound = state
        .statement_to_plan(statement)
        .await
        .map_err(|e| QueryError::while_resolving(&e))?;
    let types = unbound
        .get_parameter_types()
        .map_err(|e| QueryError::while_resolving(&e))?;
    let position = |name: &String| name.strip_prefix('$')?.parse::<usize>().ok();
    let count = types.keys().filter_map(position).max().unwrap_or(0);
    let places: Vec<Field> = (1..=count)
        .map(|n| {
            let name = format!("${n}");
            let kind = types.get(&name).cloned().flatten();
            Field::new(name, kind.unwrap_or(DataType::Utf8), true)
        })
        .collect();
    let nulls = places
        .iter()
        .map(|place| ScalarValue::try_from(place.data_type()))
        .collect::<Result<_, _>>()
        .map_err(|e| QueryError::while_resolving(&e))?;
    let prepared = plan(shared, view, sql, nulls).await?;
    Ok(Described {
        places: advertised(&Schema::new(places)),
        schema: prepared.schema(),
    })
}

//! The cells of a protected table: what is told is made of them and of nothing
//! finer. Here there is one row for each cell and each unit in it.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;

use super::Guarded;
use crate::query::guard;
use crate::query::pushdown::{Function, Grouping, Measure};

/// The unit's column. No column of a product can be called so.
pub(super) const UNIT: &str = ".unit";
/// How many rows the cell has of the unit.
pub(super) const ROWS: &str = ".rows";

/// The column of a measured value, before there are cells.
fn value_of(measure: &str) -> String {
    format!(".value {measure}")
}

/// The column of a measure's sum in the cells.
pub(super) fn sum_of(measure: &str) -> String {
    format!(".sum {measure}")
}

/// The column of the fingerprint of a measure's values.
pub(super) fn print_in(measure: &str) -> String {
    format!(".print {measure}")
}

/// The column in the cells of how many values of a measure are not null.
pub(super) fn count_of(measure: &str) -> String {
    format!(".count {measure}")
}

/// The cells of all group columns of the agreement, whatever the caller groups
/// by and whatever its grant leaves it to see.
pub(super) async fn plan(
    guarded: &Guarded,
    grouping: &Grouping,
    state: &dyn Session,
) -> Result<Arc<dyn ExecutionPlan>> {
    let protection = &guarded.protection;
    let source = provider_as_source(Arc::clone(&guarded.source));
    let unit = Expr::Column(Column::new_unqualified(&protection.unit));
    let shown = |name: &String| {
        let of = guarded.columns.iter().find(|(column, _)| column == name);
        of.map(|(_, value)| value.clone())
    };
    let keys: Vec<&String> = protection.group_by.iter().collect();
    let measured = measured(grouping);
    let column = |name: &str| Expr::Column(Column::new_unqualified(name));
    let kept: Option<Vec<Expr>> = keys.iter().copied().map(shown).collect();
    let kept = kept.ok_or_else(|| wrong("a group column is missing"))?;
    // A group column that is measured as well is carried twice: as key, and as value.
    let values = measured.iter().filter_map(|name| {
        let value = shown(name)?;
        Some(value.unalias().alias(value_of(name)))
    });
    let rows = LogicalPlanBuilder::scan("source", source, None)?
        .filter(guarded.row_filter.clone())?
        // Whom such a row is about is not known, so it cannot be counted
        // (spec/5-data-plane.md#D-141).
        .filter(unit.clone().is_not_null())?
        .project(
            kept.into_iter()
                .chain([unit.alias(UNIT)])
                .chain(values)
                .collect::<Vec<_>>(),
        )?;
    let by = keys.iter().map(|key| column(key)).chain([column(UNIT)]);
    let prints = guarded.disclosed.prints();
    let mut sums = vec![count(lit(1)).alias(ROWS)];
    for name in &measured {
        let value = column(&value_of(name));
        sums.push(count(value.clone()).alias(count_of(name)));
        // Around the end, as the engine adds: no order of the rows changes it.
        sums.push(sum(prints.print_of(value.clone())).alias(print_in(name)));
        // Of a text only the count is asked for: it cannot be added up.
        if is_added_up(grouping, name) {
            sums.push(sum(value).alias(sum_of(name)));
        }
    }
    let cells = rows.aggregate(by.collect::<Vec<_>>(), sums)?;
    let cells = state.create_physical_plan(&cells.build()?).await?;
    let cells = guard::deadline_on_leaves(cells)?;
    Ok(Arc::new(CoalescePartitionsExec::new(cells)))
}

/// The columns that are counted, summed or averaged, each once.
pub(super) fn measured(grouping: &Grouping) -> Vec<String> {
    let mut columns: Vec<_> = grouping
        .measures
        .iter()
        .filter_map(|m| m.column.clone())
        .collect();
    columns.sort();
    columns.dedup();
    columns
}

/// Whether a sum or an average of `column` is asked for.
fn is_added_up(grouping: &Grouping, column: &str) -> bool {
    let of_it = |m: &&Measure| m.column.as_deref() == Some(column);
    let mut measures = grouping.measures.iter().filter(of_it);
    measures.any(|m| m.function != Function::Count)
}

pub(super) fn wrong(text: &str) -> DataFusionError {
    DataFusionError::Internal(text.to_owned())
}

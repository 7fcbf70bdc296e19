//! Tables that are read in groups only, each of enough units: disclosure
//! control, which is no guarantee of privacy (A21, `spec/5-data-plane.md`, 5.9).
//!
//! ```text
//! source ─> policy filter ─> one row for each cell and unit   (the cells of all group columns)
//!                              ─> the caller's predicates, over cells
//!                              ─> cells of few units vanish, and those that changed by few
//!                              ─> the caller's groups, out of the cells that are left
//!                              ─> barrier
//! ```
//!
//! Every answer is a sum over cells that each have enough units, whatever is
//! asked and in whatever order. So no combination of answers, of any number of
//! them, tells of fewer: to judge each answer beside every earlier one would be
//! a system of equations, and to judge them in pairs is not enough.
//!
//! One scan serves everything: what is counted to judge a group is what the
//! group is computed from (`spec/5-data-plane.md#D-144`).

mod cells;
mod disclosed;
mod groups;
mod judged;
mod kept;
mod measures;
mod prints;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use comity_protocol::terms::{Aggregate, Protection};
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

pub use disclosed::Disclosed;
pub use kept::KeptError;

use super::barrier::BarrierExec;
use super::finished::{Finished, FinishedTable};
use super::pushdown::{Function, Grouping};

/// The visible rows of a protected table, as the barrier sees them.
#[derive(Clone)]
pub(super) struct Guarded {
    pub(super) protection: Protection,
    pub(super) source: Arc<dyn TableProvider>,
    pub(super) row_filter: Expr,
    /// The permitted columns, and every column that makes cells, as they are
    /// shown, by name; masks applied.
    pub(super) columns: Vec<(String, Expr)>,
    /// The columns whose stored values are shown.
    pub(super) unmasked: Vec<String>,
    /// What makes the cells, in a form that stays: rows, units and group columns.
    pub(super) shape: Vec<u8>,
    pub(super) disclosed: Arc<Disclosed>,
}

impl Guarded {
    /// The fingerprint of what makes the cells.
    fn partition(&self) -> u64 {
        self.disclosed.prints().print(&self.shape)
    }

    /// The groups as a table, or why the terms do not permit them.
    pub(super) fn groups(&self, grouping: Grouping) -> Result<Arc<dyn TableProvider>, String> {
        let by = &self.protection.group_by;
        if let Some(key) = grouping.keys.iter().find(|key| !by.contains(*key)) {
            return Err(format!("it is not grouped by {key}"));
        }
        for measure in &grouping.measures {
            let aggregate = match measure.function {
                Function::Count => Some(Aggregate::Count),
                Function::Sum => Some(Aggregate::Sum),
                Function::Avg => Some(Aggregate::Avg),
                Function::Min | Function::Max => None,
            };
            let permitted = &self.protection.aggregates;
            if aggregate.is_none_or(|a| !permitted.contains(&a)) {
                let name = measure.function.name();
                return Err(format!("{name} is not among its aggregates"));
            }
            let masked = |c: &String| !self.unmasked.contains(c);
            if let Some(column) = measure.column.as_ref().filter(|c| masked(c)) {
                return Err(format!("the terms mask the column {column}"));
            }
        }
        // The columns of predicates were judged by the table: group columns that are shown.
        Ok(Arc::new(FinishedTable(Groups {
            guarded: self.clone(),
            grouping,
        })))
    }
}

/// Groups of a protected table.
struct Groups {
    guarded: Guarded,
    grouping: Grouping,
}

#[async_trait]
impl Finished for Groups {
    const NAME: &'static str = "groups of a protected table";

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.grouping.schema)
    }

    async fn plan(&self, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let cells = cells::plan(&self.guarded, &self.grouping, state).await?;
        let groups = groups::GroupsExec::new(cells, &self.guarded, &self.grouping, state)?;
        Ok(Arc::new(BarrierExec::new(Arc::new(groups), self.schema())))
    }
}

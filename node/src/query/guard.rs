//! What ends a query that nothing else would: a deadline and a row budget,
//! checked inside the plan (A50, `spec/5-data-plane.md#D-7`).

mod conditions;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use futures::StreamExt;

use super::QueryError;

/// The budget of one run, carried in the task context.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) deadline: Instant,
    pub(crate) max_rows: u64,
    pub(crate) rows: AtomicU64,
    pub(crate) cancelled: AtomicBool,
}

impl Budget {
    /// Counts `rows` and says whether the run may go on.
    pub(crate) fn spend(&self, rows: u64) -> Result<(), QueryError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(QueryError::budget("end: nobody waits for the result"));
        }
        if self
            .rows
            .fetch_add(rows, Ordering::Relaxed)
            .saturating_add(rows)
            > self.max_rows
        {
            return Err(QueryError::budget("row budget"));
        }
        if Instant::now() > self.deadline {
            return Err(QueryError::budget("time budget"));
        }
        Ok(())
    }
}

/// Puts guards above every leaf and on both sides of every join: a join whose
/// condition is never true passes no rows up, but takes many in. Conditions of
/// nested loop joins ask `budget`, which must be that of the run.
pub(crate) fn install(
    plan: Arc<dyn ExecutionPlan>,
    budget: &Arc<Budget>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let guarded = plan.transform_up(|node| {
        let (join, leaf) = (node.name().contains("Join"), node.children().is_empty());
        let node = if join {
            let children = node
                .children()
                .into_iter()
                .map(|c| guard(Arc::clone(c), true))
                .collect();
            let node = datafusion::physical_plan::execution_plan::replace_children_if_necessary(
                node, children,
            )?;
            conditions::interruptible(node, budget)?
        } else {
            node
        };
        Ok(if join || leaf {
            Transformed::yes(guard(node, true))
        } else {
            Transformed::no(node)
        })
    })?;
    Ok(guarded.data)
}

/// Puts the deadline, and not the row budget, on the leaves of a plan behind
/// the barrier: a budget spent by hidden rows would tell how many there are.
pub(crate) fn deadline_on_leaves(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let guarded = plan.transform_up(|node| {
        let leaf = node.children().is_empty();
        Ok(if leaf {
            Transformed::yes(guard(node, false))
        } else {
            Transformed::no(node)
        })
    })?;
    Ok(guarded.data)
}

fn guard(input: Arc<dyn ExecutionPlan>, counts: bool) -> Arc<dyn ExecutionPlan> {
    Arc::new(GuardExec { input, counts })
}

/// Passes batches through until the budget is spent.
#[derive(Debug)]
pub(super) struct GuardExec {
    input: Arc<dyn ExecutionPlan>,
    counts: bool,
}

impl ExecutionPlan for GuardExec {
    fn name(&self) -> &str {
        "GuardExec"
    }

    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(guard(input, self.counts)),
            _ => Err(DataFusionError::Internal("a guard has one child".into())),
        }
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        // No budget in the context means a plan that was not started by the engine: refuse.
        let Some(budget) = context.session_config().get_extension::<Budget>() else {
            return Err(DataFusionError::Internal(
                "a guarded plan was run without a budget".into(),
            ));
        };
        let counts = self.counts;
        let stream = self.input.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            budget.spend(if counts { batch.num_rows() as u64 } else { 0 })?;
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.input.schema(),
            stream,
        )))
    }
}

impl DisplayAs for GuardExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardExec")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use datafusion::physical_plan::displayable;
    use datafusion::prelude::SessionContext;

    use super::*;

    fn budget(deadline: Instant) -> Budget {
        Budget {
            deadline,
            max_rows: 10,
            rows: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
        }
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(3_600)
    }

    #[test]
    fn rows_are_counted_together_and_pass_at_their_limit() {
        let budget = budget(later());
        budget.spend(4).unwrap();
        budget.spend(6).unwrap();
        assert_eq!(budget.spend(1).unwrap_err().code(), "budget");
    }

    #[test]
    fn nothing_passes_after_the_deadline_or_when_nobody_waits() {
        let passed = Instant::now();
        while Instant::now() <= passed {}
        assert_eq!(budget(passed).spend(0).unwrap_err().code(), "budget");
        let cancelled = budget(later());
        cancelled.spend(0).unwrap();
        cancelled.cancelled.store(true, Ordering::Relaxed);
        assert_eq!(cancelled.spend(0).unwrap_err().code(), "budget");
    }

    #[tokio::test]
    async fn guards_stand_above_leaves_and_on_both_sides_of_every_join() {
        let session = SessionContext::new();
        for (sql, expected) in [
            ("SELECT a FROM (VALUES (1), (2)) AS x(a)", 1),
            // Two leaves, the two inputs and the output.
            (
                "SELECT x.a FROM (VALUES (1), (2)) AS x(a) JOIN (VALUES (1), (3)) AS y(a) ON x.a < y.a",
                5,
            ),
            (
                "SELECT x.a FROM (VALUES (1), (2)) AS x(a) CROSS JOIN (VALUES (1), (3)) AS y(a)",
                5,
            ),
        ] {
            let plan = session.sql(sql).await.unwrap();
            let plan = plan.create_physical_plan().await.unwrap();
            let guarded = install(plan, &Arc::new(budget(later()))).unwrap();
            let shown = displayable(guarded.as_ref()).indent(false).to_string();
            assert_eq!(shown.matches("GuardExec").count(), expected, "{shown}");
            assert!(shown.starts_with("GuardExec") || expected == 1 || shown.contains("Join"));
        }
    }
}

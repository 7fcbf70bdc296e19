//! The deadline inside a nested loop join. It compares each of its batches with
//! all rows of the other side before anybody around it is asked again, which
//! can be billions of pairs that yield no row (A50). It does evaluate its
//! condition for a few thousand of them at a time, so the budget is asked there.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::lit;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{NestedLoopJoinExec, NestedLoopJoinExecBuilder};

use super::Budget;

/// The same node; a nested loop join with a condition that ends with `budget`.
/// One without a condition gets a constant one: of an outer or a semi join it
/// too goes through all pairs before it yields a row.
pub(super) fn interruptible(
    node: Arc<dyn ExecutionPlan>,
    budget: &Arc<Budget>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let any: &dyn Any = node.as_ref();
    let Some(join) = any.downcast_ref::<NestedLoopJoinExec>() else {
        return Ok(node);
    };
    let guarded = |condition: &Arc<dyn PhysicalExpr>| -> Arc<dyn PhysicalExpr> {
        Arc::new(Interruptible {
            condition: Arc::clone(condition),
            budget: Arc::clone(budget),
        })
    };
    let filter = match join.filter() {
        Some(filter) => JoinFilter::new(
            guarded(filter.expression()),
            filter.column_indices().to_vec(),
            Arc::clone(filter.schema()),
        ),
        None => JoinFilter::new(guarded(&lit(true)), Vec::new(), Arc::new(Schema::empty())),
    };
    let join = NestedLoopJoinExecBuilder::from(join).with_filter(Some(filter));
    Ok(Arc::new(join.build()?))
}

/// A condition that is an error once the budget of the run is spent.
#[derive(Debug)]
struct Interruptible {
    condition: Arc<dyn PhysicalExpr>,
    budget: Arc<Budget>,
}

impl PhysicalExpr for Interruptible {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.condition.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.condition.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.condition.return_field(schema)
    }

    fn evaluate(&self, pairs: &RecordBatch) -> Result<ColumnarValue> {
        // Pairs are no rows that flow; the guards around the join count those.
        self.budget.spend(0)?;
        self.condition.evaluate(pairs)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.condition]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        match (children.pop(), children.is_empty()) {
            (Some(condition), true) => Ok(Arc::new(Self {
                condition,
                budget: Arc::clone(&self.budget),
            })),
            _ => Err(DataFusionError::Internal(
                "a condition has one child".into(),
            )),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt_sql(f)
    }
}

impl fmt::Display for Interruptible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt(f)
    }
}

impl PartialEq for Interruptible {
    fn eq(&self, other: &Self) -> bool {
        self.condition.eq(&other.condition) && Arc::ptr_eq(&self.budget, &other.budget)
    }
}

impl Eq for Interruptible {}

impl Hash for Interruptible {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.condition.hash(state);
    }
}

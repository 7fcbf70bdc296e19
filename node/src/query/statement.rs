//! One statement to one server, a source's or a partner's, as a leaf of a plan.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::stream::BoxStream;

/// What a server is asked.
pub(crate) trait Statement: Send + Sync + 'static {
    /// What a plan shows of it: the kind of server.
    const NAME: &'static str;

    /// What a plan shows of it, which only the owner of the plan sees.
    fn shown(&self) -> &str;

    /// The columns of its answer.
    fn schema(&self) -> &SchemaRef;

    /// Asks, and gives the answer, where the server leaves that to us in batches
    /// of the size that `run` has. It is whole, or ends with an error.
    fn read(&self, run: &Arc<TaskContext>) -> BoxStream<'static, Result<RecordBatch>>;
}

/// A statement as a leaf.
pub(crate) struct StatementExec<S> {
    statement: S,
    properties: Arc<PlanProperties>,
}

impl<S: Statement> StatementExec<S> {
    pub(crate) fn statement(&self) -> &S {
        &self.statement
    }

    pub(crate) fn new(statement: S) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(statement.schema())),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Self {
            statement,
            properties,
        }
    }
}

impl<S: Statement> ExecutionPlan for StatementExec<S> {
    fn name(&self) -> &str {
        S::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(self.statement.schema()),
            self.statement.read(&context),
        )))
    }
}

impl<S: Statement> fmt::Debug for StatementExec<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(S::NAME)
            .field("statement", &self.statement.shown())
            .finish_non_exhaustive()
    }
}

impl<S: Statement> DisplayAs for StatementExec<S> {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", S::NAME, self.statement.shown())
    }
}

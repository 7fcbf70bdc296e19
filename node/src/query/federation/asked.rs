//! A statement to a partner as a table, and what is done when the partner does
//! not compute it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{EmptyRecordBatchStream, ExecutionPlan, execute_stream};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::written::Written;
use crate::query::finished::Finished;
use crate::query::guard::{self, Budget};
use crate::query::partition::OfPartner;
use crate::query::parts::Part;
use crate::query::pushdown::numbered;
use crate::query::reduction::Narrowing;
use crate::query::{Partner, QueryError, Statement, StatementExec, advertised, partner};

/// What a partner is asked instead of rows of its tables.
#[derive(Clone)]
pub(in crate::query) struct AskedTable {
    written: Written,
    /// The columns `c0`, `c1`, … .
    schema: SchemaRef,
    /// The same as a plan over the partner's tables.
    means: LogicalPlan,
    /// The same, computed by this node over the partner's rows.
    here: LogicalPlan,
    /// The keys that the partner is told.
    narrowings: Vec<Narrowing>,
    /// Whether the answer may be without it.
    missable: bool,
}

impl AskedTable {
    pub(super) fn new(written: Written, means: LogicalPlan, here: LogicalPlan) -> Self {
        Self {
            written,
            schema: numbered(here.schema().as_arrow()),
            means,
            here,
            narrowings: Vec::new(),
            missable: false,
        }
    }

    /// The way to the partner.
    pub(in crate::query) fn partner(&self) -> &Arc<dyn Partner> {
        &self.written.partner
    }

    /// What is asked, as a plan over the partner's tables.
    pub(in crate::query) fn means(&self) -> &LogicalPlan {
        &self.means
    }

    /// The same, without rows where the partner does not answer.
    pub(in crate::query) fn missable(self) -> Self {
        let missable = true;
        Self { missable, ..self }
    }

    /// The same, with keys that the partner is told.
    pub(in crate::query) fn told(mut self, narrowing: Narrowing) -> Self {
        self.narrowings.push(narrowing);
        self
    }
}

#[async_trait]
impl Finished for AskedTable {
    const NAME: &'static str = "a statement to a partner";

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn plan(&self, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        // Not optimized again, as the whole plan is not.
        let state = state.as_any().downcast_ref::<SessionState>();
        let state = state
            .ok_or_else(|| DataFusionError::Internal("a plan without the engine's state".into()))?;
        let planner = state.query_planner();
        let here = planner.create_physical_plan(&self.here, state).await?;
        Ok(Arc::new(StatementExec::new(Asked {
            part: Part::new(Arc::clone(&self.written.partner), self.written.sql.clone())
                .telling(&self.narrowings)
                .missable(self.missable),
            schema: Arc::clone(&self.schema),
            here,
        })))
    }
}

/// One statement to one partner. What would be done here instead is no child of
/// it: it is run in its place, or not at all.
pub(crate) struct Asked {
    pub(crate) part: Part,
    schema: SchemaRef,
    pub(crate) here: Arc<dyn ExecutionPlan>,
}

impl Statement for Asked {
    const NAME: &'static str = "AskedExec";

    fn shown(&self) -> &str {
        self.part.partner.name()
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn read(&self, run: &Arc<TaskContext>) -> BoxStream<'static, Result<RecordBatch>> {
        let (here, out) = (Arc::clone(&self.here), Arc::clone(&self.schema));
        let (part, run) = (self.part.clone(), Arc::clone(run));
        let answer = async move {
            let name = part.partner.name().to_owned();
            let received = Arc::clone(&part.received);
            let rows = match partner::open(part, advertised(&out), &run).await {
                Err(error) if QueryError::of(&error).is_not_planned() => {
                    received.refuse();
                    tracing::debug!(partner = name, %error, "computed here, over the partner's rows");
                    instead(here, run)
                }
                answer => answer,
            };
            Ok::<_, DataFusionError>(relabelled(rows?, out, name))
        };
        futures::stream::once(answer).try_flatten().boxed()
    }
}

fn instead(
    here: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    // What is computed here is not split: the first partition has everything.
    if OfPartner::take(&context).is_some_and(|partition| partition.index() > 0) {
        return Ok(Box::pin(EmptyRecordBatchStream::new(here.schema())));
    }
    let Some(budget) = context.session_config().get_extension::<Budget>() else {
        return Err(DataFusionError::Internal(
            "a statement was run without a budget".into(),
        ));
    };
    execute_stream(guard::install(here, &budget)?, context)
}

/// The same columns under the names and with the nulls of the leaf.
fn relabelled(
    rows: SendableRecordBatchStream,
    schema: SchemaRef,
    partner: String,
) -> BoxStream<'static, Result<RecordBatch>> {
    rows.map(move |batch| {
        let columns = batch?.columns().to_vec();
        // A count cannot be null, but whoever answers can say so.
        RecordBatch::try_new(Arc::clone(&schema), columns)
            .map_err(|e| QueryError::partner_unavailable(&partner, e.to_string()).into())
    })
    .boxed()
}

//! A planned statement and its runs.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use comity_identity::Digest;
use datafusion::error::Result as EngineResult;
use datafusion::execution::{
    RecordBatchStream, SendableRecordBatchStream, SessionState, TaskContext,
};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::expressions::{Column, cast};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    EmptyRecordBatchStream, ExecutionPlan, ExecutionPlanProperties as _, execute_stream,
};
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{Shared, explain};
use crate::query::gate::Explain;
use crate::query::guard::{self, Budget};
use crate::query::partition::{self, OfPartner, Split};
use crate::query::reduction::Sources;
use crate::query::schema::relabel;
use crate::query::{Missing, Partition, QueryError, Snapshots, TableName};

/// Batches that wait between a query and its reader.
const CHANNEL_BATCHES: usize = 4;

/// A statement that passed the gate and was planned; a handle that is cheap to clone.
#[derive(Clone)]
pub struct Prepared {
    pub(super) shared: Arc<Shared>,
    /// Whose places its runs take.
    pub(super) caller: Arc<str>,
    pub(super) state: Arc<SessionState>,
    pub(super) plan: Arc<LogicalPlan>,
    pub(super) schema: SchemaRef,
    /// The schema of the query's own answer, where that is explained instead.
    pub(super) answer: SchemaRef,
    pub(super) explain: Option<Explain>,
    /// Where it is noted what the answer is without.
    pub(super) missing: Option<Arc<Missing>>,
    pub(super) tables: Arc<[TableName]>,
    pub(super) kept: Arc<[String]>,
}

impl Prepared {
    /// The schema that is announced and that every batch has.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The tables the statement reads, each once.
    pub fn tables(&self) -> &[TableName] {
        &self.tables
    }

    /// Why joins and aggregates of the statement are computed by this node and
    /// not where the rows are, for the owner.
    pub fn kept(&self) -> &[String] {
        &self.kept
    }

    /// The digest of the plan: the statement as it was resolved and optimized, over
    /// the tables as its caller sees them. What the terms hide and how is not in
    /// it: that follows from the agreement and the grant.
    pub fn digest(&self) -> Digest {
        Digest::of(self.plan.display_indent_schema().to_string().as_bytes())
    }

    /// As [`Prepared::run_in`], whatever the sources are now.
    ///
    /// # Errors
    /// As [`Prepared::run_in`].
    pub async fn run(&self) -> Result<SendableRecordBatchStream, QueryError> {
        self.run_in(Arc::default()).await
    }

    /// Runs the statement over the states of its sources that `snapshots` names,
    /// and puts those there that it meets; can be called again. Dropping the
    /// stream stops the work. Errors inside the stream are read with
    /// [`QueryError::of`].
    ///
    /// # Errors
    /// `busy` if too many queries run and none of them ended in time; `terms-mismatch`
    /// if a source is not in that state any more; `source-unavailable`, `budget` or
    /// `failed` from planning the run.
    pub async fn run_in(
        &self,
        snapshots: Arc<Snapshots>,
    ) -> Result<SendableRecordBatchStream, QueryError> {
        self.run_partition(snapshots, None, true).await
    }

    /// As [`Prepared::run_in`], but only `partition` of the answer: of one that may
    /// not be split the first has everything.
    ///
    /// # Errors
    /// As [`Prepared::run_in`].
    pub async fn run_partition(
        &self,
        snapshots: Arc<Snapshots>,
        partition: Option<Partition>,
        may_split: bool,
    ) -> Result<SendableRecordBatchStream, QueryError> {
        let may_split = may_split && self.explain.is_none();
        if partition.is_some_and(|p| p.index() > 0) && !may_split {
            return Ok(Box::pin(EmptyRecordBatchStream::new(self.schema())));
        }
        let partition = partition.filter(|_| may_split);
        let shared = &self.shared;
        let place = shared.queries.place(&self.caller, shared.settings.wait);
        let permit = place.await.ok_or_else(QueryError::busy)?;
        let deadline = Instant::now() + shared.settings.deadline;
        let budget = Arc::new(Budget {
            deadline,
            max_rows: shared.settings.max_rows,
            rows: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
        });
        let prepared = self.clone();
        let for_plan = Arc::clone(&budget);
        let batches = shared
            .contained(async move {
                prepared
                    .start(for_plan, snapshots, partition)
                    .await
                    .map_err(|e| QueryError::of(&e))
            })
            .await?;
        let (sender, receiver) = mpsc::channel(CHANNEL_BATCHES);
        let outcome = Arc::new(OnceLock::new());
        let (schema, told) = (self.schema(), Arc::clone(&outcome));
        let pump = async move {
            let open = sender.clone();
            let work = AssertUnwindSafe(forward(batches, sender, schema)).catch_unwind();
            let until = tokio::time::Instant::from_std(deadline);
            let ended = match tokio::time::timeout_at(until, work).await {
                Ok(Ok(ended)) => ended,
                // The text of a panic may hold data; it goes nowhere.
                Ok(Err(_)) => Err(QueryError::internal("the query panicked")),
                Err(_) => Err(QueryError::budget("time budget")),
            };
            // Not sent through the channel: a reader that takes nothing would
            // keep this task, and with it the permit, beyond the deadline.
            let _ = told.set(ended);
            // Held until the work has ended, and given back before the reader learns of the end.
            drop(permit);
            drop(open);
        };
        let task = AbortOnDropHandle::new(shared.handle.spawn(pump));
        Ok(Box::pin(Answer {
            schema: self.schema(),
            receiver,
            outcome,
            ended: false,
            budget,
            _task: task,
        }))
    }

    async fn start(
        &self,
        budget: Arc<Budget>,
        snapshots: Arc<Snapshots>,
        partition: Option<Partition>,
    ) -> EngineResult<SendableRecordBatchStream> {
        let mut state = SessionState::clone(&self.state);
        state.config_mut().set_extension(Arc::clone(&snapshots));
        state
            .config_mut()
            .set_extension(Arc::new(Sources::default()));
        if let Some(partition) = partition {
            return self
                .start_partition(budget, state, snapshots, partition)
                .await;
        }
        let physical = self.physical(&state).await?;
        let Some(explain) = self.explain else {
            return self.execute(physical, budget, &state, None);
        };
        let (prepared, schema) = (self.clone(), self.schema());
        let told = async move {
            if explain == Explain::Analyze {
                let mut rows = prepared.execute(Arc::clone(&physical), budget, &state, None)?;
                while rows.next().await.transpose()?.is_some() {}
            }
            explain::told(&physical, &prepared.kept, explain)
        };
        let told = futures::stream::once(told);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, told)))
    }

    async fn start_partition(
        &self,
        budget: Arc<Budget>,
        whole: SessionState,
        snapshots: Arc<Snapshots>,
        partition: Partition,
    ) -> EngineResult<SendableRecordBatchStream> {
        let mut state = whole.clone();
        partition::configure(&mut state, partition);
        // Of a plan that is not run no state is read.
        let planned = Arc::new(snapshots.fork());
        state.config_mut().set_extension(Arc::clone(&planned));
        let physical = self.physical(&state).await?;
        let split = Split::of(&physical);
        if split != Split::Whole {
            snapshots.join(&planned)?;
            state.config_mut().set_extension(snapshots);
        }
        match split {
            Split::Here => {
                let physical = partition::cut(&physical, partition, state.config_options())?;
                self.execute(physical, budget, &state, Some(partition.index().into()))
            }
            Split::AtPartner => {
                let wanted = OfPartner::new(partition);
                state.config_mut().set_extension(Arc::new(wanted));
                self.execute(physical, budget, &state, None)
            }
            Split::Whole if partition.index() == 0 => {
                let physical = self.physical(&whole).await?;
                self.execute(physical, budget, &whole, None)
            }
            Split::Whole => Ok(Box::pin(EmptyRecordBatchStream::new(physical.schema()))),
        }
    }

    /// Planned for each run: finished plans keep state of the run they made.
    async fn physical(&self, state: &SessionState) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let planner = state.query_planner();
        let physical = planner.create_physical_plan(&self.plan, state).await?;
        if let Some(snapshots) = Snapshots::of(state) {
            snapshots.seal();
        }
        plainly(physical, &self.answer)
    }

    /// The rows of `physical`, or of one partition of it, which may be none.
    fn execute(
        &self,
        physical: Arc<dyn ExecutionPlan>,
        budget: Arc<Budget>,
        state: &SessionState,
        partition: Option<usize>,
    ) -> EngineResult<SendableRecordBatchStream> {
        let context = TaskContext::from(state);
        let guarded = guard::install(physical, &budget)?;
        let config = context.session_config().clone();
        let mut config = config.with_extension(budget);
        if let Some(missing) = &self.missing {
            config.set_extension(Arc::clone(missing));
        }
        let context = Arc::new(context.with_session_config(config));
        match partition {
            None => execute_stream(guarded, context),
            Some(n) if n < guarded.output_partitioning().partition_count() => {
                guarded.execute(n, context)
            }
            Some(_) => Ok(Box::pin(EmptyRecordBatchStream::new(guarded.schema()))),
        }
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("schema", &self.schema)
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}

/// The types that are announced, made in each part of the plan: views only live
/// inside of it, and the one task that gathers the parts would copy all texts.
fn plainly(
    plan: Arc<dyn ExecutionPlan>,
    announced: &Schema,
) -> EngineResult<Arc<dyn ExecutionPlan>> {
    let planned = plan.schema();
    let kinds = |schema: &Schema| {
        let fields = schema.fields().iter();
        fields.map(|f| f.data_type().clone()).collect::<Vec<_>>()
    };
    if kinds(&planned) == kinds(announced) {
        return Ok(plan);
    }
    let columns = planned.fields().iter().zip(announced.fields()).enumerate();
    let columns = columns.map(|(i, (field, to))| {
        let column = Arc::new(Column::new(field.name(), i));
        let expr = cast(column, &planned, to.data_type().clone())?;
        let alias = field.name().clone();
        Ok(ProjectionExpr { expr, alias })
    });
    let columns = columns.collect::<EngineResult<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
}

async fn forward(
    mut batches: SendableRecordBatchStream,
    sender: mpsc::Sender<RecordBatch>,
    schema: SchemaRef,
) -> Result<(), QueryError> {
    while let Some(batch) = batches.next().await {
        let batch = relabel(&batch.map_err(|e| QueryError::of(&e))?, &schema)?;
        if sender.send(batch).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The reader's end of a run.
struct Answer {
    schema: SchemaRef,
    receiver: mpsc::Receiver<RecordBatch>,
    /// How the work ended; written before the channel closes.
    outcome: Arc<OnceLock<Result<(), QueryError>>>,
    ended: bool,
    budget: Arc<Budget>,
    _task: AbortOnDropHandle<()>,
}

impl Stream for Answer {
    type Item = EngineResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(batch) = ready!(self.receiver.poll_recv(context)) {
            return Poll::Ready(Some(Ok(batch)));
        }
        self.ended = true;
        Poll::Ready(match self.outcome.get() {
            Some(Ok(())) => None,
            Some(Err(error)) => Some(Err(error.clone().into())),
            // The engine was shut down: a part of an answer must not look like all of it.
            None => Some(Err(QueryError::internal(
                "the engine stopped in the middle of a query",
            )
            .into())),
        })
    }
}

impl RecordBatchStream for Answer {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Aborting waits for the next yield, which a busy join never reaches; the guards look at this.
        self.budget.cancelled.store(true, Ordering::Relaxed);
    }
}

//! Where statements run: a runtime, a memory pool and a budget of their own.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{
    RecordBatchStream, SendableRecordBatchStream, SessionState, SessionStateBuilder, TaskContext,
};
use datafusion::logical_expr::{LogicalPlan, ScalarUDF};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionConfig;
use datafusion::scalar::ScalarValue;
use futures::{FutureExt, Stream, StreamExt};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::gate::Gate;
use super::guard::{self, Budget};
use super::schema::{advertised, relabel};
use super::view::SHORT_NAMES;
use super::{QueryError, TableName, View};

/// Stack of each worker: long chains within the gate's limits need it (measured).
const STACK_BYTES: usize = 16 << 20;
/// Batches that wait between a query and its reader.
const CHANNEL_BATCHES: usize = 4;

/// How much a query may take. `Default` suits a small machine.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Worker threads, and partitions of a plan. Default 2.
    pub partitions: usize,
    /// Rows per batch. Default 8192.
    pub batch_rows: usize,
    /// Memory of all queries together, in bytes. Default 512 MiB; plan on 64 MiB per running query.
    pub memory_bytes: usize,
    /// Disk that spilling queries may use together, in bytes. Default 2 GiB.
    pub disk_bytes: u64,
    /// From start to the last row taken. Default 120 s.
    pub deadline: Duration,
    /// Rows that may flow through the joins and leaves of one query. Default 200 million.
    pub max_rows: u64,
    /// Queries that run at once; more are answered `busy`. Default 16.
    pub max_queries: usize,
    /// Whether Parquet evaluates filters while it decodes. Default false: faster only for selective reads of wide files.
    pub parquet_filters: bool,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            partitions: 2,
            batch_rows: 8192,
            memory_bytes: 512 << 20,
            disk_bytes: 2 << 30,
            deadline: Duration::from_secs(120),
            max_rows: 200_000_000,
            max_queries: 16,
            parquet_filters: false,
        }
    }
}

/// The node's query engine. It has a runtime of its own, so that the network's
/// timers and refusals go on while a query is busy.
pub struct Engine {
    shared: Arc<Shared>,
}

impl Engine {
    /// Starts the runtime and the memory pool.
    ///
    /// # Errors
    /// `internal` if the threads or the spill directory cannot be had.
    pub fn start(settings: EngineSettings) -> Result<Self, QueryError> {
        Self::start_with(settings, Vec::new())
    }

    /// As [`Engine::start`], with functions that tests listen with.
    pub(crate) fn start_with(
        settings: EngineSettings,
        extra: Vec<Arc<ScalarUDF>>,
    ) -> Result<Self, QueryError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(settings.partitions.max(1))
            .thread_stack_size(STACK_BYTES)
            .thread_name("comity-query")
            .enable_all()
            .build()
            .map_err(|e| QueryError::internal(e.to_string()))?;
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::OsTmpDirectory)
            .with_max_temp_directory_size(settings.disk_bytes);
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(settings.memory_bytes)))
            .with_disk_manager_builder(disk)
            .build_arc()
            .map_err(|e| QueryError::internal(e.to_string()))?;
        let gate = Gate::new(
            &extra
                .iter()
                .map(|f| f.name().to_owned())
                .collect::<Vec<_>>(),
        );
        let template = template(&gate, &extra, environment);
        let queries = Arc::new(Semaphore::new(settings.max_queries));
        let handle = runtime.handle().clone();
        Ok(Self {
            shared: Arc::new(Shared {
                gate,
                template,
                settings,
                queries,
                handle,
                runtime: Some(runtime),
            }),
        })
    }

    /// Parses, checks and plans a statement over what the view holds. Nothing runs yet.
    ///
    /// # Errors
    /// `bad-sql`, `not-permitted` or `too-large` for the statement.
    pub async fn prepare(&self, view: Arc<View>, sql: &str) -> Result<Prepared, QueryError> {
        self.prepare_with(view, sql, Vec::new()).await
    }

    /// As [`Engine::prepare`], with values for the places `$1`, `$2`, … or `?` of the statement.
    ///
    /// # Errors
    /// As [`Engine::prepare`]; a place without a value is `bad-sql`.
    pub async fn prepare_with(
        &self,
        view: Arc<View>,
        sql: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<Prepared, QueryError> {
        if sql.len() > super::gate::MAX_BYTES {
            return Err(QueryError::too_large("bytes", super::gate::MAX_BYTES));
        }
        let (shared, sql) = (Arc::clone(&self.shared), sql.to_owned());
        // On the engine's threads: the caller's stack may be too small to plan on.
        self.shared
            .contained(async move { plan(shared, view, &sql, parameters).await })
            .await
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}

/// A statement that passed the gate and was planned; a handle that is cheap to clone.
#[derive(Clone)]
pub struct Prepared {
    shared: Arc<Shared>,
    state: Arc<SessionState>,
    plan: Arc<LogicalPlan>,
    schema: SchemaRef,
    tables: Arc<[TableName]>,
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

    /// Runs the statement; can be called again. Dropping the stream stops the
    /// work. Errors inside the stream are read with [`QueryError::of`].
    ///
    /// # Errors
    /// `busy` if too many queries run; `source-unavailable`, `budget` or
    /// `failed` from planning the run.
    pub async fn run(&self) -> Result<SendableRecordBatchStream, QueryError> {
        let shared = &self.shared;
        let permit = Arc::clone(&shared.queries)
            .try_acquire_owned()
            .map_err(|_| QueryError::busy())?;
        let deadline = Instant::now() + shared.settings.deadline;
        let budget = Arc::new(Budget {
            deadline,
            max_rows: shared.settings.max_rows,
            rows: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
        });
        let prepared = self.clone();
        let for_plan = Arc::clone(&budget);
        let mut batches = shared
            .contained(async move {
                prepared
                    .start(for_plan)
                    .await
                    .map_err(|e| QueryError::of(&e))
            })
            .await?;
        let (sender, receiver) = mpsc::channel(CHANNEL_BATCHES);
        let schema = self.schema();
        let pump = async move {
            // Held until the work has ended, not until the reader has gone.
            let _permit = permit;
            let failures = sender.clone();
            let work = async {
                while let Some(batch) = batches.next().await {
                    let batch = batch
                        .map_err(|e| QueryError::of(&e))
                        .and_then(|b| relabel(&b, &schema));
                    let last = batch.is_err();
                    if sender
                        .send(batch.map_err(DataFusionError::from))
                        .await
                        .is_err()
                        || last
                    {
                        return;
                    }
                }
            };
            let until = tokio::time::Instant::from_std(deadline);
            let ended =
                tokio::time::timeout_at(until, std::panic::AssertUnwindSafe(work).catch_unwind())
                    .await;
            let failure = match ended {
                Ok(Ok(())) => return,
                // The text of a panic may hold data; it goes nowhere.
                Ok(Err(_)) => QueryError::internal("the query panicked"),
                Err(_) => QueryError::budget("time budget"),
            };
            let _ = failures.send(Err(failure.into())).await;
        };
        let task = AbortOnDropHandle::new(shared.handle.spawn(pump));
        Ok(Box::pin(Answer {
            schema: self.schema(),
            receiver,
            budget,
            _task: task,
        }))
    }

    async fn start(&self, budget: Arc<Budget>) -> EngineResult<SendableRecordBatchStream> {
        // Planned for each run: finished plans keep state of the run they made.
        let physical = self
            .state
            .query_planner()
            .create_physical_plan(&self.plan, self.state.as_ref())
            .await?;
        let context = TaskContext::from(self.state.as_ref());
        let config = context.session_config().clone().with_extension(budget);
        execute_stream(
            guard::install(physical)?,
            Arc::new(context.with_session_config(config)),
        )
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

struct Shared {
    gate: Gate,
    template: SessionState,
    settings: EngineSettings,
    queries: Arc<Semaphore>,
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Shared {
    /// Runs work on the engine's threads; a panic there becomes an error here.
    async fn contained<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, QueryError>> + Send + 'static,
    ) -> Result<T, QueryError> {
        let task = AbortOnDropHandle::new(self.handle.spawn(work));
        match tokio::time::timeout(self.settings.deadline, task).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(QueryError::internal("planning panicked")),
            Err(_) => Err(QueryError::budget("time budget")),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The last handle may be dropped on an asynchronous thread, which must not block.
            runtime.shutdown_background();
        }
    }
}

/// The reader's end of a run.
struct Answer {
    schema: SchemaRef,
    receiver: mpsc::Receiver<EngineResult<RecordBatch>>,
    budget: Arc<Budget>,
    _task: AbortOnDropHandle<()>,
}

impl Stream for Answer {
    type Item = EngineResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(context)
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

async fn plan(
    shared: Arc<Shared>,
    view: Arc<View>,
    sql: &str,
    parameters: Vec<ScalarValue>,
) -> Result<Prepared, QueryError> {
    let statement = shared.gate.parse(sql, parameters.len())?;
    let state = state(&shared, &view);
    let (plan, tables) = shared
        .gate
        .plan(statement, parameters, &state, &view)
        .await?;
    let plan = state.optimize(&plan).map_err(|e| QueryError::of(&e))?;
    let schema = advertised(plan.schema().as_arrow());
    Ok(Prepared {
        shared,
        state: Arc::new(state),
        plan: Arc::new(plan),
        schema,
        tables: tables.into(),
    })
}

/// The state of one statement: the caller's catalogs and nothing else.
fn state(shared: &Shared, view: &View) -> SessionState {
    let settings = &shared.settings;
    let mut config = SessionConfig::new()
        .with_target_partitions(settings.partitions.max(1))
        .with_batch_size(settings.batch_rows.max(1))
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(view.default_catalog(), SHORT_NAMES);
    let options = config.options_mut();
    // View types are not read by every client, and announced must equal streamed.
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.parquet.pushdown_filters = settings.parquet_filters;
    options.execution.parquet.reorder_filters = settings.parquet_filters;
    SessionStateBuilder::new_from_existing(shared.template.clone())
        .with_config(config)
        .with_catalog_list(Arc::clone(view.catalogs()))
        .build()
}

/// A state with the permitted functions only, no table functions and no file formats:
/// what is not registered cannot be named, whatever the gate thinks.
fn template(gate: &Gate, extra: &[Arc<ScalarUDF>], environment: Arc<RuntimeEnv>) -> SessionState {
    let full = SessionStateBuilder::new().with_default_features().build();
    let keep = |name: &str| gate.permits(name);
    let scalars = full
        .scalar_functions()
        .values()
        .filter(|f| keep(f.name()))
        .cloned();
    SessionStateBuilder::new()
        .with_runtime_env(environment)
        .with_expr_planners(full.expr_planners().to_vec())
        .with_scalar_functions(scalars.chain(extra.iter().cloned()).collect())
        .with_aggregate_functions(
            full.aggregate_functions()
                .values()
                .filter(|f| keep(f.name()))
                .cloned()
                .collect(),
        )
        .with_window_functions(
            full.window_functions()
                .values()
                .filter(|f| keep(f.name()))
                .cloned()
                .collect(),
        )
        .build()
}

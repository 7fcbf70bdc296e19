//! Where statements run: a runtime, a memory pool and a budget of their own.

mod explain;
mod places;
mod queue;
mod run;
mod settings;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::AbortOnDropHandle;

pub use places::{Described, MAX_PLACES};
pub use run::Prepared;
pub use settings::EngineSettings;

use self::queue::{Place, Queue};
use super::gate::{Explain, Gate, MAX_BYTES};
use super::partial;
use super::pushdown;
use super::reduction;
use super::schema::advertised;
use super::{QueryError, View};

/// Stack of each worker: long chains within the gate's limits need it (measured).
const STACK_BYTES: usize = 16 << 20;

/// The most worker threads.
const MAX_THREADS: usize = 512;

/// As many threads as all queries that may run can keep busy, and as many again
/// as one of them for plans: a join that yields no row holds its threads until
/// the deadline, and nobody else's work may wait behind it for that long (A50).
/// The system shares the processors between them.
fn threads(settings: &EngineSettings) -> usize {
    let queries = settings.max_queries.saturating_add(1);
    (settings.partitions.max(1).saturating_mul(queries)).min(MAX_THREADS)
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
            .worker_threads(threads(&settings))
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
        let template = state::template(&gate, &extra, environment);
        let queries = Queue::new(settings.max_queries);
        let plans = Queue::new(settings.max_queries);
        let handle = runtime.handle().clone();
        Ok(Self {
            shared: Arc::new(Shared {
                gate,
                template,
                settings,
                queries,
                plans,
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

    /// What the places of a statement take and what it gives, without values.
    ///
    /// # Errors
    /// As [`Engine::prepare`].
    pub async fn describe(&self, view: Arc<View>, sql: &str) -> Result<Described, QueryError> {
        let (shared, sql) = (Arc::clone(&self.shared), sql.to_owned());
        let _place = self.shared.may_plan(&view).await?;
        self.shared
            .contained(async move { places::describe(shared, view, &sql).await })
            .await
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
        if sql.len() > MAX_BYTES {
            return Err(QueryError::too_large("bytes", MAX_BYTES));
        }
        let (shared, sql) = (Arc::clone(&self.shared), sql.to_owned());
        let _place = self.shared.may_plan(&view).await?;
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

struct Shared {
    gate: Gate,
    template: SessionState,
    settings: EngineSettings,
    queries: Arc<Queue>,
    /// Statements that are planned. Apart from the queries that run: a question
    /// for a schema does not wait behind an hour's work.
    plans: Arc<Queue>,
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Shared {
    /// A place to plan in: whoever asks for a thousand plans at once gets its
    /// share of the threads, and not all of them (`spec/5-data-plane.md#D-137`).
    async fn may_plan(&self, view: &View) -> Result<Place, QueryError> {
        let place = self.plans.place(view.caller(), self.settings.wait);
        place.await.ok_or_else(QueryError::busy)
    }

    /// One query, and whether it is to be explained, which not everybody may ask.
    fn parse(
        &self,
        view: &View,
        sql: &str,
        parameters: usize,
    ) -> Result<(Statement, Option<Explain>), QueryError> {
        if view.explains() {
            return self.gate.parse_explained(sql, parameters);
        }
        Ok((self.gate.parse(sql, parameters)?, None))
    }

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

async fn plan(
    shared: Arc<Shared>,
    view: Arc<View>,
    sql: &str,
    parameters: Vec<ScalarValue>,
) -> Result<Prepared, QueryError> {
    let (statement, explain) = shared.parse(&view, sql, parameters.len())?;
    let state = state::state(&shared.template, &shared.settings, &view);
    let (plan, tables) = shared
        .gate
        .plan(statement, parameters, &state, &view)
        .await?;
    let plan = state
        .optimize(&plan)
        .map_err(|e| QueryError::while_optimizing(&e))?;
    let (plan, kept) = pushdown::push(plan, &state).map_err(|e| QueryError::of(&e))?;
    for why in &kept {
        tracing::debug!(why, "computed here, not at the source");
    }
    let plan = reduction::push(plan, &view).map_err(|e| QueryError::of(&e))?;
    let plan = match view.missing() {
        Some(_) => partial::push(plan).map_err(|e| QueryError::of(&e))?,
        None => plan,
    };
    let answer = advertised(plan.schema().as_arrow());
    let schema = match explain {
        Some(_) => explain::schema(),
        None => Arc::clone(&answer),
    };
    let caller = Arc::clone(view.caller());
    Ok(Prepared {
        shared,
        caller,
        state: Arc::new(state),
        plan: Arc::new(plan),
        schema,
        answer,
        explain,
        missing: view.missing().map(Arc::clone),
        tables: tables.into(),
        kept: kept.into(),
    })
}

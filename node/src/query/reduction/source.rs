//! The side of a join whose keys are told: computed and held before the other
//! side is asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::{Mutex, MutexGuard};

use super::egress::KeyForm;
use crate::query::finished::Finished;
use crate::query::guard::{self, Budget};
use crate::query::pushdown::numbered;
use crate::query::{QueryError, Statement, StatementExec, row_bytes};

/// The most bytes of rows that wait for the other side. A join holds one of its
/// sides anyway; what is more than this is no small set of keys.
const MAX_HELD_BYTES: usize = 64 << 20;

/// The sides that one run of a plan holds, by their numbers in the plan.
#[derive(Debug, Default)]
pub(crate) struct Sources(Lock<HashMap<usize, Arc<Held>>>);

impl Sources {
    fn put(&self, id: usize, held: Arc<Held>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(id, held);
    }

    fn get(&self, id: usize) -> Option<Arc<Held>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&id).map(Arc::clone)
    }

    /// All rows of a side of this run; none if they are too many to be held.
    pub(super) async fn rows(
        run: &Arc<TaskContext>,
        id: usize,
    ) -> Result<Option<Arc<Vec<RecordBatch>>>> {
        let sources = run.session_config().get_extension::<Self>();
        let Some(held) = sources.and_then(|all| all.get(id)) else {
            return Err(DataFusionError::Internal(
                "keys were asked of a side that is not there".into(),
            ));
        };
        let state = held.filled(run).await?;
        Ok(match &state.rest {
            Rest::None => Some(Arc::clone(&state.rows)),
            _ => None,
        })
    }
}

/// Whom a side tells its keys, and in which form.
#[derive(Clone, Debug)]
pub(super) struct Telling {
    /// The partner's alias.
    pub(super) to: String,
    pub(super) form: KeyForm,
}

/// A side as a table.
#[derive(Clone)]
pub(super) struct SourceTable {
    id: usize,
    /// Everybody who learns of its keys: whom it tells, and whom those tell whose
    /// rows it leaves out.
    pub(super) tellings: Vec<Telling>,
    /// The columns `c0`, `c1`, … .
    schema: SchemaRef,
    pub(super) plan: LogicalPlan,
}

impl SourceTable {
    pub(super) fn new(id: usize, plan: LogicalPlan, tellings: Vec<Telling>) -> Self {
        Self {
            id,
            tellings,
            schema: numbered(plan.schema().as_arrow()),
            plan,
        }
    }
}

#[async_trait]
impl Finished for SourceTable {
    const NAME: &'static str = "a side of a join whose keys are told";

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn plan(&self, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let state = state.as_any().downcast_ref::<SessionState>();
        let sources = state.and_then(|s| s.config().get_extension::<Sources>());
        let (Some(state), Some(sources)) = (state, sources) else {
            return Err(DataFusionError::Internal(
                "a plan without the engine's state".into(),
            ));
        };
        let planner = state.query_planner();
        let plan = planner.create_physical_plan(&self.plan, state).await?;
        let held = Arc::new(Held {
            plan: Arc::clone(&plan),
            state: Mutex::default(),
        });
        sources.put(self.id, Arc::clone(&held));
        Ok(Arc::new(StatementExec::new(Side {
            plan,
            held,
            schema: Arc::clone(&self.schema),
        })))
    }
}

/// A side in one run.
#[derive(Debug)]
struct Held {
    plan: Arc<dyn ExecutionPlan>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: Arc<Vec<RecordBatch>>,
    rest: Rest,
    /// The bytes of `rows`, in the engine's pool.
    reserved: Option<MemoryReservation>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// What is not held.
#[derive(Default)]
enum Rest {
    /// Everything: nobody asked yet.
    #[default]
    All,
    /// Being read, from where whoever read it was stopped.
    Read(SendableRecordBatchStream),
    /// What was too much.
    More(SendableRecordBatchStream),
    /// Taken by the join.
    Taken,
    /// Nothing: all of it is held.
    None,
    /// It failed.
    Failed(QueryError),
}

impl Held {
    /// Reads until the end, or until it is too much. Whoever needs it first does
    /// the work, the join or the other side: neither waits for the other.
    async fn filled(&self, run: &Arc<TaskContext>) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state.lock().await;
        if let Rest::All = state.rest {
            let budget = run.session_config().get_extension::<Budget>();
            let budget = budget.ok_or_else(|| {
                DataFusionError::Internal("a side was read without a budget".into())
            })?;
            let guarded = guard::install(Arc::clone(&self.plan), &budget)?;
            state.rest = Rest::Read(execute_stream(guarded, Arc::clone(run))?);
            let consumer = MemoryConsumer::new("keys of a join");
            state.reserved = Some(consumer.register(run.memory_pool()));
        }
        if let Err(error) = state.fill().await {
            let error = QueryError::of(&error);
            *state = State {
                rest: Rest::Failed(error),
                ..State::default()
            };
        }
        match &state.rest {
            Rest::Failed(error) => Err(error.clone().into()),
            _ => Ok(state),
        }
    }
}

impl State {
    async fn fill(&mut self) -> Result<()> {
        while let Rest::Read(rows) = &mut self.rest {
            // Stopped here, it goes on from here: nothing was taken.
            let Some(batch) = rows.next().await.transpose()? else {
                self.rest = Rest::None;
                break;
            };
            let bytes = row_bytes(&batch);
            let fits = self.reserved.as_mut().is_some_and(|reserved| {
                reserved.size() + bytes <= MAX_HELD_BYTES && reserved.try_grow(bytes).is_ok()
            });
            Arc::make_mut(&mut self.rows).push(batch);
            if !fits && let Rest::Read(rows) = std::mem::take(&mut self.rest) {
                self.rest = Rest::More(rows);
            }
        }
        Ok(())
    }
}

/// A side as a leaf of the plan: its rows, those that are held first. Its plan
/// is no child of it, because the other side runs it as well.
pub(crate) struct Side {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    held: Arc<Held>,
    schema: SchemaRef,
}

impl Statement for Side {
    const NAME: &'static str = "KeySourceExec";

    fn shown(&self) -> &str {
        "rows whose keys are told"
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn read(&self, run: &Arc<TaskContext>) -> BoxStream<'static, Result<RecordBatch>> {
        let (held, run, schema) = (
            Arc::clone(&self.held),
            Arc::clone(run),
            Arc::clone(&self.schema),
        );
        let rows = async move {
            let mut state = held.filled(&run).await?;
            let rows = Arc::clone(&state.rows);
            let rest = match std::mem::replace(&mut state.rest, Rest::Taken) {
                Rest::More(rest) => {
                    // They go on to the join alone.
                    (state.rows, state.reserved) = (Arc::default(), None);
                    rest.boxed()
                }
                Rest::None => {
                    state.rest = Rest::None;
                    futures::stream::empty().boxed()
                }
                _ => {
                    return Err(DataFusionError::Internal(
                        "a side of a join was read twice".into(),
                    ));
                }
            };
            drop(state);
            let held = (0..rows.len()).filter_map(move |n| rows.get(n).cloned().map(Ok));
            let all = futures::stream::iter(held).chain(rest);
            Ok(all.map(move |batch: Result<RecordBatch>| {
                let columns = batch?.columns().to_vec();
                Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
            }))
        };
        futures::stream::once(rows).try_flatten().boxed()
    }
}

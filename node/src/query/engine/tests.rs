//! What ends a query that would not end, and what goes on when one fails.

mod bombs;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use comity_protocol::terms::{RowFilter, TableTerms};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{ColumnarValue, Expr, TableType, Volatility, create_udf};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use super::*;
use crate::query::{GovernedTable, TableName};

/// Nothing here takes this long; only what never ends does.
const PATIENCE: Duration = Duration::from_secs(90);
/// A deadline that planning a small statement keeps on a busy machine.
const SOON: Duration = Duration::from_secs(2);

async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event)
        .await
        .expect("it did not happen")
}

fn engine(change: impl FnOnce(&mut EngineSettings)) -> Engine {
    let mut settings = EngineSettings::default();
    change(&mut settings);
    Engine::start_with(settings, vec![Arc::new(panicking())]).unwrap()
}

/// Panics, with a text that holds data, when it meets a 13.
fn panicking() -> ScalarUDF {
    create_udf(
        "panicking",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Immutable,
        Arc::new(|args| {
            if let ColumnarValue::Array(values) = &args[0] {
                let met = values.as_primitive::<Int64Type>().iter().flatten();
                met.for_each(|x| assert_ne!(x, 13, "SECRET"));
            }
            Ok(args[0].clone())
        }),
    )
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]))
}

fn batch(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    RecordBatch::try_new(schema(), vec![values]).unwrap()
}

fn rows(batch: RecordBatch) -> Arc<dyn TableProvider> {
    Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap())
}

fn view(source: Arc<dyn TableProvider>) -> Arc<View> {
    let fields = source.schema();
    let columns = fields.fields().iter().map(|f| f.name().clone());
    let terms = TableTerms {
        columns: BTreeSet::from_iter(columns),
        filter: RowFilter(BTreeSet::new()),
        masks: BTreeMap::new(),
        protection: None,
    };
    let name = TableName {
        catalog: "own".into(),
        schema: "p".into(),
        table: "t".into(),
    };
    View::builder("own")
        .governed(name, GovernedTable::new(source, &terms).unwrap())
        .build()
}

async fn ask(engine: &Engine, view: &Arc<View>, sql: &str) -> Result<usize, QueryError> {
    let stream = engine.prepare(Arc::clone(view), sql).await?.run().await?;
    let batches: Vec<_> = soon(stream.try_collect())
        .await
        .map_err(|e| QueryError::of(&e))?;
    Ok(batches.iter().map(RecordBatch::num_rows).sum())
}

async fn code(engine: &Engine, view: &Arc<View>, sql: &str) -> &'static str {
    ask(engine, view, sql).await.expect_err(sql).code()
}

/// A source that does as its script says, and tells when reading starts and stops.
#[derive(Debug)]
struct Scripted {
    script: Script,
    schema: SchemaRef,
    started: Arc<Semaphore>,
    dropped: Arc<Semaphore>,
}

#[derive(Clone, Copy, Debug)]
enum Script {
    /// Rows without end, and never a moment to wait.
    Endless,
    /// One batch, and then nothing, for ever.
    Stalled,
    /// One batch, and then a panic.
    Panics,
}

impl PartitionStream for Scripted {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        self.started.add_permits(1);
        let told = Told(Arc::clone(&self.dropped));
        let first = stream::iter([Ok(batch(0..10))]);
        let then = match self.script {
            Script::Endless => stream::repeat_with(|| Ok(batch(0..8192))).boxed(),
            Script::Stalled => stream::pending().boxed(),
            Script::Panics => stream::once(async { panic!("SECRET") }).boxed(),
        };
        let all = first.chain(then).map(move |batch| {
            let _held = &told;
            batch
        });
        Box::pin(RecordBatchStreamAdapter::new(schema(), all))
    }
}

/// Tells when it is dropped.
struct Told(Arc<Semaphore>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// A table of one scripted partition, and the events of its stream.
struct Spied {
    view: Arc<View>,
    started: Arc<Semaphore>,
    dropped: Arc<Semaphore>,
}

fn spied(script: Script) -> Spied {
    let (started, dropped) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let partition = Scripted {
        script,
        schema: schema(),
        started: Arc::clone(&started),
        dropped: Arc::clone(&dropped),
    };
    let table = StreamingTable::try_new(schema(), vec![Arc::new(partition)]).unwrap();
    Spied {
        view: view(Arc::new(table)),
        started,
        dropped,
    }
}

async fn happened(event: &Semaphore) {
    soon(event.acquire()).await.unwrap().forget();
}

/// Waits until no query holds a permit and no task of one is alive: a task that
/// was ended goes on to its next pause, and the permit is given back before.
async fn idle(engine: &Engine) {
    // By as many callers: one alone never gets all.
    let mut all = Vec::new();
    for n in 0..engine.shared.settings.max_queries {
        let caller = Arc::from(n.to_string());
        let place = engine
            .shared
            .queries
            .place(&caller, Duration::from_secs(60));
        all.push(place.await.unwrap());
    }
    let tasks = engine.shared.handle.metrics();
    let none = async {
        while tasks.num_alive_tasks() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), none)
        .await
        .expect("tasks go on");
}

#[tokio::test]
async fn the_deadline_ends_a_query_that_waits_for_its_source() {
    let (engine, spied) = (engine(|s| s.deadline = SOON), spied(Script::Stalled));
    assert_eq!(
        code(&engine, &spied.view, "SELECT sum(x) FROM t").await,
        "budget"
    );
    happened(&spied.dropped).await;
}

#[tokio::test]
async fn the_deadline_ends_a_query_that_never_waits() {
    let (engine, spied) = (engine(|s| s.deadline = SOON), spied(Script::Endless));
    assert_eq!(
        code(&engine, &spied.view, "SELECT sum(x) FROM t").await,
        "budget"
    );
    happened(&spied.dropped).await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_holds_its_place_no_longer_than_the_deadline() {
    let engine = engine(|s| (s.deadline, s.max_queries) = (SOON, 1));
    let spied = spied(Script::Endless);
    let prepared = engine
        .prepare(Arc::clone(&spied.view), "SELECT x FROM t")
        .await
        .unwrap();
    let mut unread = prepared.run().await.unwrap();
    happened(&spied.dropped).await;
    idle(&engine).await;
    let mut last = None;
    while let Some(item) = soon(unread.next()).await {
        last = Some(item);
    }
    let error = last.unwrap().expect_err("a part must not look like all");
    assert_eq!(QueryError::of(&error).code(), "budget");
}

#[tokio::test]
async fn the_row_budget_passes_at_its_limit_and_not_beyond() {
    let view = view(rows(batch(0..1_000)));
    for (max_rows, sql, passes) in [
        (1_000, "SELECT sum(x) FROM t", true),
        (999, "SELECT sum(x) FROM t", false),
        // Twice the leaf, twice the input and once the output of the join.
        (5_000, "SELECT a.x FROM t AS a JOIN t AS b USING (x)", true),
        (4_999, "SELECT a.x FROM t AS a JOIN t AS b USING (x)", false),
    ] {
        let engine = engine(|s| s.max_rows = max_rows);
        match ask(&engine, &view, sql).await {
            Ok(_) => assert!(passes, "{max_rows} {sql}"),
            Err(error) => assert!(!passes && error.code() == "budget", "{max_rows} {error:?}"),
        }
    }
}

#[tokio::test]
async fn as_many_queries_run_as_are_permitted_and_no_more() {
    let (engine, spied) = (
        engine(|s| (s.max_queries, s.wait) = (2, Duration::ZERO)),
        spied(Script::Stalled),
    );
    let prepared = engine
        .prepare(Arc::clone(&spied.view), "SELECT x FROM t")
        .await
        .unwrap();
    let (first, _second) = (prepared.run().await.unwrap(), prepared.run().await.unwrap());
    let third = prepared.run().await.map(|_| ()).unwrap_err();
    assert_eq!(third.code(), "busy");
    happened(&spied.started).await;
    drop(first);
    happened(&spied.dropped).await;
    let another: Arc<str> = Arc::from("another");
    let place = engine
        .shared
        .queries
        .place(&another, Duration::from_secs(60));
    drop(place.await.unwrap());
    prepared.run().await.unwrap();
}

#[tokio::test]
async fn a_place_is_free_when_the_reader_learns_of_the_end() {
    let engine = engine(|s| s.max_queries = 1);
    let view = view(rows(batch(0..10)));
    for _ in 0..50 {
        assert_eq!(ask(&engine, &view, "SELECT x FROM t").await, Ok(10));
    }
}

#[tokio::test]
async fn dropping_the_answer_stops_the_work() {
    let engine = engine(|_| ());
    for (script, sql) in [
        (Script::Stalled, "SELECT x FROM t"),
        (Script::Stalled, "SELECT sum(x) FROM t"),
        (Script::Endless, "SELECT x FROM t"),
        (Script::Endless, "SELECT x, count(*) FROM t GROUP BY x"),
    ] {
        let spied = spied(script);
        let prepared = engine.prepare(Arc::clone(&spied.view), sql).await.unwrap();
        let answer = prepared.run().await.unwrap();
        happened(&spied.started).await;
        assert_eq!(spied.dropped.available_permits(), 0, "{sql}");
        drop(answer);
        happened(&spied.dropped).await;
        idle(&engine).await;
    }
}

#[tokio::test]
async fn an_engine_that_stops_does_not_end_an_answer_as_if_it_were_whole() {
    let (engine, spied) = (engine(|_| ()), spied(Script::Stalled));
    let prepared = engine
        .prepare(Arc::clone(&spied.view), "SELECT x FROM t")
        .await
        .unwrap();
    let mut answer = prepared.run().await.unwrap();
    happened(&spied.started).await;
    drop((engine, prepared));
    let error = loop {
        match soon(answer.next()).await.expect("not the end") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(QueryError::of(&error).code(), "internal");
    assert!(soon(answer.next()).await.is_none());
}

/// A table that panics when it is planned.
#[derive(Debug)]
struct PanicsWhenPlanned;

#[async_trait::async_trait]
impl TableProvider for PanicsWhenPlanned {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        panic!("SECRET")
    }
}

#[tokio::test]
async fn a_panic_is_one_internal_error_and_the_engine_goes_on() {
    let engine = engine(|s| s.max_queries = 1);
    let sound = view(rows(batch(0..100)));
    for (view, sql) in [
        (view(Arc::new(PanicsWhenPlanned)), "SELECT x FROM t"),
        (spied(Script::Panics).view, "SELECT x FROM t"),
        (spied(Script::Panics).view, "SELECT sum(x) FROM t"),
        // Behind a repartition, in tasks of the engine's own.
        (
            spied(Script::Panics).view,
            "SELECT x, count(*) FROM t GROUP BY x",
        ),
        (
            Arc::clone(&sound),
            "SELECT a.x FROM t AS a JOIN t AS b ON a.x = b.x WHERE panicking(a.x) > 0",
        ),
        (
            Arc::clone(&sound),
            "SELECT panicking(x), count(*) FROM t GROUP BY 1 ORDER BY 1",
        ),
    ] {
        let error = ask(&engine, &view, sql).await.expect_err(sql);
        assert_eq!(error.code(), "internal", "{sql}: {error:?}");
        assert!(!error.to_string().contains("SECRET"), "{sql}");
        idle(&engine).await;
        assert_eq!(ask(&engine, &sound, "SELECT x FROM t").await, Ok(100));
    }
}

fn wide() -> Arc<View> {
    let n = 100_000;
    let key: ArrayRef = Arc::new(Int64Array::from_iter_values(0..n));
    let text: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..n).map(|i| format!("{i:0>64}")),
    ));
    view(rows(
        RecordBatch::try_from_iter([("x", key), ("s", text)]).unwrap(),
    ))
}

/// A hash join keeps its build side and cannot spill it.
const KEEPS: &str = "SELECT count(*) FROM t AS a JOIN t AS b ON a.s = b.s";
/// A grouping with a state for each row, which can be spilled.
const SPILLS: &str = "SELECT s, max(x) FROM t GROUP BY s";

#[tokio::test]
async fn memory_beyond_the_pool_is_a_refusal_and_not_the_end_of_the_process() {
    let view = wide();
    let large = engine(|s| s.memory_bytes = 256 << 20);
    assert_eq!(ask(&large, &view, KEEPS).await, Ok(1));
    let small = engine(|s| s.memory_bytes = 4 << 20);
    let error = ask(&small, &view, KEEPS).await.unwrap_err();
    assert_eq!(error.code(), "budget");
    assert_eq!(
        ask(&small, &view, "SELECT x FROM t LIMIT 5").await,
        Ok(5),
        "the pool was given back"
    );
}

#[tokio::test]
async fn a_grouping_beyond_the_pool_goes_to_disk_and_no_further() {
    let view = wide();
    let spilling = engine(|s| s.memory_bytes = 12 << 20);
    assert_eq!(ask(&spilling, &view, SPILLS).await, Ok(100_000));
    let full = engine(|s| (s.memory_bytes, s.disk_bytes) = (12 << 20, 1 << 10));
    let error = ask(&full, &view, SPILLS).await.unwrap_err();
    assert_eq!(error.code(), "budget", "{error:?}");
}

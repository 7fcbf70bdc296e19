//! The room as a whole: canaries behind the barrier, refused statements, the main path.

mod corpus;
mod federated;
mod generated;
mod laws;
mod partial;
mod partitions;
mod permitted;
mod reduced;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type, Schema};
use comity_protocol::terms::{Comparison, Literal, Predicate, RowFilter, TableTerms};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::parquet::arrow::ArrowWriter;
use futures::TryStreamExt;
use tempfile::TempDir;

use super::*;
use crate::products::{FileSpec, Format};
use crate::sources::files;

const ROWS: i64 = 2_000;
/// In every hidden row: divides by zero in `1/(x-100)`.
const HIDDEN: i64 = 100;

/// Half of the rows are visible: with few visible ones the engine happens not
/// to evaluate the caller's side of `AND` at all, and a canary passes by luck.
fn rows() -> RecordBatch {
    let visible = |i: i64| i % 2 == 0;
    let tenant: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..ROWS).map(|i| if visible(i) { "A" } else { "B" }),
    ));
    let x: ArrayRef = Arc::new(Int64Array::from_iter_values(
        (0..ROWS).map(|i| if visible(i) { 1_000 + i } else { HIDDEN }),
    ));
    let s: ArrayRef = Arc::new(StringArray::from_iter_values((0..ROWS).map(|i| {
        if visible(i) {
            i.to_string()
        } else {
            "SECRET(-1".to_owned()
        }
    })));
    RecordBatch::try_from_iter([("tenant", tenant), ("x", x), ("s", s)]).unwrap()
}

fn terms() -> TableTerms {
    TableTerms {
        columns: BTreeSet::from(["x".to_owned(), "s".to_owned()]),
        filter: RowFilter(BTreeSet::from([Predicate::Compare {
            column: "tenant".into(),
            op: Comparison::Eq,
            value: Literal::Text("A".into()),
        }])),
        masks: BTreeMap::new(),
        protection: None,
    }
}

async fn parquet(folder: &TempDir) -> Arc<dyn TableProvider> {
    let batch = rows();
    let mut writer = ArrowWriter::try_new(
        File::create(folder.path().join("t.parquet")).unwrap(),
        batch.schema(),
        None,
    )
    .unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let spec = FileSpec {
        format: Format::Parquet,
        path: "t.parquet".into(),
    };
    files::open(&spec, folder.path(), &Schema::empty())
        .await
        .unwrap()
}

pub(super) fn memory() -> Arc<dyn TableProvider> {
    Arc::new(MemTable::try_new(rows().schema(), vec![vec![rows()]]).unwrap())
}

fn name() -> TableName {
    TableName {
        catalog: "own".into(),
        schema: "p".into(),
        table: "t".into(),
    }
}

pub(super) fn view(source: Arc<dyn TableProvider>) -> Arc<View> {
    View::builder("own")
        .governed(name(), GovernedTable::new(source, &terms()).unwrap())
        .build()
}

async fn ask(engine: &Engine, view: &Arc<View>, sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
    let prepared = engine.prepare(Arc::clone(view), sql).await?;
    let batches: Vec<_> = prepared
        .run()
        .await?
        .try_collect()
        .await
        .map_err(|e| QueryError::of(&e))?;
    assert!(batches.iter().all(|b| b.schema() == prepared.schema()));
    Ok(batches)
}

async fn number(engine: &Engine, view: &Arc<View>, sql: &str) -> i64 {
    ask(engine, view, sql).await.unwrap()[0]
        .column(0)
        .as_primitive::<Int64Type>()
        .value(0)
}

/// Found by the target `gate`: types are compared after the plan was resolved.
#[tokio::test]
async fn types_that_do_not_fit_are_the_statements_fault() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let view = view(memory());
    for sql in ["SELECT s % s FROM t", "SELECT x FROM t WHERE x AND s"] {
        let refused = engine.prepare(Arc::clone(&view), sql).await.unwrap_err();
        assert_eq!(refused.code(), "bad-sql", "{sql}: {refused:?}");
    }
}

fn spy(seen: &Arc<Mutex<Vec<i64>>>) -> ScalarUDF {
    let seen = Arc::clone(seen);
    create_udf(
        "spy",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Immutable,
        Arc::new(move |args| {
            if let ColumnarValue::Array(values) = &args[0] {
                seen.lock()
                    .unwrap()
                    .extend(values.as_primitive::<Int64Type>().iter().flatten());
            }
            Ok(args[0].clone())
        }),
    )
}

#[tokio::test]
async fn a52_callers_expressions_never_meet_hidden_rows() {
    let folder = TempDir::new().unwrap();
    for parquet_filters in [false, true] {
        for source in [memory(), parquet(&folder).await] {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let settings = EngineSettings {
                parquet_filters,
                ..EngineSettings::default()
            };
            let engine = Engine::start_with(settings, vec![Arc::new(spy(&seen))]).unwrap();
            let view = view(source);
            for condition in [
                "spy(x) > 0",
                "x > 1 AND spy(x) > 0",
                "spy(x) > 0 OR x < 0",
                "CASE WHEN spy(x) > 0 THEN true ELSE false END",
                "1/(x-100) >= 0",
                "cast(s as int) >= 0",
                "regexp_like(s, 'a') OR true",
            ] {
                let sql = format!("SELECT count(*) FROM t WHERE {condition}");
                assert_eq!(number(&engine, &view, &sql).await, ROWS / 2, "{condition}");
            }
            let seen = seen.lock().unwrap();
            assert!(
                !seen.is_empty(),
                "the spy heard nothing, so it proves nothing"
            );
            assert!(!seen.contains(&HIDDEN));
        }
    }
}

#[tokio::test]
async fn a_limit_counts_visible_rows_only() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let view = view(memory());
    assert_eq!(
        number(
            &engine,
            &view,
            "SELECT count(*) FROM (SELECT x FROM t WHERE x > 1 LIMIT 900)"
        )
        .await,
        900
    );
}

/// A partner in this process: its own engine, view and gate.
#[derive(Debug)]
struct Loopback {
    engine: Engine,
    view: Arc<View>,
    asked: Mutex<Vec<String>>,
    /// Whether it computes nothing, and gives rows only.
    refuses: bool,
}

#[async_trait::async_trait]
impl Partner for Loopback {
    fn name(&self) -> &str {
        "loopback"
    }

    fn scope(&self) -> Option<String> {
        Some(format!("{:p}", Arc::as_ptr(&self.view)))
    }

    async fn open(&self, question: Question) -> Result<Opened, QueryError> {
        let Question { sql, partition, .. } = question;
        if self.refuses && sql.contains("FROM (") {
            return Err(QueryError::partner_refused("loopback", "not-permitted"));
        }
        self.asked.lock().unwrap().push(sql.clone());
        let planned = self.engine.prepare(Arc::clone(&self.view), &sql).await?;
        let snapshots = Arc::new(Snapshots::default());
        let rows = planned
            .run_partition(Arc::clone(&snapshots), partition, true)
            .await?;
        let snapshot = snapshots.names();
        Ok(Opened { rows, snapshot })
    }
}

#[tokio::test]
async fn a_partners_table_answers_as_the_table_itself() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let own = view(memory());
    let far = Arc::new(Loopback {
        engine: Engine::start(EngineSettings::default()).unwrap(),
        view: Arc::clone(&own),
        asked: Mutex::default(),
        refuses: false,
    });
    let schema = own.tables().next().unwrap().1;
    let remote = RemoteTable {
        product: "p".into(),
        table: "t".into(),
    };
    let partner: Arc<dyn Partner> = Arc::clone(&far) as _;
    let near = View::builder("near")
        .partner(name(), PartnerTable::new(partner, remote, schema))
        .build();
    for sql in [
        "SELECT count(*) FROM own.p.t",
        "SELECT count(*) FROM own.p.t WHERE x > 1500 AND s <> 'it''s' OR x IN (1002, 1004)",
        "SELECT count(*) FROM own.p.t WHERE NOT (x BETWEEN 1100 AND 2000) AND s IS NOT NULL",
        "SELECT count(*) FROM own.p.t WHERE x > -5 AND cast(s as int) % 3 = 0",
        "SELECT count(*) FROM own.p.t AS a JOIN own.p.t AS b ON a.x = b.x WHERE a.x < 1200",
        "SELECT count(*) FROM (SELECT x FROM own.p.t LIMIT 7)",
    ] {
        let there = number(&engine, &own, sql).await;
        assert_eq!(
            number(&engine, &near, sql).await,
            there,
            "{sql}: {:?}",
            far.asked.lock().unwrap()
        );
    }
    let asked = far.asked.lock().unwrap().join("\n");
    assert!(
        asked.contains("\"x\" > 1500") && asked.contains("LIMIT 7") && asked.contains("\"one\""),
        "{asked}"
    );
}

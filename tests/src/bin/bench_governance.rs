//! What the barrier costs: `bench/governance.md`.
//!
//! The same questions over TPC-H's `lineitem`, in one process, with the same
//! number of partitions: once of a plain engine, whose statement says itself
//! what the terms would take away, and once of governed tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use comity::query::{Engine, EngineSettings, GovernedTable, TableName, View};
use comity_protocol::terms::{Comparison, Literal, Mask, Predicate, RowFilter, TableTerms};
use comity_tests::bench::{self, Outcome, Way, interleaved, lineitem, row};
use datafusion::catalog::TableProvider;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::TryStreamExt as _;

/// The scale: 6,000,000 rows in one Parquet file.
const SCALE: f64 = 1.0;

/// Interleaved rounds of each question.
const ROUNDS: usize = 9;

/// Partitions of both engines.
const PARTITIONS: usize = 2;

/// Name, what the caller asks, and the same for whom nothing is hidden.
const QUESTIONS: [(&str, &str, &str); 4] = [
    (
        "filter and projection",
        "SELECT l_orderkey, l_extendedprice, l_shipdate FROM lineitem WHERE l_quantity < 10",
        "SELECT l_orderkey, l_extendedprice, l_shipdate FROM lineitem WHERE l_quantity < 10 AND l_returnflag = 'N'",
    ),
    (
        "groups",
        "SELECT l_shipmode, count(*), sum(l_extendedprice) FROM lineitem GROUP BY l_shipmode",
        "SELECT l_shipmode, count(*), sum(l_extendedprice) FROM lineitem WHERE l_returnflag = 'N' GROUP BY l_shipmode",
    ),
    (
        "all columns",
        "SELECT * FROM lineitem WHERE l_discount > 0.05",
        "SELECT * FROM lineitem WHERE l_discount > 0.05 AND l_returnflag = 'N'",
    ),
    (
        "sorted, the first hundred",
        "SELECT l_orderkey, l_comment FROM lineitem ORDER BY l_extendedprice DESC, l_orderkey LIMIT 100",
        "SELECT l_orderkey, l_comment FROM lineitem WHERE l_returnflag = 'N' ORDER BY l_extendedprice DESC, l_orderkey LIMIT 100",
    ),
];

#[tokio::main]
async fn main() -> Outcome {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("lineitem.parquet");
    lineitem::write(&file, SCALE)?;
    let mut config = SessionConfig::new().with_target_partitions(PARTITIONS);
    // As a node reads its files: texts leave as plain ones, not as views, and
    // whoever makes them must not be compared with whoever does not.
    config
        .options_mut()
        .execution
        .parquet
        .schema_force_view_types = false;
    let bare = SessionContext::new_with_config(config);
    let path = file.to_str().ok_or("a path")?;
    bare.register_parquet("lineitem", path, ParquetReadOptions::default())
        .await?;
    let table = bare.table_provider("lineitem").await?;
    let settings = EngineSettings {
        partitions: PARTITIONS,
        memory_bytes: 4 << 30,
        ..EngineSettings::default()
    };
    let engine = Engine::start(settings)?;
    let filtered = view(&table, BTreeMap::new())?;
    let masked = view(
        &table,
        [
            ("l_comment", Mask::MaskAlphanum),
            ("l_shipdate", Mask::TruncateToMonth),
            ("l_shipmode", Mask::ReplaceWithNull),
        ]
        .map(|(column, mask)| (column.to_owned(), mask))
        .into(),
    )?;
    let mut report = format!(
        "# Governance\n\nMade by `make bench-governance`. {}\n\
         TPC-H `lineitem` at scale {SCALE} as one Parquet file, {PARTITIONS} partitions, medians of {ROUNDS} interleaved \
         rounds. *Bare* is DataFusion with the row filter written into the statement; *governed* is the barrier with \
         the same filter as a term; *masked* has masks on three columns besides. Times of the others are multiples of \
         bare. Goals: 1.05 for filter and projection, 1.15 with masks.\n\n\
         | question | bare | governed | masked |\n|---|---|---|---|\n",
        bench::machine()
    );
    for (name, asked, plain) in QUESTIONS {
        let mut ways = [
            Way::new("bare", || async {
                let rows = bare.sql(plain).await?.execute_stream().await?;
                count(rows).await
            }),
            Way::new("governed", || ask(&engine, &filtered, asked)),
            Way::new("masked", || ask(&engine, &masked, asked)),
        ];
        // A mask makes one group of all; the number of rows is not compared there.
        let most = if name == "groups" { 2 } else { 3 };
        let ways = ways.get_mut(..most).ok_or("ways")?;
        let times = interleaved(ROUNDS, ways).await?;
        report.push_str(&row(name, &times));
    }
    bench::report("governance", &report)
}

fn view(table: &Arc<dyn TableProvider>, masks: BTreeMap<String, Mask>) -> Outcome<Arc<View>> {
    let schema = table.schema();
    let terms = TableTerms {
        columns: schema.fields().iter().map(|f| f.name().clone()).collect(),
        filter: RowFilter(BTreeSet::from([Predicate::Compare {
            column: "l_returnflag".to_owned(),
            op: Comparison::Eq,
            value: Literal::Text("N".to_owned()),
        }])),
        masks,
        protection: None,
    };
    let name = TableName {
        catalog: "own".to_owned(),
        schema: "tpch".to_owned(),
        table: "lineitem".to_owned(),
    };
    let table = GovernedTable::new(Arc::clone(table), &terms)?;
    Ok(View::builder("own").governed(name, table).build())
}

async fn ask(engine: &Engine, view: &Arc<View>, sql: &str) -> Outcome<usize> {
    let prepared = engine.prepare(Arc::clone(view), sql).await?;
    count(prepared.run().await?).await
}

async fn count(rows: datafusion::execution::SendableRecordBatchStream) -> Outcome<usize> {
    let batches = rows.try_fold(0, |n, batch| async move { Ok(n + batch.num_rows()) });
    Ok(batches.await?)
}

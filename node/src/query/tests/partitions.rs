//! Answers in partitions: together they are the answer, and each is the same
//! whenever it is asked for.

use arrow::util::display::array_value_to_string;

use super::*;
use crate::sources::fixture::write;

/// Statements whose rows go through one by one, then some whose do not.
const STATEMENTS: [&str; 9] = [
    "SELECT * FROM own.p.t",
    "SELECT s, x + 1 AS y FROM own.p.t WHERE x % 3 = 0",
    "SELECT x FROM own.p.t WHERE x > 1500 OR s LIKE '%7'",
    "SELECT count(*), sum(x) FROM own.p.t",
    "SELECT x % 10 AS d, count(*) FROM own.p.t GROUP BY x % 10",
    "SELECT x FROM own.p.t ORDER BY x LIMIT 7",
    "SELECT DISTINCT x % 7 FROM own.p.t",
    "SELECT a.x FROM own.p.t AS a JOIN own.p.t AS b ON a.x = b.x + 2",
    "SELECT x FROM own.p.t WHERE x < 1100 UNION ALL SELECT x FROM own.p.t WHERE x > 2900",
];

/// A folder of three files.
async fn folder(format: Format) -> (TempDir, Arc<dyn TableProvider>) {
    let dir = TempDir::new().unwrap();
    let all = rows();
    let path = dir.path().join("t");
    std::fs::create_dir(&path).unwrap();
    for (n, (from, len)) in [(0, 1_500), (1_500, 400), (1_900, 100)]
        .into_iter()
        .enumerate()
    {
        let name = format!("{n}.{}", format!("{format:?}").to_lowercase());
        write(&path.join(name), format, &all.slice(from, len));
    }
    let spec = FileSpec {
        format,
        path: "t".into(),
    };
    let declared = all.schema();
    let table = files::open(&spec, dir.path(), &declared).await.unwrap();
    (dir, table)
}

async fn read(
    planned: &Prepared,
    snapshots: &Arc<Snapshots>,
    partition: Option<Partition>,
) -> Result<Vec<String>, QueryError> {
    let rows = planned
        .run_partition(Arc::clone(snapshots), partition, true)
        .await?;
    let batches: Vec<RecordBatch> = rows.try_collect().await.map_err(|e| QueryError::of(&e))?;
    let mut found = Vec::new();
    for batch in batches {
        assert_eq!(batch.schema(), planned.schema());
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter();
            let values = values.map(|c| array_value_to_string(c, row).unwrap());
            found.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    Ok(found)
}

/// A view in which nothing of the table is hidden.
fn open(table: Arc<dyn TableProvider>) -> Arc<View> {
    showing(table, &["tenant", "x", "s"])
}

fn showing(table: Arc<dyn TableProvider>, columns: &[&str]) -> Arc<View> {
    let terms = TableTerms {
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        filter: RowFilter(BTreeSet::new()),
        ..terms()
    };
    let table = GovernedTable::new(table, &terms).unwrap();
    View::builder("own").governed(name(), table).build()
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

/// Reads every statement in partitions, each of them twice and in an order of its
/// own, and gives how many partitions had rows of the first. The rows of the first
/// `in_order` statements come in the same order each time.
async fn law(engine: &Engine, view: &Arc<View>, in_order: usize) -> usize {
    let mut of_first = 0;
    for (n, sql) in STATEMENTS.into_iter().enumerate() {
        let planned = engine.prepare(Arc::clone(view), sql).await.unwrap();
        let whole = sorted(read(&planned, &Arc::default(), None).await.unwrap());
        // More than there are rows to cut, once.
        let many = (n == 1).then_some(MAX_PARTITIONS);
        for count in [1, 2, 5].into_iter().chain(many) {
            let snapshots = Arc::new(Snapshots::default());
            let mut parts = Vec::new();
            for partition in Partition::all(count).unwrap() {
                parts.push(read(&planned, &snapshots, Some(partition)).await.unwrap());
            }
            let again = Partition::all(count).unwrap().zip(&parts);
            for (partition, part) in again.collect::<Vec<_>>().into_iter().rev() {
                // Planned anew, as after a restart.
                let planned = engine.prepare(Arc::clone(view), sql).await.unwrap();
                let same = read(&planned, &snapshots, Some(partition)).await.unwrap();
                match n < in_order {
                    true => assert_eq!(same, *part, "{sql} {partition}"),
                    // Groups and unions have no order.
                    false => assert_eq!(sorted(same), sorted(part.clone()), "{sql} {partition}"),
                }
            }
            if (n, count) == (0, 5) {
                of_first = parts.iter().filter(|p| !p.is_empty()).count();
            }
            assert_eq!(sorted(parts.concat()), whole, "{sql} in {count}");
        }
    }
    of_first
}

#[tokio::test]
async fn partitions_together_are_the_answer_and_each_is_the_same_again() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let formats = [
        (Format::Parquet, 5, 3),
        // Files of CSV and Arrow are not cut: a value may have several lines.
        (Format::Csv, 3, 3),
        (Format::Arrow, 3, 3),
        // Of JSON nobody knows all columns.
        (Format::Json, 1, 0),
    ];
    for (format, split, in_order) in formats {
        let (_dir, table) = folder(format).await;
        assert_eq!(
            law(&engine, &open(table), in_order).await,
            split,
            "{format:?}"
        );
    }
    // What has no files has all rows in the first.
    assert_eq!(law(&engine, &open(memory()), 3).await, 1);
}

/// A partner in this process over `table`, and a view of ours of its table.
fn partner(table: Arc<dyn TableProvider>, refuses: bool) -> (Arc<Loopback>, Arc<View>) {
    let own = open(table);
    let schema = own.tables().next().unwrap().1;
    let far = Arc::new(Loopback {
        engine: Engine::start(EngineSettings::default()).unwrap(),
        view: own,
        asked: Mutex::default(),
        refuses,
    });
    let remote = RemoteTable {
        product: "p".into(),
        table: "t".into(),
    };
    let table = PartnerTable::new(Arc::clone(&far) as _, remote, schema);
    (far, View::builder("near").partner(name(), table).build())
}

#[tokio::test]
async fn a_partner_splits_what_is_all_its_own() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let (_dir, table) = folder(Format::Parquet).await;
    let (_far, near) = partner(Arc::clone(&table), false);
    assert_eq!(law(&engine, &near, 3).await, 5);
    // What it refuses to compute is computed here, over rows in any order.
    let (_far, near) = partner(table, true);
    assert_eq!(law(&engine, &near, 1).await, 5);
}

#[tokio::test]
async fn partitions_of_a_partner_are_of_one_state() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let [first, second] = ["0/2", "1/2"].map(|p| p.parse().ok());
    // The same table before and after its owner changed it.
    let mut states = Vec::new();
    for _ in 0..2 {
        let (dir, table) = folder(Format::Parquet).await;
        let (_far, near) = partner(table, false);
        states.push((dir, engine.prepare(near, STATEMENTS[0]).await.unwrap()));
    }
    let [(_, before), (_, after)] = &states[..] else {
        unreachable!("two")
    };
    let met = Arc::new(Snapshots::default());
    read(before, &met, first).await.unwrap();
    assert!(met.names().is_some(), "it says what it reads");
    read(before, &met, second).await.unwrap();
    let refused = read(after, &met, second).await;
    assert_eq!(refused.unwrap_err().code(), "terms-mismatch");
    read(after, &Arc::default(), second).await.unwrap();
}

/// In which partition a row is would tell how much is hidden before it.
#[tokio::test]
async fn nothing_is_split_where_the_cuts_would_tell_of_what_is_hidden() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let (_dir, table) = folder(Format::Parquet).await;
    assert_eq!(law(&engine, &view(Arc::clone(&table)), 0).await, 1, "rows");
    let columns = showing(table, &["x", "s"]);
    assert_eq!(law(&engine, &columns, 0).await, 1, "columns");
}

/// Regression: large files of CSV were cut at the end of a line, also of one within a
/// value, and the halves were read as rows.
#[tokio::test]
async fn a_value_of_several_lines_is_one_value() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let dir = TempDir::new().unwrap();
    // The first thousand tell the types, and the engine looks at them line by line.
    let texts = (0..1_400).map(|n| match n {
        0..1_000 => "plain".to_owned(),
        n => format!("dear all,\n{n},thanks\nbye"),
    });
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_400));
    let batch = RecordBatch::try_from_iter([("x", numbers), ("s", texts)]).unwrap();
    write(&dir.path().join("t.csv"), Format::Csv, &batch);
    let spec = FileSpec {
        format: Format::Csv,
        path: "t.csv".into(),
    };
    let table = files::open(&spec, dir.path(), &batch.schema())
        .await
        .unwrap();
    let sql = "SELECT count(*) FROM own.p.t WHERE s = 'dear all,\n' || x || ',thanks\nbye'";
    let view = showing(table, &["x", "s"]);
    assert_eq!(number(&engine, &view, sql).await, 400);
    let planned = engine.prepare(view, "SELECT * FROM own.p.t").await.unwrap();
    let mut rows = 0;
    for partition in Partition::all(7).unwrap() {
        let part = read(&planned, &Arc::default(), Some(partition))
            .await
            .unwrap();
        rows += part.len();
    }
    assert_eq!(rows, 1_400);
}

/// Regression: `EXPLAIN` gave its plan, and `EXPLAIN ANALYZE` ran the query, in each;
/// and what is limited for one answer was permitted in each.
#[tokio::test]
async fn what_is_not_split_is_in_the_first_partition_alone() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let (_dir, table) = folder(Format::Parquet).await;
    let (far, near) = partner(table, false);
    let explaining = View::builder("near").explaining();
    let remote = RemoteTable {
        product: "p".into(),
        table: "t".into(),
    };
    let schema = near.tables().next().unwrap().1;
    let again = PartnerTable::new(Arc::clone(&far) as _, remote, schema);
    let explaining = explaining.partner(name(), again).build();
    let explained = engine.prepare(explaining, "EXPLAIN SELECT * FROM own.p.t");
    let explained = explained.await.unwrap();
    let whole = engine.prepare(near, STATEMENTS[0]).await.unwrap();
    for (n, partition) in Partition::all(3).unwrap().enumerate() {
        let plan = read(&explained, &Arc::default(), Some(partition))
            .await
            .unwrap();
        assert_eq!(plan.is_empty(), n > 0);
        let rows = whole.run_partition(Arc::default(), Some(partition), false);
        let rows: Vec<RecordBatch> = rows.await.unwrap().try_collect().await.unwrap();
        let rows: usize = rows.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, if n == 0 { 2_000 } else { 0 });
    }
    // A partition that read nothing names nothing, and does not contradict the others.
    let grouped = "SELECT x % 10 AS d, count(*) FROM own.p.t GROUP BY x % 10 ORDER BY 1 LIMIT 3";
    let (_dir, table) = folder(Format::Parquet).await;
    let own = engine.prepare(open(table), grouped).await.unwrap();
    let second = Arc::new(Snapshots::default());
    read(&own, &second, "1/2".parse().ok()).await.unwrap();
    assert_eq!(second.names(), None);
}

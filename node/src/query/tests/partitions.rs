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
        .run_partition(Arc::clone(snapshots), partition)
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
        (Format::Parquet, 5),
        (Format::Csv, 5),
        (Format::Json, 5),
        // Files of Arrow are not cut.
        (Format::Arrow, 3),
    ];
    for (format, split) in formats {
        let (_dir, table) = folder(format).await;
        assert_eq!(law(&engine, &open(table), 3).await, split, "{format:?}");
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
    for (format, of_rows, of_columns) in [(Format::Parquet, 1, 5), (Format::Csv, 1, 1)] {
        let (_dir, table) = folder(format).await;
        let rows = view(Arc::clone(&table));
        assert_eq!(law(&engine, &rows, 0).await, of_rows, "{format:?}");
        let columns = showing(table, &["x", "s"]);
        assert_eq!(law(&engine, &columns, 0).await, of_columns, "{format:?}");
    }
}

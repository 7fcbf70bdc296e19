//! Rows a second out of PostgreSQL into Arrow batches: a governed query over
//! this node's binary `COPY`, the driver's rows one by one, `psql` without any
//! decoding, and ADBC where Python has it. Interleaved, so that what else the
//! machine does meets all alike; only the ratios mean something.
//!
//! `COMITY_PYTHON` names a Python with `adbc-driver-postgresql` and `pyarrow`.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arrow::array::builder::{
    Float64Builder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::array::{ArrayRef, RecordBatch};
use comity::config::Source;
use comity::lab::Postgres;
use comity::products;
use comity::query::{Engine, EngineSettings, GovernedTable, TableName, View};
use comity::sources::Warehouses;
use comity_protocol::terms::{RowFilter, TableTerms};
use futures::{StreamExt, TryStreamExt};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const ROWS: usize = 1_000_000;
const ROUNDS: usize = 5;
const BATCH_ROWS: usize = 8192;
const COLUMNS: &str = "id, origin, dep, arr, at, note";
const ADBC: &str = r#"
import sys, time
import adbc_driver_postgresql.dbapi as adbc
with adbc.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
    begin = time.perf_counter()
    cursor.execute(sys.argv[2])
    for batch in cursor.fetch_record_batch():
        pass
    print(time.perf_counter() - begin)
"#;

#[tokio::main]
async fn main() -> Outcome {
    let postgres = Postgres::start()?;
    postgres.sql(&format!(
        "CREATE TABLE t AS SELECT i::bigint AS id, (ARRAY['EWR','JFK','LGA'])[1 + i % 3] AS origin, \
         i / 7.0::float8 AS dep, CASE WHEN i % 50 > 0 THEN i % 61 END AS arr, \
         timestamptz '2013-01-01' + i * interval '1 s' AS at, md5(i::text) AS note \
         FROM generate_series(1, {ROWS}) i"
    ))?;
    postgres.sql("VACUUM FREEZE ANALYZE t")?;
    let (engine, view) = ours(&postgres).await?;
    let url = format!(
        "postgres://{}:{}@127.0.0.1:{}/{}",
        Postgres::READER,
        Postgres::PASSWORD.replace(' ', "%20"),
        postgres.port(),
        Postgres::DATABASE
    );
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    let python = std::env::var("COMITY_PYTHON").ok();
    let names = ["governed COPY", "row by row", "psql, undecoded", "ADBC"];
    let mut times: [Vec<Duration>; 4] = Default::default();
    for _ in 0..ROUNDS {
        times[0].push(governed(&engine, &view).await?);
        times[1].push(row_by_row(&client).await?);
        times[2].push(psql(&postgres)?);
        if let Some(python) = &python {
            times[3].push(adbc(python, &url)?);
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times.get(times.len() / 2).copied()
    };
    let base = median(&mut times[0]).unwrap_or_default().as_secs_f64();
    for (name, times) in names.iter().zip(&mut times) {
        if let Some(time) = median(times) {
            let time = time.as_secs_f64();
            let rate = ROWS as f64 / time / 1e6;
            println!(
                "{name:<16} {rate:6.2} million rows/s, {:.2} of ours",
                base / time
            );
        }
    }
    connection.abort();
    Ok(())
}

async fn ours(postgres: &Postgres) -> Outcome<(Engine, Arc<View>)> {
    let contract = format!(
        "apiVersion: v3.1.0
kind: DataContract
id: t-1
name: t
version: \"1.0.0\"
status: active
{}
schema:
  - name: t
    properties:
      - {{ name: id, logicalType: integer }}
      - {{ name: origin, logicalType: string }}
      - {{ name: dep, logicalType: number }}
      - {{ name: arr, logicalType: integer, physicalType: int }}
      - {{ name: at, logicalType: timestamp }}
      - {{ name: note, logicalType: string }}
",
        postgres.servers()
    );
    let path = postgres.dir().join("t.odcs.yaml");
    std::fs::write(&path, contract)?;
    std::fs::write(postgres.dir().join("password"), Postgres::PASSWORD)?;
    let contract = products::read(&path).map_err(|e| e.to_string())?;
    let access = Source {
        username: Some(Postgres::READER.to_owned()),
        password_file: Some("password".into()),
        ..Source::default()
    };
    let access = BTreeMap::from([("warehouse".to_owned(), access)]);
    let warehouses = Warehouses::new(access, postgres.dir().to_owned());
    let table = &contract.tables()[0];
    let source = warehouses
        .open(&contract.sources()["t"], table, contract.folder())
        .await?;
    let terms = TableTerms {
        columns: table.columns.iter().map(|c| c.name.clone()).collect(),
        filter: RowFilter::default(),
        masks: BTreeMap::new(),
    };
    let name = TableName {
        catalog: "own".into(),
        schema: "p".into(),
        table: "t".into(),
    };
    let view = View::builder("own")
        .governed(name, GovernedTable::new(source, &terms)?)
        .build();
    Ok((Engine::start(EngineSettings::default())?, view))
}

async fn governed(engine: &Engine, view: &Arc<View>) -> Outcome<Duration> {
    let begin = Instant::now();
    let sql = format!("SELECT {COLUMNS} FROM t");
    let prepared = engine.prepare(Arc::clone(view), &sql).await?;
    let mut rows = 0;
    let mut stream = prepared.run().await?;
    while let Some(batch) = stream.next().await {
        rows += batch?.num_rows();
    }
    assert_eq!(rows, ROWS);
    Ok(begin.elapsed())
}

async fn row_by_row(client: &tokio_postgres::Client) -> Outcome<Duration> {
    let begin = Instant::now();
    let none: [&(dyn tokio_postgres::types::ToSql + Sync); 0] = [];
    let sql = format!("SELECT {COLUMNS} FROM t");
    let mut rows = Box::pin(client.query_raw(&sql, none).await?);
    let (mut id, mut origin, mut dep) = (
        Int64Builder::new(),
        StringBuilder::new(),
        Float64Builder::new(),
    );
    let (mut arr, mut at, mut note) = (
        Int32Builder::new(),
        TimestampMicrosecondBuilder::new(),
        StringBuilder::new(),
    );
    let mut count = 0;
    while let Some(row) = rows.try_next().await? {
        id.append_option(row.try_get(0)?);
        origin.append_option(row.try_get::<_, Option<&str>>(1)?);
        dep.append_option(row.try_get(2)?);
        arr.append_option(row.try_get(3)?);
        let moment: Option<SystemTime> = row.try_get(4)?;
        let since = moment.and_then(|m| m.duration_since(SystemTime::UNIX_EPOCH).ok());
        at.append_option(since.and_then(|d| i64::try_from(d.as_micros()).ok()));
        note.append_option(row.try_get::<_, Option<&str>>(5)?);
        count += 1;
        if count % BATCH_ROWS == 0 || count == ROWS {
            let columns: [(&str, ArrayRef); 6] = [
                ("id", Arc::new(id.finish())),
                ("origin", Arc::new(origin.finish())),
                ("dep", Arc::new(dep.finish())),
                ("arr", Arc::new(arr.finish())),
                ("at", Arc::new(at.finish())),
                ("note", Arc::new(note.finish())),
            ];
            std::hint::black_box(RecordBatch::try_from_iter(columns)?);
        }
    }
    assert_eq!(count, ROWS);
    Ok(begin.elapsed())
}

/// What the server and its own client take, without any decoding.
fn psql(postgres: &Postgres) -> Outcome<Duration> {
    let begin = Instant::now();
    let copy = format!("COPY (SELECT {COLUMNS} FROM t) TO STDOUT (FORMAT binary)");
    let done = postgres
        .client()
        .args(["-c", &copy])
        .stdout(Stdio::null())
        .status()?;
    assert!(done.success());
    Ok(begin.elapsed())
}

fn adbc(python: &str, url: &str) -> Outcome<Duration> {
    let sql = format!("SELECT {COLUMNS} FROM t");
    let done = Command::new(python)
        .args(["-c", ADBC, url, &sql])
        .output()?;
    let said = String::from_utf8_lossy(&done.stdout);
    Ok(Duration::from_secs_f64(said.trim().parse()?))
}

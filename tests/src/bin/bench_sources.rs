//! A governed query beside the same query without Comity, over Parquet and
//! over PostgreSQL: `bench/sources.md`. Ratios of medians, interleaved in one
//! run; each way ends with the same rows as Arrow batches, `psql` excepted,
//! which throws the server's bytes away.
//!
//! `COMITY_PYTHON` names a Python with `adbc-driver-postgresql` and `pyarrow`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use comity::config::Source;
use comity::lab::Postgres;
use comity::products;
use comity::query::{Engine, EngineSettings, GovernedTable, TableName, View};
use comity::sources::Warehouses;
use comity_protocol::terms::{Comparison, Literal, Predicate, RowFilter, TableTerms};
use comity_tests::bench::{Outcome, Way, interleaved, lineitem, machine, report, row};
use comity_tests::python;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt as _;

/// Six million rows.
const SCALE: f64 = 1.0;
const ROUNDS: usize = 7;

const QUESTIONS: [(&str, &str); 4] = [
    ("all rows, all columns", "SELECT * FROM lineitem"),
    (
        "a month, three columns",
        "SELECT l_orderkey, l_extendedprice, l_discount FROM lineitem \
         WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1994-02-01'",
    ),
    (
        "groups (TPC-H 1)",
        "SELECT l_returnflag, l_linestatus, sum(l_quantity) AS q, sum(l_extendedprice) AS p, avg(l_discount) AS d, \
         count(*) AS n FROM lineitem WHERE l_shipdate <= DATE '1998-09-02' GROUP BY l_returnflag, l_linestatus",
    ),
    (
        "one sum (TPC-H 6)",
        "SELECT sum(l_extendedprice * l_discount) AS revenue FROM lineitem WHERE l_shipdate >= DATE '1994-01-01' \
         AND l_shipdate < DATE '1995-01-01' AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24",
    ),
];

/// What the owner hides: one row of about six million.
const HIDDEN: i64 = 1;

const ADBC: &str = r#"
import sys
import adbc_driver_postgresql.dbapi as adbc
with adbc.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
    print("ready", flush=True)
    for line in sys.stdin:
        cursor.execute(line)
        print(sum(batch.num_rows for batch in cursor.fetch_record_batch()), flush=True)
"#;

#[tokio::main]
async fn main() -> Outcome {
    let mut text = format!(
        "# Sources\n\nMade by `make bench-sources`. {}\n\
         TPC-H `lineitem`, {SCALE} GB scale. The governed query is planned and run by Comity's engine over a \
         product; the other columns are multiples of its time: over 1, Comity is faster. \
         {ROUNDS} interleaved rounds, medians.\n\n",
        machine()
    );
    parquet(&mut text).await?;
    postgres(&mut text).await?;
    report("sources", &text)
}

async fn parquet(text: &mut String) -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("lineitem.parquet");
    lineitem::write(&file, SCALE)?;
    let server =
        "servers: [ { server: files, type: local, path: ./lineitem.parquet, format: parquet } ]";
    let engine = Engine::start(EngineSettings::default())?;
    let warehouses = Warehouses::default();
    let all = view(folder.path(), server, &warehouses, RowFilter::default()).await?;
    let some = view(folder.path(), server, &warehouses, hidden()).await?;
    let settings = EngineSettings::default();
    let config = SessionConfig::new()
        .with_target_partitions(settings.partitions)
        .with_batch_size(settings.batch_rows);
    let bare = SessionContext::new_with_config(config);
    let path = file.to_str().ok_or("a path in UTF-8")?;
    bare.register_parquet("lineitem", path, ParquetReadOptions::default())
        .await?;
    text.push_str(
        "## Parquet\n\nOne file (zstd), beside DataFusion of the same version with its own defaults, in the same process. \
         The goal is a ratio of at least 0.95 without a row filter; with one, DataFusion is given the same \
         condition in its `WHERE`, and the multiples are still of the time without. DataFusion hands texts on as \
         views; Comity makes them plain before they leave, as every client reads them: of all rows that is most \
         of the difference.\n\n\
         | query | governed | DataFusion | governed, row filter | DataFusion, same filter |\n|---|---|---|---|---|\n",
    );
    for (name, sql) in QUESTIONS {
        let filtered = match sql.split_once(" WHERE ") {
            Some((from, rest)) => format!("{from} WHERE l_orderkey <> {HIDDEN} AND {rest}"),
            None => format!("{sql} WHERE l_orderkey <> {HIDDEN}"),
        };
        let (engine, bare, filtered) = (&engine, &bare, &filtered);
        let mut ways = [
            Way::new("governed", || governed(engine, &all, sql)),
            Way::new("DataFusion", || plain(bare, sql)),
        ];
        let mut times = interleaved(ROUNDS, &mut ways).await?;
        let mut ways = [
            Way::new("governed, row filter", || governed(engine, &some, sql)),
            Way::new("DataFusion, same filter", || plain(bare, filtered)),
        ];
        times.extend(interleaved(ROUNDS, &mut ways).await?);
        text.push_str(&row(name, &times));
    }
    text.push('\n');
    Ok(())
}

async fn postgres(text: &mut String) -> Outcome {
    let postgres = Postgres::start()?;
    lineitem::load(&postgres, SCALE)?;
    postgres.sql("VACUUM FREEZE ANALYZE lineitem")?;
    std::fs::write(postgres.dir().join("password"), Postgres::PASSWORD)?;
    let access = Source {
        username: Some(Postgres::READER.to_owned()),
        password_file: Some("password".into()),
        ..Source::default()
    };
    let access = BTreeMap::from([("warehouse".to_owned(), access)]);
    let warehouses = Warehouses::new(access, postgres.dir().to_owned());
    let engine = Engine::start(EngineSettings::default())?;
    let view = view(
        postgres.dir(),
        &postgres.servers(),
        &warehouses,
        RowFilter::default(),
    )
    .await?;
    let adbc = Adbc::start(&postgres)?;
    let adbc = tokio::sync::Mutex::new(adbc);
    text.push_str(
        "## PostgreSQL\n\nPostgreSQL on loopback without TLS, beside ADBC's driver from Python (the C library's binary `COPY` \
         into Arrow, as strings where it has no decimals) and `psql` with binary `COPY` to nowhere, which decodes nothing. \
         The goal is a ratio of at least 0.90 to the faster of the first two.\n\n\
         | query | governed | ADBC | `psql`, undecoded |\n|---|---|---|---|\n",
    );
    for (name, sql) in QUESTIONS {
        let (engine, adbc, postgres) = (&engine, &adbc, &postgres);
        let rows = governed(engine, &view, sql).await?;
        let mut ways = [
            Way::new("governed", || governed(engine, &view, sql)),
            Way::new("ADBC", || async move { adbc.lock().await.rows(sql) }),
            Way::new("psql", || async move { psql(postgres, sql).map(|()| rows) }),
        ];
        text.push_str(&row(name, &interleaved(ROUNDS, &mut ways).await?));
    }
    Ok(())
}

fn hidden() -> RowFilter {
    let rule = Predicate::Compare {
        column: "l_orderkey".to_owned(),
        op: Comparison::NotEq,
        value: Literal::Int(HIDDEN),
    };
    RowFilter([rule].into())
}

/// The product as its terms show it, under the name `lineitem`.
async fn view(
    folder: &Path,
    servers: &str,
    warehouses: &Warehouses,
    filter: RowFilter,
) -> Outcome<Arc<View>> {
    let path = folder.join("lineitem.odcs.yaml");
    lineitem::contract(&path, servers, "lineitem")?;
    let contract = products::read(&path).map_err(|e| e.to_string())?;
    let table = &contract.tables()[0];
    let source = &contract.sources()["lineitem"];
    let source = warehouses.open(source, table, contract.folder()).await?;
    let terms = TableTerms {
        columns: table.columns.iter().map(|c| c.name.clone()).collect(),
        filter,
        masks: BTreeMap::new(),
        protection: None,
    };
    let name = TableName {
        catalog: "own".into(),
        schema: "p".into(),
        table: "lineitem".into(),
    };
    Ok(View::builder("own")
        .governed(name, GovernedTable::new(source, &terms)?)
        .build())
}

async fn governed(engine: &Engine, view: &Arc<View>, sql: &str) -> Outcome<usize> {
    let prepared = engine.prepare(Arc::clone(view), sql).await?;
    let mut stream = prepared.run().await?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += batch?.num_rows();
    }
    Ok(rows)
}

async fn plain(bare: &SessionContext, sql: &str) -> Outcome<usize> {
    let mut stream = bare.sql(sql).await?.execute_stream().await?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += batch?.num_rows();
    }
    Ok(rows)
}

/// What the server and its own client take, without any decoding.
fn psql(postgres: &Postgres, sql: &str) -> Outcome {
    let copy = format!("COPY ({sql}) TO STDOUT (FORMAT binary)");
    let done = postgres
        .client()
        .args(["-c", &copy])
        .stdout(Stdio::null())
        .status()?;
    done.success()
        .then_some(())
        .ok_or_else(|| "psql failed".into())
}

/// A connection of ADBC's that is kept, as ours is.
struct Adbc {
    python: std::process::Child,
    answers: std::io::BufReader<std::process::ChildStdout>,
}

impl Adbc {
    fn start(postgres: &Postgres) -> Outcome<Self> {
        let url = format!(
            "postgres://{}:{}@127.0.0.1:{}/{}",
            Postgres::READER,
            Postgres::PASSWORD.replace(' ', "%20"),
            postgres.port(),
            Postgres::DATABASE
        );
        let mut python = python::command()
            .args(["-c", ADBC, &url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers = python.stdout.take().ok_or("a pipe")?;
        let answers = std::io::BufReader::new(answers);
        let mut adbc = Self { python, answers };
        match adbc.line()?.as_str() {
            "ready" => Ok(adbc),
            other => Err(format!("ADBC said {other:?}").into()),
        }
    }

    fn rows(&mut self, sql: &str) -> Outcome<usize> {
        use std::io::Write as _;
        let input = self.python.stdin.as_mut().ok_or("a pipe")?;
        writeln!(input, "{sql}")?;
        Ok(self.line()?.parse()?)
    }

    fn line(&mut self) -> Outcome<String> {
        use std::io::BufRead as _;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Adbc {
    fn drop(&mut self) {
        drop(self.python.stdin.take());
        let _ = self.python.wait();
    }
}

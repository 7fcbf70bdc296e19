//! What a node's memory is while a large result streams through it, for each
//! kind of source: `bench/memory.md`.
//!
//! The rows of one file are read many times (hard links to it, a view of the
//! database), so that ten gigabytes need no more room on a disk than one; what
//! is read, decoded, governed and sent is as much.
//!
//! `COMITY_PYTHON` names the Python of `make unit`; the credentials of the S3
//! server are `DATACONTRACT_S3_ACCESS_KEY_ID` and `…_SECRET_ACCESS_KEY`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use comity::lab::{Lab, Org, Postgres};
use comity_tests::bench::{Outcome, lineitem, machine, memory, report};
use comity_tests::{ask, lab, python, reaches, shop, workbench};
use futures::TryStreamExt as _;

/// Six million rows, about a gigabyte as Arrow.
const SCALE: f64 = 1.0;
/// How often they are in the table.
const TIMES: usize = 10;

const CONFIG: &str = r#"
[sources.warehouse]
username = "reader"
password_file = "warehouse.password"
timeout_seconds = 3600

[[approve]]
partner = "partner"
product = "lineitem"
purposes = ["delay-analysis"]
max_days = 365
"#;

#[tokio::main]
async fn main() -> Outcome {
    let mut text = format!(
        "# Memory\n\nMade by `make bench-memory`. {}\n\
         `SELECT *` of {TIMES} times TPC-H `lineitem` at scale {SCALE} (16 columns) by an ordinary client at the node's \
         workbench. The peak is `VmHWM` of the node's process, which was started for this one query; \
         in brackets what it has with nothing to do.\n\n\
         | source | rows | Arrow | time | peak |\n|---|---|---|---|---|\n",
        machine()
    );
    let only: Vec<String> = std::env::args().skip(1).collect();
    for (name, source) in SOURCES {
        if only.is_empty() || only.iter().any(|o| o == name) {
            let line = source.measured().await?;
            eprintln!("{name} {line}");
            text.push_str(&format!("| {name} {line}\n"));
        }
    }
    report("memory", &text)
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Files(&'static str),
    Delta,
    S3,
    Postgres,
    Sqlite,
    Node,
    Partner,
}

const SOURCES: [(&str, Kind); 10] = [
    ("Parquet", Kind::Files("parquet")),
    ("Arrow IPC", Kind::Files("arrow")),
    ("CSV", Kind::Files("csv")),
    ("JSON", Kind::Files("json")),
    ("Delta Lake", Kind::Delta),
    ("S3 (SeaweedFS), Parquet", Kind::S3),
    ("PostgreSQL", Kind::Postgres),
    ("SQLite", Kind::Sqlite),
    ("Flight SQL (another node)", Kind::Node),
    (
        "a partner's product (Parquet), through both nodes",
        Kind::Partner,
    ),
];

impl Kind {
    async fn measured(self) -> Outcome<String> {
        let (lab, dir) = lab();
        let at = dir.path();
        // Kept until the query is done.
        let mut postgres = None;
        let mut helper = None;
        let mut second = None;
        let (servers, physical) = match self {
            Self::Files(format) => (folder(at, format)?, "lineitem"),
            Self::Partner | Self::Node => (folder(at, "parquet")?, "lineitem"),
            Self::Delta => {
                folder(at, "parquet")?;
                run(&[DELTA, at.join("data").to_str().ok_or("UTF-8")?])?;
                (
                    server("type: local, path: ./data, format: delta"),
                    "lineitem",
                )
            }
            Self::S3 => {
                folder(at, "parquet")?;
                let (server, endpoint) = s3(&at.join("data/0.parquet"))?;
                helper = Some(server);
                let rest = format!(
                    "type: s3, location: \"s3://bench/lineitem\", endpointUrl: \"{endpoint}\", format: parquet"
                );
                (self::server(&rest), "lineitem")
            }
            Self::Postgres => {
                let server = Postgres::start()?;
                load(&server)?;
                let servers = server.servers();
                postgres = Some(server);
                (servers, "many")
            }
            Self::Sqlite => {
                sqlite(at)?;
                let rest = "type: custom, path: ./lineitem.sqlite, customProperties: [ { property: comityProtocol, value: sqlite } ]";
                (server(rest), "many")
            }
        };
        let contract = at.join("lineitem.odcs.yaml");
        lineitem::contract(&contract, &servers, physical)?;
        let mut owner = node(&lab, "owner", CONFIG).await?;
        owner.publish(&contract).await?;
        let (asked, of) = match self {
            Self::Node => {
                let at = owner.status().await?.listening.workbench;
                let port = at.rsplit_once(':').ok_or("a port")?.1.to_owned();
                let token = owner.home().workbench_token();
                let access = format!(
                    "[sources.warehouse]\npassword_file = {token:?}\nca_file = {:?}\ntls = true\ntimeout_seconds = 3600\n",
                    owner.home().ca_pem()
                );
                let rest = format!(
                    "type: custom, host: 127.0.0.1, port: {port}, catalog: owner, schema: lineitem, customProperties: \
                     [ {{ property: comityProtocol, value: arrow-flight-sql }}, {{ property: comityDialect, value: datafusion }} ]"
                );
                lineitem::contract(&contract, &server(&rest), "lineitem")?;
                let node = node(&lab, "other", &access).await?;
                node.publish(&contract).await?;
                (second.insert(node), "other")
            }
            Self::Partner => {
                let partner = node(&lab, "partner", CONFIG).await?;
                owner.federate(&partner).await?;
                partner.discovers("owner", "lineitem").await?;
                let asked = ask(&partner, "owner", "lineitem").await?;
                reaches(&partner, &asked.id, "FINALIZED").await?;
                (second.insert(partner), "owner")
            }
            _ => (&mut owner, "owner"),
        };
        // A process that has done nothing else.
        asked.stop().await?;
        asked.start().await?;
        let idle = memory(asked.pid(), "VmRSS");
        let client = workbench(asked).await?;
        let began = Instant::now();
        let (_, mut answer) = client
            .query(&format!("SELECT * FROM {of}.lineitem.lineitem"), None)
            .await?;
        let (mut rows, mut bytes) = (0, 0);
        while let Some(batch) = answer.try_next().await? {
            rows += batch.num_rows();
            // The buffers of a message are shared by its columns: each column's own part.
            for column in batch.columns() {
                bytes += column.to_data().get_slice_memory_size()?;
            }
        }
        let took = began.elapsed();
        let mut peak = format!("{} MiB", memory(asked.pid(), "VmHWM"));
        if second.is_some() {
            peak.push_str(&format!(
                ", the other node {} MiB",
                memory(owner.pid(), "VmHWM")
            ));
        }
        drop((postgres, helper));
        Ok(format!(
            "| {rows} | {:.1} GB | {} | {peak} (idle {idle}) |",
            bytes as f64 / 1e9,
            seconds(took)
        ))
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.0} s", time.as_secs_f64())
}

async fn node(lab: &Lab, alias: &str, config: &str) -> Outcome<Org> {
    let mut org = lab.found(alias, alias, config).await?;
    std::fs::write(
        org.home().path().join("warehouse.password"),
        Postgres::PASSWORD,
    )?;
    shop::only_on_demand(&org)?;
    // A development build and a slow machine need longer than the default.
    let path = org.home().config();
    let text = std::fs::read_to_string(&path)?;
    let slow = text.replace("\ndeadline_seconds = 300\n", "\ndeadline_seconds = 3600\n");
    assert_ne!(text, slow, "the default changed");
    std::fs::write(&path, slow)?;
    org.start().await?;
    Ok(org)
}

fn server(rest: &str) -> String {
    format!("servers: [ {{ server: warehouse, {rest} }} ]")
}

/// One file, and the others as links to it.
fn folder(at: &Path, format: &str) -> Outcome<String> {
    let data = at.join("data");
    std::fs::create_dir(&data)?;
    let first = data.join(format!("0.{format}"));
    lineitem::write(&first, SCALE)?;
    for n in 1..TIMES {
        std::fs::hard_link(&first, data.join(format!("{n}.{format}")))?;
    }
    Ok(server(&format!(
        "type: local, path: ./data, format: {format}"
    )))
}

fn csv(at: &Path) -> Outcome<PathBuf> {
    let file = at.join("lineitem.csv");
    lineitem::write(&file, SCALE)?;
    Ok(file)
}

fn load(postgres: &Postgres) -> Outcome {
    lineitem::load(postgres, SCALE)?;
    postgres.sql(&format!(
        "CREATE VIEW many AS SELECT l.* FROM lineitem l, generate_series(1, {TIMES})"
    ))?;
    Ok(())
}

fn sqlite(at: &Path) -> Outcome {
    let file = csv(at)?;
    let columns = lineitem::columns(|kind| match kind {
        "bigint" | "integer" => "INTEGER",
        _ => "TEXT",
    });
    let database = at.join("lineitem.sqlite");
    let [file_name, database] = [&file, &database].map(|p| p.display().to_string());
    run(&[SQLITE, &file_name, &database, &columns, &TIMES.to_string()])?;
    Ok(std::fs::remove_file(file)?)
}

const SQLITE: &str = r#"
import csv, sqlite3, sys
file, database, columns, times = sys.argv[1:]
connection = sqlite3.connect(database)
connection.execute("PRAGMA journal_mode=OFF")
connection.execute(f"CREATE TABLE lineitem ({columns})")
with open(file, newline="") as rows:
    rows = csv.reader(rows)
    places = ", ".join("?" * len(next(rows)))
    connection.executemany(f"INSERT INTO lineitem VALUES ({places})", rows)
parts = " UNION ALL ".join(["SELECT * FROM lineitem"] * int(times))
connection.execute(f"CREATE VIEW many AS {parts}")
connection.commit()
"#;

const DELTA: &str = r#"
import sys
from deltalake import convert_to_deltalake
convert_to_deltalake(sys.argv[1])
"#;

const UPLOAD: &str = r#"
import shutil, sys
from pyarrow import fs
endpoint, key, secret, file, times = sys.argv[1:]
store = fs.S3FileSystem(access_key=key, secret_key=secret, endpoint_override=endpoint, region="us-east-1")
for n in range(int(times)):
    with open(file, "rb") as source, store.open_output_stream(f"bench/lineitem/{n}.parquet") as target:
        shutil.copyfileobj(source, target, 1 << 20)
"#;

fn s3(file: &Path) -> Outcome<(python::Server, String)> {
    let key = std::env::var("DATACONTRACT_S3_ACCESS_KEY_ID")?;
    let secret = std::env::var("DATACONTRACT_S3_SECRET_ACCESS_KEY")?;
    let (server, endpoint) = python::Server::start("s3_server.py", ["bench", &key, &secret])?;
    let file = file.display().to_string();
    run(&[UPLOAD, &endpoint, &key, &secret, &file, &TIMES.to_string()])?;
    Ok((server, endpoint))
}

/// A program in Python with its arguments.
fn run(program: &[&str]) -> Outcome {
    let done = python::command().arg("-c").args(program).status()?;
    done.success()
        .then_some(())
        .ok_or_else(|| "Python failed".into())
}

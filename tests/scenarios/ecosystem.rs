//! The contract files are ordinary ODCS: the `datacontract` command of others
//! lints them and tests them against the real data, unmodified.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use comity::lab::Postgres;
use comity_tests::program;
use serde_json::Value;

/// Types that the command cannot check in a Parquet file; it says so itself.
const UNCHECKED: &str = "Checking types in parquet files is not supported yet.";

fn datacontract(folder: &Path, args: &[&str]) -> Output {
    let program = std::env::var_os("COMITY_DATACONTRACT").expect(
        "COMITY_DATACONTRACT is the path of the `datacontract` command; 'make scenarios' installs it",
    );
    // Without references: what a contract names is never fetched.
    Command::new(program)
        .args(args)
        .current_dir(folder)
        .env("DATACONTRACT_POSTGRES_USERNAME", "reader")
        .env("DATACONTRACT_POSTGRES_PASSWORD", Postgres::PASSWORD)
        .output()
        .expect("the command runs")
}

fn comity(folder: &Path, args: &[&str]) -> Output {
    Command::new(program())
        .arg("--home")
        .arg(folder.join("home"))
        .args(args)
        .current_dir(folder)
        .env("DATACONTRACT_POSTGRES_PASSWORD", Postgres::PASSWORD)
        .output()
        .expect("the program runs")
}

fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn lints(folder: &Path, file: &str) {
    let output = datacontract(folder, &["lint", "--no-inline-references", file]);
    assert_eq!(output.status.code(), Some(0), "{file}: {}", told(&output));
}

/// Tests a contract; gives how many checks had each result. Exit 0 alone says
/// nothing: checks that nobody evaluated pass it too.
fn tested(folder: &Path, file: &str) -> (Output, BTreeMap<String, Vec<String>>) {
    let report = folder.join("report.json");
    let args = [
        "test",
        "--no-inline-references",
        "--output-format",
        "json",
        "--output",
        report.to_str().expect("the path is text"),
        file,
    ];
    let output = datacontract(folder, &args);
    let report = std::fs::read(&report).unwrap_or_else(|_| panic!("{}", told(&output)));
    let report: Value = serde_json::from_slice(&report).expect("the report is JSON");
    let mut results: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for check in report["checks"].as_array().expect("a report has checks") {
        let result = match check["reason"].as_str() {
            Some(UNCHECKED) => "unchecked",
            _ => check["result"].as_str().unwrap_or("not evaluated"),
        };
        let name = format!("{}: {}", check["name"], check["reason"]);
        results.entry(result.to_owned()).or_default().push(name);
    }
    (output, results)
}

#[test]
fn every_example_is_linted_and_tested_by_the_command_of_others() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/first-exchange");
    let dir = tempfile::tempdir().unwrap();
    for (folder, file) in [
        ("port-authority", "flights.odcs.yaml"),
        ("weather-service", "weather.odcs.yaml"),
        ("aircraft-registry", "planes.odcs.yaml"),
        ("aircraft-registry", "airlines.odcs.yaml"),
        ("aircraft-registry", "airports.odcs.yaml"),
    ] {
        let text = std::fs::read_to_string(examples.join(folder).join(file)).unwrap();
        let data = examples.join("../data").canonicalize().unwrap();
        // Relative paths count from the working folder there, from the contract's folder here.
        let text = text.replace("../../data", data.to_str().unwrap());
        std::fs::write(dir.path().join(file), text).unwrap();
        lints(dir.path(), file);
        let (output, results) = tested(dir.path(), file);
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        let others = results
            .keys()
            .filter(|r| *r != "passed" && *r != "unchecked");
        assert_eq!(others.count(), 0, "{file}: {results:#?}");
        assert!(results["passed"].len() > 2, "{file}: {results:#?}");
    }
}

#[test]
fn a_drafted_contract_of_every_type_holds_against_its_database() {
    let postgres = Postgres::start().unwrap();
    postgres
        .sql(
            "CREATE TYPE mood AS ENUM ('good', 'bad'); \
             CREATE TABLE orders (id bigint PRIMARY KEY, code integer NOT NULL UNIQUE, small smallint, \
               amount numeric(12,2) NOT NULL CHECK (amount >= 0), ratio double precision, part real, \
               note text, kind varchar(8), letter char(2), ok boolean NOT NULL, day date, at time, \
               made timestamptz NOT NULL, local timestamp, ref uuid, doc jsonb, tags text[], \
               mood mood, raw bytea); \
             INSERT INTO orders SELECT i, i, i, i * 1.5, i / 3.0, i, 'n' || i, 'k', 'ab', true, \
               current_date, '12:00', now() - i * interval '1 minute', now()::timestamp, \
               gen_random_uuid(), '{\"a\":1}', ARRAY['x'], 'good', '\\x00' FROM generate_series(1, 50) i; \
             GRANT SELECT ON orders TO PUBLIC",
        )
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let address = format!(
        "postgres://reader@127.0.0.1:{}/{}",
        postgres.port(),
        Postgres::DATABASE
    );
    let made = comity(
        dir.path(),
        &["product", "init", &address, "--table", "orders"],
    );
    assert_eq!(made.status.code(), Some(0), "{}", told(&made));
    lints(dir.path(), "orders.odcs.yaml");
    let (output, results) = tested(dir.path(), "orders.odcs.yaml");
    assert_eq!(output.status.code(), Some(0), "{results:#?}");
    assert_eq!(
        results.keys().collect::<Vec<_>>(),
        ["passed"],
        "{results:#?}"
    );
    assert!(results["passed"].len() > 30, "{results:#?}");

    // What the draft promises can be broken, and then it is seen.
    postgres
        .sql("ALTER TABLE orders DROP CONSTRAINT orders_pkey; ALTER TABLE orders ALTER code DROP NOT NULL; \
              UPDATE orders SET code = NULL WHERE id = 7")
        .unwrap();
    let (output, results) = tested(dir.path(), "orders.odcs.yaml");
    assert_eq!(output.status.code(), Some(1), "{results:#?}");
    assert_eq!(results["failed"].len(), 1, "{results:#?}");
}

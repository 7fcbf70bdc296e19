//! Files as pandas, polars and DuckDB write them are products as they are.

use std::path::{Path, PathBuf};
use std::process::Command;

use comity::lab::Org;
use comity_tests::{Outcome, ask, lab, reaches, sql};
use serde_json::{Value, json};

const RULES: &str = r#"
[[approve]]
partner = "reader"
product = "PRODUCT"
purposes = ["delay-analysis"]
max_days = 365
"#;

/// Columns by writer, in the contract's words.
const TABLES: [(&str, &[(&str, &str)]); 3] = [
    (
        "pandas",
        &[ID, NAME, KIND, AT, SEEN, ("small", "logicalType: integer")],
    ),
    ("polars", &[ID, NAME, KIND, AT, SEEN, CLOCK, PRICE, WORDS]),
    ("duckdb", &[ID, NAME, KIND, AT, SEEN, CLOCK, PRICE, WORDS]),
];
const ID: (&str, &str) = ("id", "logicalType: integer");
const NAME: (&str, &str) = ("name", "logicalType: string");
const KIND: (&str, &str) = ("kind", "logicalType: string");
const AT: (&str, &str) = (
    "at",
    "logicalType: timestamp, logicalTypeOptions: { timezone: false }",
);
const SEEN: (&str, &str) = ("seen", "logicalType: timestamp");
const CLOCK: (&str, &str) = ("clock", "logicalType: time");
const PRICE: (&str, &str) = (
    "price",
    "logicalType: number, physicalType: \"decimal(10,2)\"",
);
const WORDS: (&str, &str) = (
    "words",
    "logicalType: array, items: { logicalType: string }",
);

fn contract(folder: &Path, product: &str, file: &str, columns: &[(&str, &str)]) -> PathBuf {
    let path = folder.join(format!("{product}.odcs.yaml"));
    let properties: Vec<_> = columns
        .iter()
        .map(|(name, kind)| {
            format!("      - {{ id: {name}, name: {name}, {kind}, classification: public }}\n")
        })
        .collect();
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    let text = format!(
        "apiVersion: v3.1.0
kind: DataContract
id: {product}-1
name: {product}
version: \"1.0.0\"
status: active
servers:
  - {{ server: files, type: local, path: ./{file}.parquet, format: parquet }}
schema:
  - name: t
    properties:
{}roles:
  - role: read
    access: read
    customProperties:
      - {{ property: comityReadRestrictions, value: {{ t: {{ columns: [{}] }} }} }}
      - {{ property: comityPurposes, value: [delay-analysis] }}
",
        properties.concat(),
        names.join(", "),
    );
    std::fs::write(&path, text).expect("a file");
    path
}

async fn agreed(owner: &Org, reader: &Org, product: &str, file: &Path) -> Outcome {
    owner.publish(file).await?;
    reader.discovers("owner", product).await?;
    let asked = ask(reader, "owner", product).await?;
    reaches(reader, &asked.id, "FINALIZED").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pandas_polars_and_duckdb_wrote_is_what_a_partner_reads() -> Outcome {
    let (lab, dir) = lab();
    let python = std::env::var_os("COMITY_PYTHON").unwrap_or_else(|| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lakes/writers.py");
    let done = Command::new(python).arg(script).arg(dir.path()).status()?;
    assert!(done.success(), "'make scenarios' installs what this needs");

    let products = ["pandas", "polars", "duckdb", "lost"];
    let rules: Vec<_> = products.map(|p| RULES.replace("PRODUCT", p)).into();
    let owner = lab.org("owner", "Owner", &rules.concat()).await?;
    let reader = lab.org("reader", "Reader", "").await?;
    owner.federate(&reader).await?;
    for (writer, columns) in TABLES {
        let file = contract(dir.path(), writer, writer, columns);
        agreed(&owner, &reader, writer, &file).await?;
        let rows = sql(
            &reader,
            &format!("SELECT * FROM owner.{writer}.t ORDER BY id"),
        )
        .await?;
        assert_eq!(rows.len(), 3, "{writer}");
        let named = |row: &Value| [row["id"].clone(), row["name"].clone(), row["kind"].clone()];
        assert_eq!(
            named(&rows[0]),
            [json!(1), json!("Äpfel"), json!("x")],
            "{writer}"
        );
        // What is null is not there in JSON.
        assert_eq!(
            named(&rows[1]),
            [json!(2), Value::Null, json!("y")],
            "{writer}"
        );
        let seen = match writer {
            // Noon in Berlin.
            "pandas" => "2013-06-01T10:00:00.123456Z",
            // It was cut when it was written.
            "polars" => "2013-06-01T12:00:00.123Z",
            _ => "2013-06-01T12:00:00.123456Z",
        };
        assert_eq!(rows[2]["seen"], seen, "{writer}");
        if writer != "pandas" {
            assert_eq!(rows[0]["clock"], "12:30:01.000005", "{writer}");
            assert_eq!(rows[2]["price"], -3.5, "{writer}");
            assert_eq!(rows[0]["words"], json!(["a", "b"]), "{writer}");
            assert_eq!(rows[2]["words"], json!([]), "{writer}");
        } else {
            assert_eq!(rows[2]["small"], 3);
        }
        for (filter, n) in [
            ("= TIMESTAMP '2013-06-01 12:00:00.123456'", 2),
            ("> TIMESTAMP '2013-06-01 12:00:00.123456'", 0),
            (">= TIMESTAMP '2013-06-01 12:00:00.123457'", 0),
            ("< TIMESTAMP '2013-06-01 12:00:00.123457'", 2),
        ] {
            let question = format!("SELECT count(*) AS n FROM owner.{writer}.t WHERE at {filter}");
            assert_eq!(
                sql(&reader, &question).await?,
                [json!({"n": n})],
                "{writer} {filter}"
            );
        }
    }

    // Half a microsecond has no place: never a row less, never another moment.
    let file = contract(dir.path(), "lost", "lost", &[ID, AT]);
    agreed(&owner, &reader, "lost", &file).await?;
    let error = sql(&reader, "SELECT at FROM owner.lost.t")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("source-unavailable"), "{error}");
    let log = std::fs::read_to_string(owner.home().path().join("node.log"))?;
    assert!(log.contains("column at"), "{log}");
    let ids = sql(&reader, "SELECT count(id) AS n FROM owner.lost.t").await?;
    assert_eq!(ids, [json!({"n": 2})]);
    Ok(())
}

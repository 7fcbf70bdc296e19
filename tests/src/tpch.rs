//! TPC-H split over three organizations, and a fourth that asks all of them.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use comity::lab::{Lab, Org};
use datafusion::parquet::arrow::ArrowWriter;
use serde_json::Value;
use tpchgen::generators as rows;
use tpchgen_arrow as columns;

use crate::{Outcome, ask, lab, python, reaches};

/// Rows of a batch that is written.
const BATCH_ROWS: usize = 8192;

/// Which organization has which tables.
pub const SPLIT: [(&str, &[&str]); 3] = [
    ("sales", &["customer", "orders"]),
    ("logistics", &["lineitem"]),
    (
        "purchasing",
        &["supplier", "part", "partsupp", "nation", "region"],
    ),
];

/// How many queries there are.
pub const QUERIES: usize = 22;

/// The batches of a table at a scale factor: about six million rows of `lineitem` for 1.
pub fn batches(table: &str, scale: f64) -> Box<dyn Iterator<Item = Failable<RecordBatch>> + Send> {
    macro_rules! made {
        ($arrow:ident, $generator:ident) => {
            reader(
                columns::$arrow::new(rows::$generator::new(scale, 1, 1))
                    .with_batch_size(BATCH_ROWS),
            )
        };
    }
    match table {
        "customer" => made!(CustomerArrow, CustomerGenerator),
        "orders" => made!(OrderArrow, OrderGenerator),
        "lineitem" => made!(LineItemArrow, LineItemGenerator),
        "supplier" => made!(SupplierArrow, SupplierGenerator),
        "part" => made!(PartArrow, PartGenerator),
        "partsupp" => made!(PartSuppArrow, PartSuppGenerator),
        "nation" => made!(NationArrow, NationGenerator),
        "region" => made!(RegionArrow, RegionGenerator),
        other => Box::new(std::iter::once(Err(format!("no table {other}").into()))),
    }
}

/// What a step gives.
type Failable<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn reader(
    reader: impl RecordBatchReader + Send + 'static,
) -> Box<dyn Iterator<Item = Failable<RecordBatch>> + Send> {
    let schema = plain_schema(&reader.schema());
    Box::new(reader.map(move |batch| plain(&batch?, &schema)))
}

/// Texts in the layout that every format and engine has.
fn plain(batch: &RecordBatch, schema: &SchemaRef) -> Failable<RecordBatch> {
    let columns = batch.columns().iter().map(|c| match c.data_type() {
        DataType::Utf8View => cast(c, &DataType::Utf8),
        _ => Ok(Arc::clone(c)),
    });
    let columns = columns.collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

pub(crate) fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|f| match f.data_type() {
        DataType::Utf8View => Field::new(f.name(), DataType::Utf8, f.is_nullable()),
        _ => f.as_ref().clone(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Writes the tables of an organization as Parquet files and a contract over
/// them, whose path it gives.
fn write(folder: &Path, org: &str, tables: &[&str], scale: f64) -> Failable<PathBuf> {
    let mut schemas = String::new();
    for table in tables {
        let mut batches = batches(table, scale);
        let first = batches.next().ok_or("an empty table")??;
        let file = BufWriter::new(File::create(folder.join(format!("{table}.parquet")))?);
        let mut writer = ArrowWriter::try_new(file, first.schema(), None)?;
        writer.write(&first)?;
        for batch in batches {
            writer.write(&batch?)?;
        }
        writer.close()?;
        schemas.push_str(&format!(
            "  - id: {table}\n    name: {table}\n    physicalName: {table}\n    properties:\n"
        ));
        for field in first.schema().fields() {
            let (name, kind) = (field.name(), kind(field.data_type()));
            // Whoever joins by a key may know about how many there are.
            let counted = match name.ends_with("key") {
                true => ", customProperties: [ { property: comityDistinct, value: true } ]",
                false => "",
            };
            schemas.push_str(&format!(
                "      - {{ id: {table}_{name}, name: {name}, {kind}, classification: public{counted} }}\n"
            ));
        }
    }
    let text = format!(
        "apiVersion: v3.1.0\nkind: DataContract\nid: tpch-{org}\nname: tpch\nversion: \"1.0.0\"\nstatus: active\n\
         servers: [ {{ server: files, type: local, path: \"./{{model}}.parquet\", format: parquet }} ]\nschema:\n{schemas}\
         roles:\n  - role: all\n    access: read\n    customProperties:\n      - {{ property: comityPurposes, value: [delay-analysis] }}\n"
    );
    let path = folder.join(format!("{org}.odcs.yaml"));
    std::fs::write(&path, text)?;
    Ok(path)
}

fn kind(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int64 => "logicalType: integer",
        DataType::Int32 => "logicalType: integer, physicalType: int",
        DataType::Decimal128(..) => "logicalType: number, physicalType: \"decimal(15,2)\"",
        DataType::Date32 => "logicalType: date",
        _ => "logicalType: string",
    }
}

/// Two analysts with agreements over all tables of three organizations.
#[derive(Debug)]
pub struct Split {
    /// Asks, and lets none of the three know keys of the others.
    pub analyst: Org,
    /// Asks, and tells each keys of the others.
    pub teller: Org,
    /// In the order of [`SPLIT`].
    pub owners: Vec<Org>,
    dir: tempfile::TempDir,
    _lab: Lab,
}

impl Split {
    /// Writes the tables, founds, federates, publishes and agrees.
    pub async fn meet(scale: f64) -> Result<Self, Box<dyn std::error::Error>> {
        let (lab, dir) = lab();
        let analyst = lab.org("analyst", "Analyst", "").await?;
        let all = SPLIT
            .iter()
            .flat_map(|(org, tables)| tables.iter().map(move |t| (org, t)));
        let told = all.map(|(org, table)| {
            format!("\n[[egress]]\nof = \"{org}\"\nproduct = \"tpch\"\ntable = \"{table}\"\nkeys = \"plain\"\n")
        });
        let teller = lab
            .org("teller", "Teller", &told.collect::<String>())
            .await?;
        let mut owners = Vec::new();
        for (alias, tables) in SPLIT {
            let rules = ["analyst", "teller"].map(|asks| format!("\n[[approve]]\npartner = \"{asks}\"\nproduct = \"tpch\"\npurposes = [\"delay-analysis\"]\nmax_days = 365\n"));
            let owner = lab.org(alias, alias, &rules.concat()).await?;
            let folder = dir.path().to_owned();
            let written = tokio::task::spawn_blocking(move || write(&folder, alias, tables, scale));
            for asks in [&analyst, &teller] {
                owner.federate(asks).await?;
            }
            owner
                .publish(&written.await?.map_err(|e| e.to_string())?)
                .await?;
            for asks in [&analyst, &teller] {
                asks.sees_measured(alias, "tpch").await?;
                let n = ask(asks, alias, "tpch").await?;
                reaches(asks, &n.id, "FINALIZED").await?;
            }
            owners.push(owner);
        }
        Ok(Self {
            analyst,
            teller,
            owners,
            dir,
            _lab: lab,
        })
    }

    /// Rows, and bytes of Arrow data, that the three have delivered so far.
    pub async fn delivered(&self) -> Result<(u64, u64), Box<dyn std::error::Error>> {
        let mut all = (0, 0);
        for owner in &self.owners {
            let args = ["audit", "show", "--kind", "delivery", "--json"];
            for line in owner.run(&args).await?.lines() {
                let line: Value = serde_json::from_str(line)?;
                all.0 += line["record"]["rows"].as_u64().unwrap_or(0);
                all.1 += line["record"]["bytes"].as_u64().unwrap_or(0);
            }
        }
        Ok(all)
    }

    /// The file of a table.
    pub fn file(&self, table: &str) -> PathBuf {
        self.dir.path().join(format!("{table}.parquet"))
    }

    /// DuckDB's answers, over the files of all three in one place.
    pub fn answers(&self) -> Result<Value, Box<dyn std::error::Error>> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tpch/answers.py");
        let made = python::command()
            .arg(script)
            .arg(self.dir.path())
            .output()?;
        match made.status.success() {
            true => Ok(serde_json::from_slice(&made.stdout)?),
            false => Err(String::from_utf8_lossy(&made.stderr).into()),
        }
    }
}

/// The text of a query, over tables of these names.
pub fn text(number: usize) -> std::io::Result<String> {
    let file = format!("tpch/q{number:02}.sql");
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))
}

/// The tables that the text of a query names, with whose they are.
pub fn tables(text: &str) -> Vec<(&'static str, &'static str)> {
    let words: Vec<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    let tables = SPLIT
        .iter()
        .flat_map(|(org, tables)| tables.iter().map(move |t| (*org, *t)));
    tables.filter(|(_, table)| words.contains(table)).collect()
}

/// The text of a query, over the tables where they are.
pub fn query(number: usize) -> std::io::Result<String> {
    let text = text(number)?;
    let named: Vec<String> = tables(&text)
        .into_iter()
        .map(|(org, table)| format!("{table} AS (SELECT * FROM {org}.tpch.{table})"))
        .collect();
    let named = named.join(", ");
    Ok(match text.strip_prefix("WITH ") {
        Some(rest) => format!("WITH {named}, {rest}"),
        None => format!("WITH {named} {text}"),
    })
}

/// Whether an answer is the expected one, to a millionth.
pub fn compare(answer: &[Value], expected: &[Value]) -> Outcome {
    if answer.len() != expected.len() {
        return Err(format!("{} rows instead of {}", answer.len(), expected.len()).into());
    }
    for (row, wanted) in answer.iter().zip(expected) {
        for (name, wanted) in wanted.as_object().ok_or("no row")? {
            let value = row.get(name).unwrap_or(&Value::Null);
            let same = match (number(value), number(wanted)) {
                (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * b.abs().max(1.0),
                _ => value == wanted,
            };
            if !same {
                return Err(format!("{name} is {value} instead of {wanted} in {row}").into());
            }
        }
    }
    Ok(())
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

//! TPC-H's widest table, as files and as a contract.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::Stdio;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use comity::lab::Postgres;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use tpchgen_arrow::LineItemArrow;

use super::Outcome;
use crate::tpch;

/// Column, type in the contract, type of PostgreSQL.
const COLUMNS: [(&str, &str, &str); 16] = [
    ("l_orderkey", "logicalType: integer", "bigint"),
    ("l_partkey", "logicalType: integer", "bigint"),
    ("l_suppkey", "logicalType: integer", "bigint"),
    (
        "l_linenumber",
        "logicalType: integer, physicalType: int",
        "integer",
    ),
    ("l_quantity", DECIMAL, "numeric(15,2)"),
    ("l_extendedprice", DECIMAL, "numeric(15,2)"),
    ("l_discount", DECIMAL, "numeric(15,2)"),
    ("l_tax", DECIMAL, "numeric(15,2)"),
    ("l_returnflag", "logicalType: string", "text"),
    ("l_linestatus", "logicalType: string", "text"),
    ("l_shipdate", "logicalType: date", "date"),
    ("l_commitdate", "logicalType: date", "date"),
    ("l_receiptdate", "logicalType: date", "date"),
    ("l_shipinstruct", "logicalType: string", "text"),
    ("l_shipmode", "logicalType: string", "text"),
    ("l_comment", "logicalType: string", "text"),
];
const OFFER: &str = "roles:
  - role: all
    access: read
    customProperties:
      - { property: comityPurposes, value: [delay-analysis] }
";
const DECIMAL: &str = "logicalType: number, physicalType: \"decimal(15,2)\"";

/// The rows at a scale factor: about six million for 1.
pub fn batches(scale: f64) -> impl Iterator<Item = Outcome<RecordBatch>> {
    tpch::batches("lineitem", scale)
        .map(|batch| batch.map_err(|e| -> Box<dyn std::error::Error> { e }))
}

fn schema() -> SchemaRef {
    tpch::plain_schema(&LineItemArrow::schema_ref())
}

/// Rows of a group of a Parquet file, as DuckDB writes them.
const GROUP_ROWS: usize = 122_880;

/// One file of all rows at `scale`, in the format that its name ends with.
///
/// # Errors
/// A file that cannot be written.
pub fn write(path: &Path, scale: f64) -> Outcome {
    let file = BufWriter::new(File::create(path)?);
    match path.extension().and_then(|e| e.to_str()) {
        Some("parquet") => {
            let properties = WriterProperties::builder()
                .set_compression(Compression::ZSTD(ZstdLevel::default()))
                .set_max_row_group_row_count(Some(GROUP_ROWS))
                .build();
            let mut writer = ArrowWriter::try_new(file, schema(), Some(properties))?;
            for batch in batches(scale) {
                writer.write(&batch?)?;
            }
            writer.close()?;
        }
        Some("arrow") => {
            let mut writer = arrow::ipc::writer::FileWriter::try_new(file, &schema())?;
            for batch in batches(scale) {
                writer.write(&batch?)?;
            }
            writer.finish()?;
        }
        Some("csv") => {
            let mut writer = arrow::csv::Writer::new(file);
            for batch in batches(scale) {
                writer.write(&batch?)?;
            }
        }
        Some("json") => {
            let mut writer = arrow::json::LineDelimitedWriter::new(file);
            for batch in batches(scale) {
                writer.write(&batch?)?;
            }
            writer.finish()?;
        }
        other => return Err(format!("no format {other:?}").into()),
    }
    Ok(())
}

/// Writes a contract over `servers` (YAML), whose table is `physical` there.
///
/// # Errors
/// A file that cannot be written.
pub fn contract(path: &Path, servers: &str, physical: &str) -> Outcome {
    let columns = COLUMNS
        .map(|(name, kind, _)| {
            format!("      - {{ id: {name}, name: {name}, {kind}, classification: public }}\n")
        })
        .concat();
    let text = format!(
        "apiVersion: v3.1.0\nkind: DataContract\nid: lineitem-1\nname: lineitem\nversion: \"1.0.0\"\nstatus: active\n\
         {servers}\n\
         schema:\n  - name: lineitem\n    physicalName: {physical}\n    properties:\n{columns}{OFFER}"
    );
    Ok(std::fs::write(path, text)?)
}

/// The columns of a `CREATE TABLE` for PostgreSQL, or for another database by `kind`.
pub fn columns(kind: impl Fn(&'static str) -> &'static str) -> String {
    let columns = COLUMNS.map(|(name, _, postgres)| format!("{name} {}", kind(postgres)));
    columns.join(", ")
}

/// Loads all rows at `scale` into a table `lineitem`.
///
/// # Errors
/// What the server or its client says.
pub fn load(postgres: &Postgres, scale: f64) -> Outcome {
    let file = postgres.dir().join("lineitem.csv");
    write(&file, scale)?;
    let columns = columns(|kind| kind);
    postgres.sql(&format!("CREATE TABLE lineitem ({columns})"))?;
    let copy = format!("\\copy lineitem FROM '{}' CSV HEADER", file.display());
    let mut client = postgres.client();
    let loaded = client.args(["-c", &copy]).stdout(Stdio::null()).status()?;
    if !loaded.success() {
        return Err("the table was not loaded".into());
    }
    Ok(std::fs::remove_file(file)?)
}

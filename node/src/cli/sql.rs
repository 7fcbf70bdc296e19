//! `comity sql`.

use std::io::{Read as _, Write as _};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt as _;

use super::output::{Output, Problem, printable};
use super::progress::Progress;
use crate::admin::api;
use crate::flight::{Inquiry, Reply, SqlClient};
use crate::home::Home;

/// Run one SQL statement at the own node's workbench.
///
/// Tables are "ORGANIZATION"."PRODUCT"."TABLE"; own products may be named
/// without the organization. `EXPLAIN` before a statement says what it asks of
/// partners, `EXPLAIN ANALYZE` also what came.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    comity sql 'SELECT count(*) FROM flights.flights'\n  \
    comity sql --format csv 'SELECT * FROM \"weather-service\".\"weather\".\"weather\"' > weather.csv\n  \
    comity sql - < question.sql")]
pub(super) struct Sql {
    /// The statement, or '-' to read it from standard input.
    statement: String,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The most rows that a table shows. The other formats print all.
    #[arg(long, default_value_t = 1000)]
    max_rows: usize,
    /// Why: one of the purposes that the agreements name.
    #[arg(long)]
    purpose: Option<String>,
    /// Take what comes where a partner does not answer, and be told whose rows
    /// are missing. Where fewer rows would make a wrong answer, such as a count
    /// over them, the partner's failure remains an error.
    #[arg(long)]
    partial: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A table for people.
    Table,
    /// RFC 4180 with a header line.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// More than the node accepts in a statement.
const MAX_STATEMENT_BYTES: u64 = 1024 * 1024;

impl Sql {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let statement = if self.statement == "-" {
            read_statement()?
        } else {
            self.statement
        };
        let client = connect(home).await.map_err(Problem::failed)?;
        let inquiry = Inquiry {
            statement: &statement,
            purpose: self.purpose.as_deref(),
            partial: self.partial,
            partition: None,
        };
        let reply = client.inquire(&inquiry).await;
        let Reply {
            schema,
            rows,
            ending,
        } = reply.map_err(|e| Problem::failed(e.to_string()))?;
        let format = if output.is_json() {
            Format::Jsonl
        } else {
            self.format
        };
        print(schema, watched(rows), format, self.max_rows).await?;
        for gap in ending.missing() {
            eprintln!("not in this answer: the rows of {gap}");
        }
        Ok(())
    }
}

/// The rows, counted where somebody looks at them coming.
fn watched(rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let (schema, progress) = (rows.schema(), Progress::new());
    let counted = rows.inspect_ok(move |batch| progress.add(batch.num_rows() as u64));
    Box::pin(RecordBatchStreamAdapter::new(schema, counted))
}

async fn print(
    schema: SchemaRef,
    mut rows: SendableRecordBatchStream,
    format: Format,
    max_rows: usize,
) -> Result<(), Problem> {
    let failed = |e: &dyn std::fmt::Display| Problem::failed(e.to_string());
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match format {
        Format::Table => {
            let mut answer = Answer {
                schema,
                batches: Vec::new(),
            };
            let mut more = false;
            while let Some(batch) = rows.try_next().await.map_err(|e| failed(&e))? {
                let room = max_rows - answer.rows();
                more = batch.num_rows() > room;
                answer
                    .batches
                    .push(batch.slice(0, room.min(batch.num_rows())));
                if more {
                    break;
                }
            }
            let note = if more {
                format!("first {max_rows} rows; --max-rows or --format csv shows more")
            } else {
                format!("{} rows", answer.rows())
            };
            writeln!(out, "{}\n{note}", answer.to_text()).map_err(|e| failed(&e))?;
        }
        Format::Csv => {
            let mut writer = arrow::csv::WriterBuilder::new()
                .with_header(true)
                .build(&mut out);
            writer
                .write(&RecordBatch::new_empty(schema))
                .map_err(|e| failed(&e))?;
            while let Some(batch) = rows.try_next().await.map_err(|e| failed(&e))? {
                writer.write(&batch).map_err(|e| failed(&e))?;
            }
        }
        Format::Jsonl => {
            let mut writer = json_lines(&mut out);
            while let Some(batch) = rows.try_next().await.map_err(|e| failed(&e))? {
                writer.write(&batch).map_err(|e| failed(&e))?;
            }
            writer.finish().map_err(|e| failed(&e))?;
        }
    }
    out.flush().map_err(|e| failed(&e))
}

/// One JSON object a row, with every column: a null that is left out would look
/// like a column that is not there.
fn json_lines<W: std::io::Write>(out: W) -> arrow::json::LineDelimitedWriter<W> {
    arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build(out)
}

/// A small result, whole.
pub(super) struct Answer {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Answer {
    /// Rows with the columns they have, also when there is none.
    pub(super) fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self { schema, batches }
    }

    /// Rows in all.
    pub(super) fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The rows as a table for people.
    pub(super) fn to_text(&self) -> String {
        let table = arrow::util::pretty::pretty_format_batches_with_schema(
            self.schema.clone(),
            &self.batches,
        );
        table.map_or_else(|e| e.to_string(), printable)
    }
}

/// Runs `statement` at the workbench of the node at `home`, as its owner.
pub(super) async fn ask(home: &Home, statement: &str) -> Result<Answer, String> {
    let client = connect(home).await?;
    let (schema, rows) = client
        .query(statement, None)
        .await
        .map_err(|e| e.to_string())?;
    let batches: Vec<RecordBatch> = rows.try_collect().await.map_err(|e| e.to_string())?;
    Ok(Answer { schema, batches })
}

pub(super) async fn connect(home: &Home) -> Result<SqlClient, String> {
    let read = |path: std::path::PathBuf| {
        std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
    };
    let running: api::Listening = serde_json::from_str(
        &read(home.running())
            .map_err(|e| format!("{e}; is the node up? start it with 'comity up'"))?,
    )
    .map_err(|e| format!("{}: {e}", home.running().display()))?;
    let token = read(home.workbench_token())?;
    let ca = read(home.ca_pem())?;
    SqlClient::connect(&running.workbench, Some(&ca), token.trim())
        .await
        .map_err(|e| e.to_string())
}

fn read_statement() -> Result<String, Problem> {
    let mut statement = String::new();
    std::io::stdin()
        .take(MAX_STATEMENT_BYTES)
        .read_to_string(&mut statement)
        .map_err(|e| Problem::failed(format!("standard input: {e}")))?;
    Ok(statement)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    #[test]
    fn a_null_is_written_as_null() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let mut out = Vec::new();
        let mut writer = json_lines(&mut out);
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        assert_eq!(out, b"{\"n\":1}\n{\"n\":null}\n");
    }
}

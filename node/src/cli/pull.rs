//! `comity pull`.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::FileWriter;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use futures::TryStreamExt as _;
use serde::Serialize;

use super::output::{Output, Problem};
use super::progress::Progress;
use super::search::{own, split};
use super::sql::connect;
use crate::admin::{Client, api};
use crate::home::Home;
use crate::query::identifier;

/// The most rows that are kept until they are written: what a group of a
/// Parquet file has, so that memory does not grow with the table.
const GROUP_ROWS: usize = 128 * 1024;

/// Read a table of a product into a file: Parquet, Arrow or CSV, by its name.
///
/// Rows are written as they come, in constant memory, beside the file, which
/// appears when all of them are there. A file that exists is not replaced.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    comity pull weather-service/weather -o weather.parquet\n  \
    comity pull weather-service/weather --columns origin,temp --where \"temp > 90\" -o hot.csv")]
pub(super) struct Pull {
    /// PARTNER/PRODUCT[@MAJOR], as `comity search` prints it; PRODUCT[@MAJOR] is your own.
    product: String,
    /// The table, where the product has several.
    #[arg(long)]
    table: Option<String>,
    /// These columns alone, separated by commas.
    #[arg(long, value_delimiter = ',')]
    columns: Vec<String>,
    /// A condition in SQL. What of it the partner can test does not cross.
    #[arg(long = "where")]
    condition: Option<String>,
    /// Why: one of the purposes that the agreement names.
    #[arg(long)]
    purpose: Option<String>,
    /// The file to write: its name ends with .parquet, .arrow or .csv.
    #[arg(long, short)]
    output: PathBuf,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Pulled {
    file: PathBuf,
    rows: u64,
    /// Of the file.
    bytes: u64,
}

impl Pull {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let format = Format::of(&self.output)?;
        if self.output.exists() {
            return Err(Problem::failed(format!("{} exists", self.output.display()))
                .next("name another file, or move that one away"));
        }
        let statement = self.statement(home).await?;
        let client = connect(home).await.map_err(Problem::failed)?;
        let (schema, mut rows) = client
            .query(&statement, self.purpose.as_deref())
            .await
            .map_err(|e| Problem::failed(e.to_string()))?;
        let mut file = Partial::create(&self.output, format, &schema)?;
        let progress = Progress::new();
        while let Some(batch) = rows
            .try_next()
            .await
            .map_err(|e| Problem::failed(e.to_string()))?
        {
            // Writing waits for the disk, and nothing else waits for this command.
            file.write(&batch)?;
            progress.add(batch.num_rows() as u64);
        }
        drop(progress);
        let pulled = file.finish(&self.output)?;
        output.answer(&pulled, |p| {
            format!(
                "{} rows, {} bytes in {}\n",
                p.rows,
                p.bytes,
                p.file.display()
            )
        });
        Ok(())
    }

    async fn statement(&self, home: &Home) -> Result<String, Problem> {
        let client = Client::new(home.admin_socket());
        let named = match self.product.contains('/') {
            true => self.product.clone(),
            false => own(&client, &self.product).await?,
        };
        let (partner, address) = split(&named)?;
        let product: api::Product = client
            .get(&format!("/v1/products/{partner}/{address}"))
            .await?;
        let names: Vec<&str> = product.tables.iter().map(|t| t.name.as_str()).collect();
        let table = match (&self.table, &names[..]) {
            (Some(table), names) if names.contains(&table.as_str()) => table.as_str(),
            (None, [only]) => only,
            _ => {
                let message = format!("{named} has the tables {}", names.join(", "));
                return Err(Problem::usage(message).next("name one with --table"));
            }
        };
        let columns: Vec<String> = self.columns.iter().map(|c| identifier(c)).collect();
        let columns = match columns.is_empty() {
            true => "*".to_owned(),
            false => columns.join(", "),
        };
        let of = [partner, &address.to_string(), table]
            .map(identifier)
            .join(".");
        // In lines of its own: a comment in it must not take the bracket away.
        let condition = self.condition.iter();
        let condition = condition.map(|sql| format!(" WHERE (\n{sql}\n)"));
        Ok(format!(
            "SELECT {columns} FROM {of}{}",
            condition.collect::<String>()
        ))
    }
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Parquet,
    Arrow,
    Csv,
}

impl Format {
    fn of(path: &Path) -> Result<Self, Problem> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("parquet") => Ok(Self::Parquet),
            Some("arrow") => Ok(Self::Arrow),
            Some("csv") => Ok(Self::Csv),
            _ => Err(Problem::usage(format!(
                "{} does not end with .parquet, .arrow or .csv",
                path.display()
            ))),
        }
    }
}

enum Writer {
    Parquet(Box<ArrowWriter<BufWriter<File>>>),
    Arrow(Box<FileWriter<BufWriter<File>>>),
    Csv(Box<arrow::csv::Writer<BufWriter<File>>>),
}

/// A file that is not whole yet. It is removed unless it is finished.
struct Partial {
    path: tempfile::TempPath,
    writer: Writer,
    rows: u64,
}

impl Partial {
    /// Beside `path`, so that it can take its place in one step.
    fn create(path: &Path, format: Format, schema: &SchemaRef) -> Result<Self, Problem> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        let partial = tempfile::Builder::new()
            .prefix(".comity-pull-")
            .tempfile_in(folder.unwrap_or_else(|| Path::new(".")))
            .map_err(|e| Problem::failed(format!("{}: {e}", path.display())))?;
        let (file, temporary) = partial.into_parts();
        let out = BufWriter::new(file);
        let writer = match format {
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .build();
                let writer = ArrowWriter::try_new(out, schema.clone(), Some(properties));
                Writer::Parquet(Box::new(writer.map_err(unwritten)?))
            }
            Format::Arrow => {
                let writer = FileWriter::try_new(out, schema);
                Writer::Arrow(Box::new(writer.map_err(unwritten)?))
            }
            Format::Csv => {
                let mut writer = arrow::csv::WriterBuilder::new()
                    .with_header(true)
                    .build(out);
                // The header, also when no row comes.
                let none = RecordBatch::new_empty(schema.clone());
                writer.write(&none).map_err(unwritten)?;
                Writer::Csv(Box::new(writer))
            }
        };
        Ok(Self {
            path: temporary,
            writer,
            rows: 0,
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), Problem> {
        match &mut self.writer {
            Writer::Parquet(writer) => writer.write(batch).map_err(unwritten)?,
            Writer::Arrow(writer) => writer.write(batch).map_err(unwritten)?,
            Writer::Csv(writer) => writer.write(batch).map_err(unwritten)?,
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Puts the whole file in its place, unless something came there meanwhile.
    fn finish(self, path: &Path) -> Result<Pulled, Problem> {
        let out = match self.writer {
            Writer::Parquet(writer) => writer.into_inner().map_err(unwritten)?,
            Writer::Arrow(mut writer) => {
                writer.finish().map_err(unwritten)?;
                writer.into_inner().map_err(unwritten)?
            }
            Writer::Csv(writer) => writer.into_inner(),
        };
        let file = out.into_inner().map_err(|e| unwritten(e.error()))?;
        file.sync_all().map_err(unwritten)?;
        let bytes = file.metadata().map_err(unwritten)?.len();
        self.path
            .persist_noclobber(path)
            .map_err(|e| unwritten(e.error))?;
        Ok(Pulled {
            file: path.to_owned(),
            rows: self.rows,
            bytes,
        })
    }
}

fn unwritten(error: impl std::fmt::Display) -> Problem {
    Problem::failed(format!("the file cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn batch() -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    #[test]
    fn a_file_appears_when_it_is_whole_and_replaces_none() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.parquet", "a.arrow", "a.csv"] {
            let path = dir.path().join(name);
            let format = Format::of(&path).unwrap();
            let mut file = Partial::create(&path, format, &batch().schema()).unwrap();
            file.write(&batch()).unwrap();
            assert!(!path.exists(), "{name}: it is not whole yet");
            let pulled = file.finish(&path).unwrap();
            assert_eq!(pulled.rows, 2);
            assert_eq!(std::fs::metadata(&path).unwrap().len(), pulled.bytes);

            let second = Partial::create(&path, format, &batch().schema()).unwrap();
            second.finish(&path).unwrap_err();
            assert_eq!(std::fs::metadata(&path).unwrap().len(), pulled.bytes);
        }
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 3, "what was not finished is gone");
        Format::of(Path::new("a.txt")).unwrap_err();
    }
}

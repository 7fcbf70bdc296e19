//! One file of rows, which is there when it is whole.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::FileWriter;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use crate::cli::output::Problem;

/// The most rows that are kept until they are written: what a group of a
/// Parquet file has, so that memory does not grow with the table.
const GROUP_ROWS: usize = 128 * 1024;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// Apache Parquet.
    Parquet,
    /// An Arrow IPC file.
    Arrow,
    /// RFC 4180 with a header line.
    Csv,
}

impl Format {
    /// What the names of such files end with.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Csv => "csv",
        }
    }

    /// The format that the name of a file says.
    pub(super) fn of(path: &Path) -> Result<Self, Problem> {
        let all = [Self::Parquet, Self::Arrow, Self::Csv];
        let named = path.extension().and_then(|e| e.to_str());
        let named = all.into_iter().find(|f| Some(f.extension()) == named);
        named.ok_or_else(|| {
            let path = path.display();
            Problem::usage(format!("{path} does not end with .parquet, .arrow or .csv"))
        })
    }
}

enum Writer {
    Parquet(Box<ArrowWriter<BufWriter<File>>>),
    Arrow(Box<FileWriter<BufWriter<File>>>),
    Csv(Box<arrow::csv::Writer<BufWriter<File>>>),
}

/// A file that is whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    pub(super) rows: u64,
    /// Of the file.
    pub(super) bytes: u64,
}

/// A file that is not whole yet. It is removed unless it is finished.
pub(super) struct Partial {
    path: tempfile::TempPath,
    writer: Writer,
    rows: u64,
}

impl Partial {
    /// Beside `path`, so that it can take its place in one step.
    pub(super) fn create(path: &Path, format: Format, schema: &SchemaRef) -> Result<Self, Problem> {
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

    /// The rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds rows.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Problem> {
        match &mut self.writer {
            Writer::Parquet(writer) => writer.write(batch).map_err(unwritten)?,
            Writer::Arrow(writer) => writer.write(batch).map_err(unwritten)?,
            Writer::Csv(writer) => writer.write(batch).map_err(unwritten)?,
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Puts the whole file in its place, unless something came there meanwhile.
    pub(super) fn finish(self, path: &Path) -> Result<Whole, Problem> {
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
        Ok(Whole {
            rows: self.rows,
            bytes,
        })
    }
}

/// A file that cannot be written.
pub(super) fn unwritten(error: impl std::fmt::Display) -> Problem {
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

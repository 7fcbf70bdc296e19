//! What files say of themselves, for a draft of their contract.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

use super::{FileError, MAX_FOLDERS, canonical, folder, open};
use crate::products::{FileSpec, Format};
use crate::sources::SAMPLE_ROWS;
use crate::sources::scan::{hive, without_addresses};

/// The formats that files are known by, by their endings.
const FORMATS: [Format; 4] = [Format::Parquet, Format::Csv, Format::Json, Format::Arrow];

/// Opens a file, or the files of a folder, that no contract describes yet: with
/// the columns that stand in the names of folders, and with the numbers of a CSV
/// file as texts where digits would be lost (`00123`, `+49…`).
///
/// # Errors
/// Any [`FileError`].
pub async fn describe(path: &Path) -> Result<(Format, Arc<dyn TableProvider>), FileError> {
    let path = canonical(path)?;
    let (root, format) = (Path::new("/"), format(&path)?);
    let mut columns = Schema::empty();
    if path.is_dir() {
        let (_, found) = folder(&path, format, root)?;
        let paths: Vec<_> = found.into_iter().map(|file| file.relative).collect();
        columns = hive::guessed(&paths);
    }
    let spec = FileSpec { format, path };
    let table = open(&spec, root, &columns).await?;
    if format != Format::Csv {
        return Ok((format, table));
    }
    let numbers = table.schema();
    let numbers = numbers.fields().iter().filter(|field| {
        field.data_type().is_numeric() && columns.field_with_name(field.name()).is_err()
    });
    let texts: Vec<_> = numbers
        .map(|field| Field::new(field.name(), DataType::Utf8, true))
        .collect();
    if texts.is_empty() {
        return Ok((format, table));
    }
    let written = open(&spec, root, &with(&columns, texts.clone())).await?;
    let kept = as_written(written, texts).await;
    let kept = kept.map_err(|e| FileError::Unreadable {
        path: spec.path.clone(),
        format,
        reason: without_addresses(&e.to_string()),
    })?;
    if kept.is_empty() {
        return Ok((format, table));
    }
    Ok((format, open(&spec, root, &with(&columns, kept)).await?))
}

/// The one format of a file, or of the files of a folder and its partitions.
fn format(path: &Path) -> Result<Format, FileError> {
    let unknown = || FileError::Unknown {
        path: path.to_owned(),
    };
    if !path.is_dir() {
        return named(path).ok_or_else(unknown);
    }
    let missing = |e: std::io::Error| FileError::Missing {
        path: path.to_owned(),
        reason: e.to_string(),
    };
    let mut found = None;
    let (mut folders, mut seen) = (VecDeque::from([path.to_owned()]), 0);
    while let Some(folder) = folders.pop_front() {
        for entry in std::fs::read_dir(&folder).map_err(missing)? {
            let entry = entry.map_err(missing)?.path();
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') {
                continue;
            }
            if entry.is_dir() {
                seen += 1;
                if hive::is_partition(&name) && seen <= MAX_FOLDERS {
                    folders.push_back(entry);
                }
            } else if let Some(format) = named(&entry) {
                let first = *found.get_or_insert(format);
                if first != format {
                    return Err(FileError::Mixed {
                        path: path.to_owned(),
                        one: first.name(),
                        other: format.name(),
                    });
                }
            }
        }
    }
    found.ok_or_else(unknown)
}

fn named(file: &Path) -> Option<Format> {
    let ending = file.extension()?.to_str()?;
    let mut formats = FORMATS.into_iter();
    formats.find(|format| format.name().eq_ignore_ascii_case(ending))
}

fn with(columns: &Schema, more: Vec<Field>) -> Schema {
    let known = columns.fields().iter().map(|field| field.as_ref().clone());
    Schema::new(known.chain(more).collect::<Vec<_>>())
}

/// Those of `texts`, the columns of numbers as they are written, whose values a number would not give back.
async fn as_written(
    table: Arc<dyn TableProvider>,
    texts: Vec<Field>,
) -> Result<Vec<Field>, DataFusionError> {
    let frame = SessionContext::new().read_table(table)?;
    let names: Vec<_> = texts.iter().map(|field| field.name().clone()).collect();
    let names: Vec<_> = names.iter().map(datafusion::prelude::ident).collect();
    let sample = frame.select(names)?.limit(0, Some(SAMPLE_ROWS))?;
    let sample = sample.collect().await?;
    let mut kept = Vec::new();
    for (index, field) in texts.into_iter().enumerate() {
        let mut loses = false;
        for batch in &sample {
            let values = cast(batch.column(index), &DataType::Utf8)?;
            loses |= values.as_string::<i32>().iter().flatten().any(loses_digits);
        }
        if loses {
            kept.push(field);
        }
    }
    Ok(kept)
}

/// Whether a number of this text is written otherwise: `007`, `+49170`, not `0.5` or `-1`.
fn loses_digits(text: &str) -> bool {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    text.starts_with('+') || matches!(digits, [b'0', next, ..] if next.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_lost_by_a_sign_or_a_zero_in_front() {
        for text in ["007", "01701234567", "+4917012", "-01", "00", " 01"] {
            assert!(loses_digits(text), "{text}");
        }
        for text in ["0", "7", "-1", "0.5", "-0.5", "100", "1e5", ""] {
            assert!(!loses_digits(text), "{text}");
        }
    }

    async fn types(path: &Path) -> Vec<(String, DataType)> {
        let (_, table) = describe(path).await.unwrap();
        let schema = table.schema();
        let fields = schema.fields().iter();
        fields
            .map(|f| (f.name().clone(), f.data_type().clone()))
            .collect()
    }

    #[tokio::test]
    async fn a_csv_column_with_leading_zeros_is_a_text() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.csv");
        std::fs::write(
            &file,
            "id,zip,tel,share\n1,00123,01701234567,0.5\n2,22041,3,-1.5\n",
        )
        .unwrap();
        let named = |(name, kind): (&str, DataType)| (name.to_owned(), kind);
        let expected = [
            ("id", DataType::Int64),
            ("zip", DataType::Utf8),
            ("tel", DataType::Utf8),
            ("share", DataType::Float64),
        ];
        assert_eq!(types(&file).await, expected.map(named));
        let (_, table) = describe(&file).await.unwrap();
        let read = SessionContext::new().read_table(table).unwrap();
        let read = read.collect().await.unwrap();
        assert_eq!(read[0].column(1).as_string::<i32>().value(0), "00123");
    }

    #[tokio::test]
    async fn folders_are_columns_and_a_folder_has_one_format() {
        let dir = tempfile::tempdir().unwrap();
        for (month, zip) in [("01", "01067"), ("12", "22041")] {
            let part = dir
                .path()
                .join(format!("year=2025/month={month}/zip={zip}"));
            std::fs::create_dir_all(&part).unwrap();
            std::fs::write(part.join("a.csv"), "id\n1\n").unwrap();
        }
        let named = |(name, kind): (&str, DataType)| (name.to_owned(), kind);
        let expected = [
            ("id", DataType::Int64),
            ("year", DataType::Int64),
            ("month", DataType::Int64),
            ("zip", DataType::Utf8),
        ];
        assert_eq!(types(dir.path()).await, expected.map(named));

        std::fs::write(dir.path().join("year=2025/b.json"), "{}").unwrap();
        let refused = describe(dir.path()).await.unwrap_err().to_string();
        assert!(
            refused.contains(".csv") && refused.contains(".json"),
            "{refused}"
        );
        let empty = tempfile::tempdir().unwrap();
        let refused = describe(empty.path()).await.unwrap_err();
        assert!(matches!(refused, FileError::Unknown { .. }), "{refused}");
    }

    #[tokio::test]
    async fn a_damaged_file_is_told_in_plain_words_without_inner_addresses() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text, expected) in [
            ("a.parquet", "no parquet", "Parquet"),
            ("a.csv", "a,b\n1,2,3\n", "as many fields"),
            ("a.json", "{\"a\": ", "one object on each line"),
            ("a.arrow", "no arrow", "Arrow"),
        ] {
            let file = dir.path().join(name);
            std::fs::write(&file, text).unwrap();
            let refused = describe(&file).await.unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
            assert!(refused.contains(&*file.to_string_lossy()), "{refused}");
            assert!(!refused.contains("store-"), "{refused}");
        }
    }
}

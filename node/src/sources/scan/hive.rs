//! Columns that stand in paths: `year=2013/month=06/part-0.parquet`
//! (`spec/5-data-plane.md#D-181`).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::scalar::ScalarValue;

/// The most folders one inside the other.
pub(in crate::sources) const MAX_LEVELS: usize = 8;

/// What Hive and Spark write for a value that is null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Why folder names are not columns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::sources) enum HiveError {
    /// Two files lie under other names of folders.
    #[error(
        "{path} lies under {found}, the first file under {first}; the folders of one table must have the same names in the same order"
    )]
    Uneven {
        path: String,
        found: String,
        first: String,
    },
    /// One name twice in one path.
    #[error("{path} has two folders of the name {column}")]
    Twice { path: String, column: String },
    /// A value that is not of the contract's type.
    #[error("{path}: the contract says that {column} is {expected}, and {value} is not")]
    Value {
        path: String,
        column: String,
        value: String,
        expected: DataType,
    },
}

/// The columns that the paths of files have in common, and their values.
#[derive(Debug)]
pub(in crate::sources) struct Partitions {
    /// Of the names that the contract knows; others are of no column.
    pub(in crate::sources) columns: Vec<FieldRef>,
    /// The values of each file, in the order of `columns`.
    pub(in crate::sources) values: Vec<Vec<ScalarValue>>,
}

/// Whether a folder's name is a column with its value.
pub(in crate::sources) fn is_partition(folder: &str) -> bool {
    pair(folder).is_some()
}

fn pair(folder: &str) -> Option<(&str, &str)> {
    let (name, value) = folder.split_once('=')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (!name.is_empty() && name.chars().all(plain)).then_some((name, value))
}

impl Partitions {
    /// Reads the folders of `paths`, relative to the table's own folder and with
    /// `/` between names. The types are those of the contract's columns.
    pub(in crate::sources) fn read(paths: &[String], declared: &Schema) -> Result<Self, HiveError> {
        let mut first: Option<Vec<&str>> = None;
        let mut columns: Vec<FieldRef> = Vec::new();
        let mut all = Vec::with_capacity(paths.len());
        for path in paths {
            let folders: Vec<_> = match path.rsplit_once('/') {
                Some((folders, _)) => folders.split('/').filter_map(pair).collect(),
                None => Vec::new(),
            };
            let names: Vec<_> = folders.iter().map(|(name, _)| *name).collect();
            let first = first.get_or_insert_with(|| names.clone());
            if *first != names {
                return Err(HiveError::Uneven {
                    path: path.clone(),
                    found: names.join("/"),
                    first: first.join("/"),
                });
            }
            let mut values = Vec::new();
            for (place, (name, text)) in folders.iter().enumerate() {
                if names
                    .iter()
                    .take(place)
                    .any(|n| n.eq_ignore_ascii_case(name))
                {
                    let (path, column) = (path.clone(), (*name).to_owned());
                    return Err(HiveError::Twice { path, column });
                }
                let Ok(field) = declared.field_with_name(name) else {
                    continue;
                };
                if !columns.iter().any(|c| c.name() == name) {
                    let field = Field::new(*name, field.data_type().clone(), true);
                    columns.push(Arc::new(field));
                }
                let value = value(text, field.data_type()).ok_or_else(|| HiveError::Value {
                    path: path.clone(),
                    column: (*name).to_owned(),
                    value: (*text).to_owned(),
                    expected: field.data_type().clone(),
                })?;
                values.push(value);
            }
            all.push(values);
        }
        Ok(Self {
            columns,
            values: all,
        })
    }
}

/// The columns that stand in `paths`, each in the narrowest type that all of its
/// values have, for a draft: `2025` and `01` are numbers, `01067` beside `22041` is not.
pub(in crate::sources) fn guessed(paths: &[String]) -> Schema {
    let mut columns: Vec<(&str, DataType)> = Vec::new();
    let folders = paths.iter().flat_map(|path| path.split('/'));
    for (name, text) in folders.filter_map(pair).filter(|(_, text)| *text != NULL) {
        let kind = kind(text);
        match columns.iter_mut().find(|(column, _)| *column == name) {
            Some((_, known)) if *known == kind => {}
            Some((_, known)) => *known = DataType::Utf8,
            None => columns.push((name, kind)),
        }
    }
    let fields = columns.into_iter();
    Schema::new(
        fields
            .map(|(name, kind)| Field::new(name, kind, true))
            .collect::<Vec<_>>(),
    )
}

fn kind(text: &str) -> DataType {
    /// Of days, months and hours, which are written with a zero; not of postcodes.
    const PADDED: usize = 2;
    let is_number = !text.starts_with('0') || text.len() <= PADDED;
    if is_number && text.parse::<i64>().is_ok_and(|_| !text.starts_with('+')) {
        DataType::Int64
    } else if text.len() == "2025-01-31".len() && value(text, &DataType::Date32).is_some() {
        DataType::Date32
    } else {
        DataType::Utf8
    }
}

/// A value as folders and logs write it. `None` if it is not of the type.
pub(in crate::sources) fn value(text: &str, kind: &DataType) -> Option<ScalarValue> {
    if text == NULL {
        return ScalarValue::try_from(kind).ok();
    }
    let text = percent_decoded(text)?;
    let value = ScalarValue::try_from_string(text, kind).ok()?;
    (!value.is_null()).then_some(value)
}

/// `None` if the bytes are not UTF-8; a percent sign without two digits stands for itself.
pub(in crate::sources) fn percent_decoded(text: &str) -> Option<String> {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).ok()?);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> Schema {
        Schema::new(vec![
            Field::new("year", DataType::Int32, false),
            Field::new("day", DataType::Date32, true),
            Field::new("who", DataType::Utf8, true),
        ])
    }

    fn read(paths: &[&str]) -> Result<Partitions, HiveError> {
        let paths: Vec<_> = paths.iter().map(|p| (*p).to_owned()).collect();
        Partitions::read(&paths, &declared())
    }

    #[test]
    fn folders_are_columns_of_the_contracts_types() {
        let read = read(&[
            "year=2013/day=2013-06-01/who=a%2Fb %/zone=9/x.parquet",
            "year=08/day=__HIVE_DEFAULT_PARTITION__/who=07/zone=8/x.parquet",
        ])
        .unwrap();
        let names: Vec<_> = read.columns.iter().map(|c| c.name().as_str()).collect();
        assert_eq!(names, ["year", "day", "who"]);
        let june = ScalarValue::Date32(Some(15857));
        assert_eq!(read.values[0], [2013.into(), june, "a/b %".into()]);
        let none = ScalarValue::Date32(None);
        assert_eq!(read.values[1], [8.into(), none, "07".into()]);
    }

    #[test]
    fn folders_of_other_names_or_types_are_refused() {
        for (paths, expected) in [
            (&["year=1/a", "who=1/a"][..], "same names"),
            (&["year=1/a", "a"], "same names"),
            (&["year=1/who=2/a", "who=2/year=1/a"], "same names"),
            (&["year=1/year=2/a"], "two folders"),
            (&["year=1/YEAR=2/a"], "two folders"),
            (&["year=x/a"], "Int32"),
            (&["year=/a"], "Int32"),
            (&["year=3000000000/a"], "Int32"),
            (&["day=2013-02-30/a"], "Date32"),
            (&["who=%ff/a"], "Utf8"),
        ] {
            let error = read(paths).unwrap_err().to_string();
            assert!(error.contains(expected), "{paths:?}: {error}");
        }
    }
}

//! One verdict, and how far a table reaches.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::threshold::Threshold;
use crate::keys::StatementError;
use crate::names::{Name, is_column};
use crate::terms::{MAX_COLUMNS, MAX_INT, MAX_TABLES};

/// The most verdicts in one statement.
pub const MAX_CHECKS: usize = 512;

/// The most characters of a verdict's and of a contract's id.
pub const MAX_ID_CHARS: usize = 200;

/// The most characters of a metric's, a unit's or a program's name.
const MAX_WORD_CHARS: usize = 64;

/// One verdict about one promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The promise: the `id` of its rule or service level, or what it is of.
    pub id: String,
    /// Always `metric` (OORS).
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The verdict.
    pub status: Status,
    /// What the promise is about.
    pub target: Target,
    /// What was measured.
    pub measure: Measure,
}

/// The kind of a result in OORS; this release states one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A number was measured.
    #[default]
    Metric,
}

/// A verdict, in the words of OORS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The promise is kept.
    #[serde(rename = "pass")]
    Ok,
    /// It is broken.
    #[serde(rename = "fail")]
    Failed,
    /// Nobody can say: that is not a pass (`spec/3-catalog.md#C-99`).
    Error,
}

/// What a promise is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "resourceType",
    content = "resourceIdentifier",
    rename_all = "lowercase",
    deny_unknown_fields
)]
pub enum Target {
    /// `TABLE`.
    Table(String),
    /// `TABLE.COLUMN`.
    Column(String),
}

/// A number, and what it must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// What was counted: `nullValues`, `rowCount`, `freshness`, …
    pub metric: String,
    /// How much it is. Never of a rule in SQL, whose number could be a value of
    /// the data (`spec/3-catalog.md#C-100`), and absent where there is no verdict.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value: Option<f64>,
    /// What the number counts: `rows`, `percent`, `seconds`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unit: Option<String>,
    /// What it must be.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub threshold: Option<Threshold>,
}

/// How far a table reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableExtent {
    /// The table.
    pub table: Name,
    /// How many rows it has.
    pub rows: u64,
    /// The first and the last moment of its columns of timestamps, where they
    /// may be told.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub columns: BTreeMap<String, Extent>,
    /// About how many different values columns have, where the owner tells:
    /// powers of two (`spec/3-catalog.md#C-106`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub distinct: BTreeMap<String, u64>,
}

/// The first and the last moment in a column, in seconds since the Unix epoch;
/// negative before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extent {
    /// The first, rounded down.
    pub earliest: i64,
    /// The last, rounded down.
    pub latest: i64,
}

impl Target {
    /// The table, and the column if it is about one.
    pub fn parts(&self) -> (&str, Option<&str>) {
        match self {
            Self::Table(table) => (table, None),
            Self::Column(column) => match column.split_once('.') {
                Some((table, column)) => (table, Some(column)),
                None => (column, None),
            },
        }
    }

    /// The target of this table or column.
    pub fn of(table: &str, column: Option<&str>) -> Self {
        match column {
            None => Self::Table(table.to_owned()),
            Some(column) => Self::Column(format!("{table}.{column}")),
        }
    }

    fn is_sound(&self) -> bool {
        let (table, column) = self.parts();
        let columns = match self {
            Self::Table(_) => column.is_none(),
            Self::Column(_) => column.is_some_and(is_column),
        };
        table.parse::<Name>().is_ok() && columns
    }
}

/// Checks verdicts and extents (`spec/3-catalog.md#C-92`).
pub(super) fn all(checks: &[Check], tables: &[TableExtent]) -> Result<(), StatementError> {
    if checks.len() > MAX_CHECKS || tables.len() > MAX_TABLES {
        return Err(StatementError::Rule(
            "at most 512 verdicts about at most 64 tables are stated",
        ));
    }
    for check in checks {
        let Measure {
            metric,
            value,
            unit,
            threshold,
        } = &check.measure;
        let sound = is_id(&check.id)
            && check.target.is_sound()
            && is_word(metric)
            && unit.as_deref().is_none_or(is_word)
            && value.is_none_or(is_number)
            && threshold.is_none_or(|t| t.is_sound());
        if !sound {
            return Err(StatementError::Rule("a verdict is not well formed"));
        }
    }
    for table in tables {
        let sound = |(name, extent): (&String, &Extent)| {
            is_column(name)
                && [extent.earliest, extent.latest]
                    .iter()
                    .all(|moment| moment.unsigned_abs() <= MAX_INT)
        };
        let counted = |(name, count): (&String, &u64)| {
            is_column(name) && count.is_power_of_two() && *count <= MAX_INT
        };
        if table.rows > MAX_INT
            || table.columns.len() > MAX_COLUMNS
            || table.distinct.len() > MAX_COLUMNS
            || !table.columns.iter().all(sound)
            || !table.distinct.iter().all(counted)
        {
            return Err(StatementError::Rule("an extent is not well formed"));
        }
    }
    Ok(())
}

/// Whether a number is finite and, if whole, exact in every JSON reader.
pub(super) fn is_number(value: f64) -> bool {
    value.is_finite() && (value.fract() != 0.0 || value.abs() <= MAX_INT as f64)
}

/// Whether `text` may name a metric, a unit or a program.
pub(super) fn is_word(text: &str) -> bool {
    (1..=MAX_WORD_CHARS).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.+-".contains(&b))
}

/// Whether `text` may be the id of a promise or of a contract: the author's
/// own words, on one line.
pub fn is_id(text: &str) -> bool {
    let chars = text.chars().count();
    (1..=MAX_ID_CHARS).contains(&chars) && !text.chars().any(char::is_control)
}

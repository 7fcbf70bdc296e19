//! What an agreement permits: tables, columns, rows, masks, purposes, limits, expiry.

use std::collections::{BTreeMap, BTreeSet};

use comity_identity::Timestamp;
use serde::{Deserialize, Serialize};

/// What an agreement permits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The tables that may be read, by name within the product.
    pub tables: BTreeMap<String, TableTerms>,
    /// Why the data may be used; a query states one of these.
    pub purposes: BTreeSet<String>,
    /// How much may be read.
    pub limits: Limits,
    /// From when the terms hold.
    pub not_before: Timestamp,
    /// Until when the terms hold (exclusive).
    pub expires: Timestamp,
}

/// What may be read of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableTerms {
    /// The columns that may be read. A column that is not named does not exist for the reader.
    pub columns: BTreeSet<String>,
    /// The rows that may be read: those for which every predicate is true (not false, not null).
    pub filter: RowFilter,
    /// How values are changed before they leave, by column.
    pub masks: BTreeMap<String, Mask>,
}

/// The conjunction of a set of predicates; the empty set permits every row.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowFilter(pub BTreeSet<Predicate>);

/// A condition on one row. A closed, typed tree: never SQL text, never a program (A17).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Predicate {
    /// `column op value`; false or null hides the row.
    Compare {
        /// The column's name.
        column: String,
        /// The comparison.
        op: Comparison,
        /// The value compared with.
        value: Literal,
    },
    /// `column IN (values)`.
    In {
        /// The column's name.
        column: String,
        /// The values; at least one.
        values: BTreeSet<Literal>,
    },
    /// `column IS NULL`.
    IsNull {
        /// The column's name.
        column: String,
    },
    /// The predicate is false (not null).
    Not(Box<Predicate>),
    /// At least one is true.
    Any(BTreeSet<Predicate>),
    /// Every one is true.
    All(BTreeSet<Predicate>),
}

/// A comparison of a column with a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// `=`
    Eq,
    /// `<>`
    NotEq,
    /// `<`
    Lt,
    /// `<=`
    LtEq,
    /// `>`
    Gt,
    /// `>=`
    GtEq,
}

/// A value in a predicate, typed by the column it meets. Numbers with a
/// fraction are decimal text, so that no two readers see two values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Literal {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A decimal number as text: `-?[0-9]+\.[0-9]+`.
    Decimal(String),
    /// Text.
    Text(String),
    /// A calendar date, `YYYY-MM-DD`.
    Date(String),
    /// A moment in UTC, RFC 3339 with `Z`.
    Timestamp(String),
}

/// How a column's values are changed before they leave (Iceberg `read-restrictions`, PR 13879).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mask {
    /// Every value becomes null.
    ReplaceWithNull,
}

/// How much may be read under one agreement. Absent means no limit of that kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The most rows that one query may deliver.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_rows_per_query: Option<u64>,
}

//! What an agreement permits: tables, columns, rows, masks, purposes, limits,
//! expiry (`spec/4-negotiation.md`, section 2).
//!
//! Terms are data, never SQL text and never a program (A17). They are ordered:
//! [`Terms::narrows`] says that one permits no more than another, and
//! [`Terms::intersect`] gives what both permit. Everything a query may see is
//! made with these two.

mod change;
mod difference;
mod limits;
mod order;
mod protection;
mod rules;
mod unique;

#[cfg(test)]
pub(crate) mod tests;

pub use change::Change;
pub use difference::{Difference, Direction};
pub use limits::{Limit, Limits, Measure, Quota, Weekday, Window};
pub use protection::{Aggregate, MIN_UNITS, Protection};
pub use rules::{
    MAX_CLAIM_CHARS, MAX_COLUMNS, MAX_DECIMAL_DIGITS, MAX_INT, MAX_LITERALS, MAX_PREDICATE_DEPTH,
    MAX_PREDICATES, MAX_PURPOSES, MAX_TABLES, MAX_TEXT_CHARS, TermsError,
};

use std::collections::{BTreeMap, BTreeSet};

use comity_identity::Timestamp;
use serde::{Deserialize, Serialize};

/// What an agreement permits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The tables that may be read, by name within the product.
    #[serde(deserialize_with = "unique::map")]
    pub tables: BTreeMap<String, TableTerms>,
    /// Why the data may be used; a query states one of these.
    #[serde(deserialize_with = "unique::set")]
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
    #[serde(deserialize_with = "unique::set")]
    pub columns: BTreeSet<String>,
    /// The rows that may be read: those for which every predicate is true (not false, not null).
    pub filter: RowFilter,
    /// How values are changed before they leave, by column.
    #[serde(deserialize_with = "unique::map")]
    pub masks: BTreeMap<String, Mask>,
    /// That rows are read in groups only. Absent means row by row.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub protection: Option<Protection>,
}

impl TableTerms {
    /// Takes away every column that `keep` does not hold, and its mask.
    pub fn retain_columns(&mut self, keep: impl Fn(&str) -> bool) {
        self.columns.retain(|column| keep(column));
        self.masks.retain(|column, _| keep(column));
        if let Some(protection) = &mut self.protection {
            protection.group_by.retain(|column| keep(column));
        }
    }
}

/// The conjunction of a set of predicates; the empty set permits every row.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowFilter(#[serde(deserialize_with = "unique::set")] pub BTreeSet<Predicate>);

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
        #[serde(deserialize_with = "unique::set")]
        values: BTreeSet<Literal>,
    },
    /// `column IS NULL`.
    IsNull {
        /// The column's name.
        column: String,
    },
    /// The predicate is false (not null).
    Not(Box<Self>),
    /// At least one is true.
    Any(#[serde(deserialize_with = "unique::set")] BTreeSet<Self>),
    /// Every one is true.
    All(#[serde(deserialize_with = "unique::set")] BTreeSet<Self>),
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
///
/// A claim is the one value that is not in the terms: what the provider knows of
/// whoever asks. It is text, and is bound before a statement is planned; a
/// request without it is refused (`spec/4-negotiation.md#N-80`).
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
    /// A claim's name: `peer.NAME`, `grant.subject`, `grant.roles` or `purpose`.
    Claim(String),
}

/// How a column's values are changed before they leave: the nine actions of
/// Iceberg's `read-restrictions` (PR 13879), and one of Comity's own
/// (`spec/5-data-plane.md#D-20`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mask {
    /// Digits become `n`, `( ) , . - @` stay, everything else becomes `x`.
    MaskAlphanum,
    /// Every value becomes the same one.
    MaskToFixedValue,
    /// Every value becomes null.
    ReplaceWithNull,
    /// The first four characters stay, the rest as [`Mask::MaskAlphanum`].
    #[serde(rename = "show-first-4")]
    ShowFirst4,
    /// The last four characters stay, the rest as [`Mask::MaskAlphanum`].
    #[serde(rename = "show-last-4")]
    ShowLast4,
    /// A date or moment becomes the first instant of its year.
    TruncateToYear,
    /// A date or moment becomes the first instant of its month.
    TruncateToMonth,
    /// SHA-256 of the value. Joins across products; falls to a dictionary.
    #[serde(rename = "sha-256-global")]
    Sha256Global,
    /// SHA-256 of a salt of the query and the value.
    #[serde(rename = "sha-256-query-local")]
    Sha256QueryLocal,
    /// SHA-256 of a salt of the agreement and the value: joins across the
    /// queries under one agreement, and with nothing else.
    #[serde(rename = "sha-256-agreement-local")]
    Sha256AgreementLocal,
}

//! What somebody wrote down about a table before there was a contract.

use std::collections::BTreeMap;

use serde_json::Value;

/// Words and rules for a draft, from another tool. Empty where there is none.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Where they come from, for the reader of the draft.
    pub origin: Option<String>,
    /// What one row is.
    pub description: Option<String>,
    /// The major version.
    pub major: Option<u64>,
    /// The day on which support ends, `YYYY-MM-DD`.
    pub end: Option<String>,
    /// Whether only named teams of the owner's may use it: then nobody else is
    /// offered anything without talk.
    pub closed: bool,
    /// What is said about columns.
    pub columns: BTreeMap<String, ColumnNotes>,
    /// Rules that a contract has no words for.
    pub left_out: Vec<String>,
}

/// What is written about one column.
#[derive(Clone, Debug, Default)]
pub struct ColumnNotes {
    /// What it holds.
    pub description: Option<String>,
    /// Whether a rule forbids nulls.
    pub never_null: bool,
    /// Whether a rule forbids a value to occur twice.
    pub unique: bool,
    /// The only values that a rule permits.
    pub values: Vec<Value>,
    /// How sensitive it is.
    pub classification: Option<String>,
    /// Whether it is marked as personal.
    pub personal: bool,
    /// Its type in the database's words.
    pub data_type: Option<String>,
}

impl Notes {
    /// What is written about a column; databases fold the case of names.
    pub(super) fn column(&self, name: &str) -> Option<&ColumnNotes> {
        self.columns.get(name).or_else(|| {
            let mut columns = self.columns.iter();
            columns
                .find(|(column, _)| column.eq_ignore_ascii_case(name))
                .map(|(_, notes)| notes)
        })
    }
}

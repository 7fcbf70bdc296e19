//! What of this organization's keys may be told to whom.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::query::TableName;

/// How keys of a column may go to a partner. A partner learns of every row that
/// it has which of its keys this organization has too; the form decides what it
/// learns of keys that it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyForm {
    /// Not at all.
    Never,
    /// As a salted filter: the partner can try keys that it knows or guesses.
    Hashed,
    /// As they are.
    Plain,
}

impl fmt::Display for KeyForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::Hashed => "hashed",
            Self::Plain => "plain",
        })
    }
}

/// Who decides it; asked once for each column that keys come from, and for each
/// that decides which of them there are.
pub trait Egress: Send + Sync + fmt::Debug {
    /// How keys of `column` of `table` may go to the partner called `to`.
    fn form(&self, table: &TableName, column: &str, to: &str) -> KeyForm;
}

/// Keys that a partner is told in one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysTold {
    /// Where they come from: `catalog.product.table.column`.
    pub of: String,
    /// In which form.
    pub form: KeyForm,
    /// How many different ones.
    pub count: u64,
}

//! A first contract for data that is there: `comity product init`.
//!
//! The draft says what could be seen and nothing more. Whatever a person must
//! decide stands in it as a comment, and its status is `draft`, which is not
//! announced. A column that may hold personal data is marked for review and is
//! not served until the mark is gone (`spec/3-catalog.md#C-50`).

pub mod dbt;
mod notes;
mod personal;
mod profile;
mod typed;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::catalog::TableProvider;

pub use notes::{ColumnNotes, Notes};

/// The source of a draft, as the contract's one server names it.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The lines of the entry under `servers`, without indentation: `type: local`, …
    pub server: Vec<(&'static str, serde_json::Value)>,
    /// What the author should do about that entry.
    pub remark: Option<&'static str>,
    /// The table's name in the source, where it has one.
    pub physical_name: Option<String>,
    /// The columns of its primary key, in order, if the source knows one.
    pub primary_key: Vec<String>,
    /// Columns that the source never lets be null; `None` if it does not say.
    pub never_null: Option<BTreeSet<String>>,
    /// What the source calls the type of a column, if it has a name of its own.
    pub types: BTreeMap<String, String>,
    /// Columns that the source has and that cannot be read, with the reason.
    pub unread: Vec<(String, String)>,
    /// Whether the draft is to be announced as it is: columns under review are
    /// not served in any case.
    pub active: bool,
}

/// A draft contract, and what its author should look at first.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Draft {
    /// The name of product and table.
    pub name: String,
    /// The contract as text.
    pub text: String,
    /// Rows in all, if they were counted.
    pub rows: Option<u64>,
    /// Columns that may hold personal data, with the reason.
    pub review: Vec<(String, String)>,
    /// Columns of the source that the draft leaves out, with the reason.
    pub left_out: Vec<(String, String)>,
}

/// Drafts the contract of `table`; `notes` is what somebody wrote about it.
///
/// # Errors
///
/// What the source says when it cannot be read.
pub async fn draft(
    name: &str,
    origin: &Origin,
    notes: &Notes,
    table: Arc<dyn TableProvider>,
) -> Result<Draft, datafusion::error::DataFusionError> {
    let profile = profile::profile(table, origin.never_null.as_ref(), notes).await?;
    Ok(write::contract(name, origin, notes, &profile))
}

/// Drafts a contract from what is written down alone.
pub fn draft_noted(name: &str, mut origin: Origin, notes: &Notes) -> Draft {
    let profile = profile::noted(notes, &mut origin.unread);
    write::contract(name, &origin, notes, &profile)
}

/// A name for a product out of a file's or table's name.
pub fn slug(name: &str) -> Option<String> {
    super::rules::slug(name)
}

#[cfg(test)]
mod tests;

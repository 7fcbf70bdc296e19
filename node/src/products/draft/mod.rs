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
use datafusion::error::DataFusionError;

use super::Contract;
use crate::query::QueryError;
use crate::sources::{NO_VALUE, without_addresses};

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

impl Origin {
    /// What the source calls the table, else what the product is called.
    fn called<'a>(&'a self, name: &'a str) -> &'a str {
        self.physical_name.as_deref().unwrap_or(name)
    }
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
    /// Rows whose values were looked at.
    pub sampled: usize,
    /// Columns that the draft has.
    pub columns: usize,
    /// Whether it can be announced as it is.
    pub active: bool,
    /// Columns that may hold personal data, with the reason.
    pub review: Vec<(String, String)>,
    /// Columns of the source that the draft leaves out, with the reason.
    pub left_out: Vec<(String, String)>,
}

/// Drafts the contract of `table`; `notes` is what somebody wrote about it.
///
/// # Errors
///
/// Any [`DraftError`].
pub async fn draft(
    name: &str,
    origin: &Origin,
    notes: &Notes,
    table: Arc<dyn TableProvider>,
) -> Result<Draft, DraftError> {
    if table.schema().fields().is_empty() {
        return Err(DraftError::NoColumn(
            "the source has none; is the file empty?".to_owned(),
        ));
    }
    let profile = profile::profile(
        origin.called(name),
        table,
        origin.never_null.as_ref(),
        notes,
    )
    .await?;
    let draft = write::contract(name, origin, notes, &profile);
    if draft.left_out.len() < profile.columns.len() + origin.unread.len() {
        return Ok(draft);
    }
    Err(DraftError::NoColumn(why_none(&draft.left_out)))
}

/// Drafts a contract from what is written down alone.
pub fn draft_noted(name: &str, mut origin: Origin, notes: &Notes) -> Draft {
    let profile = profile::noted(name, notes, &mut origin.unread);
    write::contract(name, &origin, notes, &profile)
}

/// What a contract still has as `product init` wrote it, and only its author knows.
pub fn unwritten(contract: &Contract) -> Vec<String> {
    let (name, public) = (contract.name(), contract.public());
    let mut unwritten = Vec::new();
    if public["description"]["purpose"] == write::purpose(name) {
        unwritten.push(format!(
            "description.purpose is still to be written: what {name} is for"
        ));
    }
    for table in contract.tables() {
        let mut tables = public["schema"].as_array().into_iter().flatten();
        let named = tables.find(|t| t["name"] == *table.name);
        if named.is_some_and(|t| t["description"] == write::row(&table.name)) {
            let message = format!("the description of {} is still to be written", table.name);
            unwritten.push(message + ": what one row is");
        }
    }
    unwritten
}

/// Why there is no contract to go on with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// What the source said. For the owner: it names hosts and files.
    #[error("the data cannot be read: {}", plainly(.0))]
    Source(#[from] DataFusionError),
    /// A contract without a column would be refused.
    #[error("no column can be served: {0}")]
    NoColumn(String),
}

/// What the owner is told of an error that callers are told less about.
fn plainly(error: &DataFusionError) -> String {
    let error = QueryError::of(error);
    without_addresses(error.owner_detail().unwrap_or(&error.to_string()))
}

/// Why all columns were left out.
fn why_none(left_out: &[(String, String)]) -> String {
    const DELIMITERS: [char; 3] = [';', '\t', '|'];
    const SHOWN: usize = 3;
    let mut delimiters = DELIMITERS.into_iter();
    let delimiter = delimiters.find(|d| left_out.iter().any(|(column, _)| column.contains(*d)));
    if let Some(delimiter) = delimiter {
        return format!(
            "is {delimiter:?} the delimiter? CSV files are read with commas: write the file so, or as Parquet"
        );
    }
    if left_out.iter().all(|(_, why)| why == NO_VALUE) {
        return "none has a value, so their types are not known; has the file only a header line?"
            .to_owned();
    }
    let shown = left_out.iter().take(SHOWN);
    let shown: Vec<_> = shown
        .map(|(column, why)| format!("{column:?}: {why}"))
        .collect();
    shown.join("; ")
}

/// A name for a product out of a file's or table's name.
pub fn slug(name: &str) -> Option<String> {
    super::rules::slug(name)
}

#[cfg(test)]
mod tests;

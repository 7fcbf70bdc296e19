//! What a database says of one of its tables, for a draft of its contract.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::catalog::TableProvider;

/// The first rows of a table, whose values a draft looks at.
pub(crate) const SAMPLE_ROWS: usize = 10_000;

/// Of a column that cannot be typed.
pub(crate) const NO_VALUE: &str = "it has no value, so its type is not known";

/// A table as it is, with the columns that can be read.
#[derive(Debug)]
pub struct Described {
    /// The readable columns.
    pub table: Arc<dyn TableProvider>,
    /// Columns that the server never lets be null.
    pub never_null: BTreeSet<String>,
    /// What the server calls the type of each column, with its parameters, if the type is its own.
    pub types: BTreeMap<String, String>,
    /// The columns of the primary key, in its order.
    pub primary_key: Vec<String>,
    /// Columns that cannot be read, with what to do about it.
    pub unread: Vec<(String, String)>,
}

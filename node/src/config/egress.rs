//! `[[egress]]`: which keys of joins partners may be told.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::query::KeyForm;

/// How keys of some columns may go to partners
/// (`spec/5-data-plane.md#D-228`). Of several rules the strictest counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressRule {
    /// Who may be told: an organization id, or the name that was given to it
    /// here. Unset: every partner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Whose product the keys are from, a partner as in `to`. Unset: this
    /// organization's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The product's name, with `@MAJOR` unless that is 1.
    pub product: String,
    /// The table's name in the product.
    pub table: String,
    /// The columns. Empty: all of the table.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub columns: BTreeSet<String>,
    /// In which form.
    pub keys: KeyForm,
}

//! `[negotiation]` and `[approval]`: how this organization negotiates, and who signs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// `[negotiation]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Negotiation {
    /// Days that a request or an offer of this organization can be accepted.
    pub open_days: u64,
}

impl Default for Negotiation {
    fn default() -> Self {
        Self { open_days: 14 }
    }
}

/// `[approval]`: what one person alone may not open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Approval {
    /// Classifications of columns, as contracts name them, that two persons open.
    pub two_for: BTreeSet<String>,
    /// Whether two persons open protected tables.
    pub two_for_protected: bool,
}

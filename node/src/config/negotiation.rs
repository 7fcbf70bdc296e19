//! `[negotiation]`: how this organization negotiates.

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

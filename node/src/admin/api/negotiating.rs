//! What the admin API says of terms that are compared, and of approvals.

use std::collections::{BTreeMap, BTreeSet};

use comity_identity::Timestamp;
use comity_protocol::terms::{Direction, RowFilter};
use serde::{Deserialize, Serialize};

/// How the terms on the table differ from others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Compared {
    /// What they are compared with.
    pub with: ComparedWith,
    /// Every difference; none when they are equal.
    pub differences: Vec<Difference>,
}

/// What the terms on the table are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComparedWith {
    /// The proposal before.
    Previous,
    /// The agreement that they are to replace.
    Agreement,
    /// What the consumer asked for last.
    Asked,
    /// What the product's provider announces that it offers.
    Announced,
}

/// One difference (`spec/4-negotiation.md#N-94`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// What changed, in words.
    pub change: String,
    /// What stood there before, where `change` does not say it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub was: Option<String>,
    /// Whether the consumer may read less or more by it. Wider is good for the
    /// consumer, narrower for the provider.
    pub direction: Direction,
}

/// That one person approved what is on the table, where it takes two.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Approval {
    /// Who: `operator`, or `token` and the token's id.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// `POST /v1/agreements/{id}/amend`: propose other terms for an agreement. What
/// is absent stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amend {
    /// The only columns, by table.
    #[serde(default)]
    pub columns: BTreeMap<String, BTreeSet<String>>,
    /// Row conditions to add, by table, as the terms' JSON.
    #[serde(default)]
    pub filters: BTreeMap<String, RowFilter>,
    /// The only purposes.
    #[serde(default)]
    pub purposes: BTreeSet<String>,
    /// For how many days from now.
    #[serde(default)]
    pub days: Option<u64>,
    /// A sentence for the other side.
    #[serde(default)]
    pub note: String,
    /// For how many days it can be accepted; as configured when absent.
    #[serde(default)]
    pub open_days: Option<u64>,
}

/// `POST /v1/agreements/{id}/end`: propose that an agreement ends, or confirm
/// that the other side proposed it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// In how many hours, where it is proposed.
    pub hours: u64,
    /// A sentence for the other side.
    #[serde(default)]
    pub reason: String,
}

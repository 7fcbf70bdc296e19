//! How partners acknowledge what they received.

use std::collections::BTreeSet;

use comity_identity::Digest;
use serde::{Deserialize, Serialize};

/// The receipts under one agreement in which this organization is the
/// provider: `GET /v1/receipts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipts {
    /// The agreement.
    pub agreement: Digest,
    /// The consumer.
    pub partner: String,
    /// The product.
    pub product: String,
    /// Deliveries that are in no receipt yet.
    pub open: usize,
    /// Receipts made.
    pub made: u64,
    /// Of these, unanswered.
    pub unanswered: usize,
    /// Of these, disputed, and the dispute not accepted.
    pub disputed: usize,
    /// The numbers of those.
    #[serde(default)]
    pub disputes: BTreeSet<u64>,
    /// Whether queries are refused with `receipts-due`.
    pub paused: bool,
}

/// `POST /v1/receipts/accept`: this organization accepts what the partner
/// disputes of one receipt, and the agreement goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptDispute {
    /// The agreement, or any unique beginning of its hex digits.
    pub agreement: String,
    /// The receipt's number.
    pub receipt: u64,
}

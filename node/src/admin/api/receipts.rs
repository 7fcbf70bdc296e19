//! How partners acknowledge what they received.

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
    /// Whether queries are refused with `receipts-due`.
    pub paused: bool,
}

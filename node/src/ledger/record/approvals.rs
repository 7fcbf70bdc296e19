//! Records of approvals that another person's must join.

use comity_identity::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

/// See [`super::Record::Approved`] (`spec/4-negotiation.md#N-96`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approved {
    /// The negotiation's id, 32 hex digits.
    pub negotiation: String,
    /// The digest of the approved proposal's canonical JSON.
    pub proposal: Digest,
    /// The digest of the message that put it on the table: the same terms
    /// proposed once more are approved once more.
    pub message: Digest,
    /// Who approved: [`super::OPERATOR`], or `token` and the id of a member's
    /// token, which names nobody once the member's own records are erased.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

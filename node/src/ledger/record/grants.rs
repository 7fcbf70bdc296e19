//! Records of grants that left the node.

use comity_identity::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

/// See [`super::Record::GrantIssued`] (`spec/5-data-plane.md#D-135`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantIssued {
    /// The grant's own id, by which it is revoked.
    pub jti: String,
    /// The agreement that it is under.
    pub agreement: Digest,
    /// The first link: what it permits, and whose key holds it. The member who
    /// answers for it is named by its pseudonym: the record is evidence, and
    /// names must be erasable (`spec/6-evidence.md#V-9`).
    pub text: String,
    /// Who handed it out: [`super::OPERATOR`], until members administer.
    pub by: String,
    /// When it ends.
    pub expires: Timestamp,
    /// When it was issued.
    pub at: Timestamp,
}

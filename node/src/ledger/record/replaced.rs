//! Records of agreements that another one took the place of.

use comity_identity::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

/// See [`super::Record::Replaced`] (`spec/4-negotiation.md#N-101`). It stands in
/// one unit with the agreement that replaces: after a crash both are there, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replaced {
    /// The agreement that ended.
    pub agreement: Digest,
    /// The one in its place.
    pub by: Digest,
    /// When.
    pub at: Timestamp,
}

//! `[[partner]]`: what the owner says of a partner, beyond what the partner says itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the owner says of one partner. Row filters refer to it as
/// `{ claim = "peer.NAME" }` (`spec/4-negotiation.md#N-80`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartnerNote {
    /// The partner's organization id, or the name that was given to it here
    /// (`--as` of `comity invite` and `comity join`).
    pub partner: String,
    /// Attributes by name: `[a-z0-9_]{1,59}`, and not `org`.
    pub attributes: BTreeMap<String, String>,
}

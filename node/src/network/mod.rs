//! libp2p: the control plane between nodes.
//!
//! Identities, heads, descriptors and negotiation travel here; query results
//! never do. One task owns the swarm and never waits for a disk or a lock:
//!
//! ```text
//! Handle ── bounded commands ──> Host (swarm) ── bounded events ──> the node
//!   ^                                                                 │
//!   └───────────────── requests, heads, admissions ───────────────────┘
//! ```
//!
//! Membership is closed: a peer that is not allowed cannot open a connection.
//! While an invitation is open a few strangers may, for a few seconds, so that
//! one of them can show the invitation's secret.

mod admission;
mod behaviour;
mod codec;
mod dial;
mod dialable;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzed;
mod handle;
mod host;
mod limits;
mod quota;
mod start;
mod stats;
mod transport;

#[cfg(test)]
mod tests;

use comity_identity::PublicKey;
use libp2p::identity::ed25519;
use libp2p::{Multiaddr, PeerId};

pub use dialable::{Area, DialPolicy};
pub use error::{NetworkError, RequestError};
pub use handle::{Event, Handle, Inbound, Judged, Verdict};
pub use limits::{DIAL_TIMEOUT, MAX_STRANGERS, QUEUE, REQUEST_TIMEOUT, STRANGER_TIME};
pub use start::start;
pub use stats::NetworkStats;

/// How the host listens and what it may use.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses to listen on.
    pub listen: Vec<Multiaddr>,
    /// Addresses under which others reach this node.
    pub external: Vec<Multiaddr>,
    /// Whether to announce this node on the local network by mDNS. It tells
    /// everybody there that the node exists.
    pub lan: bool,
    /// Where partners are dialled.
    pub dial: DialPolicy,
    /// The most established connections.
    pub max_connections: u32,
    /// Bytes of memory of this process above which no new connection is accepted.
    pub memory_bytes: usize,
}

/// The libp2p peer id of the node with this key: the key itself, in libp2p's encoding.
pub fn peer_id_of(key: &PublicKey) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(key.as_bytes()).ok()?;
    Some(libp2p::identity::PublicKey::from(key).to_peer_id())
}

/// The libp2p peer id that `text` writes.
pub fn peer_id(text: &str) -> Option<PeerId> {
    text.parse().ok()
}

/// The multiaddresses among `texts`; others are left out.
pub fn addresses(texts: &[String]) -> Vec<Multiaddr> {
    texts.iter().filter_map(|t| t.parse().ok()).collect()
}

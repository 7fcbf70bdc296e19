//! Whom the verifiers trust, and for what.

use core::fmt;

use super::LeafName;
use crate::keyring::{Keyring, Organization};
use crate::organization::Freshness;
use crate::{OrgId, Timestamp};

/// Where a verifier finds the trust anchor of a peer. Asked on every handshake;
/// must not block.
pub trait Trust: Send + Sync + fmt::Debug {
    /// The DER certificate authority that must have signed a leaf with the
    /// claims of `leaf`, or why such a leaf is refused at `now`.
    fn anchor(&self, leaf: &LeafName, now: Timestamp) -> Result<Vec<u8>, Distrust>;
}

/// Why a peer is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// The organization is not in the keyring.
    #[error("the organization is not known here")]
    UnknownOrganization,
    /// The organization forked its key history.
    #[error("the organization is frozen")]
    Frozen,
    /// Its document is past its expiry (A11).
    #[error("the organization's document is stale")]
    Stale,
    /// Its document does not list the node, or the node was revoked.
    #[error("the node is not one of its organization's")]
    UnknownNode,
    /// Its document does not list the node's TLS key (any more).
    #[error("the node's TLS key is not listed by its organization")]
    KeyNotListed,
    /// It is not the organization that was dialled.
    #[error("the peer belongs to another organization than the one that was dialled")]
    OtherOrganization,
}

impl Trust for Keyring {
    fn anchor(&self, leaf: &LeafName, now: Timestamp) -> Result<Vec<u8>, Distrust> {
        self.get(&leaf.peer.org)
            .ok_or(Distrust::UnknownOrganization)?
            .anchor(leaf, now)
    }
}

impl Organization {
    /// The authority that must have signed a leaf with the claims of `leaf`
    /// (`spec/2-identity.md#I-47`).
    pub fn anchor(&self, leaf: &LeafName, now: Timestamp) -> Result<Vec<u8>, Distrust> {
        if leaf.peer.org != self.id() {
            return Err(Distrust::OtherOrganization);
        }
        if self.standing().is_frozen() {
            return Err(Distrust::Frozen);
        }
        if self.freshness(now) != Freshness::Fresh {
            return Err(Distrust::Stale);
        }
        let node = self
            .document()
            .node(&leaf.peer.node, now)
            .ok_or(Distrust::UnknownNode)?;
        if !node.tls_spki.contains(&leaf.spki) {
            return Err(Distrust::KeyNotListed);
        }
        Ok(self.document().tls_ca().to_vec())
    }
}

impl OrgId {
    /// Refuses a peer of another organization than this one, which was dialled
    /// (`spec/2-identity.md#I-50`).
    pub(super) fn expect(self, leaf: &LeafName) -> Result<(), Distrust> {
        if leaf.peer.org == self {
            Ok(())
        } else {
            Err(Distrust::OtherOrganization)
        }
    }
}

//! The organization document: what works day by day
//! (`spec/2-identity.md`, section 3).
//!
//! A short-lived statement, signed by a doc key, of the organization's nodes,
//! issuer keys, TLS certificate authority and revocations. It is complete: what
//! it does not list does not count, so revoking a node or a key is leaving it
//! out and naming it under `revoked`, for whatever it had signed before.
//!
//! A document lives for at most seven days. Past its expiry it is *stale*: no
//! new grant counts and no certificate is accepted, so that an adversary who
//! suppresses updates gains little (A11). Past twice its lifetime it is refused
//! altogether.

mod document;
mod peer_id;
mod rules;

#[cfg(test)]
pub(crate) mod tests;

pub use document::{Document, Issuer, Node, Revocation, Revoked, Role};
pub use peer_id::peer_id;

use core::time::Duration;

use crate::envelope::{Compact, EnvelopeError, Typ};
use crate::history::History;
use crate::{Digest, KeyId, LEEWAY, NodeName, OrgId, PublicKey, Signer, Timestamp};

/// The kind of an organization document; at most 64 KiB in envelope form.
pub const ORGANIZATION_DOCUMENT: Typ = Typ::new("comity-orgdoc+jwt", 64 * 1024);

/// The longest life of a document: seven days.
pub const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The version of this protocol, for a document's `min_version`.
pub const PROTOCOL_VERSION: u64 = 1;

/// A document signed by a doc key of its organization's history, and sound in itself.
#[derive(Clone, Debug)]
pub struct VerifiedDocument {
    text: String,
    digest: Digest,
    document: Document,
}

/// How much a document still counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// Before its expiry.
    Fresh,
    /// Past its expiry: history, negotiation and revocations only; no new
    /// grants, no connections.
    Stale,
    /// Past twice its lifetime: counts for nothing.
    Expired,
}

impl Document {
    /// The document's envelope, signed by a doc key.
    ///
    /// The document is checked by the rules that every receiver applies, so that
    /// an organization cannot publish what its partners would refuse.
    pub fn sign(&self, doc_key: &dyn Signer) -> Result<String, DocumentError> {
        rules::content(self)?;
        Ok(Compact::sign(ORGANIZATION_DOCUMENT, self, doc_key)?)
    }
}

impl VerifiedDocument {
    /// Verifies a document received as `text` for use at `now`.
    ///
    /// `history` must end where the document says it does: after a rotation the
    /// organization re-issues its document, or a stolen doc key would outlive
    /// the rotation that removed it.
    pub fn verify(text: &str, history: &History, now: Timestamp) -> Result<Self, DocumentError> {
        let verified = Self::verify_recorded(text, history)?;
        // spec/2-identity.md#I-18
        if verified.document.issued_at > now.saturating_add(LEEWAY) {
            return Err(DocumentError::NotYetIssued);
        }
        if verified.freshness(now) == Freshness::Expired {
            return Err(DocumentError::Expired);
        }
        Ok(verified)
    }

    /// Verifies everything but the time: for a document that was verified when
    /// it arrived and is read again from the journal, and for auditors.
    pub fn verify_recorded(text: &str, history: &History) -> Result<Self, DocumentError> {
        let envelope = Compact::parse(ORGANIZATION_DOCUMENT, text)?;
        let kid = envelope.claimed_kid();
        // spec/2-identity.md#I-14: the key comes from the history, never from the document.
        let key = history
            .doc_keys()
            .iter()
            .find(|k| k.id() == kid)
            .ok_or(DocumentError::NotADocKey)?;
        let envelope = envelope.verify(key)?;
        let document: Document = envelope.payload()?;
        if document.org != history.org() {
            return Err(DocumentError::OtherOrganization);
        }
        // spec/2-identity.md#I-15
        if document.kel_seq != history.seq() || document.kel_head != history.head() {
            return Err(DocumentError::OtherHistory);
        }
        rules::content(&document)?;
        Ok(Self {
            text: text.to_owned(),
            digest: envelope.digest(),
            document,
        })
    }

    /// The organization.
    pub fn org(&self) -> OrgId {
        self.document.org
    }

    /// The document's version; only ever rises.
    pub fn version(&self) -> u64 {
        self.document.version
    }

    /// What the document says.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The exact envelope: what is stored and passed on.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The digest of the exact envelope.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How much the document counts for at `now` (`spec/2-identity.md#I-19`).
    pub fn freshness(&self, now: Timestamp) -> Freshness {
        let lifetime = self.document.expires_at.since(self.document.issued_at);
        if now < self.document.expires_at {
            Freshness::Fresh
        } else if now < self.document.expires_at.saturating_add(lifetime) {
            Freshness::Stale
        } else {
            Freshness::Expired
        }
    }

    /// The key with id `kid`, if it holds `role` at `now` and is not revoked
    /// (`spec/2-identity.md#I-25`).
    pub fn issuer(&self, kid: &KeyId, role: Role, now: Timestamp) -> Option<&PublicKey> {
        let issuer = self.document.issuers.iter().find(|i| i.key.id() == *kid)?;
        let live = issuer.since <= now.saturating_add(LEEWAY) && now < issuer.until;
        let holds = live && issuer.roles.contains(&role) && !self.is_key_revoked(kid, now);
        holds.then_some(&issuer.key)
    }

    /// The node with this libp2p peer id, if it is in force at `now`.
    pub fn node_by_peer_id(&self, peer_id: &str, now: Timestamp) -> Option<&Node> {
        self.live_node(now, |node| node.peer_id == peer_id)
    }

    /// The node with this name, if it is in force at `now`.
    pub fn node(&self, name: &NodeName, now: Timestamp) -> Option<&Node> {
        self.live_node(now, |node| node.node == *name)
    }

    /// The node that may use the TLS key with this SPKI digest, if it is in force at `now`.
    pub fn node_by_spki(&self, spki: &Digest, now: Timestamp) -> Option<&Node> {
        self.live_node(now, |node| node.tls_spki.contains(spki))
    }

    /// The nodes in force at `now`.
    pub fn nodes(&self, now: Timestamp) -> impl Iterator<Item = &Node> {
        self.document
            .nodes
            .iter()
            .filter(move |node| self.is_live(node, now))
    }

    /// Whether `id` is revoked as a `what` at `now`. The id is the text form of
    /// a [`KeyId`], a grant's `jti`, an agreement's [`Digest`] or a [`NodeName`].
    pub fn is_revoked(&self, what: Revoked, id: &str, now: Timestamp) -> bool {
        // spec/2-identity.md#I-26: the leeway errs on the side of revoking (A29).
        self.document
            .revoked
            .iter()
            .any(|r| r.what == what && r.id == id && r.since <= now.saturating_add(LEEWAY))
    }

    /// Whether the key `kid` is revoked at `now`, itself or with its node.
    pub fn is_key_revoked(&self, kid: &KeyId, now: Timestamp) -> bool {
        let of_revoked_node = || {
            self.document.nodes.iter().any(|node| {
                node.key.id() == *kid && self.is_revoked(Revoked::Node, node.node.as_str(), now)
            })
        };
        self.is_revoked(Revoked::Key, &kid.to_string(), now) || of_revoked_node()
    }

    /// The organization's TLS certificate authority, DER.
    pub fn tls_ca(&self) -> &[u8] {
        self.document.tls_ca.as_bytes()
    }

    fn live_node(&self, now: Timestamp, wanted: impl Fn(&Node) -> bool) -> Option<&Node> {
        let node = self.document.nodes.iter().find(|node| wanted(node))?;
        self.is_live(node, now).then_some(node)
    }

    fn is_live(&self, node: &Node, now: Timestamp) -> bool {
        now < node.not_after
            && !self.is_revoked(Revoked::Node, node.node.as_str(), now)
            && !self.is_revoked(Revoked::Key, &node.key.id().to_string(), now)
    }
}

/// Why an organization document is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The envelope is refused.
    #[error("organization document: {0}")]
    Envelope(#[from] EnvelopeError),
    /// It is signed by a key that is no doc key of the history's newest event.
    #[error("the organization document is not signed by a current doc key of its key history")]
    NotADocKey,
    /// It speaks for another organization than the history.
    #[error("the organization document belongs to another organization than the key history")]
    OtherOrganization,
    /// It was made before or after the newest event of the history at hand.
    #[error("the organization document and the key history end at different events")]
    OtherHistory,
    /// It is dated in the future.
    #[error("the organization document is dated in the future; compare the clocks")]
    NotYetIssued,
    /// It is past twice its lifetime (A11).
    #[error("the organization document expired long ago; ask the organization for a new one")]
    Expired,
    /// It breaks a rule of its content.
    #[error("the organization document breaks a rule: {0}")]
    Rule(&'static str),
}

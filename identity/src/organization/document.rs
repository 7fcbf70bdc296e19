//! The payload of the organization document.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Digest, NodeName, OrgId, PublicKey, Timestamp, der::Der};

/// The payload (`spec/schemas/organization-document.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The payload's version: 1.
    pub v: u64,
    /// The organization that speaks.
    pub org: OrgId,
    /// Rises with every document; never falls.
    pub version: u64,
    /// The digest of the newest event of the key history.
    pub kel_head: Digest,
    /// The sequence number of that event.
    pub kel_seq: u64,
    /// From when the document counts.
    pub issued_at: Timestamp,
    /// Until when; at most [`MAX_LIFETIME`](super::MAX_LIFETIME) later.
    pub expires_at: Timestamp,
    /// The organization's name for people. Never an identifier (A27).
    pub name: String,
    /// The TLS certificate authority of the organization's nodes.
    pub tls_ca: Der,
    /// Keys that sign grants, agreements, catalog heads and descriptors.
    pub issuers: Vec<Issuer>,
    /// The organization's nodes.
    pub nodes: Vec<Node>,
    /// What no longer counts, as a full set.
    pub revoked: Vec<Revocation>,
    /// The lowest protocol version that the organization accepts (A8).
    pub min_version: u64,
}

/// A key with roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The key.
    pub key: PublicKey,
    /// What it may sign.
    pub roles: BTreeSet<Role>,
    /// From when it counts.
    pub since: Timestamp,
    /// Until when it counts.
    pub until: Timestamp,
}

/// What an issuer key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Grants: who of ours acts under an agreement.
    Issue,
    /// Invitations, negotiation messages, federations and agreements.
    Agree,
    /// Descriptors and catalog heads (A9).
    Announce,
}

/// A node of the organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name, as in its certificates.
    pub node: NodeName,
    /// Its libp2p peer id, which must be the one of `key`.
    pub peer_id: String,
    /// Its Ed25519 key: libp2p identity and holder of grants.
    pub key: PublicKey,
    /// SHA-256 digests of the public keys (DER SubjectPublicKeyInfo) that its
    /// TLS leaves may have. This list is the revocation list: a key that is not
    /// in it does not connect. Two entries let a renewal overlap.
    pub tls_spki: Vec<Digest>,
    /// libp2p multiaddrs. Only signed addresses are ever dialled (A26, A42).
    pub addresses: Vec<String>,
    /// `host:port` of the node's peer Flight listener.
    pub flight: Vec<String>,
    /// Until when the node counts, unless a later document says so again.
    pub not_after: Timestamp,
}

/// One thing that no longer counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// What kind of thing it is.
    pub what: Revoked,
    /// Which one: a key id, a grant's `jti`, an agreement's digest, a node's name.
    pub id: String,
    /// Since when. What the thing signed before keeps its value as evidence.
    pub since: Timestamp,
}

/// What can be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Revoked {
    /// An issuer, node or holder key, by key id.
    Key,
    /// A grant and everything narrowed from it, by `jti`.
    Grant,
    /// An agreement, by digest.
    Agreement,
    /// A node, by name.
    Node,
}

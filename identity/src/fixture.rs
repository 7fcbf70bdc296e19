//! Organizations for the tests of this crate.

use core::time::Duration;
use std::collections::BTreeSet;

use crate::history::{History, KeyEvent, KeySet};
use crate::keyring::Evidence;
use crate::organization::{Document, Issuer, Node, Role, VerifiedDocument, peer_id};
use crate::{Der, PublicKey, SecretKey, Signer, Timestamp};

/// The time at which the tests play.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

/// One day.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// One minute.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// An organization with every secret it has.
pub(crate) struct Party {
    pub(crate) root: SecretKey,
    pub(crate) next: SecretKey,
    pub(crate) later: SecretKey,
    pub(crate) doc: SecretKey,
    pub(crate) issuer: SecretKey,
    pub(crate) node: SecretKey,
    pub(crate) history: History,
    pub(crate) tls_ca: Der,
}

impl Party {
    /// The organization whose keys come from `seed`; different seeds below 16 share no key.
    pub(crate) fn new(seed: u8) -> Self {
        let key = |n: u8| SecretKey::from_seed(&[seed * 16 + n; 32]);
        let (root, next, doc) = (key(0), key(1), key(3));
        let keys = KeySet::single(root.public(), &next.public(), doc.public());
        let inception = KeyEvent::inception(keys, NOW, "").sign(&[&root]).unwrap();
        Self {
            history: History::verify(&[inception]).unwrap(),
            root,
            next,
            later: key(2),
            doc,
            issuer: key(4),
            node: key(5),
            tls_ca: Der::new(b"authority".to_vec()),
        }
    }

    /// The key set of the first rotation.
    pub(crate) fn next_keys(&self) -> KeySet {
        KeySet::single(self.next.public(), &self.later.public(), self.doc.public())
    }

    /// The history after an honest rotation.
    pub(crate) fn rotated(&self) -> History {
        let event = self.history.rotation(self.next_keys(), NOW, "");
        let text = event.sign(&[&self.root, &self.next]).unwrap();
        self.history.extend(&text).unwrap()
    }

    /// A document on top of `history`.
    pub(crate) fn document_on(&self, history: &History, version: u64) -> Document {
        Document {
            v: 1,
            org: history.org(),
            version,
            kel_head: history.head(),
            kel_seq: history.seq(),
            issued_at: NOW,
            expires_at: NOW.saturating_add(7 * DAY),
            name: "Weather Service".to_owned(),
            tls_ca: self.tls_ca.clone(),
            issuers: vec![Issuer {
                key: self.issuer.public(),
                roles: BTreeSet::from([Role::Issue, Role::Agree, Role::Announce]),
                since: NOW,
                until: NOW.saturating_add(30 * DAY),
            }],
            nodes: vec![node("node-1", self.node.public())],
            revoked: Vec::new(),
            min_version: 1,
        }
    }

    /// A document on top of the inception.
    pub(crate) fn document(&self, version: u64) -> Document {
        self.document_on(&self.history, version)
    }

    /// The signed evidence around `document` and the inception.
    pub(crate) fn evidence_of(&self, document: &Document) -> Evidence {
        Evidence {
            history: self.history.texts().to_vec(),
            document: document.sign(&self.doc).unwrap(),
        }
    }

    /// Evidence with a document of the given version.
    pub(crate) fn evidence(&self, version: u64) -> Evidence {
        self.evidence_of(&self.document(version))
    }

    /// `document`, signed and verified.
    pub(crate) fn verified(&self, document: &Document) -> VerifiedDocument {
        let text = document.sign(&self.doc).unwrap();
        VerifiedDocument::verify(&text, &self.history, NOW).unwrap()
    }
}

/// A node entry without addresses and TLS keys.
pub(crate) fn node(name: &str, key: PublicKey) -> Node {
    Node {
        node: name.parse().unwrap(),
        peer_id: peer_id(&key),
        key,
        tls_spki: Vec::new(),
        addresses: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
        flight: vec!["127.0.0.1:8815".to_owned()],
        not_after: NOW.saturating_add(30 * DAY),
    }
}

//! The organizations of the vectors.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use comity_identity::history::{History, KeyEvent, KeySet};
use comity_identity::organization::{Document, Issuer, Node, Role, VerifiedDocument, peer_id};
use comity_identity::{Der, KeyId, OrgId, PublicKey, SecretKey, Signer as _, Timestamp};
use comity_protocol::keys::IssuerKeys;
use serde_json::{Value, json};

/// The time at which the vectors were made.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

/// One day.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An organization with its secrets, which are public: never use them.
pub(crate) struct Party {
    pub(crate) root: SecretKey,
    pub(crate) next: SecretKey,
    pub(crate) doc: SecretKey,
    pub(crate) agree: SecretKey,
    pub(crate) announce: SecretKey,
    pub(crate) node: SecretKey,
    pub(crate) history: History,
    pub(crate) document: String,
}

impl Party {
    /// The organization whose seeds are 32 times `first` and the five numbers after it.
    pub(crate) fn new(first: u8, name: &str) -> Self {
        let key = |n: u8| SecretKey::from_seed(&[first + n; 32]);
        let (root, next, doc) = (key(0), key(1), key(2));
        let (agree, announce, node) = (key(3), key(4), key(5));
        let keys = KeySet::single(root.public(), &next.public(), doc.public());
        let inception = KeyEvent::inception(keys, NOW, "founded");
        let history = History::verify(&[inception.sign(&[&root]).unwrap()]).unwrap();
        let issuer = |key: &SecretKey, role| Issuer {
            key: key.public(),
            roles: BTreeSet::from([role]),
            since: NOW,
            until: NOW.saturating_add(30 * DAY),
        };
        let document = Document {
            v: 1,
            org: history.org(),
            version: 1,
            kel_head: history.head(),
            kel_seq: history.seq(),
            issued_at: NOW,
            expires_at: NOW.saturating_add(7 * DAY),
            name: name.to_owned(),
            tls_ca: Der::new(b"stands for a DER certificate".to_vec()),
            issuers: vec![
                issuer(&agree, Role::Agree),
                issuer(&announce, Role::Announce),
            ],
            nodes: vec![Node {
                node: "node-1".parse().unwrap(),
                peer_id: peer_id(&node.public()),
                key: node.public(),
                tls_spki: Vec::new(),
                addresses: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
                flight: vec!["127.0.0.1:8815".to_owned()],
                not_after: NOW.saturating_add(30 * DAY),
            }],
            revoked: Vec::new(),
            min_version: 1,
        };
        Self {
            document: document.sign(&doc).unwrap(),
            root,
            next,
            doc,
            agree,
            announce,
            node,
            history,
        }
    }

    pub(crate) fn org(&self) -> OrgId {
        self.history.org()
    }

    pub(crate) fn to_json(&self) -> Value {
        let keys = [
            ("root", &self.root),
            ("next", &self.next),
            ("doc", &self.doc),
            ("agree", &self.agree),
            ("announce", &self.announce),
            ("node", &self.node),
        ];
        let keys: BTreeMap<&str, Value> = keys
            .into_iter()
            .map(|(name, key)| {
                let seed: String = key.seed().iter().map(|b| format!("{b:02x}")).collect();
                let public = key.public();
                (
                    name,
                    json!({"seed": seed, "public": public, "kid": public.id()}),
                )
            })
            .collect();
        json!({
            "org": self.org(),
            "history": self.history.texts(),
            "document": self.document,
            "keys": keys,
        })
    }
}

/// The organizations of a vector file, as a reader knows them.
pub(crate) struct Organizations(BTreeMap<OrgId, VerifiedDocument>);

impl Organizations {
    pub(crate) fn read(vectors: &Value) -> Self {
        let parties = vectors["organizations"].as_object().unwrap().values();
        let verified = parties.map(|party| {
            let history: Vec<String> = serde_json::from_value(party["history"].clone()).unwrap();
            let history = History::verify(&history).unwrap();
            let document = party["document"].as_str().unwrap();
            let document = VerifiedDocument::verify(document, &history, NOW).unwrap();
            assert_eq!(party["org"], history.org().to_string());
            (history.org(), document)
        });
        Self(verified.collect())
    }
}

impl IssuerKeys for Organizations {
    fn issuer(&self, org: &OrgId, kid: &KeyId, role: Role, now: Timestamp) -> Option<PublicKey> {
        self.0.get(org)?.issuer(kid, role, now).copied()
    }
}

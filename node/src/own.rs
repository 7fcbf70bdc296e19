//! This organization, as its node speaks for it.

use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use comity_identity::history::History;
use comity_identity::organization::{
    Document, Issuer, MAX_LIFETIME, Node, PROTOCOL_VERSION, Role, VerifiedDocument, peer_id,
};
use comity_identity::tls::TlsKey;
use comity_identity::{Der, NodeName, OrgId, Signer as _, Timestamp};

use crate::failure::Failure;
use crate::index::Table;
use crate::keys::Keys;
use crate::ledger::{Evidence, Ledger, OWN, Record};

mod taking_back;

pub use taking_back::TakeBack;
pub(crate) use taking_back::add as revoke_in;

/// A document with less than this left is issued anew. Partners refuse a stale
/// one, so there are days in hand when the disk is full or the node is down.
pub const RENEW_DOCUMENT_BEFORE: Duration = Duration::from_secs(5 * 24 * 60 * 60);

/// How long an issuer key is listed for: the document is renewed long before.
pub(crate) const ISSUER_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The organization of this node: its keys, its history, its current document.
#[derive(Debug)]
pub struct Own {
    alias: String,
    node: NodeName,
    keys: Keys,
    ledger: Arc<Ledger>,
    current: RwLock<Arc<Current>>,
    /// One document at a time: two with one version would be evidence of
    /// equivocation against this organization (`spec/2-identity.md#I-53`).
    issuing: tokio::sync::Mutex<()>,
}

/// The history and the document that are in force together.
#[derive(Debug)]
pub struct Current {
    /// The key history.
    pub history: History,
    /// The organization document.
    pub document: VerifiedDocument,
}

/// Where this node can be reached, as its document says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// libp2p multiaddresses.
    pub addresses: Vec<String>,
    /// `host:port` of the peer Flight listener.
    pub flight: Vec<String>,
}

impl Own {
    /// Reads the organization's own evidence from the ledger.
    pub fn load(ledger: Arc<Ledger>, keys: Keys, alias: &str) -> Result<Self, Failure> {
        let Some(Record::Own(evidence)) = ledger.get(Table::Documents, OWN)? else {
            return Err(
                Failure::own("not-founded", "the journal holds no organization")
                    .next("create one with 'comity init', or restore the journal from a backup"),
            );
        };
        let history =
            History::verify(&evidence.history).map_err(|e| Failure::own("own-history", e))?;
        let document = VerifiedDocument::verify_recorded(&evidence.document, &history)
            .map_err(|e| Failure::own("own-document", e))?;
        let key = keys.node.public();
        let node = document.document().nodes.iter().find(|n| n.key == key);
        let node = node.map(|n| n.node.clone()).ok_or_else(|| {
            Failure::own(
                "foreign-keys",
                "the node key is not one of the organization's",
            )
            .next("the keys folder and the journal belong to different organizations")
        })?;
        let current = RwLock::new(Arc::new(Current { history, document }));
        Ok(Self {
            alias: alias.to_owned(),
            node,
            keys,
            ledger,
            current,
            issuing: tokio::sync::Mutex::default(),
        })
    }

    /// The organization's id.
    pub fn org(&self) -> OrgId {
        self.current().history.org()
    }

    /// Its short name, which is its catalog in SQL here.
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// This node's name.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// The keys that a running node needs.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// What is in force now.
    pub fn current(&self) -> Arc<Current> {
        match self.current.read() {
            Ok(current) => Arc::clone(&current),
            Err(poisoned) => Arc::clone(&poisoned.into_inner()),
        }
    }

    /// The history and document to show to others.
    pub fn evidence(&self) -> Evidence {
        let current = self.current();
        Evidence {
            org: current.history.org(),
            history: current.history.texts().to_vec(),
            document: current.document.text().to_owned(),
        }
    }

    /// Issues the next document when the present one runs out or says
    /// something else about this node. Gives whether it did.
    pub async fn refresh(&self, reach: &Reach, now: Timestamp) -> Result<bool, Failure> {
        let _one = self.issuing.lock().await;
        let current = self.current();
        let old = current.document.document();
        let mine = old.nodes.iter().find(|n| n.node == self.node);
        let same = mine.is_some_and(|n| n.addresses == reach.addresses && n.flight == reach.flight);
        if same && old.expires_at.since(now) > RENEW_DOCUMENT_BEFORE {
            return Ok(false);
        }
        let mut next = old.clone();
        for node in next.nodes.iter_mut().filter(|n| n.node == self.node) {
            node.addresses.clone_from(&reach.addresses);
            node.flight.clone_from(&reach.flight);
            node.not_after = now.saturating_add(ISSUER_LIFETIME);
        }
        // Only the key in use: one that was replaced ends when it was said to end.
        let in_use = self.keys.issuer.public();
        for issuer in next.issuers.iter_mut().filter(|i| i.key == in_use) {
            issuer.until = now.saturating_add(ISSUER_LIFETIME);
        }
        self.issue(next, now).await?;
        Ok(true)
    }

    /// Signs `next` as the document after the present one, journals it, and only
    /// then lets it count. Only with `self.issuing` held.
    async fn issue(&self, next: Document, now: Timestamp) -> Result<(), Failure> {
        let current = self.current();
        let text = succeed(next, now)
            .sign(&*self.keys.doc)
            .map_err(|e| Failure::own("own-document", e))?;
        let document = VerifiedDocument::verify(&text, &current.history, now)
            .map_err(|e| Failure::own("own-document", e))?;
        let evidence = Evidence {
            org: current.history.org(),
            history: current.history.texts().to_vec(),
            document: text,
        };
        self.ledger.commit(&Record::Own(evidence)).await?;
        let next = Arc::new(Current {
            history: current.history.clone(),
            document,
        });
        match self.current.write() {
            Ok(mut slot) => *slot = next,
            Err(poisoned) => *poisoned.into_inner() = next,
        }
        Ok(())
    }
}

/// `document` as the next version, issued at `now`, without what ran out.
pub(crate) fn succeed(mut document: Document, now: Timestamp) -> Document {
    document.version += 1;
    document.issued_at = now;
    document.expires_at = now.saturating_add(MAX_LIFETIME);
    document.issuers.retain(|issuer| now < issuer.until);
    taking_back::forget_ended(&mut document.revoked, now);
    document
}

/// The first document of an organization: one node, one issuer key with every role.
pub(crate) fn first_document(
    history: &History,
    name: &str,
    node: NodeName,
    keys: &Keys,
    tls_ca: &[u8],
    now: Timestamp,
) -> Result<Document, Failure> {
    let tls_node = TlsKey::from_pkcs8(&keys.tls_node).map_err(|e| Failure::own("tls-key", e))?;
    Ok(Document {
        v: 1,
        org: history.org(),
        version: 1,
        kel_head: history.head(),
        kel_seq: history.seq(),
        issued_at: now,
        expires_at: now.saturating_add(MAX_LIFETIME),
        name: name.to_owned(),
        tls_ca: Der::new(tls_ca.to_vec()),
        issuers: vec![Issuer {
            key: keys.issuer.public(),
            roles: BTreeSet::from([Role::Issue, Role::Agree, Role::Announce]),
            since: now,
            until: now.saturating_add(ISSUER_LIFETIME),
        }],
        nodes: vec![Node {
            node,
            peer_id: peer_id(&keys.node.public()),
            key: keys.node.public(),
            tls_spki: vec![tls_node.spki_digest()],
            addresses: Vec::new(),
            flight: Vec::new(),
            not_after: now.saturating_add(ISSUER_LIFETIME),
        }],
        revoked: Vec::new(),
        min_version: PROTOCOL_VERSION,
    })
}

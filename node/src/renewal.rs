//! `comity keys`: an organization replaces keys, and stays who it is.
//!
//! While the node is stopped: the journal's lock is the proof. What partners
//! must know is in the key history and in the next organization document, which
//! every node shows with its first Hello.

use std::time::Duration;

use comity_identity::history::{History, KeyEvent, KeySet};
use comity_identity::organization::{Document, Issuer, Revoked, Role, VerifiedDocument, peer_id};
use comity_identity::tls::TlsKey;
use comity_identity::{Digest, PublicKey, SecretKey, Signer, Timestamp};
use secrecy::SecretString;
use serde::Serialize;

use crate::clock;
use crate::failure::{Failure, Fault};
use crate::home::Home;
use crate::index::{self, Table};
use crate::journal;
use crate::keys::{self, Keys, Replacement, Staged, os_random};
use crate::ledger::{Evidence, Ledger, OWN, Record};
use crate::own::{ISSUER_LIFETIME, revoke_in, succeed};

/// How long an issuer key still counts that was replaced in time: what it signed
/// and is under way arrives, and everything announced is signed anew meanwhile.
pub const ISSUER_OVERLAP: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// Which keys to replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The root key, by the one that was committed to; both are at hand.
    Rotate,
    /// The root, doc and issuer keys, by the committed root key alone: the
    /// present ones are lost or stolen.
    Recover,
    /// The issuer key.
    Issuer,
    /// The doc key, which takes a rotation.
    Doc,
    /// The node's own key and its TLS key.
    Node,
    /// The node's TLS key.
    Tls,
}

/// What to replace, and how.
#[derive(Debug)]
pub struct Plan {
    /// Which keys.
    pub renewal: Renewal,
    /// Opens and encrypts the root keys.
    pub passphrase: Option<SecretString>,
    /// Since when the replaced keys may have been somebody else's.
    pub stolen_since: Option<Timestamp>,
    /// A word for those who read the key history.
    pub reason: String,
    /// How the journal is kept.
    pub journal: journal::Settings,
    /// How the index is kept.
    pub index: index::Settings,
}

/// What was replaced.
#[derive(Clone, Debug, Serialize)]
pub struct Renewed {
    /// The organization, the same as ever.
    pub org: String,
    /// The number of the newest key event.
    pub key_event: u64,
    /// The version of the organization document.
    pub document: u64,
    /// The keys that are new.
    pub keys: Vec<&'static str>,
    /// The peer id of the node.
    pub peer_id: String,
}

/// Replaces keys of the organization in `home`, whose node is stopped.
pub fn renew(home: &Home, plan: &Plan) -> Result<Renewed, Failure> {
    let renewing = Renewing::begin(home, plan)?;
    renewing.stage(plan)?;
    renewing.commit()?;
    renewing.finish()
}

/// Finishes or undoes a change of keys that was interrupted. Before keys are opened.
pub fn settle(home: &Home, ledger: &Ledger) -> Result<(), Failure> {
    let Some(Record::Own(evidence)) = ledger.get(Table::Documents, OWN)? else {
        // Whoever reads the organization next says so.
        return Ok(());
    };
    let document = Digest::of(evidence.document.as_bytes());
    let settled = keys::settle(home.path(), &document).map_err(|e| Failure::own("keys", e))?;
    if settled {
        tracing::info!("finished a change of keys that was interrupted");
    }
    Ok(())
}

/// A change of keys: everything signed, nothing on disk yet.
struct Renewing<'a> {
    home: &'a Home,
    ledger: Ledger,
    evidence: Evidence,
    replacements: Vec<Replacement>,
    renewed: Renewed,
}

impl<'a> Renewing<'a> {
    fn begin(home: &'a Home, plan: &Plan) -> Result<Self, Failure> {
        let now = clock::now();
        let ledger = Ledger::open(home, plan.journal, plan.index).map_err(|e| {
            Failure::from(e).next("stop the node first: 'comity keys' works while it is down")
        })?;
        settle(home, &ledger)?;
        let Some(Record::Own(evidence)) = ledger.get(Table::Documents, OWN)? else {
            return Err(Failure::own(
                "not-founded",
                "the journal holds no organization",
            ));
        };
        let history =
            History::verify(&evidence.history).map_err(|e| Failure::own("own-history", e))?;
        let document = VerifiedDocument::verify_recorded(&evidence.document, &history)
            .map_err(|e| Failure::own("own-document", e))?;
        let draft = Draft {
            at: now.max(history.current().at),
            history,
            next: document.document().clone(),
            replacements: Vec::new(),
            names: Vec::new(),
        };
        draft.make(home, plan, now)?.sealed(home, ledger, now)
    }

    /// Steps 1 and 2: the new keys are on disk and wait for the document.
    fn stage(&self, plan: &Plan) -> Result<(), Failure> {
        let failed = |e| Failure::own("keys", e);
        let home = self.home.path();
        let passphrase = plan.passphrase.as_ref();
        let staged = Staged::write(home, &self.replacements, passphrase).map_err(failed)?;
        let document = Digest::of(self.evidence.document.as_bytes());
        staged.wait_for(document).map_err(failed)
    }

    /// Step 3: history and document are in the journal, as one record.
    fn commit(&self) -> Result<(), Failure> {
        let record = Record::Own(self.evidence.clone());
        self.ledger.commit_all_blocking(&[record])?;
        Ok(())
    }

    /// Step 4: the new keys have the names under which a node looks for them.
    fn finish(self) -> Result<Renewed, Failure> {
        settle(self.home, &self.ledger)?;
        self.ledger.close()?;
        Ok(self.renewed)
    }
}

/// The next history and document, while they are written.
struct Draft {
    at: Timestamp,
    history: History,
    next: Document,
    replacements: Vec<Replacement>,
    names: Vec<&'static str>,
}

/// A draft and the key that signs its document.
struct Finished {
    draft: Draft,
    doc: SecretKey,
    node: PublicKey,
}

impl Draft {
    fn make(mut self, home: &Home, plan: &Plan, now: Timestamp) -> Result<Finished, Failure> {
        let failed = |e| Failure::own("keys", e);
        let mut node = Keys::open_node(home.path()).map_err(failed)?.public();
        if plan.renewal == Renewal::Recover {
            // Without the doc and issuer keys: they may be lost.
            let doc = self.key("doc", Replacement::doc);
            self.recover(home, plan, doc.public())?;
            // Whoever has the root keys may have everything beside them.
            let since = plan.stolen_since.unwrap_or(now);
            for issuer in std::mem::take(&mut self.next.issuers) {
                let id = issuer.key.id().to_string();
                revoke_in(&mut self.next, Revoked::Key, id, since);
            }
            self.new_issuer(now);
            return Ok(Finished {
                draft: self,
                doc,
                node,
            });
        }
        let keys = Keys::open(home.path()).map_err(failed)?;
        let mut doc = SecretKey::from_seed(&keys.doc.seed());
        match plan.renewal {
            Renewal::Rotate => self.rotate(home, plan, doc.public())?,
            Renewal::Doc => {
                doc = self.key("doc", Replacement::doc);
                self.rotate(home, plan, doc.public())?;
            }
            Renewal::Issuer => {
                self.end_issuer(&keys.issuer.public(), plan.stolen_since, now);
                self.new_issuer(now);
            }
            Renewal::Node => node = self.new_node(&node, plan, now)?,
            Renewal::Tls => self.new_tls(&node)?,
            Renewal::Recover => {}
        }
        Ok(Finished {
            draft: self,
            doc,
            node,
        })
    }

    /// A new random key, to be kept as `into` says.
    fn key(&mut self, name: &'static str, into: fn(&SecretKey) -> Replacement) -> SecretKey {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        os_random(&mut *seed);
        let key = SecretKey::from_seed(&seed);
        self.replacements.push(into(&key));
        self.names.push(name);
        key
    }

    fn rotate(&mut self, home: &Home, plan: &Plan, doc: PublicKey) -> Result<(), Failure> {
        let passphrase = plan.passphrase.as_ref();
        let root = Keys::open_root(home.path(), passphrase).map_err(not_at_hand)?;
        let next = Keys::open_next_root(home.path(), passphrase).map_err(not_at_hand)?;
        let set = self.root_keys(&next, doc);
        let event = self.history.rotation(set, self.at, &plan.reason);
        self.extend(&event, &[&next, &root])
    }

    fn recover(&mut self, home: &Home, plan: &Plan, doc: PublicKey) -> Result<(), Failure> {
        let passphrase = plan.passphrase.as_ref();
        let next = Keys::open_next_root(home.path(), passphrase).map_err(not_at_hand)?;
        let set = self.root_keys(&next, doc);
        let event = self.history.recovery(set, self.at, &plan.reason);
        self.extend(&event, &[&next])
    }

    fn root_keys(&mut self, next: &SecretKey, doc: PublicKey) -> KeySet {
        self.replacements.push(Replacement::root(next));
        self.names.push("root");
        let after = self.key("next-root", Replacement::next_root);
        KeySet::single(next.public(), &after.public(), doc)
    }

    /// Only what every partner will accept becomes part of the history.
    fn extend(&mut self, event: &KeyEvent, signers: &[&dyn Signer]) -> Result<(), Failure> {
        let failed = |e: &dyn std::fmt::Display| {
            Failure::new(Fault::Conflict, "key-event", e.to_string())
                .next("root.key and next-root.key must be those of the newest key event")
        };
        let text = event.sign(signers).map_err(|e| failed(&e))?;
        self.history = self.history.extend(&text).map_err(|e| failed(&e))?;
        self.next.kel_seq = self.history.seq();
        self.next.kel_head = self.history.head();
        Ok(())
    }

    /// A stolen key no longer counts at all; one that was replaced in time counts
    /// for a while (`spec/2-identity.md#I-55`).
    fn end_issuer(&mut self, key: &PublicKey, stolen: Option<Timestamp>, now: Timestamp) {
        match stolen {
            Some(since) => {
                self.next.issuers.retain(|i| i.key != *key);
                revoke_in(&mut self.next, Revoked::Key, key.id().to_string(), since);
            }
            None => {
                for issuer in self.next.issuers.iter_mut().filter(|i| i.key == *key) {
                    issuer.until = issuer.until.min(now.saturating_add(ISSUER_OVERLAP));
                }
            }
        }
    }

    fn new_issuer(&mut self, now: Timestamp) {
        let key = self.key("issuer", Replacement::issuer);
        self.next.issuers.push(Issuer {
            key: key.public(),
            roles: [Role::Issue, Role::Agree, Role::Announce].into(),
            since: now,
            until: now.saturating_add(ISSUER_LIFETIME),
        });
    }

    /// The same node under another key: its name stays, its peer id does not. The
    /// old key is revoked always: two nodes of one name would be one too many.
    fn new_node(
        &mut self,
        old: &PublicKey,
        plan: &Plan,
        now: Timestamp,
    ) -> Result<PublicKey, Failure> {
        self.new_tls(old)?;
        let key = self.key("node", Replacement::node).public();
        for node in self.next.nodes.iter_mut().filter(|n| n.key == *old) {
            node.key = key;
            node.peer_id = peer_id(&key);
        }
        let since = plan.stolen_since.unwrap_or(now);
        revoke_in(&mut self.next, Revoked::Key, old.id().to_string(), since);
        Ok(key)
    }

    /// The list of TLS keys is their revocation list: the old one is left out.
    fn new_tls(&mut self, node: &PublicKey) -> Result<(), Failure> {
        let key = TlsKey::generate().map_err(|e| Failure::own("tls-key", e))?;
        let listed = self.next.nodes.iter_mut().find(|n| n.key == *node);
        let listed = listed.ok_or_else(|| {
            Failure::own(
                "foreign-keys",
                "the node key is not one of the organization's",
            )
            .next("was this node revoked, or is the keys folder another organization's?")
        })?;
        listed.tls_spki = vec![key.spki_digest()];
        self.replacements.push(Replacement::tls_node(key.pkcs8()));
        self.names.push("tls-node");
        Ok(())
    }
}

impl Finished {
    fn sealed<'a>(
        self,
        home: &'a Home,
        ledger: Ledger,
        now: Timestamp,
    ) -> Result<Renewing<'a>, Failure> {
        let failed = |e| Failure::own("own-document", e);
        let Draft {
            history,
            next,
            replacements,
            names,
            ..
        } = self.draft;
        let text = succeed(next, now).sign(&self.doc).map_err(failed)?;
        let document = VerifiedDocument::verify(&text, &history, now).map_err(failed)?;
        let renewed = Renewed {
            org: history.org().to_string(),
            key_event: history.seq(),
            document: document.version(),
            keys: names,
            peer_id: peer_id(&self.node),
        };
        let evidence = Evidence {
            org: history.org(),
            history: history.texts().to_vec(),
            document: text,
        };
        Ok(Renewing {
            home,
            ledger,
            evidence,
            replacements,
            renewed,
        })
    }
}

fn not_at_hand(error: keys::KeysError) -> Failure {
    Failure::new(Fault::Conflict, "root-key", error.to_string())
        .next("bring the root keys back to the keys folder for this command")
}

#[cfg(test)]
mod tests;

//! The organizations we deal with: invited, introduced, federated.

mod ending;
mod invitations;
mod meeting;
mod partner;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use comity_identity::keyring::{self, Admission, AdmitError, Keyring};
use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::negotiation::{FEDERATION, FederationTerms, Proposal, SignedDocument};
use tokio::sync::watch;

use invitations::Invitations;
pub use meeting::WelcomeError;
pub use partner::{Meeting, Partner};

use crate::clock;
use crate::failure::Failure;
use crate::index::Table;
use crate::ledger::{
    self, Contradicted, Contradiction, Facet, Ledger, Record, SignedKind, Stage, org_key, stage_key,
};
use crate::own::Own;

/// The organizations known here, by what they are called.
#[derive(Debug)]
pub struct Partners {
    own: Arc<Own>,
    ledger: Arc<Ledger>,
    keyring: Arc<Keyring>,
    known: RwLock<BTreeMap<OrgId, Partner>>,
    invitations: Mutex<Invitations>,
    /// One meeting or ending at a time.
    meeting: tokio::sync::Mutex<()>,
    /// Moves whenever a partner may have lost a right.
    changes: watch::Sender<u64>,
    /// Ended federations of which the other side has heard.
    told: Mutex<BTreeSet<Digest>>,
}

impl Partners {
    /// Reads partners and invitations from the ledger.
    pub fn load(
        own: Arc<Own>,
        ledger: Arc<Ledger>,
        keyring: Arc<Keyring>,
    ) -> Result<Self, ledger::Error> {
        let mut known = BTreeMap::new();
        for (key, record) in ledger.scan(Table::Organizations, &[])? {
            let is_partner = key.last() == Some(&(Facet::Partner as u8));
            if let (true, Record::Partner(p)) = (is_partner, record) {
                known.insert(p.org, Partner::recall(p));
            }
        }
        for (_, record) in ledger.scan(Table::Agreements, &[])? {
            if let Record::Signed(signed) = record
                && let Some(terms) = federated_by(&signed)
                && let Some(partner) = known.get_mut(&signed.peer)
            {
                match ledger.get(Table::Agreements, &stage_key(&signed.id, Stage::Ended))? {
                    Some(Record::Revoked(ended)) => partner.ended_by(ended),
                    _ => partner.recognize(signed.id, terms),
                }
            }
        }
        let invitations = Mutex::new(invitations::load(&ledger)?);
        Ok(Self {
            own,
            ledger,
            keyring,
            known: RwLock::new(known),
            invitations,
            meeting: tokio::sync::Mutex::default(),
            changes: watch::Sender::default(),
            told: Mutex::default(),
        })
    }

    /// News about an organization that is known: a longer history, a newer document.
    pub async fn update(&self, evidence: keyring::Evidence) -> Result<Admission, AdmitError> {
        self.keep(evidence, clock::now(), false).await
    }

    /// The federation with `org` is signed by both, and in the ledger.
    pub fn federated(&self, org: &OrgId, federation: Digest) {
        let stored = self
            .ledger
            .get(Table::Agreements, &stage_key(&federation, Stage::Made));
        let terms = match &stored {
            Ok(Some(Record::Signed(signed))) => federated_by(signed),
            _ => None,
        };
        let Some(terms) = terms else {
            tracing::error!(%federation, "a federation that was just signed cannot be read; it counts after a restart");
            return;
        };
        if let Some(partner) = self.write().get_mut(org) {
            partner.recognize(federation, terms);
        }
    }

    /// The partner with this id.
    pub fn get(&self, org: &OrgId) -> Option<Partner> {
        let partner = self.read().get(org).cloned();
        partner.map(|p| self.present(p))
    }

    /// The partner that is called `alias` here.
    pub fn by_alias(&self, alias: &str) -> Option<Partner> {
        let partner = self.read().values().find(|p| p.alias == alias).cloned();
        partner.map(|p| self.present(p))
    }

    /// What `org` is called here; the beginning of its id when it has no name.
    pub fn alias(&self, org: &OrgId) -> String {
        if *org == self.own.org() {
            return self.own.alias().to_owned();
        }
        let alias = self.read().get(org).map(|p| p.alias.clone());
        alias.unwrap_or_else(|| org.short())
    }

    /// All partners, by id.
    pub fn all(&self) -> Vec<Partner> {
        let all: Vec<Partner> = self.read().values().cloned().collect();
        all.into_iter().map(|p| self.present(p)).collect()
    }

    /// The organization whose current document lists this libp2p peer id.
    /// None when two do: neither may speak for the other. New documents cannot
    /// bring that about (`spec/2-identity.md#I-51`); old ones may have.
    pub fn org_of_peer(&self, peer_id: &str, now: Timestamp) -> Option<OrgId> {
        let partners = self.all();
        let lists = |p: &&Partner| {
            let organization = p.organization();
            organization.is_some_and(|o| o.document().node_by_peer_id(peer_id, now).is_some())
        };
        let mut found = partners.iter().filter(lists);
        let first = found.next().map(|p| p.org);
        match found.next() {
            None => first,
            Some(second) => {
                tracing::warn!(peer_id, first = ?first, second = %second.org, "two organizations list one node: it counts as nobody's");
                None
            }
        }
    }

    /// The keyring that says whose keys count.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// A number that rises with everything that may end a right of a partner:
    /// what the keyring learned, and federations that ended.
    pub fn epoch(&self) -> u64 {
        self.keyring.epoch() + *self.changes.borrow()
    }

    /// Changes when [`Partners::epoch`] does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn note_change(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// `partner` with what the keyring knows of it now.
    fn present(&self, partner: Partner) -> Partner {
        Partner {
            organization: self.keyring.get(&partner.org),
            ..partner
        }
    }

    /// The keyring waits for the disk, so it runs on a blocking thread.
    async fn keep(
        &self,
        evidence: keyring::Evidence,
        now: Timestamp,
        may_be_new: bool,
    ) -> Result<Admission, AdmitError> {
        let keyring = Arc::clone(&self.keyring);
        // `introduce` of an organization that is known updates it by the same rules as `admit`.
        let work = move || {
            if may_be_new {
                keyring.introduce(&evidence, now)
            } else {
                keyring.admit(&evidence, now)
            }
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Err(AdmitError::Equivocation { known, offered })) => {
                self.note_two_documents(&known, &offered, now).await;
                Err(AdmitError::Equivocation { known, offered })
            }
            Ok(result) => {
                // Running answers look again (I-27): a key may be gone, or the
                // organization frozen.
                if !matches!(&result, Ok(admission) if !admission.changed) {
                    self.note_change();
                }
                result
            }
            Err(_) => Err(AdmitError::Store(keyring::StoreFailure::new(
                "the node is stopping",
            ))),
        }
    }

    /// Keeps the evidence of two documents with one version, once
    /// (`spec/2-identity.md#I-23`).
    async fn note_two_documents(&self, known: &str, other: &str, now: Timestamp) {
        let all = self.keyring.all();
        let Some(organization) = all.iter().find(|o| o.document().text() == known) else {
            return;
        };
        let (org, number) = (organization.id(), organization.document().version());
        let key = org_key(&org, Facet::TwoDocuments);
        let noted = self.ledger.get(Table::Organizations, &key);
        if matches!(noted, Ok(Some(Record::Contradiction(c))) if c.number == number) {
            return;
        }
        let evidence = Record::Contradiction(Contradiction {
            org,
            what: Contradicted::Document,
            number,
            known: known.to_owned(),
            other: other.to_owned(),
            at: now,
        });
        tracing::warn!(
            partner = self.alias(&org),
            version = number,
            "two documents with one version"
        );
        if let Err(error) = self.ledger.commit(&evidence).await {
            tracing::error!(%error, "the evidence of two documents was not kept");
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<OrgId, Partner>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<OrgId, Partner>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why evidence was not taken, as the operator reads it.
pub(crate) fn admission_failure(alias: &str, error: &AdmitError) -> Failure {
    match error {
        AdmitError::Store(_) => Failure::own("ledger", error),
        AdmitError::Forked(_) | AdmitError::Frozen(_) => Failure::partner("frozen", alias, error)
            .next("the organization contradicted itself; talk to its people before anything else"),
        _ => Failure::partner("bad-evidence", alias, error),
    }
}

/// What a stored federation recognizes; nothing for other documents.
fn federated_by(signed: &ledger::Signed) -> Option<FederationTerms> {
    if signed.kind != SignedKind::Federation {
        return None;
    }
    match SignedDocument::recall(FEDERATION, &signed.text) {
        Ok(document) => match &document.document().proposal {
            Proposal::Federation { terms, .. } => Some(terms.clone()),
            Proposal::Access { .. } => None,
        },
        Err(error) => {
            tracing::error!(federation = %signed.id, %error, "a stored federation cannot be read and does not count");
            None
        }
    }
}

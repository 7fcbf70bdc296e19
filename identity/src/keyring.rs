//! The keyring: the organizations we know (`spec/2-identity.md`, section 4).
//!
//! For every organization the keyring remembers how far its key history and its
//! document had got: the high-water mark. A mark is on disk *before* anything
//! acts on the news, so that neither an old document nor a restart brings a
//! revoked key back (A10). Two histories with one past and different presents
//! are a fork: the organization is frozen, with the evidence kept (A12).
//!
//! First contact is never silent: [`Keyring::introduce`] is called where a
//! person or an invitation decided to know an organization. [`Keyring::admit`]
//! only ever updates one that is known, whoever brought the news.

mod mark;
mod organization;

#[cfg(test)]
mod tests;

pub use mark::{Evidence, Mark, MarkStore, MemoryMarkStore, Record, StoreFailure};
pub use organization::{Organization, Standing};

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::history::{Comparison, ForkProof, History, HistoryError};
use crate::organization::{DocumentError, Freshness, VerifiedDocument};
use crate::{OrgId, Timestamp};

/// The most organizations that one node knows.
pub const MAX_ORGANIZATIONS: usize = 4096;

/// The organizations we know. Cheap to read from many threads.
pub struct Keyring {
    store: Arc<dyn MarkStore>,
    known: RwLock<HashMap<OrgId, Arc<Organization>>>,
    /// One change at a time; held while the store writes, when readers go on.
    changes: Mutex<()>,
    epoch: AtomicU64,
}

/// What came of admitting evidence.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The organization as it is known now.
    pub organization: Arc<Organization>,
    /// Whether the evidence brought anything new.
    pub changed: bool,
}

impl Keyring {
    /// The keyring of what `store` remembers. Everything is verified again,
    /// except for time: a document that expired meanwhile is simply stale.
    pub fn open(store: Arc<dyn MarkStore>) -> Result<Self, OpenError> {
        let mut known = HashMap::new();
        for record in store.load()? {
            let organization = Organization::recall(record)?;
            known.insert(organization.id(), Arc::new(organization));
        }
        Ok(Self {
            store,
            known: RwLock::new(known),
            changes: Mutex::new(()),
            epoch: AtomicU64::new(1),
        })
    }

    /// Makes an organization known: first contact, after a person or an
    /// invitation decided so (`spec/2-identity.md#I-24`). For one that is known, the same as [`Self::admit`].
    pub fn introduce(&self, evidence: &Evidence, now: Timestamp) -> Result<Admission, AdmitError> {
        self.change(evidence, now, true)
    }

    /// Takes news of a known organization, from whoever brought it.
    ///
    /// The evidence is a whole key history and a document. Nothing counts until
    /// both verify, neither is older than the high-water mark, and the new mark
    /// is stored.
    pub fn admit(&self, evidence: &Evidence, now: Timestamp) -> Result<Admission, AdmitError> {
        self.change(evidence, now, false)
    }

    /// Takes a fork proof that a partner passed on, and freezes the organization.
    pub fn admit_fork(&self, proof: ForkProof) -> Result<Arc<Organization>, AdmitError> {
        let fork = proof.verify().map_err(|_| AdmitError::NotAFork)?;
        let _change = self.begin_change();
        let known = self.get(&fork.org).ok_or(AdmitError::Unknown)?;
        if known.standing().is_frozen() {
            return Ok(known);
        }
        self.freeze(&known, proof)
    }

    /// The organization with this id, frozen or not, with whatever document it had last.
    pub fn get(&self, org: &OrgId) -> Option<Arc<Organization>> {
        self.read().get(org).cloned()
    }

    /// All known organizations, in the order of their ids.
    pub fn all(&self) -> Vec<Arc<Organization>> {
        let mut all: Vec<_> = self.read().values().cloned().collect();
        all.sort_unstable_by_key(|o| o.id());
        all
    }

    /// A number that rises with every change. Whoever holds a long-lived
    /// decision, such as an open connection, compares it on each request and
    /// decides again when it moved (`spec/2-identity.md#I-27`, A30).
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn change(
        &self,
        evidence: &Evidence,
        now: Timestamp,
        may_be_new: bool,
    ) -> Result<Admission, AdmitError> {
        // Partners repeat the same evidence all day: it costs a comparison, not
        // a verification of a history that may be long.
        if let Some(known) = self.known_already(evidence, now) {
            return Ok(Admission {
                organization: known,
                changed: false,
            });
        }
        // Signatures are checked before any lock is taken.
        let history = History::verify(&evidence.history)?;
        let _change = self.begin_change();
        let Some(known) = self.get(&history.org()) else {
            if !may_be_new {
                return Err(AdmitError::Unknown);
            }
            if self.read().len() >= MAX_ORGANIZATIONS {
                return Err(AdmitError::Full);
            }
            let document = VerifiedDocument::verify(&evidence.document, &history, now)?;
            self.refuse_foreign_nodes(&document, now)?;
            return self.accept(Organization::new(history, document));
        };
        // spec/2-identity.md#I-28
        if known.standing().is_frozen() {
            return Err(AdmitError::Frozen(known));
        }
        // spec/2-identity.md#I-22: the history is judged first. A fork is evidence even if
        // the document beside it is worthless.
        match known.history().compare(&history) {
            Comparison::Same | Comparison::Ahead => {}
            Comparison::Behind | Comparison::Unrelated => {
                return Err(AdmitError::HistoryRollback {
                    known: known.history().seq(),
                    offered: history.seq(),
                });
            }
            Comparison::Fork(proof) => {
                return Err(AdmitError::Forked(self.freeze(&known, *proof)?));
            }
        }
        let document = VerifiedDocument::verify(&evidence.document, &history, now)?;
        let mark = known.mark();
        // spec/2-identity.md#I-23
        if document.version() < mark.version {
            return Err(AdmitError::DocumentRollback {
                known: mark.version,
                offered: document.version(),
            });
        }
        if document.version() == mark.version {
            if document.digest() != mark.document {
                return Err(AdmitError::Equivocation {
                    known: known.document().text().to_owned(),
                    offered: evidence.document.clone(),
                });
            }
            return Ok(Admission {
                organization: known,
                changed: false,
            });
        }
        self.refuse_foreign_nodes(&document, now)?;
        self.accept(Organization::new(history, document))
    }

    /// The organization whose present evidence is exactly this, if it counts at `now`.
    fn known_already(&self, evidence: &Evidence, now: Timestamp) -> Option<Arc<Organization>> {
        let same = |o: &&Arc<Organization>| {
            o.document().text() == evidence.document && o.history().texts() == evidence.history
        };
        let known = self.read().values().find(same).cloned()?;
        (known.freshness(now) != Freshness::Expired).then_some(known)
    }

    /// A document may list any public key, so an organization could list the
    /// node of another one and be taken for it; whoever is known first keeps
    /// its nodes (`spec/2-identity.md#I-51`).
    fn refuse_foreign_nodes(
        &self,
        document: &VerifiedDocument,
        now: Timestamp,
    ) -> Result<(), AdmitError> {
        let nodes = document.document().nodes.iter();
        let listed: HashSet<_> = nodes.map(|n| n.key.as_bytes()).collect();
        let lists_one = |o: &&Arc<Organization>| {
            o.id() != document.org()
                && !o.standing().is_frozen()
                && o.document()
                    .nodes(now)
                    .any(|n| listed.contains(n.key.as_bytes()))
        };
        match self.read().values().find(lists_one) {
            Some(owner) => Err(AdmitError::ForeignNode { owner: owner.id() }),
            None => Ok(()),
        }
    }

    fn accept(&self, organization: Organization) -> Result<Admission, AdmitError> {
        Ok(Admission {
            organization: self.publish(organization)?,
            changed: true,
        })
    }

    /// spec/2-identity.md#I-21: the mark is stored before anyone can act on the news.
    fn publish(&self, organization: Organization) -> Result<Arc<Organization>, AdmitError> {
        self.store.save(&organization.record())?;
        Ok(self.show(organization))
    }

    /// The other way round than [`Self::publish`]: freezing only ever refuses, so
    /// it must not wait for a store that may be full.
    fn freeze(
        &self,
        known: &Organization,
        proof: ForkProof,
    ) -> Result<Arc<Organization>, AdmitError> {
        let frozen = self.show(known.frozen(proof));
        self.store.save(&frozen.record())?;
        Ok(frozen)
    }

    fn show(&self, organization: Organization) -> Arc<Organization> {
        let organization = Arc::new(organization);
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(organization.id(), Arc::clone(&organization));
        self.epoch.fetch_add(1, Ordering::AcqRel);
        organization
    }

    /// The locks guard plain data that is whole between statements, so a panic
    /// elsewhere while one was held leaves nothing half-done.
    fn begin_change(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<OrgId, Arc<Organization>>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("organizations", &self.read().len())
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}

/// Why evidence is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// Nobody decided to know this organization.
    #[error("the organization is not known here; exchange an invitation first")]
    Unknown,
    /// The keyring holds [`MAX_ORGANIZATIONS`].
    #[error("the keyring is full: {MAX_ORGANIZATIONS} organizations are known")]
    Full,
    /// The key history is refused.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The organization document is refused.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// An older key history than the known one (A10).
    #[error("the key history ends at event {offered}, but event {known} is known already")]
    HistoryRollback {
        /// The sequence number of the newest known event.
        known: u64,
        /// The sequence number of the newest event offered.
        offered: u64,
    },
    /// An older document than the known one (A10).
    #[error(
        "the organization document has version {offered}, but version {known} is known already"
    )]
    DocumentRollback {
        /// The known version.
        known: u64,
        /// The version offered.
        offered: u64,
    },
    /// Two different documents with one version. Both texts are evidence.
    #[error("the organization signed two different documents with one version")]
    Equivocation {
        /// The document that was known.
        known: String,
        /// The other document.
        offered: String,
    },
    /// The document lists the key of a node that another known organization
    /// lists already.
    #[error("the organization document lists a node of {owner}, which is known already")]
    ForeignNode {
        /// The organization that was known with this node.
        owner: OrgId,
    },
    /// This evidence forks the key history: the organization is frozen from now on (A12).
    #[error("the organization forked its key history; it is frozen and the evidence is kept")]
    Forked(Arc<Organization>),
    /// The organization was frozen before.
    #[error("the organization is frozen because it forked its key history")]
    Frozen(Arc<Organization>),
    /// An alleged fork proof proves nothing.
    #[error("the alleged fork proof proves nothing")]
    NotAFork,
    /// Our own store failed: nothing changed.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

/// Why a keyring cannot be opened. Our own store is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreFailure),
    /// A stored organization does not verify or does not fit its mark.
    #[error("a stored organization is damaged: {0}")]
    Damaged(String),
}

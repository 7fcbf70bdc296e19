//! One known organization.

use super::{Evidence, Mark, OpenError, Record};
use crate::grant::{Chain, GrantError, VerifiedGrant};
use crate::history::{ForkProof, History};
use crate::organization::{Freshness, Role, VerifiedDocument};
use crate::{KeyId, OrgId, PublicKey, Timestamp};

/// A known organization: its verified history and document, and its standing.
#[derive(Clone, Debug)]
pub struct Organization {
    history: History,
    document: VerifiedDocument,
    standing: Standing,
}

/// Whether an organization counts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Nothing is held against it.
    Good,
    /// It forked its key history: nothing of it is accepted until an operator
    /// decides (A12).
    Frozen(Box<ForkProof>),
}

impl Standing {
    /// Whether the organization is frozen.
    pub fn is_frozen(&self) -> bool {
        matches!(self, Self::Frozen(_))
    }
}

impl Organization {
    pub(super) fn new(history: History, document: VerifiedDocument) -> Self {
        Self {
            history,
            document,
            standing: Standing::Good,
        }
    }

    pub(super) fn frozen(&self, proof: ForkProof) -> Self {
        Self {
            standing: Standing::Frozen(Box::new(proof)),
            ..self.clone()
        }
    }

    /// The organization that `record` holds. Everything is verified again: the
    /// store is trusted to keep, not to speak.
    pub(super) fn recall(record: Record) -> Result<Self, OpenError> {
        let damaged = |e: &dyn core::fmt::Display| OpenError::Damaged(e.to_string());
        let history = History::verify(&record.evidence.history).map_err(|e| damaged(&e))?;
        let document = VerifiedDocument::verify_recorded(&record.evidence.document, &history)
            .map_err(|e| damaged(&e))?;
        let mut organization = Self::new(history, document);
        if organization.mark() != record.mark {
            return Err(damaged(&"the evidence is not what its mark says"));
        }
        if let Some(proof) = record.fork {
            let fork = proof.verify().map_err(|e| damaged(&e))?;
            if fork.org != organization.id() {
                return Err(damaged(&"the fork proof is another organization's"));
            }
            organization.standing = Standing::Frozen(Box::new(proof));
        }
        Ok(organization)
    }

    /// The organization's id.
    pub fn id(&self) -> OrgId {
        self.history.org()
    }

    /// Its key history.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Its newest document, however old it is: see [`Self::freshness`].
    pub fn document(&self) -> &VerifiedDocument {
        &self.document
    }

    /// Whether it counts.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// How much its document counts for at `now`; a frozen organization's counts for nothing.
    pub fn freshness(&self, now: Timestamp) -> Freshness {
        if self.standing.is_frozen() {
            return Freshness::Expired;
        }
        self.document.freshness(now)
    }

    /// The key with id `kid`, if it may sign as `role` at `now`. Announcements
    /// and negotiation go on while the document is stale; grants do not.
    pub fn issuer(&self, kid: &KeyId, role: Role, now: Timestamp) -> Option<&PublicKey> {
        let counts = match self.freshness(now) {
            Freshness::Fresh => true,
            Freshness::Stale => role != Role::Issue,
            Freshness::Expired => false,
        };
        counts
            .then(|| self.document.issuer(kid, role, now))
            .flatten()
    }

    /// Verifies a grant chain that a node of this organization shows to
    /// `audience`, which is the caller's own organization. Use this and not
    /// [`Chain::verify`] where the keyring is at hand: a frozen organization
    /// grants nothing.
    pub fn verify_grant(
        &self,
        links: &[String],
        audience: OrgId,
        now: Timestamp,
    ) -> Result<VerifiedGrant, GrantError> {
        if self.standing.is_frozen() {
            return Err(GrantError::Frozen);
        }
        Chain::verify(links, &self.document, audience, now)
    }

    /// The exact texts, to pass on.
    pub fn evidence(&self) -> Evidence {
        Evidence {
            history: self.history.texts().to_vec(),
            document: self.document.text().to_owned(),
        }
    }

    /// The high-water mark.
    pub fn mark(&self) -> Mark {
        Mark {
            org: self.id(),
            seq: self.history.seq(),
            head: self.history.head(),
            version: self.document.version(),
            document: self.document.digest(),
        }
    }

    /// The record to store.
    pub(super) fn record(&self) -> Record {
        Record {
            mark: self.mark(),
            evidence: self.evidence(),
            fork: match &self.standing {
                Standing::Good => None,
                Standing::Frozen(proof) => Some(ForkProof::clone(proof)),
            },
        }
    }
}

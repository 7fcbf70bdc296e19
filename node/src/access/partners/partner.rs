//! One partner: another organization, as it is called, reached and recognized here.

use std::collections::BTreeSet;
use std::sync::Arc;

use comity_identity::keyring::Organization;
use comity_identity::organization::Freshness;
use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::negotiation::FederationTerms;

use crate::ledger;

/// Another organization, as it is called and reached here.
#[derive(Clone, Debug)]
pub struct Partner {
    /// The organization.
    pub org: OrgId,
    /// Its local name, which is its catalog in SQL.
    pub alias: String,
    /// The peer id of the node that introduced itself.
    pub peer_id: String,
    /// Where that node was reached at first; its document knows better later.
    pub addresses: Vec<String>,
    /// The invitation that both used.
    pub invitation: Option<Digest>,
    /// The federation that both signed, in force or not: see [`Partner::is_federated`].
    pub federation: Option<Digest>,
    pub(super) federated: Option<FederationTerms>,
    pub(super) named_by_us: bool,
    /// When it was met, last.
    pub(super) met: Timestamp,
    /// The last federation that was taken back, and by whom.
    pub(super) ended: Option<ledger::Revoked>,
    /// What the keyring knew when this was looked up.
    pub(super) organization: Option<Arc<Organization>>,
}

/// How an organization came here: what [`Partners::introduce`](super::Partners::introduce) is told.
#[derive(Clone, Debug)]
pub struct Meeting {
    /// The organization.
    pub org: OrgId,
    /// What our operator calls it, if it said so.
    pub given_alias: Option<String>,
    /// What it calls itself: a suggestion.
    pub own_alias: String,
    /// The peer id of its node.
    pub peer_id: String,
    /// Where that node is.
    pub addresses: Vec<String>,
    /// The invitation, ours or theirs.
    pub invitation: Digest,
}

impl Partner {
    /// Whether both recognize one another at `now`: a federation is signed, the
    /// time that it names has not passed, and the organization counts. One that
    /// forked its history or whose document ran out is told nothing that is for
    /// partners (`spec/4-negotiation.md#N-30`).
    pub fn is_federated(&self, now: Timestamp) -> bool {
        self.federation.is_some()
            && self.federated.as_ref().is_some_and(|f| now < f.expires)
            && self.counts(now)
    }

    /// Whether anything that the organization asks or signs counts at `now`.
    pub fn counts(&self, now: Timestamp) -> bool {
        let organization = self.organization.as_ref();
        organization.is_some_and(|o| o.freshness(now) != Freshness::Expired)
    }

    /// Whether a side ended the federation and nobody was invited since. What
    /// such an organization may still say is a Hello and revocations
    /// (`spec/4-negotiation.md#N-33`).
    pub fn is_ended(&self) -> bool {
        let ended = self.ended.as_ref();
        self.federation.is_none() && ended.is_some_and(|ended| self.met < ended.at)
    }

    /// Whether our operator chose the alias. Otherwise the organization chose
    /// it, and it may be any free name: what is granted by alias must ask this.
    pub fn named_by_us(&self) -> bool {
        self.named_by_us
    }

    /// The name that our operator gave it.
    pub fn own_name(&self) -> Option<&str> {
        self.named_by_us.then_some(&self.alias)
    }

    /// Whether the owner's configuration means this partner by `name`: its id,
    /// or the name given to it here. A name that a guest gave itself opens nothing.
    pub fn is_called(&self, name: &str) -> bool {
        name == self.org.to_string() || self.own_name() == Some(name)
    }

    /// The organization, if the keyring knows it.
    pub fn organization(&self) -> Option<&Arc<Organization>> {
        self.organization.as_ref()
    }

    pub(super) fn recall(record: ledger::Partner) -> Self {
        Self {
            org: record.org,
            alias: record.alias,
            peer_id: record.peer_id,
            addresses: record.addresses,
            invitation: record.invitation,
            federation: None,
            federated: None,
            named_by_us: record.named_by_us,
            met: record.at,
            ended: None,
            organization: None,
        }
    }

    pub(super) fn record(&self, at: Timestamp) -> ledger::Partner {
        ledger::Partner {
            org: self.org,
            alias: self.alias.clone(),
            peer_id: self.peer_id.clone(),
            addresses: self.addresses.clone(),
            invitation: self.invitation,
            named_by_us: self.named_by_us,
            at,
        }
    }

    /// The roles that the federation recognizes, and how the partner's members
    /// log in, as it says.
    pub fn recognized(&self) -> (&[String], &[String]) {
        let federated = self.federated.as_ref();
        federated.map_or((&[], &[]), |f| (&f.roles, &f.assurance))
    }

    /// Which of these roles the federation names; others mean nothing here
    /// (`spec/5-data-plane.md#D-210`).
    pub fn recognizes(&self, roles: &BTreeSet<String>) -> BTreeSet<String> {
        let (named, _) = self.recognized();
        let roles = roles.iter().filter(|role| named.contains(role));
        roles.cloned().collect()
    }

    /// Recognizes the partner by `terms`, unless it is recognized for longer.
    pub(super) fn recognize(&mut self, federation: Digest, terms: FederationTerms) {
        let known = self.federated.as_ref();
        if known.is_none_or(|known| known.expires < terms.expires) {
            self.federation = Some(federation);
            self.federated = Some(terms);
        }
    }

    /// A side took a federation back. Of several the last one is remembered.
    pub(super) fn ended_by(&mut self, ended: ledger::Revoked) {
        if self.federation == Some(ended.agreement) {
            self.federation = None;
            self.federated = None;
        }
        if self.ended.as_ref().is_none_or(|known| known.at <= ended.at) {
            self.ended = Some(ended);
        }
    }
}

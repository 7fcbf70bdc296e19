//! What this node wants of its partners: one errand for each organization at a time.
//!
//! Whoever notices that a partner should be asked something says so here and
//! goes on. Nobody who answers a partner, and nobody who renews what this node
//! must renew, ever waits for another organization: a partner that is connected
//! and silent costs its own errand and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use comity_identity::OrgId;
use comity_protocol::catalog::{Standing, VerifiedHead};
use tokio::sync::Semaphore;

/// The longest that one errand may take. What it did not get done is wanted
/// again at the next tick, or when the partner says something new.
pub(super) const ERRAND_TIME: Duration = Duration::from_secs(120);

/// Errands that run at one time, over all organizations.
const MAX_ERRANDS: usize = 64;

/// Catalogs that are fetched at one time: each may hold some megabytes in memory.
const MAX_FETCHES: usize = 8;

/// The errands, wanted and under way.
#[derive(Debug)]
pub(super) struct Errands {
    orgs: Mutex<BTreeMap<OrgId, Wanted>>,
    /// Places for errands.
    pub(super) places: Semaphore,
    /// Places for fetched catalogs.
    pub(super) fetches: Semaphore,
    /// Organizations that are asked again soon.
    waiting: Mutex<BTreeSet<OrgId>>,
}

/// What is wanted of one organization. An entry exists exactly as long as its
/// errand is under way.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Exchange identities, repeat negotiations, tell revocations.
    pub(super) visit: bool,
    /// Send the receipts that it has not answered. A visit does so as well.
    pub(super) receipts: bool,
    /// Fetch what this head announces: the newest that was heard of.
    pub(super) head: Option<Box<VerifiedHead>>,
    /// Another head with the number of `head`: evidence once `head` is taken.
    pub(super) rival: Option<Box<VerifiedHead>>,
}

impl Errands {
    pub(super) fn new() -> Self {
        Self {
            orgs: Mutex::default(),
            places: Semaphore::new(MAX_ERRANDS),
            fetches: Semaphore::new(MAX_FETCHES),
            waiting: Mutex::default(),
        }
    }

    /// Wants a visit to `org`. Gives whether the caller must begin the errand.
    pub(super) fn want_visit(&self, org: OrgId) -> bool {
        self.want(org, |wanted| wanted.visit = true)
    }

    /// Wants `org` to be sent receipts. Gives whether the caller must begin the errand.
    pub(super) fn want_receipts(&self, org: OrgId) -> bool {
        self.want(org, |wanted| wanted.receipts = true)
    }

    /// Notes that `org` is asked again soon. Gives whether nobody waits for that yet.
    pub(super) fn wait_for(&self, org: OrgId) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(org)
    }

    /// The wait of [`Errands::wait_for`] is over.
    pub(super) fn waited_for(&self, org: &OrgId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(org);
    }

    /// Wants the catalog of `head`. Gives whether the caller must begin the errand.
    ///
    /// Of all the heads that come while one is being fetched only the newest is
    /// remembered: a partner that signs many makes no more work than one that
    /// signs two.
    pub(super) fn want_head(&self, org: OrgId, head: Box<VerifiedHead>) -> bool {
        self.want(org, |wanted| match head.beside(wanted.head.as_deref()) {
            Standing::Newer => {
                wanted.head = Some(head);
                wanted.rival = None;
            }
            Standing::Equivocation => wanted.rival = Some(head),
            Standing::Same | Standing::Older => {}
        })
    }

    /// What the errand of `org` is to do next; nothing ends it.
    pub(super) fn next(&self, org: &OrgId) -> Option<Wanted> {
        let mut orgs = self.lock();
        let wanted = std::mem::take(orgs.get_mut(org)?);
        if wanted.visit || wanted.receipts || wanted.head.is_some() {
            return Some(wanted);
        }
        orgs.remove(org);
        None
    }

    fn want(&self, org: OrgId, add: impl FnOnce(&mut Wanted)) -> bool {
        let mut orgs = self.lock();
        let begins = !orgs.contains_key(&org);
        add(orgs.entry(org).or_default());
        begins
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<OrgId, Wanted>> {
        self.orgs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn org() -> OrgId {
        serde_json::from_value(serde_json::Value::String("a".repeat(52))).unwrap()
    }

    #[test]
    fn one_errand_for_an_organization_whatever_is_wanted_meanwhile() {
        let (errands, org) = (Errands::new(), org());
        assert!(errands.want_visit(org), "nobody is on the way");
        assert!(errands.next(&org).unwrap().visit);
        for _ in 0..1000 {
            assert!(!errands.want_visit(org), "one is under way");
        }
        assert!(
            errands.next(&org).unwrap().visit,
            "once more, not a thousand times"
        );
        assert!(errands.next(&org).is_none());
        assert!(errands.want_visit(org), "the errand had ended");
    }
}

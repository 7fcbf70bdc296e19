//! One agreement in the place of another: amended, renewed, ended by consent
//! (`spec/4-negotiation.md`, section 4.6).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::negotiation::{Side, SignedDocument};
use tokio_util::sync::CancellationToken;

use super::{Agreement, Agreements};
use crate::ledger::Replaced;

/// For how long after its end an agreement can still be renewed: whoever comes
/// later asks anew.
const RENEWABLE_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// For how long a provider still serves a question under the agreement that was
/// replaced, no further than both permit. The consumer learns of the
/// replacement one message later: a question on its way must not fall into a gap.
/// Answers that had begun run on as long.
const GRACE: Duration = Duration::from_secs(60);

impl Agreement {
    /// The agreement that took this one's place.
    pub fn replaced(&self) -> Option<&Replaced> {
        self.replaced.as_ref()
    }

    /// The agreement whose place this one took.
    pub fn replaces(&self) -> Option<Digest> {
        self.signed.document().proposal.replaces()
    }

    /// This agreement after `new` took its place. What both permit is what is
    /// still served for a moment; nothing where they have nothing in common.
    fn replaced_by(&self, new: &Self, replaced: Replaced) -> Self {
        Self {
            grace: self.terms.intersect(&new.terms),
            replaced: Some(replaced),
            ..self.clone()
        }
    }

    /// Whether the moment after the replacement lasts, in which it is served.
    pub(super) fn is_graced(&self, replaced: &Replaced, now: Timestamp) -> bool {
        let end = replaced.at.saturating_add(GRACE);
        self.side == Side::Provider && self.grace.is_some() && now < end
    }
}

impl Agreements {
    /// The agreement `old`, if one with `peer` about `product` in which this
    /// organization is `side` can take its place at `now`; else why not.
    ///
    /// spec/4-negotiation.md#N-100: nobody else's agreement is ended by what two sign.
    pub fn replaceable(
        &self,
        old: &Digest,
        (peer, side, product): (&OrgId, Side, &str),
        now: Timestamp,
    ) -> Result<Arc<Agreement>, &'static str> {
        let same = |a: &Arc<Agreement>| a.peer == *peer && a.side == side && a.product == product;
        let old = self.get(old).filter(same);
        let old = old.ok_or("it replaces no agreement of the two about this product")?;
        if old.revoked.is_some() {
            return Err("the agreement that it replaces was revoked");
        }
        if old.replaced.is_some() {
            return Err("the agreement that it replaces was replaced already");
        }
        if now >= old.terms.expires.saturating_add(RENEWABLE_FOR) {
            return Err("the agreement that it replaces ended more than 30 days ago");
        }
        Ok(old)
    }

    /// The agreements that nobody took back and none took the place of.
    pub fn running(&self) -> Vec<Arc<Agreement>> {
        let all = self.read();
        let running = all.values();
        let running = running.filter(|a| a.revoked.is_none() && a.replaced.is_none());
        running.cloned().collect()
    }

    /// Takes over an agreement that was just journalled. What it replaces, by
    /// the record that was journalled with it, ends in the same moment.
    pub fn add(&self, signed: SignedDocument, replaced: Option<Replaced>) {
        let Some(mut new) = Agreement::new(&self.own.org(), signed, None) else {
            return;
        };
        let mut cut = None;
        {
            let mut all = self.write();
            let old = new.replaces().and_then(|old| all.get(&old).cloned());
            if let Some(old) = old {
                new.void_with(&old);
                if let Some(replaced) = replaced {
                    let ended = old.replaced_by(&new, replaced);
                    cut = (!goes_on(&old, &new)).then(|| old.stop.clone());
                    all.insert(ended.id(), Arc::new(ended));
                }
            }
            all.insert(new.id(), Arc::new(new));
        }
        // spec/4-negotiation.md#N-101: not at once, which would break off what
        // was rightly asked for, but before long.
        if let Some(stop) = cut {
            tokio::spawn(async move {
                tokio::time::sleep(GRACE).await;
                stop.cancel();
            });
        }
    }
}

impl Agreement {
    /// spec/4-negotiation.md#N-102: what replaces a revoked agreement is revoked.
    fn void_with(&mut self, old: &Self) {
        if self.revoked.is_none() && old.revoked.is_some() {
            self.revoked.clone_from(&old.revoked);
            self.stop.cancel();
        }
    }
}

/// Lets nobody read on under what the agreement `revoked` took the place of,
/// and gives what stops the answers that do (`spec/4-negotiation.md#N-102`):
/// whoever takes the newer one back means the older one as well.
pub(super) fn end_grace(
    all: &mut BTreeMap<Digest, Arc<Agreement>>,
    revoked: &Digest,
) -> Vec<CancellationToken> {
    let mut cut = Vec::new();
    let mut newer = all.get(revoked).cloned();
    // A chain of digests has no circle.
    while let Some(older) = newer.and_then(|a| all.get(&a.replaces()?).cloned()) {
        let mut ended = Agreement::clone(&older);
        ended.grace = None;
        cut.push(ended.stop.clone());
        all.insert(ended.id(), Arc::new(ended));
        newer = Some(older);
    }
    cut
}

/// Whether answers that run under `old` may run on: `new` permits all of it.
fn goes_on(old: &Agreement, new: &Agreement) -> bool {
    let mut permitted = new.terms.clone();
    permitted.not_before = permitted.not_before.min(old.terms.not_before);
    old.terms.narrows(&permitted)
}

/// The agreements that were read from the journal, each with what follows from the others.
pub(super) fn settled(mut all: BTreeMap<Digest, Agreement>) -> BTreeMap<Digest, Arc<Agreement>> {
    settle(&mut all);
    let mut all: BTreeMap<_, _> = all.into_iter().map(|(id, a)| (id, Arc::new(a))).collect();
    let revoked = all.values().filter(|a| a.revoked.is_some());
    for id in revoked.map(|a| a.id()).collect::<Vec<_>>() {
        // Nothing runs yet that could be stopped.
        drop(end_grace(&mut all, &id));
    }
    all
}

fn settle(all: &mut BTreeMap<Digest, Agreement>) {
    let ended: Vec<_> = all
        .values()
        .filter_map(|a| Some((a.id(), a.replaced.clone()?)))
        .collect();
    for (id, replaced) in ended {
        if let (Some(old), Some(new)) = (all.get(&id), all.get(&replaced.by)) {
            let old = old.replaced_by(new, replaced);
            all.insert(id, old);
        }
    }
    // A chain is as long as there are agreements, at most.
    for _ in 0..all.len() {
        let void = |a: &Agreement| {
            let old = all.get(&a.replaces()?)?;
            (a.revoked.is_none() && old.revoked.is_some()).then(|| (a.id(), old.clone()))
        };
        let found: Vec<_> = all.values().filter_map(void).collect();
        if found.is_empty() {
            return;
        }
        for (id, old) in found {
            if let Some(new) = all.get_mut(&id) {
                new.void_with(&old);
            }
        }
    }
}

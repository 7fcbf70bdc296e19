//! A decision that must go on to hold while an answer streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use comity_identity::{Digest, Timestamp};

use super::active::Policies;
use super::asked::Asked;
use super::{CODE, Decision};
use crate::access::scope::OutOfScope;

/// A request that policy left as it is. [`Permitted::decide`] is the one
/// constructor.
#[derive(Debug)]
pub struct Permitted {
    policies: Arc<Policies>,
    asked: Asked,
    policy: Digest,
    judged: AtomicU64,
}

impl Permitted {
    /// Decides `asked`, which is asked at `now`.
    pub fn decide(
        policies: &Arc<Policies>,
        asked: Asked,
        now: Timestamp,
    ) -> Result<Self, OutOfScope> {
        // Read before the decision: a set that comes meanwhile is asked again.
        let judged = mark(policies, now);
        let decision = policies.decide(&asked);
        if !decision.allows() {
            return Err(refused(policies, asked, &decision));
        }
        Ok(Self {
            policies: Arc::clone(policies),
            asked,
            policy: decision.policy,
            judged: AtomicU64::new(judged),
        })
    }

    /// The digest of the set that decided.
    pub fn policy(&self) -> Digest {
        self.policy
    }

    /// Whether it still is. Decides again only when another set came into force
    /// or another hour began, the one fact that changes while an answer streams
    /// (`spec/7-policy.md#R-10`); otherwise it is one comparison.
    pub fn check(&self, now: Timestamp) -> Result<(), &'static str> {
        let mark = mark(&self.policies, now);
        if self.judged.load(Ordering::Acquire) == mark {
            return Ok(());
        }
        let mut asked = self.asked.clone();
        asked.context.set_time(now);
        let decision = self.policies.decide(&asked);
        if !decision.allows() {
            let why = refused(&self.policies, asked, &decision);
            tracing::info!(reason = why.reason, "a running answer is refused by policy");
            return Err(CODE);
        }
        self.judged.store(mark, Ordering::Release);
        Ok(())
    }
}

/// The refusal of a request by policy: the code for the caller, and the ids and
/// facts for the owner (`spec/7-policy.md#R-2`).
pub(super) fn refused(policies: &Policies, asked: Asked, decision: &Decision) -> OutOfScope {
    let action = asked.action.name();
    let facts = policies.explain(asked).facts;
    let facts: Vec<String> = facts
        .iter()
        .map(|f| format!("{} = {}", f.fact, f.value.as_deref().unwrap_or("absent")))
        .collect();
    OutOfScope {
        code: CODE,
        reason: format!("{action}: {}; {}", decision.reason(), facts.join(", ")),
    }
}

/// What a decision depends on beside what was asked: the set, and the hour.
fn mark(policies: &Policies, now: Timestamp) -> u64 {
    (policies.epoch() << 32) | ((now.as_secs() / 3600) & u64::from(u32::MAX))
}

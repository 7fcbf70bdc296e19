//! Tables that are shown and not opened: a name that is gone would look like a
//! slip of the pen.

use std::sync::Arc;

use async_trait::async_trait;
use comity_identity::OrgId;

use crate::access::policy::{CODE, Policies};
use crate::access::refusals::Refusals;
use crate::admin::Metrics;
use crate::query::{self, Opened, QueryError, Question};

/// A partner's table that no agreement opens: it can be found, not read.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) alias: String,
    pub(super) code: &'static str,
}

#[async_trait]
impl query::Partner for Closed {
    fn name(&self) -> &str {
        &self.alias
    }

    async fn open(&self, _: Question) -> Result<Opened, QueryError> {
        Err(QueryError::partner_refused(&self.alias, self.code))
    }
}

/// An own table that policy closes to the member.
#[derive(Debug)]
pub(super) struct ClosedByPolicy {
    pub(super) alias: String,
    pub(super) reason: String,
    pub(super) refuses: ByPolicy,
}

#[async_trait]
impl query::Partner for ClosedByPolicy {
    fn name(&self) -> &str {
        &self.alias
    }

    async fn open(&self, _: Question) -> Result<Opened, QueryError> {
        Err(self.refuses.because(&self.reason))
    }
}

/// What is done when policy refuses a member something.
#[derive(Clone, Debug)]
pub(super) struct ByPolicy {
    pub(super) own: OrgId,
    pub(super) trace: String,
    pub(super) policies: Arc<Policies>,
    pub(super) metrics: Metrics,
    pub(super) refusals: Arc<Refusals>,
}

impl ByPolicy {
    /// Counts it, writes it down, and tells the member that a policy refuses:
    /// not which, for the reason is the owner's.
    pub(super) fn because(&self, reason: &str) -> QueryError {
        self.metrics.refused(CODE);
        let policy = self.policies.digest();
        self.refusals
            .by_policy(self.own, &self.trace, reason, policy);
        QueryError::policy()
    }
}

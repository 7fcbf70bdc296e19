//! Tables that are shown and not opened: a name that is gone would look like a
//! slip of the pen.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;

use crate::access::policy::CODE;
use crate::admin::Metrics;
use crate::query::{self, QueryError};

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

    async fn open(&self, _: String, _: SchemaRef) -> Result<SendableRecordBatchStream, QueryError> {
        Err(QueryError::partner_refused(&self.alias, self.code))
    }
}

/// An own table that policy closes to the member.
#[derive(Debug)]
pub(super) struct ClosedByPolicy {
    pub(super) alias: String,
    pub(super) reason: String,
    pub(super) trace: String,
    pub(super) metrics: Metrics,
}

#[async_trait]
impl query::Partner for ClosedByPolicy {
    fn name(&self) -> &str {
        &self.alias
    }

    async fn open(&self, _: String, _: SchemaRef) -> Result<SendableRecordBatchStream, QueryError> {
        Err(closed_by_policy(&self.reason, &self.trace, &self.metrics))
    }
}

/// The reason is the owner's: a member may be told that a policy refuses, and not which.
pub(super) fn closed_by_policy(reason: &str, trace: &str, metrics: &Metrics) -> QueryError {
    tracing::info!(trace, reason, "refused by policy");
    metrics.refused(CODE);
    QueryError::policy()
}

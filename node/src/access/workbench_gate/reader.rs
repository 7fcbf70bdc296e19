//! A partner's tables as an agreement opens them to one member.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use comity_identity::Digest;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::closed::ByPolicy;
use super::{Membership, Reach};
use crate::access::agreements::Agreement;
use crate::access::policy::{Asked as AskedOfPolicy, Permitted};
use crate::clock;
use crate::flight::{Asked, Taker};
use crate::ledger::{KeysTold, Ledger, Record, ToldKeys};
use crate::query::{self, Opened, QueryError, Question};

/// Reads one partner's tables for one member under one agreement.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) alias: String,
    pub(super) agreement: Arc<Agreement>,
    pub(super) member: Arc<Membership>,
    /// None where several are agreed and none is stated.
    pub(super) purpose: Option<String>,
    pub(super) trace: String,
    pub(super) ledger: Arc<Ledger>,
    pub(super) reach: Arc<Reach>,
    pub(super) refuses: ByPolicy,
    pub(super) asked: AskedOfPolicy,
    /// The roles that the federation with the partner names.
    pub(super) negotiated: Vec<String>,
    /// The column of the promised freshness, where the agreement shows it.
    pub(super) freshness: Option<String>,
}

#[async_trait]
impl query::Partner for Reader {
    fn name(&self) -> &str {
        &self.alias
    }

    fn scope(&self) -> Option<String> {
        Some(self.agreement.id().to_string())
    }

    fn clauses(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, table) in &self.agreement.terms().tables {
            let only = table.filter.0.iter();
            lines.extend(only.map(|predicate| format!("{name}: only rows where {predicate}")));
            let masks = table.masks.iter();
            lines.extend(masks.map(|(column, mask)| format!("{name}.{column}: masked, {mask:?}")));
            let groups = table.protection.iter();
            lines.extend(groups.map(|protection| format!("{name}: {protection}")));
        }
        lines.extend(self.purpose.iter().map(|purpose| format!("for {purpose}")));
        lines
    }

    async fn telling(&self, told: &[query::KeysTold]) -> Result<(), QueryError> {
        let org = self.agreement.peer();
        let keys = told.iter().map(|told| ToldKeys {
            of: told.of.clone(),
            form: told.form,
            count: told.count,
        });
        let record = Record::KeysTold(KeysTold {
            trace: self.trace.clone(),
            org,
            agreement: self.agreement.id(),
            subject: self.reach.grants.pseudonym(self.member.member.name(), &org),
            keys: keys.collect(),
            at: clock::now(),
        });
        let written = self.ledger.commit(&record).await;
        written
            .map(drop)
            .map_err(|e| QueryError::internal(e.to_string()))
    }

    async fn open(&self, question: Question) -> Result<Opened, QueryError> {
        let org = self.agreement.peer();
        let now = clock::now();
        let Some(purpose) = self.purpose.as_deref() else {
            return Err(QueryError::partner_refused(&self.alias, "purpose"));
        };
        let permitted = Permitted::decide(&self.refuses.policies, self.asked.clone(), now)
            .map_err(|why| self.refuses.because(&why.reason))?;
        let grant = self
            .reach
            .grants
            .for_member(
                &self.member.member,
                (&self.agreement, &self.negotiated),
                purpose,
                &|| self.member.stands(),
                now,
            )
            .map_err(|e| QueryError::partner_unavailable(&self.alias, e.to_string()))?;
        let asked = Asked {
            agreement: self.agreement.id(),
            grant,
            purpose: self.purpose.clone(),
            trace: self.trace.clone(),
            sql: question.sql,
            partition: question.partition,
        };
        let last = asked.grant.last().map_or(&[][..], |link| link.as_bytes());
        let of = (
            asked.agreement,
            Digest::of(last),
            Digest::of(asked.sql.as_bytes()),
        );
        let subject = self.reach.grants.pseudonym(self.member.member.name(), &org);
        // Before it is asked: a receipt may come before the answer is read.
        let taker = self.reach.reading.begin(&asked.trace, org, of, subject);
        let taker: Arc<dyn Taker> = Arc::new(taker);
        let client = self.reach.client(org, &self.alias)?;
        let began = Instant::now();
        let answer = client
            .query(&self.reach.addresses(&org), &asked, &taker)
            .await;
        let stop = self.agreement.stop().clone();
        let mut snapshot = None;
        let rows = answer.map(|answer| {
            snapshot = answer.snapshot;
            until_revoked(&self.alias, stop, answer.rows)
        });
        let rows = rows.map_err(QueryError::from);
        let (product, fresh) = (self.agreement.product(), self.freshness.as_deref());
        let observed = &self.reach.observed;
        let rows = observed.watch(org, product, fresh, began, rows)?;
        Ok(Opened {
            rows: while_permitted(rows, permitted),
            snapshot,
        })
    }
}

/// `rows` until policy takes the right to ask for them away
/// (`spec/7-policy.md#R-10`).
fn while_permitted(
    rows: SendableRecordBatchStream,
    permitted: Permitted,
) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let rows = rows.map(move |batch| {
        let denied = |_| DataFusionError::External(Box::new(QueryError::policy()));
        permitted.check(clock::now()).map_err(denied)?;
        batch
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// `rows` until `stop`: what a partner still sends under an agreement that was
/// taken back is not shown, whether or not the partner has heard of it
/// (`spec/5-data-plane.md#D-127`).
fn until_revoked(
    alias: &str,
    stop: CancellationToken,
    rows: SendableRecordBatchStream,
) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let alias = alias.to_owned();
    let stopped = Box::pin(stop.cancelled_owned());
    let live = futures::stream::unfold(Some((rows, stopped)), move |live| {
        let alias = alias.clone();
        async move {
            let (mut rows, mut stopped) = live?;
            tokio::select! {
                biased;
                () = &mut stopped => {
                    let error = QueryError::partner_refused(&alias, "revoked");
                    Some((Err(DataFusionError::External(Box::new(error))), None))
                }
                batch = rows.next() => batch.map(|batch| (batch, Some((rows, stopped)))),
            }
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, live))
}

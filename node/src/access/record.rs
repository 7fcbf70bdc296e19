//! What is served and refused, written down.

use std::sync::Arc;

use async_trait::async_trait;
use comity_identity::{Digest, OrgId};

use super::refusals::Refusals;
use crate::admin::{Listener, Metrics};
use crate::clock;
use crate::flight::{Denied, Moved, Recorder, Served};
use crate::ledger::{self, Delivery, Ledger, Record, Reserved};
use crate::query::Salts;
use crate::receipts::Given;

/// Writes the deliveries of one session to the journal.
#[derive(Clone, Debug)]
pub(super) struct Audit {
    pub(super) ledger: Arc<Ledger>,
    /// Where refusals are written; those of members are counted only.
    pub(super) refusals: Option<Arc<Refusals>>,
    pub(super) metrics: Metrics,
    pub(super) listener: Listener,
    pub(super) trace: String,
    pub(super) org: OrgId,
    pub(super) subject: String,
    pub(super) agreement: Option<Digest>,
    pub(super) purpose: Option<String>,
    /// The policies that decided.
    pub(super) policy: Digest,
    /// The digest of the last link of the grant chain, when a peer is served.
    pub(super) grant: Option<Digest>,
    /// The digest of its first link, when its holder came by itself.
    pub(super) direct: Option<Digest>,
    /// The links of it that have a row budget.
    pub(super) budgets: Vec<Digest>,
    /// What names the states of sources, when a peer is served.
    pub(super) salts: Option<Salts>,
    /// Who states the delivery to the peer.
    pub(super) given: Option<Arc<Given>>,
}

impl Audit {
    fn named(&self, served: &Served) -> Option<String> {
        let salts = self.salts.as_ref()?;
        let names = served.snapshots.names()?;
        Some(salts.snapshot_name(&names))
    }

    fn delivery(&self, served: &Served) -> Delivery {
        Delivery {
            trace: self.trace.clone(),
            org: self.org,
            subject: self.subject.clone(),
            agreement: self.agreement,
            purpose: self.purpose.clone(),
            query: served.query,
            plan: Some(served.plan),
            snapshot: None,
            grant: self.grant,
            direct: self.direct,
            budgets: self.budgets.clone(),
            reserved: None,
            rows: None,
            bytes: None,
            content: None,
            ended: None,
            policy: Some(self.policy),
            at: clock::now(),
        }
    }
}

#[async_trait]
impl Recorder for Audit {
    /// Fails closed: what cannot be logged is not served (`spec/5-data-plane.md#D-110`).
    async fn started(&self, served: &Served, reserved: Option<Reserved>) -> Result<(), Denied> {
        let record = Record::Delivery(Delivery {
            reserved,
            ..self.delivery(served)
        });
        self.ledger.commit(&record).await.map(drop).map_err(|error| {
            tracing::error!(%error, trace = self.trace, "a delivery cannot be logged, so it is refused");
            Denied::new("unavailable", "the node cannot log this now; ask later", &self.trace)
        })
    }

    fn refused(&self, code: &'static str, why: &str) {
        self.metrics.refused(code);
        if let Some(refusals) = &self.refusals {
            refusals.write(ledger::Refused {
                trace: self.trace.clone(),
                org: self.org,
                code: code.to_owned(),
                reason: why.to_owned(),
                policy: Some(self.policy),
                at: clock::now(),
            });
        }
    }

    fn snapshot(&self, served: &Served) -> Option<String> {
        match self.salts {
            Some(_) => self.named(served),
            // Members see times and counts of files neither, but need not be kept
            // from comparing what they read with what others of theirs do.
            None => Some(Digest::of(served.snapshots.names()?.as_bytes()).to_string()),
        }
    }

    fn ended(&self, served: &Served, moved: Moved, code: Option<&'static str>) {
        let outcome = code.unwrap_or("ok");
        self.metrics
            .query(self.listener, outcome, moved.rows, moved.bytes);
        let delivery = Delivery {
            rows: Some(moved.rows),
            bytes: Some(moved.bytes),
            content: moved.content.filter(|_| self.agreement.is_some()),
            ended: code.map(str::to_owned),
            snapshot: self.named(served),
            ..self.delivery(served)
        };
        let (ledger, given) = (Arc::clone(&self.ledger), self.given.clone());
        // Called when a stream is dropped, where nothing can be awaited.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = ledger.commit(&Record::Delivery(delivery.clone())).await {
                tracing::error!(%error, "the end of a delivery could not be logged");
            } else if let Some(given) = given {
                given.delivered(&delivery);
            }
        });
    }
}

/// Sixteen random hex digits that the logs of both nodes will have.
pub(crate) fn trace() -> String {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        return "0".repeat(16);
    }
    data_encoding::HEXLOWER.encode(&bytes)
}

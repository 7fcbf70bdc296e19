//! What is served and refused, written down.

use std::sync::Arc;

use async_trait::async_trait;
use comity_identity::{Digest, OrgId};

use crate::admin::{Listener, Metrics};
use crate::clock;
use crate::flight::{Denied, Recorder};
use crate::ledger::{self, Delivery, Ledger, Record};

/// Writes the deliveries of one session to the journal.
#[derive(Clone, Debug)]
pub(super) struct Audit {
    pub(super) ledger: Arc<Ledger>,
    pub(super) metrics: Metrics,
    pub(super) listener: Listener,
    pub(super) trace: String,
    pub(super) org: OrgId,
    pub(super) subject: String,
    pub(super) agreement: Option<Digest>,
    pub(super) purpose: Option<String>,
}

impl Audit {
    fn delivery(&self, query: Digest) -> Delivery {
        Delivery {
            trace: self.trace.clone(),
            org: self.org,
            subject: self.subject.clone(),
            agreement: self.agreement,
            purpose: self.purpose.clone(),
            query,
            rows: None,
            bytes: None,
            ended: None,
            at: clock::now(),
        }
    }
}

#[async_trait]
impl Recorder for Audit {
    /// Fails closed: what cannot be logged is not served (`spec/5-data-plane.md#D-110`).
    async fn started(&self, query: Digest) -> Result<(), Denied> {
        let record = Record::Delivery(self.delivery(query));
        self.ledger.commit(&record).await.map(drop).map_err(|error| {
            tracing::error!(%error, trace = self.trace, "a delivery cannot be logged, so it is refused");
            Denied::new("unavailable", "the node cannot log this now; ask later", &self.trace)
        })
    }

    fn ended(&self, query: Digest, rows: u64, bytes: u64, code: Option<&'static str>) {
        self.metrics
            .query(self.listener, code.unwrap_or("ok"), rows, bytes);
        let delivery = Delivery {
            rows: Some(rows),
            bytes: Some(bytes),
            ended: code.map(str::to_owned),
            ..self.delivery(query)
        };
        let ledger = Arc::clone(&self.ledger);
        // Called when a stream is dropped, where nothing can be awaited.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = ledger.commit(&Record::Delivery(delivery)).await {
                tracing::error!(%error, "the end of a delivery could not be logged");
            }
        });
    }
}

/// Writes a refusal down, in the background: a caller must not be able to slow
/// the node by being refused.
pub(super) fn refused(ledger: &Arc<Ledger>, refusal: ledger::Refused) {
    tracing::info!(
        trace = refusal.trace, org = %refusal.org, code = refusal.code, reason = refusal.reason,
        "refused"
    );
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    let ledger = Arc::clone(ledger);
    runtime.spawn(async move {
        if let Err(error) = ledger.commit(&Record::Refused(refusal)).await {
            tracing::error!(%error, "a refusal could not be logged");
        }
    });
}

/// Sixteen random hex digits that the logs of both nodes will have.
pub(crate) fn trace() -> String {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        return "0".repeat(16);
    }
    data_encoding::HEXLOWER.encode(&bytes)
}

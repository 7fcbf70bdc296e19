//! What is served and refused, written down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use comity_identity::{Digest, OrgId, Timestamp};

use crate::admin::{Listener, Metrics};
use crate::clock;
use crate::flight::{Denied, Moved, Recorder};
use crate::ledger::{self, Delivery, Ledger, Record};
use crate::receipts::Given;

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
    /// The digest of the last link of the grant chain, when a peer is served.
    pub(super) grant: Option<Digest>,
    /// Who states the delivery to the peer.
    pub(super) given: Option<Arc<Given>>,
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
            grant: self.grant,
            rows: None,
            bytes: None,
            content: None,
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

    fn ended(&self, query: Digest, moved: Moved, code: Option<&'static str>) {
        let outcome = code.unwrap_or("ok");
        self.metrics
            .query(self.listener, outcome, moved.rows, moved.bytes);
        let delivery = Delivery {
            rows: Some(moved.rows),
            bytes: Some(moved.bytes),
            content: moved.content.filter(|_| self.agreement.is_some()),
            ended: code.map(str::to_owned),
            ..self.delivery(query)
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

/// The most refusals of one organization that are written down in a minute.
/// The journal is never pruned: whoever is refused in a loop must not fill the
/// disk. The log and the counters show every one.
const MAX_REFUSALS_A_MINUTE: u32 = 60;

/// The most characters of a refusal's reason, which may hold a caller's text.
const MAX_REASON_CHARS: usize = 300;

/// Writes refusals down, in the background: a caller must not be able to slow
/// the node by being refused.
#[derive(Debug)]
pub struct Refusals {
    ledger: Arc<Ledger>,
    /// By organization: the minute, and how many were written in it.
    written: Mutex<HashMap<OrgId, (u64, u32)>>,
}

impl Refusals {
    /// Refusals kept in `ledger`.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Self {
            ledger,
            written: Mutex::default(),
        }
    }

    pub(super) fn write(&self, mut refusal: ledger::Refused) {
        tracing::info!(
            trace = refusal.trace, org = %refusal.org, code = refusal.code, reason = refusal.reason,
            "refused"
        );
        if !self.may_write(refusal.org, refusal.at) {
            return;
        }
        refusal.reason = refusal.reason.chars().take(MAX_REASON_CHARS).collect();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let ledger = Arc::clone(&self.ledger);
        runtime.spawn(async move {
            if let Err(error) = ledger.commit(&Record::Refused(refusal)).await {
                tracing::error!(%error, "a refusal could not be logged");
            }
        });
    }

    /// Organizations are those of the keyring, so the map is bounded by it.
    fn may_write(&self, org: OrgId, at: Timestamp) -> bool {
        let minute = at.as_secs() / 60;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, count) = written.entry(org).or_default();
        if *of != minute {
            (*of, *count) = (minute, 0);
        }
        *count += 1;
        *count <= MAX_REFUSALS_A_MINUTE
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn one_organizations_refusals_fill_its_minute_and_nobody_elses() {
        let (own, dir) = fixture::own("weather-service");
        let other = OrgId::from_inception(Digest::of(b"another"));
        let home = crate::home::Home::at(dir.path().join("log"));
        std::fs::create_dir(home.path()).unwrap();
        let refusals = Refusals::new(Arc::new(Ledger::create(&home.journal()).unwrap()));
        let minute = Timestamp::from_secs(1_795_000_020);
        for _ in 0..MAX_REFUSALS_A_MINUTE {
            assert!(refusals.may_write(own.org(), minute));
        }
        let end = Timestamp::from_secs(minute.as_secs() + 59);
        assert!(!refusals.may_write(own.org(), end));
        assert!(refusals.may_write(other, end));
        let next = Timestamp::from_secs(minute.as_secs() + 60);
        assert!(refusals.may_write(own.org(), next));
    }
}

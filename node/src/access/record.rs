//! What is served and refused, written down.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use comity_identity::{Digest, OrgId, Timestamp};

use crate::admin::{Listener, Metrics};
use crate::clock;
use crate::flight::{Denied, Moved, Recorder};
use crate::ledger::{self, Delivery, Ledger, Record, RefusedMore};
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
            direct: self.direct,
            budgets: self.budgets.clone(),
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
    async fn started(&self, query: Digest) -> Result<(), Denied> {
        let record = Record::Delivery(self.delivery(query));
        self.ledger.commit(&record).await.map(drop).map_err(|error| {
            tracing::error!(%error, trace = self.trace, "a delivery cannot be logged, so it is refused");
            Denied::new("unavailable", "the node cannot log this now; ask later", &self.trace)
        })
    }

    fn refused(&self, code: &'static str) {
        self.metrics.refused(code);
        if let Some(refusals) = &self.refusals {
            refusals.write(ledger::Refused {
                trace: self.trace.clone(),
                org: self.org,
                code: code.to_owned(),
                reason: "more than the agreement permits".to_owned(),
                policy: Some(self.policy),
                at: clock::now(),
            });
        }
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
/// disk. The others of the minute are written as one count
/// (`spec/6-evidence.md#V-4`); the log shows every one.
const MAX_REFUSALS_A_MINUTE: u32 = 60;

/// The most characters of a refusal's reason, which may hold a caller's text.
const MAX_REASON_CHARS: usize = 300;

/// Writes refusals down, in the background: a caller must not be able to slow
/// the node by being refused.
#[derive(Debug)]
pub struct Refusals {
    ledger: Arc<Ledger>,
    minutes: Arc<Mutex<Minutes>>,
}

/// What was refused to each organization in its newest minute.
type Minutes = HashMap<OrgId, Minute>;

/// The refusals of one organization in one minute.
#[derive(Debug, Default)]
struct Minute {
    /// Minutes since 1970.
    number: u64,
    /// How many got a record of their own.
    written: u32,
    /// How many did not, by code.
    more: BTreeMap<String, u64>,
}

impl Minute {
    /// The record of those that have none, if there are any.
    fn take_rest(&mut self, org: OrgId) -> Option<RefusedMore> {
        let codes = std::mem::take(&mut self.more);
        (!codes.is_empty()).then(|| RefusedMore {
            org,
            count: codes.values().sum(),
            codes,
            at: Timestamp::from_secs(self.number * SECONDS),
        })
    }
}

/// Seconds of a minute.
const SECONDS: u64 = 60;

/// Whether a refusal gets a record of its own.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Yes; and what an earlier minute left over is written too.
    Own(Option<RefusedMore>),
    /// No, it is counted: the first one of the minute for which that is so.
    FirstCounted,
    /// No, it is counted.
    Counted,
}

impl Refusals {
    /// Refusals kept in `ledger`.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Self {
            ledger,
            minutes: Arc::default(),
        }
    }

    pub(super) fn write(&self, mut refusal: ledger::Refused) {
        tracing::info!(
            trace = refusal.trace, org = %refusal.org, code = refusal.code, reason = refusal.reason,
            "refused"
        );
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let ledger = Arc::clone(&self.ledger);
        let rest = match self.place(refusal.org, &refusal.code, refusal.at) {
            Place::Own(rest) => rest,
            Place::Counted => return,
            Place::FirstCounted => {
                runtime.spawn(write_rest(Arc::clone(&self.minutes), ledger, refusal.org));
                return;
            }
        };
        refusal.reason = refusal.reason.chars().take(MAX_REASON_CHARS).collect();
        let mut records: Vec<Record> = rest.map(Record::RefusedMore).into_iter().collect();
        records.push(Record::Refused(refusal));
        runtime.spawn(async move {
            if let Err(error) = ledger.commit_all(&records).await {
                tracing::error!(%error, "a refusal could not be logged");
            }
        });
    }

    /// Writes what the present minutes have counted so far: a node that stops
    /// leaves no refusal uncounted.
    pub async fn write_counts(&self) {
        let rest: Vec<Record> = lock(&self.minutes)
            .iter_mut()
            .filter_map(|(org, minute)| minute.take_rest(*org))
            .map(Record::RefusedMore)
            .collect();
        if rest.is_empty() {
            return;
        }
        if let Err(error) = self.ledger.commit_all(&rest).await {
            tracing::error!(%error, "the number of refusals could not be logged");
        }
    }

    /// Organizations are those of the keyring, so the map is bounded by it;
    /// codes are those of the specification.
    fn place(&self, org: OrgId, code: &str, at: Timestamp) -> Place {
        let number = at.as_secs() / SECONDS;
        let mut minutes = lock(&self.minutes);
        let minute = minutes.entry(org).or_default();
        let mut rest = None;
        if minute.number != number {
            rest = minute.take_rest(org);
            (minute.number, minute.written) = (number, 0);
        }
        if minute.written < MAX_REFUSALS_A_MINUTE {
            minute.written += 1;
            return Place::Own(rest);
        }
        let first = minute.more.is_empty();
        *minute.more.entry(code.to_owned()).or_default() += 1;
        if first {
            Place::FirstCounted
        } else {
            Place::Counted
        }
    }
}

/// Writes the count of `org` when the minute is over: whoever was refused in a
/// loop may never come back to cause it.
async fn write_rest(minutes: Arc<Mutex<Minutes>>, ledger: Arc<Ledger>, org: OrgId) {
    tokio::time::sleep(std::time::Duration::from_secs(SECONDS)).await;
    let rest = lock(&minutes)
        .get_mut(&org)
        .and_then(|minute| minute.take_rest(org));
    let Some(rest) = rest else {
        return;
    };
    if let Err(error) = ledger.commit(&Record::RefusedMore(rest)).await {
        tracing::error!(%error, "the number of refusals could not be logged");
    }
}

fn lock(minutes: &Mutex<Minutes>) -> std::sync::MutexGuard<'_, Minutes> {
    minutes.lock().unwrap_or_else(PoisonError::into_inner)
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
        let place = |org, code, at| refusals.place(org, code, at);
        for _ in 0..MAX_REFUSALS_A_MINUTE {
            assert_eq!(place(own.org(), "no-grant", minute), Place::Own(None));
        }
        let end = Timestamp::from_secs(minute.as_secs() + 59);
        assert_eq!(place(own.org(), "no-grant", end), Place::FirstCounted);
        assert_eq!(place(own.org(), "no-grant", end), Place::Counted);
        assert_eq!(place(own.org(), "busy", end), Place::Counted);
        assert_eq!(place(other, "no-grant", end), Place::Own(None));
        // None disappears: the next minute begins with the count of this one.
        let next = Timestamp::from_secs(minute.as_secs() + 60);
        let Place::Own(Some(rest)) = place(own.org(), "no-grant", next) else {
            panic!("the refusals above the limit are not counted");
        };
        assert_eq!((rest.org, rest.count, rest.at), (own.org(), 3, minute));
        assert_eq!(rest.codes["no-grant"], 2);
        assert_eq!(place(own.org(), "no-grant", next), Place::Own(None));
    }

    #[tokio::test]
    async fn a_node_that_stops_writes_the_counts_of_its_last_minute() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::create(&dir.path().join("journal")).unwrap());
        let refusals = Refusals::new(Arc::clone(&ledger));
        let org = OrgId::from_inception(Digest::of(b"another"));
        let at = Timestamp::from_secs(1_795_000_020);
        for _ in 0..=MAX_REFUSALS_A_MINUTE {
            refusals.place(org, "no-grant", at);
        }
        refusals.write_counts().await;
        refusals.write_counts().await;
        assert_eq!(ledger.root().0, 1);
    }
}

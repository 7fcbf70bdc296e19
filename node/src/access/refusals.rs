//! Refusals, written down without letting anybody fill the journal with them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use comity_identity::{Digest, OrgId, Timestamp};

use super::policy::CODE;
use super::record::trace;
use crate::clock;
use crate::ledger::{self, Ledger, Record, RefusedMore};

/// The most refusals of one organization that are written down in a minute.
/// The journal is never pruned: whoever is refused in a loop must not fill the
/// disk. The others of the minute are written as one count
/// (`spec/6-evidence.md#V-4`); the log shows every one.
const MAX_REFUSALS_A_MINUTE: u32 = 60;

/// The most characters of a refusal's reason, which may hold a caller's text.
const MAX_REASON_CHARS: usize = 300;

/// How many repeated refusals are remembered. Beyond it some are written twice.
const MAX_REPEATED: usize = 4096;

/// Writes refusals down, in the background: a caller must not be able to slow
/// the node by being refused.
#[derive(Debug)]
pub struct Refusals {
    ledger: Arc<Ledger>,
    minutes: Arc<Mutex<Minutes>>,
    /// By which policies what is asked again by itself was refused last.
    repeated: Mutex<HashMap<(OrgId, String), Digest>>,
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
            repeated: Mutex::default(),
        }
    }

    /// Writes down that a policy of the set `policy` refused something to `org`
    /// (`spec/7-policy.md#R-6`); for this organization's own members that is
    /// itself.
    pub(crate) fn by_policy(&self, org: OrgId, trace: &str, reason: &str, policy: Digest) {
        self.write(ledger::Refused {
            trace: trace.to_owned(),
            org,
            code: CODE.to_owned(),
            reason: reason.to_owned(),
            policy: Some(policy),
            at: clock::now(),
        });
    }

    /// [`Refusals::by_policy`] for `what` that nodes ask again by themselves,
    /// once for each set of policies: the journal is never pruned.
    pub(crate) fn once_by_policy(&self, org: OrgId, what: String, reason: &str, policy: Digest) {
        let mut repeated = lock(&self.repeated);
        if repeated.len() >= MAX_REPEATED {
            repeated.clear();
        }
        if repeated.insert((org, what), policy) != Some(policy) {
            drop(repeated);
            self.by_policy(org, &trace(), reason, policy);
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    async fn what_is_refused_again_and_again_is_written_once_for_each_set_of_policies() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::create(&dir.path().join("journal")).unwrap());
        let refusals = Refusals::new(Arc::clone(&ledger));
        let org = OrgId::from_inception(Digest::of(b"another"));
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        for (what, set) in [("a", one), ("a", one), ("b", one), ("a", two), ("a", two)] {
            refusals.once_by_policy(org, what.to_owned(), "a reason", set);
        }
        let all_written = async {
            while ledger.root().0 < 3 {
                tokio::task::yield_now().await;
            }
        };
        let limit = std::time::Duration::from_secs(10);
        tokio::time::timeout(limit, all_written).await.unwrap();
        refusals.by_policy(org, "0123456789abcdef", "a reason", two);
        let one_more = async {
            while ledger.root().0 < 4 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(limit, one_more).await.unwrap();
        assert_eq!(ledger.root().0, 4);
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

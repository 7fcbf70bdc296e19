//! How much was read under each agreement, against what its terms permit (A22).
//!
//! One account an agreement, whoever reads: all nodes, members, streams and
//! narrowed grants of the consumer share it. Rows and bytes are taken from the
//! account before they leave, batch by batch, so that no number of parallel
//! answers delivers more than the terms permit.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use comity_identity::{Digest, Timestamp};
use comity_protocol::terms::{Limits, Measure, Window};

use super::agreements::Agreement;
use crate::clock;
use crate::flight::{Allowance, OverLimit};
use crate::ledger::{self, Delivery, Ledger};

/// The accounts of all agreements that are read under.
#[derive(Debug, Default)]
pub struct Quotas(Mutex<HashMap<Digest, Arc<Mutex<Account>>>>);

/// What was read under one agreement.
#[derive(Debug, Default)]
struct Account {
    running: u64,
    /// By window: its number since the Unix epoch, and what was taken in it.
    taken: BTreeMap<Window, (u64, Taken)>,
}

/// Queries, rows and bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Taken([u64; 3]);

impl Quotas {
    /// The accounts as the journal left them: a restart gives nobody a second
    /// day's worth.
    ///
    /// An answer that the node's own end broke off has no number of rows in the
    /// journal; it counts as a query.
    pub fn load(ledger: &Ledger, now: Timestamp) -> Result<Self, ledger::Error> {
        let quotas = Self::default();
        let begin = number(Window::Day, now.as_secs()) * Window::Day.seconds();
        ledger.deliveries(|delivery| {
            if delivery.at.as_secs() >= begin {
                quotas.remember(&delivery);
            }
        })?;
        Ok(quotas)
    }

    fn remember(&self, delivery: &Delivery) {
        let Some(agreement) = delivery.agreement else {
            return;
        };
        let account = self.account(&agreement);
        let mut account = lock(&account);
        let taken = match (delivery.rows, delivery.bytes) {
            (Some(rows), bytes) => Taken([0, rows, bytes.unwrap_or(0)]),
            (None, _) => Taken([1, 0, 0]),
        };
        account.add(taken, delivery.at.as_secs());
    }

    /// What may still be read under `agreement`, as a query asks for it.
    pub(super) fn allowance(&self, agreement: &Agreement, max_rows: Option<u64>) -> Arc<Metering> {
        let limits = agreement.terms().limits.clone();
        let rows = [limits.max_rows_per_query, max_rows];
        Arc::new(Metering {
            max_rows: rows.into_iter().flatten().min(),
            limits,
            account: self.account(&agreement.id()),
        })
    }

    fn account(&self, agreement: &Digest) -> Arc<Mutex<Account>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(*agreement).or_default())
    }
}

/// What one request may still read.
#[derive(Debug)]
pub(super) struct Metering {
    limits: Limits,
    max_rows: Option<u64>,
    account: Arc<Mutex<Account>>,
}

impl Allowance for Metering {
    fn begin(&self) -> Result<(), OverLimit> {
        let now = clock::now().as_secs();
        let mut account = lock(&self.account);
        account.fits(Taken([1, 0, 0]), &self.limits, now)?;
        if self
            .limits
            .max_concurrent
            .is_some_and(|most| account.running >= most)
        {
            return Err(OverLimit {
                code: "quota",
                retry_after: Some(1),
            });
        }
        account.running += 1;
        account.add(Taken([1, 0, 0]), now);
        Ok(())
    }

    fn take(&self, before: (u64, u64), rows: u64, bytes: u64) -> Result<(), OverLimit> {
        let (all_rows, all_bytes) = (before.0 + rows, before.1 + bytes);
        let over = |limit: Option<u64>, value| limit.is_some_and(|most| value > most);
        let once = |code| OverLimit {
            code,
            retry_after: None,
        };
        if over(self.max_rows, all_rows) {
            return Err(once("too-many-rows"));
        }
        if over(self.limits.max_bytes_per_query, all_bytes) {
            return Err(once("too-many-bytes"));
        }
        let now = clock::now().as_secs();
        let mut account = lock(&self.account);
        let taken = Taken([0, rows, bytes]);
        account.fits(taken, &self.limits, now)?;
        account.add(taken, now);
        Ok(())
    }

    fn end(&self) {
        let mut account = lock(&self.account);
        account.running = account.running.saturating_sub(1);
    }
}

impl Account {
    /// Whether `more` may be taken at `now`, in seconds since the Unix epoch
    /// (`spec/5-data-plane.md#D-130`, `#D-131`).
    fn fits(&self, more: Taken, limits: &Limits, now: u64) -> Result<(), OverLimit> {
        if !limits.open_at(now) {
            let hour = Window::Hour.seconds();
            let next = (1..=7 * 24).map(|n| (now / hour + n) * hour);
            let opens = next.into_iter().find(|at| limits.open_at(*at));
            return Err(OverLimit {
                code: "closed",
                retry_after: opens.map(|at| at - now),
            });
        }
        for (window, quota) in &limits.per {
            let taken = self.in_window(*window, now);
            for (i, measure) in Measure::ALL.into_iter().enumerate() {
                let (before, more) = (taken.0[i], more.0[i]);
                // An empty batch or query takes nothing of what is used up.
                let over = |most| more > 0 && before.saturating_add(more) > most;
                if quota.get(measure).is_some_and(over) {
                    let end = (number(*window, now) + 1) * window.seconds();
                    return Err(OverLimit {
                        code: "quota",
                        retry_after: Some(end - now),
                    });
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, more: Taken, now: u64) {
        for window in Window::ALL {
            let current = number(window, now);
            let (of, taken) = self.taken.entry(window).or_default();
            if *of != current {
                (*of, *taken) = (current, Taken::default());
            }
            for (sum, more) in taken.0.iter_mut().zip(more.0) {
                *sum = sum.saturating_add(more);
            }
        }
    }

    fn in_window(&self, window: Window, now: u64) -> Taken {
        match self.taken.get(&window) {
            Some((of, taken)) if *of == number(window, now) => *taken,
            _ => Taken::default(),
        }
    }
}

/// The number of the window in which the second `at` lies.
fn number(window: Window, at: u64) -> u64 {
    at / window.seconds()
}

fn lock(account: &Mutex<Account>) -> MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use comity_protocol::terms::Quota;

    use super::*;

    fn metering(limits: Limits) -> Metering {
        Metering {
            max_rows: limits.max_rows_per_query,
            limits,
            account: Arc::default(),
        }
    }

    fn a_day(quota: Quota) -> Limits {
        Limits {
            per: [(Window::Day, quota)].into(),
            ..Limits::default()
        }
    }

    #[test]
    fn no_number_of_parallel_answers_takes_more_than_the_quota() {
        let metering = Arc::new(metering(a_day(Quota {
            rows: Some(1_000),
            ..Quota::default()
        })));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let metering = Arc::clone(&metering);
                std::thread::spawn(move || {
                    (0..100)
                        .filter(|_| metering.take((0, 0), 7, 1).is_ok())
                        .count()
                })
            })
            .collect();
        let taken: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!(taken, 1_000 / 7);
        let over = metering.take((0, 0), 7, 0).unwrap_err();
        assert_eq!(over.code, "quota");
        assert!(over.retry_after.is_some_and(|s| s > 0 && s <= 86_400));
        assert!(metering.take((0, 0), 6, 0).is_ok(), "what is left is left");
    }

    #[test]
    fn queries_are_counted_when_they_begin_and_running_ones_when_they_end() {
        let mut limits = a_day(Quota {
            queries: Some(3),
            ..Quota::default()
        });
        limits.max_concurrent = Some(1);
        let metering = metering(limits);
        metering.begin().unwrap();
        assert_eq!(metering.begin().unwrap_err().code, "quota");
        metering.end();
        for _ in 0..2 {
            metering.begin().unwrap();
            metering.end();
        }
        assert_eq!(metering.begin().unwrap_err().code, "quota");
    }

    #[test]
    fn limits_of_one_query_count_that_query_alone() {
        let metering = metering(Limits {
            max_rows_per_query: Some(10),
            max_bytes_per_query: Some(100),
            ..Limits::default()
        });
        assert!(metering.take((0, 0), 10, 100).is_ok());
        assert!(metering.take((0, 0), 10, 100).is_ok());
        assert_eq!(
            metering.take((10, 0), 1, 0).unwrap_err().code,
            "too-many-rows"
        );
        assert_eq!(
            metering.take((0, 100), 0, 1).unwrap_err().code,
            "too-many-bytes"
        );
    }

    #[test]
    fn a_window_begins_anew_and_knows_when() {
        let limits = a_day(Quota {
            bytes: Some(10),
            ..Quota::default()
        });
        let mut account = Account::default();
        let noon = 20_000 * 86_400 + 43_200;
        account.add(Taken([1, 1, 10]), noon);
        let over = account.fits(Taken([0, 0, 1]), &limits, noon).unwrap_err();
        assert_eq!(over.retry_after, Some(43_200));
        assert!(account.fits(Taken([1, 5, 0]), &limits, noon).is_ok());
        assert!(
            account
                .fits(Taken([0, 0, 10]), &limits, noon + 43_200)
                .is_ok()
        );
        assert!(
            account
                .fits(Taken([0, 0, 11]), &limits, noon + 43_200)
                .is_err()
        );
    }

    #[test]
    fn closed_hours_say_when_they_open() {
        let limits = Limits {
            hours: Some([8].into()),
            ..Limits::default()
        };
        let midnight = 20_000 * 86_400;
        let closed = Account::default().fits(Taken::default(), &limits, midnight);
        let closed = closed.unwrap_err();
        assert_eq!(
            (closed.code, closed.retry_after),
            ("closed", Some(8 * 3_600))
        );
        let eight = midnight + 8 * 3_600;
        assert!(
            Account::default()
                .fits(Taken::default(), &limits, eight)
                .is_ok()
        );
    }

    #[test]
    fn what_the_journal_tells_is_taken() {
        let quotas = Quotas::default();
        let agreement = Digest::of(b"agreement");
        let now = clock::now();
        let delivery = |rows: Option<u64>| Delivery {
            trace: String::new(),
            org: comity_identity::OrgId::from_inception(Digest::of(b"org")),
            subject: String::new(),
            agreement: Some(agreement),
            purpose: None,
            query: Digest::of(b"query"),
            grant: None,
            content: None,
            policy: None,
            rows,
            bytes: rows.map(|r| r * 8),
            ended: None,
            at: now,
        };
        quotas.remember(&delivery(None));
        quotas.remember(&delivery(Some(90)));
        quotas.remember(&Delivery {
            agreement: None,
            ..delivery(Some(1_000))
        });
        let account = quotas.account(&agreement);
        let taken = lock(&account).in_window(Window::Day, now.as_secs());
        assert_eq!(taken.0, [1, 90, 720]);
    }
}

//! How much each partner read of each product, against what the terms permit (A22).
//!
//! One account a partner and product, whoever reads: all nodes, members, streams
//! and narrowed grants of the consumer share it, and so do its agreements over
//! the product: an amendment, or one more request that a rule agrees to, opens
//! no second one. Rows and bytes are taken from the
//! account before they leave, batch by batch, so that no number of parallel
//! answers delivers more than the terms permit. A link of a grant chain may have
//! an account of its own beneath it: a budget of rows for its whole life.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use comity_identity::grant::{Budget, MAX_LIFETIME};
use comity_identity::{Digest, LEEWAY, OrgId, Timestamp};
use comity_protocol::receipt::INTERRUPTED;
use comity_protocol::terms::{Limits, Measure, Window};

use super::agreements::{Agreement, Agreements};
use crate::clock;
use crate::flight::{Allowance, OverLimit};
use crate::ledger::{self, Delivery, Ledger, Reserved};

/// The most links with a budget that are remembered under one agreement. A
/// holder can sign any number of links; their memory must not be the provider's.
const MAX_BUDGETS: usize = 16_384;

/// One part of so many of the smallest quota is written down ahead: an answer
/// that takes all of it writes as often into the journal, and a crash costs its
/// reader at most that part.
const RESERVED_PART: u64 = 16;

/// After how many seconds links have ended that take the places now.
const BUDGETS_RETRY: u64 = MAX_LIFETIME.as_secs();

/// The accounts of all partners and what they read.
#[derive(Debug, Default)]
pub struct Quotas(Mutex<HashMap<Reader, Arc<Mutex<Account>>>>);

/// A partner, and the product that it reads.
type Reader = (OrgId, String);

/// What one partner read of one product.
#[derive(Debug, Default)]
struct Account {
    running: u64,
    /// By window: its number since the Unix epoch, and what was taken in it.
    taken: BTreeMap<Window, (u64, Taken)>,
    /// By the digest of a link that has a budget: what was taken under it and
    /// all links after it.
    links: HashMap<Digest, Arc<Spent>>,
}

/// The rows that were taken under one link. Changed with the account locked.
#[derive(Debug)]
struct Spent {
    rows: AtomicU64,
    /// When the link ends. Answers that began under it may go on, and hold this.
    expires: Timestamp,
}

/// Queries, rows and bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Taken([u64; 3]);

impl Quotas {
    /// The accounts as the journal left them: a restart gives nobody a second
    /// day's worth. `agreements` knows what each agreement is for.
    ///
    /// Of an answer that the node's own end broke off the journal has no number
    /// of rows; what was reserved for it counts as taken.
    pub fn load(
        ledger: &Ledger,
        agreements: &Agreements,
        now: Timestamp,
    ) -> Result<Self, ledger::Error> {
        let quotas = Self::default();
        let day = number(Window::Day, now.as_secs()) * Window::Day.seconds();
        // A link that was made before midnight may live on.
        let links = MAX_LIFETIME + 2 * LEEWAY;
        let begin = day.min(now.as_secs().saturating_sub(links.as_secs()));
        let mut open = HashMap::new();
        ledger.deliveries(|delivery| {
            let agreement = delivery
                .agreement
                .filter(|_| delivery.at.as_secs() >= begin);
            if let Some(agreement) = agreement.and_then(|id| agreements.get(&id)) {
                quotas.remember(&delivery, reader(&agreement), &mut open);
            }
        })?;
        Ok(quotas)
    }

    /// Takes what a record tells. `open` has what is reserved for the answers
    /// that have no end so far, by trace.
    fn remember(
        &self,
        delivery: &Delivery,
        reader: Reader,
        open: &mut HashMap<String, Option<Reserved>>,
    ) {
        let account = self.account(reader);
        let mut account = lock(&account);
        let interrupted = delivery.ended.as_deref() == Some(INTERRUPTED);
        let taken = match (delivery.rows, delivery.bytes) {
            (None, _) => {
                let first = open.insert(delivery.trace.clone(), delivery.reserved);
                Taken([u64::from(first.is_none()), 0, 0])
            }
            (Some(rows), bytes) => {
                let reserved = open.remove(&delivery.trace).flatten();
                let reserved = reserved.filter(|_| interrupted).unwrap_or_default();
                let or = |told: u64, reserved: Option<u64>| told.max(reserved.unwrap_or(0));
                Taken([
                    0,
                    or(rows, reserved.rows),
                    or(bytes.unwrap_or(0), reserved.bytes),
                ])
            }
        };
        account.add(taken, delivery.at.as_secs());
        // The record does not say when a link ends: not later than this.
        let expires = delivery.at.saturating_add(MAX_LIFETIME);
        for link in &delivery.budgets {
            if let Some(spent) = account.spent(link, expires, clock::now()) {
                spent.rows.fetch_add(taken.0[1], Ordering::Relaxed);
            }
        }
    }

    /// What may still be read under `agreement`, as a query asks for it,
    /// and what is left of the `budgets` of the grant's links.
    pub(super) fn allowance(&self, agreement: &Agreement, budgets: &[Budget]) -> Arc<Metering> {
        let account = self.account(reader(agreement));
        Arc::new(Metering::new(
            agreement.terms().limits.clone(),
            account,
            budgets,
            clock::now(),
        ))
    }

    fn account(&self, reader: Reader) -> Arc<Mutex<Account>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(reader).or_default())
    }
}

fn reader(of: &Agreement) -> Reader {
    (of.peer(), of.product().to_owned())
}

/// What one request may still read.
#[derive(Debug)]
pub(super) struct Metering {
    limits: Limits,
    account: Arc<Mutex<Account>>,
    /// The budget of each link that has one; `None` where no more can be remembered.
    budgets: Option<Vec<(u64, Arc<Spent>)>>,
}

impl Metering {
    fn new(
        limits: Limits,
        account: Arc<Mutex<Account>>,
        budgets: &[Budget],
        now: Timestamp,
    ) -> Self {
        let held = {
            let mut account = lock(&account);
            let of = |b: &Budget| Some((b.rows, account.spent(&b.link, b.expires, now)?));
            budgets.iter().map(of).collect()
        };
        Self {
            limits,
            account,
            budgets: held,
        }
    }
}

impl Allowance for Metering {
    fn begin(&self) -> Result<(), OverLimit> {
        let now = clock::now().as_secs();
        let mut account = lock(&self.account);
        if self.budgets.is_none() {
            return Err(OverLimit {
                code: "quota",
                retry_after: Some(BUDGETS_RETRY),
            });
        }
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

    fn reserve(&self, rows: u64, bytes: u64) -> Option<Reserved> {
        let of = |measure: Measure| {
            let quotas = self.limits.per.values();
            quotas.filter_map(|quota| quota.get(measure)).min()
        };
        let budgets = self.budgets.as_deref().unwrap_or_default();
        let budget = budgets.iter().map(|(most, _)| *most).min();
        let most = of(Measure::Rows).into_iter().chain(budget).min();
        let more = |so_far: u64, most: u64| so_far.saturating_add(most / RESERVED_PART + 1);
        let reserved = Reserved {
            rows: most.map(|most| more(rows, most)),
            bytes: of(Measure::Bytes).map(|most| more(bytes, most)),
        };
        Some(reserved).filter(|r| *r != Reserved::default())
    }

    fn limits_each(&self) -> bool {
        self.limits.max_rows_per_query.is_some() || self.limits.max_bytes_per_query.is_some()
    }

    fn take(&self, before: (u64, u64), rows: u64, bytes: u64) -> Result<(), OverLimit> {
        let (all_rows, all_bytes) = (before.0 + rows, before.1 + bytes);
        let over = |limit: Option<u64>, value| limit.is_some_and(|most| value > most);
        let once = |code| OverLimit {
            code,
            retry_after: None,
        };
        if over(self.limits.max_rows_per_query, all_rows) {
            return Err(once("too-many-rows"));
        }
        if over(self.limits.max_bytes_per_query, all_bytes) {
            return Err(once("too-many-bytes"));
        }
        let now = clock::now().as_secs();
        let mut account = lock(&self.account);
        let taken = Taken([0, rows, bytes]);
        account.fits(taken, &self.limits, now)?;
        // spec/5-data-plane.md#D-134. An empty batch takes nothing of what is spent.
        let budgets = self.budgets.as_deref().unwrap_or_default();
        let spent = |s: &Spent| s.rows.load(Ordering::Relaxed).saturating_add(rows);
        if rows > 0 && budgets.iter().any(|(most, s)| spent(s) > *most) {
            return Err(once("too-many-rows"));
        }
        for (_, s) in budgets {
            s.rows.fetch_add(rows, Ordering::Relaxed);
        }
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

    /// What was taken under `link`, which ends at `expires`; nothing when no
    /// more links can be remembered.
    fn spent(&mut self, link: &Digest, expires: Timestamp, now: Timestamp) -> Option<Arc<Spent>> {
        if let Some(spent) = self.links.get(link) {
            return Some(Arc::clone(spent));
        }
        if self.links.len() >= MAX_BUDGETS {
            // Not those under which answers go on: they would begin anew.
            let ended = |s: &Spent| now >= s.expires.saturating_add(2 * LEEWAY);
            self.links
                .retain(|_, spent| Arc::strong_count(spent) > 1 || !ended(spent));
        }
        if self.links.len() >= MAX_BUDGETS {
            return None;
        }
        let spent = Arc::new(Spent {
            rows: AtomicU64::new(0),
            expires,
        });
        self.links.insert(*link, Arc::clone(&spent));
        Some(spent)
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

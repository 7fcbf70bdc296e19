//! The one place that reads the time, and does not let it go back (A29).
//!
//! Who sets a node's clock back would have it take expired grants, agreements
//! and documents again. So the time is never before what the node has seen: in
//! this process, and in its journal.

use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use comity_identity::{LEEWAY, Timestamp};

use crate::failure::Failure;

static CLOCK: OnceLock<RwLock<Seen>> = OnceLock::new();

/// The latest time that was seen, and when.
#[derive(Clone, Copy, Debug)]
struct Seen {
    time: Timestamp,
    at: Instant,
}

impl Seen {
    /// What time it is at the least, at `at`.
    fn then(&self, at: Instant) -> Timestamp {
        self.time.saturating_add(at.duration_since(self.at))
    }
}

/// The current time, in whole seconds. It never goes back, whatever the
/// system's clock does; while that is behind, time passes as it does
/// (`spec/5-data-plane.md#D-136`).
///
/// A clock before 1970 reads as the epoch: every document is then "not yet
/// valid", which fails closed.
pub fn now() -> Timestamp {
    noticed(system())
}

/// Notices that it has been `time`, as something says that was written then,
/// and gives the current time.
pub fn noticed(time: Timestamp) -> Timestamp {
    let at = Instant::now();
    let seen = CLOCK.get_or_init(|| RwLock::new(Seen { time, at }));
    // What a panic left behind is whole: it is replaced in one step.
    let least = seen.read().unwrap_or_else(PoisonError::into_inner).then(at);
    if time > least {
        let mut seen = seen.write().unwrap_or_else(PoisonError::into_inner);
        if time > seen.then(at) {
            *seen = Seen { time, at };
        }
    }
    time.max(least)
}

/// When the next full hour begins: policies look at the hour and the weekday.
pub fn next_hour() -> Timestamp {
    const HOUR: u64 = 60 * 60;
    Timestamp::from_secs((now().as_secs() / HOUR + 1) * HOUR)
}

/// How far the system's clock is behind what the node has seen, where that is
/// more than clocks may differ.
pub fn behind() -> Option<Duration> {
    let system = system();
    let behind = noticed(system).since(system);
    (behind > LEEWAY).then_some(behind)
}

/// Whether the node may issue anything that others judge by their own clocks.
///
/// # Errors
/// This node's fault, while its clock is behind.
pub fn check() -> Result<(), Failure> {
    match behind() {
        None => Ok(()),
        Some(by) => {
            let text = format!(
                "the system's clock is {} seconds behind what this node has written down",
                by.as_secs()
            );
            Err(Failure::own("clock", text).next("set the clock"))
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the place that may")]
fn system() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a29_time_goes_on_from_the_latest_that_was_seen() {
        let at = Instant::now();
        let seen = Seen {
            time: Timestamp::from_secs(1_795_000_000),
            at,
        };
        assert_eq!(seen.then(at), seen.time);
        let later = at + Duration::from_secs(90);
        assert_eq!(seen.then(later), Timestamp::from_secs(1_795_000_090));

        let before = now();
        let earlier = before.saturating_sub(Duration::from_secs(86_400));
        assert!(noticed(earlier) >= before, "a day back is no way back");
        assert_eq!(behind(), None, "the system's clock is not behind");
    }
}

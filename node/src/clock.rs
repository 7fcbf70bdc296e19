//! The one place that reads the time.

use std::time::{SystemTime, UNIX_EPOCH};

use comity_identity::Timestamp;

/// The current time, in whole seconds.
///
/// A clock before 1970 reads as the epoch: every document is then "not yet
/// valid", which fails closed.
#[expect(clippy::disallowed_methods, reason = "this is the place that may")]
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_secs(since.as_secs())
}

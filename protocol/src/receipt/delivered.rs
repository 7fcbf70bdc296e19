//! One delivery, as each side counted it.

use comity_identity::{Digest, LEEWAY, Timestamp};
use serde::{Deserialize, Serialize};

use crate::terms::MAX_INT;

/// The characters of a trace: 16 bytes as lower-case hex, a W3C trace id.
pub const TRACE_CHARS: usize = 32;

/// The most characters of [`Delivered::ended`], a stable code.
pub const MAX_ENDED_CHARS: usize = 32;

/// The most characters of [`Delivered::snapshot`].
pub const MAX_SNAPSHOT_CHARS: usize = 48;

/// How a delivery ended whose provider's node ended with it: nobody counted
/// (`spec/4-negotiation.md#N-71`).
pub const INTERRUPTED: &str = "interrupted";

/// The most bytes that a provider may state beyond what the consumer of an
/// answer that broke off received: what can be under way in windows and
/// buffers. Else a provider could charge any quota for every broken answer.
pub const MAX_UNDERWAY_BYTES: u64 = 64 * 1024 * 1024;

/// What the provider states of one delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivered {
    /// The trace id of the answer: 32 lower-case hex digits.
    pub trace: String,
    /// The digest of the last link of the grant chain that asked.
    pub grant: Digest,
    /// The digest of the chain's first link, when the grant's holder came by
    /// itself: the consumer's node did not see the answer and cannot count it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<Digest>,
    /// The digest of the statement's text.
    pub query: Digest,
    /// The digest of the plan that ran, as the provider's engine writes plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Digest>,
    /// The digest of the policy that was in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// The snapshot of the source that was read, where the source has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The rows delivered.
    pub rows: u64,
    /// The bytes of the bodies delivered (`spec/5-data-plane.md#D-125`).
    pub bytes: u64,
    /// The digest of the messages delivered (`spec/5-data-plane.md#D-125`).
    pub content: Digest,
    /// The stable code, when it ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// When it ended.
    pub at: Timestamp,
}

/// What the consumer knows of one delivery, from its own end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The digest of the last link of the grant chain with which it asked.
    pub grant: Digest,
    /// The digest of the statement's text that it asked.
    pub query: Digest,
    /// The rows received.
    pub rows: u64,
    /// The bytes of the bodies received.
    pub bytes: u64,
    /// The digest of the messages received.
    pub content: Digest,
    /// Whether the answer was read to its end and ended well.
    pub whole: bool,
}

/// A grant that the consumer issued to a holder who may come by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issued {
    /// From when it counts.
    pub not_before: Timestamp,
    /// Until when.
    pub expires: Timestamp,
    /// The most rows under it, of all answers together.
    pub max_rows: Option<u64>,
    /// The rows of those answers that the consumer agreed to before.
    pub delivered: u64,
}

/// The longest time that an answer takes which began in a grant's last second:
/// its grant's end does not end it. Longer than any deadline of a query.
pub const MAX_ANSWER: core::time::Duration = core::time::Duration::from_secs(24 * 60 * 60);

impl Delivered {
    /// Whether the consumer vouches for a delivery to a holder who came by
    /// itself: under a grant that it issued for that, within its life and its
    /// row budget (`spec/4-negotiation.md#N-64`). It cannot vouch for more, and
    /// what it counted itself was not such a delivery.
    pub fn is_covered_by(&self, issued: Option<&Issued>, received: Option<&Received>) -> bool {
        let (Some(issued), None) = (issued, received) else {
            return false;
        };
        let end = issued
            .expires
            .saturating_add(LEEWAY)
            .saturating_add(MAX_ANSWER);
        let in_time = issued.not_before <= self.at.saturating_add(LEEWAY) && self.at < end;
        let all = issued.delivered.saturating_add(self.rows);
        in_time && issued.max_rows.is_none_or(|most| all <= most)
    }

    /// Whether the consumer, who `received` this under the same trace (nothing,
    /// if it has no record of one), agrees (`spec/4-negotiation.md#N-64`).
    pub fn agrees_with(&self, received: Option<&Received>) -> bool {
        let Some(received) = received else {
            // Broken off before anything came: there is nothing to deny.
            return self.ended.is_some() && self.rows == 0 && self.bytes == 0;
        };
        if (self.grant, self.query) != (received.grant, received.query) {
            return false;
        }
        match (self.ended.as_deref(), received.whole) {
            // Nobody counted it, so nobody can be charged for it (N-71).
            (Some(INTERRUPTED), _) => (self.rows, self.bytes) == (0, 0),
            (None, true) => {
                (self.rows, self.bytes, self.content)
                    == (received.rows, received.bytes, received.content)
            }
            // Whoever read it to its end knows that it did not end early.
            (Some(_), true) => false,
            (_, false) => {
                let underway = |stated: u64, received| {
                    let more = stated.checked_sub(received);
                    more.is_some_and(|more| more <= MAX_UNDERWAY_BYTES)
                };
                underway(self.bytes, received.bytes) && underway(self.rows, received.rows)
            }
        }
    }

    /// spec/4-negotiation.md#N-27
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if !is_trace(&self.trace) {
            return Err("the trace is not 32 lower-case hex digits");
        }
        let numbers = [self.rows, self.bytes, self.at.as_secs()];
        if numbers.iter().any(|n| *n > MAX_INT) {
            return Err("a number is above 2^53 - 1");
        }
        let is_code = |b: u8| b.is_ascii_lowercase() || b == b'-';
        let ended = self.ended.as_deref().unwrap_or("-");
        if ended.is_empty() || ended.len() > MAX_ENDED_CHARS || !ended.bytes().all(is_code) {
            return Err("how a delivery ended is not a stable code");
        }
        let snapshot = self.snapshot.as_deref().unwrap_or("-");
        let printed = snapshot.bytes().all(|b| b.is_ascii_graphic());
        if snapshot.is_empty() || snapshot.len() > MAX_SNAPSHOT_CHARS || !printed {
            return Err("a snapshot's name is not 1 to 48 printed ASCII characters");
        }
        Ok(())
    }
}

/// Whether `text` is a trace.
pub(super) fn is_trace(text: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == TRACE_CHARS && text.bytes().all(hex)
}

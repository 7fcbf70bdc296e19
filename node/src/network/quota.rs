//! How much one peer may send: a token bucket for each peer and kind of message.

use std::collections::HashMap;
use std::time::Instant;

use libp2p::PeerId;

use super::codec::Kind;

/// Messages of one kind that a peer may send at once. A partner that comes back
/// fetches a catalog and repeats its open negotiations: some tens.
pub(super) const BURST: f64 = 128.0;

/// Messages of one kind that a peer may send for ever, a second.
pub(super) const RATE: f64 = 64.0;

/// Refusals after which a peer that goes on is disconnected and barred.
pub(super) const MAX_REFUSALS: u32 = 256;

/// Buckets at one time. Only peers that are connected, or were a few seconds
/// ago, have any; beyond the bound a message finds no bucket and is refused.
pub(super) const MAX_BUCKETS: usize = 4096;

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Flow {
    /// Requests of one kind.
    Request(Kind),
    /// Gossiped messages.
    Gossip,
}

/// What a message of a peer meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowance {
    /// It is served.
    Granted,
    /// It is refused: too many at once.
    Exceeded,
    /// The peer goes on although it was refused many times: disconnect it.
    Flooding,
}

/// The buckets. They outlive the connection until they are full again, so that
/// a new connection is not a new allowance.
#[derive(Debug, Default)]
pub(super) struct Quotas(HashMap<(PeerId, Flow), Bucket>);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
    refused: u32,
}

impl Quotas {
    /// Counts a message of `peer` at `now`.
    pub(super) fn take(&mut self, peer: PeerId, flow: Flow, now: Instant) -> Allowance {
        let full = self.0.len() >= MAX_BUCKETS;
        if full && !self.0.contains_key(&(peer, flow)) {
            return Allowance::Exceeded;
        }
        let bucket = self.0.entry((peer, flow)).or_insert(Bucket {
            tokens: BURST,
            at: now,
            refused: 0,
        });
        bucket.tokens = bucket.refilled(now);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Allowance::Granted;
        }
        bucket.refused += 1;
        if bucket.refused > MAX_REFUSALS {
            Allowance::Flooding
        } else {
            Allowance::Exceeded
        }
    }

    /// Forgets the peers that have been quiet for long enough.
    pub(super) fn tend(&mut self, now: Instant) {
        self.0.retain(|_, bucket| bucket.refilled(now) < BURST);
    }
}

impl Bucket {
    fn refilled(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.tokens + passed * RATE).min(BURST)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FETCH: Flow = Flow::Request(Kind::Fetch);

    #[test]
    fn a_burst_is_served_then_refused_then_served_again() {
        let (mut quotas, peer, start) = (Quotas::default(), PeerId::random(), Instant::now());
        for _ in 0..BURST as usize {
            assert_eq!(quotas.take(peer, FETCH, start), Allowance::Granted);
        }
        assert_eq!(quotas.take(peer, FETCH, start), Allowance::Exceeded);
        assert_eq!(quotas.take(peer, Flow::Gossip, start), Allowance::Granted);
        assert_eq!(
            quotas.take(PeerId::random(), FETCH, start),
            Allowance::Granted
        );
        let later = start + Duration::from_secs(1);
        assert_eq!(quotas.take(peer, FETCH, later), Allowance::Granted);
    }

    #[test]
    fn a_flood_is_told_apart_from_haste() {
        let (mut quotas, peer, start) = (Quotas::default(), PeerId::random(), Instant::now());
        for _ in 0..BURST as u32 + MAX_REFUSALS {
            assert_ne!(quotas.take(peer, FETCH, start), Allowance::Flooding);
        }
        assert_eq!(quotas.take(peer, FETCH, start), Allowance::Flooding);
        quotas.tend(start + Duration::from_secs(1));
        assert_eq!(quotas.0.len(), 1, "half full: kept, with its refusals");
        quotas.tend(start + Duration::from_secs(2));
        assert!(quotas.0.is_empty(), "full again: forgotten");
    }

    #[test]
    fn buckets_are_bounded_and_a_peer_that_has_one_keeps_it() {
        let (mut quotas, first, now) = (Quotas::default(), PeerId::random(), Instant::now());
        quotas.take(first, FETCH, now);
        for _ in 1..MAX_BUCKETS {
            assert_eq!(
                quotas.take(PeerId::random(), FETCH, now),
                Allowance::Granted
            );
        }
        assert_eq!(
            quotas.take(PeerId::random(), FETCH, now),
            Allowance::Exceeded
        );
        assert_eq!(quotas.take(first, FETCH, now), Allowance::Granted);
        assert_eq!(quotas.0.len(), MAX_BUCKETS);
    }
}

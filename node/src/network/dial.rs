//! Partners that this node stays connected to, and when each is dialled again.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use libp2p::memory_connection_limits::MemoryUsageLimitExceeded;
use libp2p::swarm::{ConnectionDenied, DialError};
use libp2p::{Multiaddr, PeerId};
use sha2::{Digest as _, Sha256};

use super::limits::{MAX_ADDRESSES, REDIAL};

/// The partners' nodes and their schedules.
#[derive(Debug, Default)]
pub(super) struct Redial(HashMap<PeerId, Kept>);

#[derive(Debug)]
struct Kept {
    addresses: Vec<Multiaddr>,
    next: Instant,
    wait: Duration,
}

impl Redial {
    /// Keeps connected to `peer` at `addresses`, from `now` on. Saying the same
    /// again does not hurry: a caller in a loop must not become a storm (A43).
    pub(super) fn keep(&mut self, peer: PeerId, mut addresses: Vec<Multiaddr>, now: Instant) {
        addresses.truncate(MAX_ADDRESSES);
        let is_known = self.0.get(&peer).is_some_and(|k| k.addresses == addresses);
        if !is_known {
            let wait = REDIAL.0;
            self.0.insert(
                peer,
                Kept {
                    addresses,
                    next: now,
                    wait,
                },
            );
        }
    }

    /// Dials `peer` no more.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }

    /// Where `peer` is, if it is a partner.
    pub(super) fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        self.0.get(peer).map_or(&[], |kept| &kept.addresses)
    }

    /// Whether `peer` is a partner.
    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.0.contains_key(peer)
    }

    /// `peer` answered a request. Only that shows that it lets us in: a node
    /// that refuses us looks connected for a moment.
    pub(super) fn answered(&mut self, peer: &PeerId) {
        if let Some(kept) = self.0.get_mut(peer) {
            kept.wait = REDIAL.0;
        }
    }

    /// Leaves `peer` alone until `then`.
    pub(super) fn postpone(&mut self, peer: &PeerId, then: Instant) {
        if let Some(kept) = self.0.get_mut(peer) {
            kept.next = kept.next.max(then);
        }
    }

    /// At most `room` partners to dial now. Each is counted as dialled.
    pub(super) fn due(
        &mut self,
        now: Instant,
        room: usize,
        mut is_connected: impl FnMut(&PeerId) -> bool,
    ) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut due: Vec<_> = self
            .0
            .iter_mut()
            .filter(|(peer, kept)| {
                now >= kept.next && !kept.addresses.is_empty() && !is_connected(peer)
            })
            .collect();
        // Who waits longest comes first: partners that never answer must not starve the others.
        due.sort_unstable_by_key(|(_, kept)| kept.next);
        due.into_iter()
            .take(room)
            .map(|(peer, kept)| {
                kept.next = now + kept.wait + jitter(peer, kept.wait);
                kept.wait = (kept.wait * 2).min(REDIAL.1);
                (*peer, kept.addresses.clone())
            })
            .collect()
    }
}

/// Up to a quarter of `wait`, the same for a peer every time: partners that a
/// network failure took away together do not come back in one moment.
fn jitter(peer: &PeerId, wait: Duration) -> Duration {
    let hash = Sha256::digest(peer.to_bytes());
    let byte = hash.first().copied().unwrap_or_default();
    wait * u32::from(byte) / 1024
}

/// Why a dial failed, for the owner: the addresses and what the system says of each.
pub(super) fn explain(error: &DialError) -> String {
    match error {
        DialError::NoAddresses => "no address of it is known".to_owned(),
        DialError::Denied { cause } => denied(cause),
        DialError::WrongPeerId { obtained, address } => {
            format!("another node ({obtained}) answers at {address}")
        }
        DialError::LocalPeerId { address } => format!("{address} is this node itself"),
        DialError::Transport(failed) => {
            let each = failed
                .iter()
                .map(|(address, error)| format!("{address}: {}", root(error)));
            each.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}

/// Why this node itself refuses a connection.
fn denied(cause: &ConnectionDenied) -> String {
    let source = std::error::Error::source(cause);
    let memory = source.and_then(|e| e.downcast_ref::<MemoryUsageLimitExceeded>());
    if let Some(memory) = memory {
        let used = memory.process_physical_memory_bytes() >> 20;
        let budget = memory.max_allowed_bytes() >> 20;
        tracing::warn!(
            used,
            budget,
            "no connection: this node is over its memory budget"
        );
        return format!(
            "this node uses {used} MiB, more than the {budget} of its memory budget; raise `memory_budget_bytes` in [network] of comity.toml"
        );
    }
    "it is not an allowed peer, or too many connections are open".to_owned()
}

/// The innermost cause: the outer ones only name the transports around it.
pub(super) fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    loop {
        // An I/O error shows what it wraps as itself, not as its source.
        let wrapped = innermost
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        match wrapped.map(|e| e as _).or_else(|| innermost.source()) {
            Some(source) => innermost = source,
            None => return innermost.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Vec<Multiaddr> {
        vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()]
    }

    #[test]
    fn waits_grow_to_the_limit_and_an_answer_resets_them() {
        let (mut redial, peer, mut now) = (Redial::default(), PeerId::random(), Instant::now());
        redial.keep(peer, address(), now);
        let mut gaps = Vec::new();
        for _ in 0..12 {
            assert_eq!(redial.due(now, 1, |_| false).len(), 1);
            let next = redial.0[&peer].next;
            assert!(redial.due(now, 1, |_| false).is_empty(), "not twice");
            gaps.push(next - now);
            now = next;
        }
        assert!(gaps.is_sorted());
        assert!(gaps[0] >= REDIAL.0 && gaps[0] <= REDIAL.0 * 5 / 4);
        assert!(gaps[11] >= REDIAL.1 && gaps[11] <= REDIAL.1 * 5 / 4);
        redial.answered(&peer);
        redial.due(now, 1, |_| false);
        assert!(redial.0[&peer].next - now <= REDIAL.0 * 5 / 4);
    }

    #[test]
    fn a43_dead_addresses_are_dialled_within_the_room_and_in_turn() {
        let (mut redial, mut now) = (Redial::default(), Instant::now());
        for _ in 0..4096 {
            redial.keep(PeerId::random(), address(), now);
        }
        let mut dialled = std::collections::HashSet::new();
        for _ in 0..512 {
            let due = redial.due(now, 8, |_| false);
            assert!(due.len() <= 8);
            dialled.extend(due.into_iter().map(|(peer, _)| peer));
            now += Duration::from_millis(1);
        }
        assert_eq!(dialled.len(), 4096, "nobody starves");
    }

    #[test]
    fn keeping_again_does_not_hurry_and_a_new_address_does() {
        let (mut redial, peer, now) = (Redial::default(), PeerId::random(), Instant::now());
        redial.keep(peer, address(), now);
        assert_eq!(redial.due(now, 8, |_| false).len(), 1);
        redial.keep(peer, address(), now);
        assert!(redial.due(now, 8, |_| false).is_empty());
        redial.keep(peer, vec!["/ip4/127.0.0.1/tcp/2".parse().unwrap()], now);
        assert!(redial.due(now, 8, |_| true).is_empty(), "it is connected");
        assert_eq!(redial.due(now, 8, |_| false).len(), 1);
        redial.forget(&peer);
        assert!(redial.due(now + REDIAL.1 * 2, 8, |_| false).is_empty());
    }
}

//! Who may open a connection: allowed peers, and a few strangers while an
//! invitation is open.
//!
//! libp2p's own allow-list has no notion of strangers; this behaviour does what
//! it does and counts them. It stands among the first fields of the composed
//! behaviour: in another order a refused connection loses requests for ever.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::ListenFailure;
use libp2p::swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::limits::{BARRED_TIME, MAX_BARRED, MAX_STRANGERS};

/// The allow-list.
#[derive(Debug, Default)]
pub(super) struct Admission {
    allowed: HashSet<PeerId>,
    open: bool,
    strangers: HashMap<PeerId, Stranger>,
    /// Until when peers that misbehaved may not connect; allowed ones too.
    barred: HashMap<PeerId, Instant>,
    closing: VecDeque<PeerId>,
}

/// A connected peer that is not allowed. Connections are kept by their ids: a
/// count would leak a place whenever a later behaviour refuses the connection.
#[derive(Debug)]
struct Stranger {
    since: Instant,
    connections: HashSet<ConnectionId>,
}

/// A peer that may not connect.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotAllowed;

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer is not allowed")
    }
}

impl std::error::Error for NotAllowed {}

impl Admission {
    /// Lets `peer` connect from now on.
    pub(super) fn allow(&mut self, peer: PeerId) {
        self.allowed.insert(peer);
        self.strangers.remove(&peer);
    }

    /// Ends every connection of `peer` and lets it open none.
    pub(super) fn disallow(&mut self, peer: PeerId) {
        self.allowed.remove(&peer);
        self.closing.push_back(peer);
    }

    /// Ends every connection of `peer` and lets it open none for a while.
    pub(super) fn bar(&mut self, peer: PeerId, now: Instant) {
        if self.barred.len() >= MAX_BARRED {
            let soonest = self.barred.iter().min_by_key(|(_, until)| **until);
            if let Some(soonest) = soonest.map(|(peer, _)| *peer) {
                self.barred.remove(&soonest);
            }
        }
        self.barred.insert(peer, now + BARRED_TIME);
        self.closing.push_back(peer);
    }

    /// Whether a few strangers may connect.
    pub(super) fn set_open(&mut self, open: bool) {
        self.open = open;
    }

    /// Whether `peer` may connect without an invitation.
    pub(super) fn is_allowed(&self, peer: &PeerId) -> bool {
        self.allowed.contains(peer)
    }

    /// Ends the strangers that have been connected for longer than `patience`.
    pub(super) fn tend(&mut self, now: Instant, patience: Duration) {
        self.barred.retain(|_, until| now < *until);
        let late = |s: &Stranger| now.saturating_duration_since(s.since) > patience;
        let late = self.strangers.iter().filter(|(_, s)| late(s));
        self.closing.extend(late.map(|(peer, _)| *peer));
    }

    fn inbound(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        now: Instant,
    ) -> Result<(), ConnectionDenied> {
        if self.barred.get(&peer).is_some_and(|until| now < *until) {
            return Err(ConnectionDenied::new(NotAllowed));
        }
        if self.allowed.contains(&peer) {
            return Ok(());
        }
        let has_place = self.strangers.contains_key(&peer);
        if !self.open || (!has_place && self.strangers.len() >= MAX_STRANGERS) {
            return Err(ConnectionDenied::new(NotAllowed));
        }
        let stranger = self.strangers.entry(peer).or_insert_with(|| Stranger {
            since: now,
            connections: HashSet::new(),
        });
        stranger.connections.insert(connection);
        Ok(())
    }

    fn closed(&mut self, connection: ConnectionId, peer: &PeerId) {
        if let Some(stranger) = self.strangers.get_mut(peer) {
            stranger.connections.remove(&connection);
            if stranger.connections.is_empty() {
                self.strangers.remove(peer);
            }
        }
    }
}

impl NetworkBehaviour for Admission {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inbound(connection, peer, Instant::now())?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        match peer {
            Some(peer) if self.allowed.contains(&peer) => Ok(Vec::new()),
            _ => Err(ConnectionDenied::new(NotAllowed)),
        }
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.allowed.contains(&peer) {
            return Ok(dummy::ConnectionHandler);
        }
        Err(ConnectionDenied::new(NotAllowed))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                ..
            })
            | FromSwarm::ListenFailure(ListenFailure {
                peer_id: Some(peer_id),
                connection_id,
                ..
            }) => self.closed(connection_id, &peer_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.closing.pop_front() {
            Some(peer_id) => Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection: CloseConnection::All,
            }),
            // Only the host fills the queue, and it polls the swarm after everything it does.
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    #[test]
    fn strangers_are_few_and_only_while_an_invitation_is_open() {
        let (mut admission, now) = (Admission::default(), Instant::now());
        let try_in = |a: &mut Admission, peer, n| a.inbound(connection(n), peer, now).is_ok();
        assert!(!try_in(&mut admission, PeerId::random(), 0));
        admission.set_open(true);
        let strangers: Vec<PeerId> = (0..MAX_STRANGERS).map(|_| PeerId::random()).collect();
        for (n, peer) in strangers.iter().enumerate() {
            assert!(try_in(&mut admission, *peer, n));
        }
        assert!(
            !try_in(&mut admission, PeerId::random(), 100),
            "one more than the limit"
        );
        assert!(
            try_in(&mut admission, strangers[1], 101),
            "its second connection"
        );
        let friend = PeerId::random();
        admission.allow(friend);
        assert!(
            try_in(&mut admission, friend, 102),
            "allowed peers are not strangers"
        );

        admission.closed(connection(1), &strangers[1]);
        assert!(
            !try_in(&mut admission, PeerId::random(), 103),
            "one connection is left"
        );
        admission.closed(connection(101), &strangers[1]);
        assert!(
            try_in(&mut admission, PeerId::random(), 104),
            "a place is free again"
        );
        admission.set_open(false);
        assert!(!try_in(&mut admission, PeerId::random(), 105));
    }

    #[test]
    fn a_stranger_that_stays_too_long_is_ended_and_one_that_was_allowed_is_not() {
        let (mut admission, now) = (Admission::default(), Instant::now());
        let patience = Duration::from_secs(10);
        admission.set_open(true);
        let (stranger, friend) = (PeerId::random(), PeerId::random());
        admission.inbound(connection(0), stranger, now).unwrap();
        admission.inbound(connection(1), friend, now).unwrap();
        admission.allow(friend);
        admission.tend(now + patience, patience);
        assert!(admission.closing.is_empty(), "its time is not over");
        admission.tend(now + patience + Duration::from_millis(1), patience);
        assert_eq!(admission.closing, [stranger]);
    }

    #[test]
    fn a_barred_peer_comes_back_after_its_time_even_when_allowed() {
        let (mut admission, now) = (Admission::default(), Instant::now());
        let peer = PeerId::random();
        admission.allow(peer);
        admission.bar(peer, now);
        let last = now + BARRED_TIME - Duration::from_millis(1);
        assert!(admission.inbound(connection(0), peer, last).is_err());
        assert!(
            admission
                .inbound(connection(0), peer, now + BARRED_TIME)
                .is_ok()
        );
        for _ in 0..MAX_BARRED + 1 {
            admission.bar(PeerId::random(), now);
        }
        assert_eq!(admission.barred.len(), MAX_BARRED);
    }
}

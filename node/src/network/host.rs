//! The task that owns the swarm.

mod exchange;
mod gossip;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use comity_protocol::wire::{RefusalCode, Response};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::gossipsub::{MessageAcceptance, MessageId};
use libp2p::request_response::{OutboundRequestId, ResponseChannel};
use libp2p::swarm::{ConnectionId, Swarm, SwarmEvent};
use libp2p::{PeerId, mdns, ping};
use tokio::sync::{mpsc, oneshot};

use super::RequestError;
use super::behaviour::{Behaviour, BehaviourEvent, heads};
use super::codec::Kind;
use super::dial::{Redial, explain};
use super::handle::{Command, Event};
use super::limits::{
    BARRED_TIME, CLOSE_TIME, CROSSING_TIME, FREE_PAUSE, MAX_DIALS, Patience, TICK,
};
use super::quota::Quotas;
use super::start::probe;
use super::stats::Counters;

/// The swarm and what belongs to it. Nothing here waits for the node: what does
/// not fit a queue is refused or dropped, and counted.
pub(super) struct Host {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    /// Connections that came and went while `events` was full. Bounded: what cancels out is removed.
    news: VecDeque<(PeerId, bool)>,
    asked: HashMap<(Kind, OutboundRequestId), Asked>,
    dial_errors: HashMap<PeerId, String>,
    /// Each peer's connections, oldest first. Bounded by the connection limits.
    connections: HashMap<PeerId, Vec<(ConnectionId, Instant)>>,
    replies: FuturesUnordered<BoxFuture<'static, Reply>>,
    verdicts: FuturesUnordered<BoxFuture<'static, (MessageId, PeerId, MessageAcceptance)>>,
    quotas: Quotas,
    garbage: HashMap<PeerId, u32>,
    redial: Redial,
    counters: Arc<Counters>,
    patience: Patience,
}

struct Asked {
    peer: PeerId,
    answer: oneshot::Sender<Result<Response, RequestError>>,
}

type Reply = (Kind, ResponseChannel<Response>, Option<Response>);

impl Host {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
        counters: Arc<Counters>,
        patience: Patience,
    ) -> Self {
        Self {
            swarm,
            commands,
            events,
            news: VecDeque::new(),
            asked: HashMap::new(),
            dial_errors: HashMap::new(),
            connections: HashMap::new(),
            replies: FuturesUnordered::new(),
            verdicts: FuturesUnordered::new(),
            quotas: Quotas::default(),
            garbage: HashMap::new(),
            redial: Redial::default(),
            counters,
            patience,
        }
    }

    pub(super) async fn run(mut self) {
        self.work().await;
        self.end().await;
    }

    /// Tells the peers that this node goes, and gives the ports back. Dropping the
    /// swarm alone leaves partners waiting for a time-out, and QUIC ports taken
    /// until the last connection has drained.
    async fn end(mut self) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let listening: Vec<_> = self.swarm.listeners().cloned().collect();
        let closed = async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        // Whoever does not hear it in time finds out later.
        let _ = tokio::time::timeout(CLOSE_TIME, closed).await;
        drop(self.swarm);
        let freed = async {
            while !listening.iter().all(|a| probe(a).is_ok()) {
                tokio::time::sleep(FREE_PAUSE).await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIME, freed).await;
    }

    async fn work(&mut self) {
        let mut tick = tokio::time::interval(TICK);
        let events = self.events.clone();
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Stop) | None => return,
                    Some(command) => self.obey(command),
                },
                event = self.swarm.select_next_some() => self.note(event),
                Some((kind, channel, response)) = self.replies.next() => {
                    let response = response.unwrap_or_else(|| self.refusal(RefusalCode::Busy));
                    // The peer may have gone; libp2p says so by an event of its own.
                    let requests = self.swarm.behaviour_mut().requests(kind);
                    let _ = requests.send_response(channel, response);
                }
                Some((id, source, verdict)) = self.verdicts.next() => {
                    self.judge(&id, &source, verdict);
                }
                room = events.reserve(), if !self.news.is_empty() => match room {
                    Ok(room) => {
                        if let Some((peer, up)) = self.news.pop_front() {
                            room.send(lifecycle(peer, up));
                        }
                    }
                    Err(_) => self.news.clear(),
                },
                _ = tick.tick() => self.tend(Instant::now()),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Request {
                peer,
                addresses,
                request,
                answer,
            } => {
                self.ask(Asked { peer, answer }, addresses, *request);
            }
            Command::Allow { peer, addresses } => {
                let behaviour = self.swarm.behaviour_mut();
                behaviour.admission.allow(peer);
                behaviour.gossip.add_explicit_peer(&peer);
                let now = Instant::now();
                self.redial.keep(peer, addresses, now);
                self.redial(now);
            }
            Command::Disallow(peer) => {
                self.redial.forget(&peer);
                let behaviour = self.swarm.behaviour_mut();
                behaviour.admission.disallow(peer);
                behaviour.gossip.remove_explicit_peer(&peer);
            }
            Command::SetOpen(open) => self.swarm.behaviour_mut().admission.set_open(open),
            Command::Publish(head) => {
                // Nobody listening, or said before: both are normal.
                if let Err(error) = self.swarm.behaviour_mut().gossip.publish(heads(), head) {
                    tracing::debug!(%error, "the head was not gossiped; partners fetch it");
                }
            }
            Command::Connected(answer) => {
                let _ = answer.send(self.swarm.connected_peers().copied().collect());
            }
            Command::Stop => {}
        }
    }

    fn note(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                num_established,
                ..
            } => {
                self.counters.connections.count();
                self.dial_errors.remove(&peer_id);
                let theirs = endpoint.is_listener();
                let replaces = self.opened(peer_id, connection_id, theirs, Instant::now());
                if replaces || num_established.get() == 1 {
                    self.tell(peer_id, true);
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                num_established,
                ..
            } => {
                if let Some(open) = self.connections.get_mut(&peer_id) {
                    open.retain(|(id, _)| *id != connection_id);
                }
                if num_established == 0 {
                    self.connections.remove(&peer_id);
                    self.tell(peer_id, false);
                }
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                self.counters.connections_refused.count();
                tracing::debug!(%error, "an incoming connection was refused or broke off");
            }
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                self.counters.dials_failed.count();
                let why = explain(&error);
                tracing::debug!(peer = ?peer_id, %why, "a dial failed");
                if let Some(peer) = peer_id
                    && self.asked.values().any(|asked| asked.peer == peer)
                {
                    self.dial_errors.insert(peer, why);
                }
            }
            SwarmEvent::ListenerClosed {
                addresses, reason, ..
            } => {
                tracing::error!(?addresses, ?reason, "a listener closed: restart the node");
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::error!(%error, "a listener reports an error");
            }
            SwarmEvent::Behaviour(event) => self.note_behaviour(event),
            _ => {}
        }
    }

    fn note_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Hello(event) => self.exchange(Kind::Hello, event),
            BehaviourEvent::Fetch(event) => self.exchange(Kind::Fetch, event),
            BehaviourEvent::Negotiate(event) => self.exchange(Kind::Negotiate, event),
            BehaviourEvent::Revoke(event) => self.exchange(Kind::Revoke, event),
            BehaviourEvent::Receipt(event) => self.exchange(Kind::Receipt, event),
            BehaviourEvent::Gossip(event) => self.gossip(event),
            BehaviourEvent::Ping(ping::Event {
                peer,
                connection,
                result: Err(error),
                // One that does not speak ping may well be alive.
            }) if !matches!(error, ping::Failure::Unsupported) => {
                tracing::debug!(%peer, %error, "a connection is dead");
                self.swarm.close_connection(connection);
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                // A name on the local network is only a hint where a known partner is.
                for (peer, address) in found {
                    if self.redial.contains(&peer) && !self.swarm.is_connected(&peer) {
                        let _ = self.dial(peer, vec![address]);
                    }
                }
            }
            _ => {}
        }
    }

    /// Closes what a new connection of a peer shows to be dead.
    ///
    /// A node dials only while it knows of no connection, so one that dials
    /// again has lost the older ones: it was killed, or moved. Here they would
    /// look alive until QUIC's idle time is over, and half of the requests would
    /// be sent into the void. Two nodes that dial one another at once are told
    /// apart by the age. Returns whether there was such a one.
    fn opened(&mut self, peer: PeerId, id: ConnectionId, is_theirs: bool, now: Instant) -> bool {
        let mut replaces = false;
        let open = self.connections.entry(peer).or_default();
        if is_theirs {
            for (older, since) in open.iter() {
                if now.saturating_duration_since(*since) > CROSSING_TIME {
                    self.swarm.close_connection(*older);
                    replaces = true;
                }
            }
        }
        open.push((id, now));
        replaces
    }

    /// Disconnects a peer that harms this node, and keeps it away for a while.
    fn cut_off(&mut self, peer: PeerId, why: &str) {
        tracing::warn!(%peer, why, "a peer is cut off");
        self.counters.peers_cut_off.count();
        self.garbage.remove(&peer);
        let now = Instant::now();
        self.redial.postpone(&peer, now + BARRED_TIME);
        self.swarm.behaviour_mut().admission.bar(peer, now);
    }

    fn tend(&mut self, now: Instant) {
        self.quotas.tend(now);
        self.asked.retain(|_, asked| !asked.answer.is_closed());
        let asked = &self.asked;
        self.dial_errors
            .retain(|peer, _| asked.values().any(|a| a.peer == *peer));
        let swarm = &mut self.swarm;
        self.garbage.retain(|peer, _| swarm.is_connected(peer));
        swarm
            .behaviour_mut()
            .admission
            .tend(now, self.patience.stranger);
        self.redial(now);
    }

    /// Dials partners that are away.
    fn redial(&mut self, now: Instant) {
        let counters = self.swarm.network_info();
        let dialling = counters.connection_counters().num_pending_outgoing() as usize;
        let room = MAX_DIALS.saturating_sub(dialling);
        let swarm = &self.swarm;
        for (peer, addresses) in self.redial.due(now, room, |peer| swarm.is_connected(peer)) {
            if let Err(error) = self.dial(peer, addresses) {
                tracing::debug!(%peer, why = explain(&error), "a partner was not dialled");
            }
        }
    }

    /// Tells the node that a peer came or went. Unlike requests and gossip this
    /// is never dropped: nobody would repeat it.
    fn tell(&mut self, peer: PeerId, up: bool) {
        if self.news.is_empty() && self.events.try_send(lifecycle(peer, up)).is_ok() {
            return;
        }
        match self.news.iter().position(|(p, _)| *p == peer) {
            // It came and went, or went and came, and the node noticed neither.
            Some(untold) if self.news.get(untold).is_some_and(|(_, was)| *was != up) => {
                self.news.remove(untold);
            }
            Some(_) => {}
            None => self.news.push_back((peer, up)),
        }
    }
}

fn lifecycle(peer: PeerId, up: bool) -> Event {
    if up {
        Event::Connected(peer)
    } else {
        Event::Disconnected(peer)
    }
}

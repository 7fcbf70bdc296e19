//! Real hosts on loopback. Every wait is for an event and has an end.

mod admission;
mod gossip;
mod hostile;
mod membership;
mod requests;
mod start;

use std::future::Future;
use std::time::Duration;

use comity_identity::SecretKey;
use comity_protocol::wire::{RefusalCode, Request, Response};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;

use super::limits::Patience;
use super::start::start_with;
use super::{Area, DialPolicy, Event, Handle, Inbound, NetworkError, RequestError, Settings};

/// The longest that a test waits for one thing.
const PATIENCE: Duration = Duration::from_secs(20);

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

fn settings(listen: &[&str]) -> Settings {
    Settings {
        listen: listen.iter().map(|a| a.parse().unwrap()).collect(),
        external: Vec::new(),
        lan: false,
        dial: DialPolicy::only(&[Area::Loopback]),
        max_connections: 64,
        memory_bytes: usize::MAX,
    }
}

/// A host and its events.
struct Site {
    handle: Handle,
    events: mpsc::Receiver<Event>,
}

impl Site {
    async fn new(seed: u8) -> Self {
        Self::with(seed, &[QUIC, TCP], Patience::default()).await
    }

    async fn with(seed: u8, listen: &[&str], patience: Patience) -> Self {
        let key = SecretKey::from_seed(&[seed; 32]);
        let started = start_with(&key, &settings(listen), patience).await;
        let (handle, events) = started.unwrap();
        Self { handle, events }
    }

    fn id(&self) -> PeerId {
        self.handle.peer_id()
    }

    fn addresses(&self) -> Vec<Multiaddr> {
        self.handle.listening().to_vec()
    }

    /// The first address of a transport.
    fn over(&self, tcp: bool) -> Vec<Multiaddr> {
        let is_tcp = |a: &Multiaddr| a.iter().any(|p| matches!(p, Protocol::Tcp(_)));
        let mut addresses = self.addresses();
        addresses.retain(|a| is_tcp(a) == tcp);
        addresses
    }

    async fn event(&mut self) -> Event {
        within(self.events.recv())
            .await
            .expect("the host has ended")
    }

    /// The next event that `pick` takes; others are dropped.
    async fn until<T>(&mut self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            if let Some(picked) = pick(self.event().await) {
                return picked;
            }
        }
    }

    async fn inbound(&mut self) -> Inbound {
        self.until(|event| match event {
            Event::Inbound(inbound) => Some(inbound),
            _ => None,
        })
        .await
    }

    async fn connected(&mut self, peer: PeerId) {
        let is = |event| matches!(event, Event::Connected(p) if p == peer).then_some(());
        self.until(is).await;
    }

    async fn disconnected(&mut self, peer: PeerId) {
        let is = |event| matches!(event, Event::Disconnected(p) if p == peer).then_some(());
        self.until(is).await;
    }

    /// Answers every request at once, from now on.
    fn answer_all(mut self) -> Handle {
        let handle = self.handle.clone();
        tokio::spawn(async move {
            while let Some(event) = self.events.recv().await {
                if let Event::Inbound(inbound) = event {
                    let answer = match &inbound.request {
                        Request::Fetch(_) => Response::Fetch(Vec::new()),
                        Request::Negotiate(text) => Response::Negotiate(vec![text.clone()]),
                        Request::Revoke(_) => Response::Revoked,
                        Request::Receipt(asked) => Response::ProveFrom(asked.held),
                        Request::Hello(hello) => Response::Hello(hello.clone()),
                    };
                    inbound.answer(answer);
                }
            }
        });
        handle
    }
}

/// Two hosts that allow one another and do not dial by themselves.
async fn partners() -> (Site, Site) {
    let (a, b) = (Site::new(1).await, Site::new(2).await);
    a.handle.allow(b.id(), Vec::new()).await;
    b.handle.allow(a.id(), Vec::new()).await;
    (a, b)
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, what).await;
    done.expect("nothing happened in time")
}

fn fetch() -> Request {
    Request::Fetch(Vec::new())
}

fn refusal<T: std::fmt::Debug>(result: Result<T, RequestError>) -> RefusalCode {
    match result {
        Err(RequestError::Refused { code, .. }) => code,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

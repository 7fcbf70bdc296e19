//! A partner's control plane as an attacker would run it: the organization's
//! real node key on the peer network, and any answers that it likes, or none.

use comity::clock;
use comity::network::{self, Area, DialPolicy, Event, Handle, RequestError, Settings};
use comity_identity::{Digest, OrgId};
use comity_protocol::catalog::{Head, MAX_HEAD_LIFETIME};
use comity_protocol::wire::{Hello, Request, Response};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;

use crate::rogue::Rogue;

/// The outcome of a step.
type Done<T> = Result<T, Box<dyn std::error::Error>>;

/// The host of a taken-over organization, in touch with one victim.
#[derive(Debug)]
pub struct RogueHost {
    /// The network.
    pub handle: Handle,
    /// What arrives. Nobody answers but the test.
    pub events: mpsc::Receiver<Event>,
    victim: (PeerId, Vec<Multiaddr>),
}

impl RogueHost {
    /// Starts a host with the node key of `rogue`, allowed to reach `victim`.
    pub async fn start(rogue: &Rogue, victim: &OrgId) -> Done<Self> {
        let settings = Settings {
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse()?],
            external: Vec::new(),
            lan: false,
            dial: DialPolicy::only(&[Area::Loopback]),
            max_connections: 64,
            memory_bytes: usize::MAX,
        };
        let (handle, events) = network::start(&rogue.own().keys().node, &settings).await?;
        let known = rogue.keyring().get(victim).ok_or("not a partner")?;
        let nodes = known.document().nodes(clock::now());
        let node = nodes.into_iter().next().ok_or("no node")?;
        let peer = network::peer_id(&node.peer_id).ok_or("no peer id")?;
        let victim = (peer, network::addresses(&node.addresses));
        handle.allow(victim.0, Vec::new()).await;
        Ok(Self {
            handle,
            events,
            victim,
        })
    }

    /// Asks the victim.
    pub async fn ask(&self, request: Request) -> Result<Response, RequestError> {
        let (peer, addresses) = self.victim.clone();
        self.handle.request(peer, addresses, request).await
    }
}

/// A true Hello of the organization, with any head.
pub fn hello(rogue: &Rogue, head: Option<String>) -> Request {
    let evidence = rogue.own().evidence();
    Request::Hello(Box::new(Hello {
        version: 1,
        org: evidence.org,
        alias: rogue.own().alias().to_owned(),
        history: evidence.history,
        document: evidence.document,
        head,
        invitation: None,
    }))
}

/// A head with this number, signed by the organization, over a list of one
/// descriptor that nobody has seen.
pub fn head(rogue: &Rogue, seq: u64, list: Digest) -> Done<String> {
    let now = clock::now();
    let head = Head {
        v: 1,
        org: rogue.own().org(),
        seq,
        issued_at: now,
        expires_at: now.saturating_add(MAX_HEAD_LIFETIME),
        count: 1,
        list,
        results: None,
    };
    Ok(head.sign(&*rogue.own().keys().issuer)?)
}

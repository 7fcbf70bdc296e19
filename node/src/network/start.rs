//! Starting the host: transports, listeners, and a clear error for each that fails.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use comity_identity::SecretKey;
use futures::{FutureExt as _, StreamExt as _};
use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{Swarm, SwarmEvent};
use tokio::sync::mpsc;

use super::behaviour::{Behaviour, heads};
use super::dial::root;
use super::handle::{Event, Handle};
use super::host::Host;
use super::limits::{DIAL_TIMEOUT, IDLE_TIME, LISTEN_TIME, MAX_NEGOTIATING, Patience, QUEUE};
use super::stats::Counters;
use super::transport::transport;
use super::{NetworkError, Settings};

/// Starts the host and waits until it listens on every address.
///
/// The node must take the events: it is told of requests and connections by
/// nothing else.
pub async fn start(
    key: &SecretKey,
    settings: &Settings,
) -> Result<(Handle, mpsc::Receiver<Event>), NetworkError> {
    start_with(key, settings, Patience::default()).await
}

pub(super) async fn start_with(
    key: &SecretKey,
    settings: &Settings,
    patience: Patience,
) -> Result<(Handle, mpsc::Receiver<Event>), NetworkError> {
    let mut swarm = swarm(key, settings, patience)?;
    for address in &settings.listen {
        let failed = |reason: String| NetworkError::Listen {
            address: address.to_string(),
            reason,
        };
        probe(address).map_err(|e| failed(e.to_string()))?;
        let listening = swarm.listen_on(address.clone());
        listening.map_err(|e| failed(root(&e)))?;
    }
    for address in &settings.external {
        swarm.add_external_address(address.clone());
    }
    let subscribed = swarm.behaviour_mut().gossip.subscribe(&heads());
    subscribed.map_err(|e| setup(&e))?;
    let bound = await_listeners(&mut swarm, settings.listen.len()).await?;
    let peer_id = *swarm.local_peer_id();
    let listening = bound.into_iter().map(|a| a.with(Protocol::P2p(peer_id)));
    let (commands, inbox) = mpsc::channel(QUEUE);
    let (outbox, events) = mpsc::channel(QUEUE);
    let counters = Arc::new(Counters::default());
    let handle = Handle {
        commands,
        peer_id,
        listening: listening.collect(),
        counters: Arc::clone(&counters),
        patience: patience.request + DIAL_TIMEOUT,
    };
    tokio::spawn(Host::new(swarm, inbox, outbox, counters, patience).run());
    Ok((handle, events))
}

fn swarm(
    key: &SecretKey,
    settings: &Settings,
    patience: Patience,
) -> Result<Swarm<Behaviour>, NetworkError> {
    let mut seed = key.seed();
    let key = Keypair::ed25519_from_bytes(&mut *seed).map_err(|e| setup(&e))?;
    let behaviour = Behaviour::new(&key, settings, patience)?;
    let config = libp2p::swarm::Config::with_tokio_executor()
        .with_smart_dial()
        .with_idle_connection_timeout(IDLE_TIME)
        .with_max_negotiating_inbound_streams(MAX_NEGOTIATING);
    let transport = transport(&key, settings.dial)?;
    let peer = key.public().to_peer_id();
    Ok(Swarm::new(transport, behaviour, peer, config))
}

/// Binds the port of `address` and lets it go.
///
/// libp2p listens on TCP with `SO_REUSEPORT`: without this look, a second node
/// of the same user would share the port with the first, and each would get
/// some of the other's connections.
pub(super) fn probe(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) => TcpListener::bind(SocketAddr::new(ip, port)).map(drop),
        Some(Protocol::Udp(port)) => UdpSocket::bind(SocketAddr::new(ip, port)).map(drop),
        _ => Ok(()),
    }
}

/// Waits until `count` listeners are up; one that fails is an error with its address.
async fn await_listeners(
    swarm: &mut Swarm<Behaviour>,
    count: usize,
) -> Result<Vec<Multiaddr>, NetworkError> {
    let mut bound: Vec<Multiaddr> = Vec::new();
    let mut ready = HashSet::new();
    let wait = async {
        while ready.len() < count {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr {
                    address,
                    listener_id,
                } => {
                    ready.insert(listener_id);
                    bound.push(address);
                }
                SwarmEvent::ListenerError { error, .. } => return Err(setup(&error)),
                SwarmEvent::ListenerClosed {
                    addresses, reason, ..
                } => {
                    let reason = reason.err().map(|e| root(&e));
                    return Err(NetworkError::Listen {
                        address: format!("{addresses:?}"),
                        reason: reason.unwrap_or_else(|| "it closed".to_owned()),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    };
    tokio::time::timeout(LISTEN_TIME, wait)
        .await
        .map_err(|_| setup(&"the listeners did not come up in time"))??;
    // A listener on every interface tells one address after the other.
    while let Some(event) = swarm.next().now_or_never().flatten() {
        if let SwarmEvent::NewListenAddr { address, .. } = event {
            bound.push(address);
        }
    }
    Ok(bound)
}

fn setup(error: &dyn std::fmt::Display) -> NetworkError {
    NetworkError::Setup(error.to_string())
}

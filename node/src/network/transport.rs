//! QUIC and TCP, with names resolved above them and the dial policy below.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{
    Boxed, DialOpts, ListenerId, OrTransport, Transport, TransportError, TransportEvent,
};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, dns, quic, tcp, tls, yamux};

use super::NetworkError;
use super::dialable::{DialPolicy, refused};
use super::limits::{DIAL_TIMEOUT, QUIC_IDLE_MS, YAMUX_STREAMS};

type Connection = (PeerId, StreamMuxerBox);

/// The transports of a node with `key`.
pub(super) fn transport(
    key: &Keypair,
    policy: DialPolicy,
) -> Result<Boxed<Connection>, NetworkError> {
    let setup = |e: &dyn std::fmt::Display| NetworkError::Setup(e.to_string());
    let mut multiplex = yamux::Config::default();
    multiplex.set_max_num_streams(YAMUX_STREAMS);
    let secure = tls::Config::new(key).map_err(|e| setup(&e))?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(secure)
        .multiplex(multiplex)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let mut config = quic::Config::new(key);
    config.max_idle_timeout = QUIC_IDLE_MS;
    let quic = quic::tokio::Transport::new(config)
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
    let both = OrTransport::new(tcp, quic).map(|either, _| either.into_inner());
    let guarded = Guarded {
        inner: both.boxed(),
        policy,
    };
    let named = dns::tokio::Transport::system(guarded).map_err(|e| setup(&e))?;
    Ok(TransportTimeout::new(named, DIAL_TIMEOUT).boxed())
}

/// Dials only what the policy permits. It stands below the resolver: it judges
/// the address that is connected to, not the name that a partner wrote.
struct Guarded {
    inner: Boxed<Connection>,
    policy: DialPolicy,
}

impl Transport for Guarded {
    type Output = Connection;
    type Error = io::Error;
    type ListenerUpgrade = <Boxed<Connection> as Transport>::ListenerUpgrade;
    type Dial = <Boxed<Connection> as Transport>::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        if self.policy.permits_resolved(&address) {
            return self.inner.dial(address, options);
        }
        Err(TransportError::Other(refused(&address.to_string())))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(context)
    }
}

//! What the swarm does, in the order in which connections are judged.

use std::time::Duration;

use comity_protocol::wire::MAX_GOSSIP_BYTES;
use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, IdentityTransform, MaxCountSubscriptionFilter,
    MessageAuthenticity, MessageId, ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{connection_limits, identify, mdns, memory_connection_limits, ping};
use sha2::{Digest as _, Sha256};

use super::admission::Admission;
use super::codec::{Codec, Kind};
use super::limits::{
    IDENTIFY_TIME, MAX_CONCURRENT, MAX_PENDING, MAX_PER_PEER, PING_INTERVAL, PING_TIMEOUT, Patience,
};
use super::{NetworkError, Settings};

/// What identify says; peers of another protocol family are told apart by it.
const IDENTIFY: &str = "/comity/1";

/// Where heads are gossiped. A message that is not a head is rejected.
const HEADS: &str = "/comity/heads/1";

/// Bytes of gossip framing around a head.
const GOSSIP_FRAME_BYTES: usize = 512;

type Subscriptions = MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>;

/// Field order is the order of the checks: limits and the allow-list come
/// first, or a request over a connection that they refuse is lost without an
/// event.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    pub(super) admission: Admission,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) gossip: gossipsub::Behaviour<IdentityTransform, Subscriptions>,
    hello: request_response::Behaviour<Codec>,
    fetch: request_response::Behaviour<Codec>,
    negotiate: request_response::Behaviour<Codec>,
    revoke: request_response::Behaviour<Codec>,
    receipt: request_response::Behaviour<Codec>,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

/// The topic of heads.
pub(super) fn heads() -> IdentTopic {
    IdentTopic::new(HEADS)
}

impl Behaviour {
    pub(super) fn new(
        key: &Keypair,
        settings: &Settings,
        patience: Patience,
    ) -> Result<Self, NetworkError> {
        let setup = |e: &dyn std::fmt::Display| NetworkError::Setup(e.to_string());
        let limits = connection_limits::ConnectionLimits::default()
            .with_max_pending_incoming(Some(MAX_PENDING))
            .with_max_pending_outgoing(Some(MAX_PENDING))
            .with_max_established_per_peer(Some(MAX_PER_PEER))
            .with_max_established(Some(settings.max_connections));
        let identify = identify::Config::new(IDENTIFY.to_owned(), key.public())
            .with_interval(IDENTIFY_TIME)
            .with_cache_size(0)
            .with_hide_listen_addrs(true);
        let requests = |kind: Kind| {
            request_response::Behaviour::with_codec(
                Codec::new(kind),
                [(kind.protocol(), ProtocolSupport::Full)],
                request_response::Config::default()
                    .with_request_timeout(patience.request)
                    .with_max_concurrent_streams(MAX_CONCURRENT),
            )
        };
        let mdns = if settings.lan {
            let peer = key.public().to_peer_id();
            let found = mdns::tokio::Behaviour::new(mdns::Config::default(), peer);
            Toggle::from(Some(found.map_err(|e| setup(&e))?))
        } else {
            Toggle::from(None)
        };
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits),
            memory: memory_connection_limits::Behaviour::with_max_bytes(settings.memory_bytes),
            admission: Admission::default(),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(
                ping::Config::new()
                    .with_interval(PING_INTERVAL)
                    .with_timeout(PING_TIMEOUT),
            ),
            gossip: gossip()?,
            hello: requests(Kind::Hello),
            fetch: requests(Kind::Fetch),
            negotiate: requests(Kind::Negotiate),
            revoke: requests(Kind::Revoke),
            receipt: requests(Kind::Receipt),
            mdns,
        })
    }

    /// The requests of one kind.
    pub(super) fn requests(&mut self, kind: Kind) -> &mut request_response::Behaviour<Codec> {
        match kind {
            Kind::Hello => &mut self.hello,
            Kind::Fetch => &mut self.fetch,
            Kind::Negotiate => &mut self.negotiate,
            Kind::Revoke => &mut self.revoke,
            Kind::Receipt => &mut self.receipt,
        }
    }
}

/// Heads are signed themselves, so the messages are anonymous; each is judged
/// before it is passed on.
fn gossip() -> Result<gossipsub::Behaviour<IdentityTransform, Subscriptions>, NetworkError> {
    let setup = |e: &dyn std::fmt::Display| NetworkError::Setup(e.to_string());
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| {
            let mut hash = Sha256::new();
            hash.update(message.topic.as_str());
            hash.update(&message.data);
            MessageId::new(&hash.finalize())
        })
        // Heads go to explicit peers, who are the allowed ones, and to nobody
        // else: a stranger with an invitation may subscribe, but is flooded
        // nothing, is taken into no mesh, and is told of no message that it
        // could ask for. Whom we deal with is none of its business.
        .flood_publish(false)
        .mesh_outbound_min(0)
        .mesh_n_low(0)
        .mesh_n(0)
        .mesh_n_high(0)
        .gossip_lazy(0)
        .gossip_factor(0.0)
        .history_length(12)
        .history_gossip(3)
        .duplicate_cache_time(Duration::from_secs(600))
        .max_transmit_size(MAX_GOSSIP_BYTES + GOSSIP_FRAME_BYTES)
        .connection_handler_queue_len(256)
        .build()
        .map_err(|e| setup(&e))?;
    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter([heads().hash()].into()),
        max_subscribed_topics: 4,
        max_subscriptions_per_request: 4,
    };
    gossipsub::Behaviour::new_with_subscription_filter(
        MessageAuthenticity::Anonymous,
        config,
        filter,
    )
    .map_err(|e| setup(&e))
}

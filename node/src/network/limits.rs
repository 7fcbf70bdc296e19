//! Every bound of the peer network.

use std::time::Duration;

/// The most peers that are not allowed and may be connected while an invitation is open.
pub const MAX_STRANGERS: usize = 8;

/// How long a stranger may stay connected without being allowed.
pub const STRANGER_TIME: Duration = Duration::from_secs(10);

/// The longest that a peer may take to answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest that opening a connection may take, handshakes included.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Commands and events that may wait. When the node does not keep up, requests
/// are refused as [`Busy`](comity_protocol::wire::RefusalCode::Busy) and gossip
/// is ignored; which peers are connected is never lost.
pub const QUEUE: usize = 256;

/// Requests of this node that wait for an answer.
pub(super) const MAX_ASKED: usize = 1024;

/// Gossiped heads that wait for a verdict.
pub(super) const MAX_UNJUDGED: usize = 256;

/// Requests of one kind and one connection that are served at the same time.
pub(super) const MAX_CONCURRENT: usize = 16;

/// Connections that may be opening, in each direction.
pub(super) const MAX_PENDING: u32 = 32;

/// Connections of one peer: QUIC and TCP may win a race together.
pub(super) const MAX_PER_PEER: u32 = 2;

/// Streams of one yamux connection; lowers the memory that one peer can claim.
pub(super) const YAMUX_STREAMS: usize = 64;

/// Inbound streams of one connection that are still negotiating their protocol.
pub(super) const MAX_NEGOTIATING: usize = 128;

/// Dials of partners that are away, at one time (A43).
pub(super) const MAX_DIALS: usize = 8;

/// Addresses of one partner that are dialled.
pub(super) const MAX_ADDRESSES: usize = 16;

/// How long a partner that is away is left alone: at first, and at most.
pub(super) const REDIAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How long a peer that flooded or sent nonsense may not come back.
pub(super) const BARRED_TIME: Duration = Duration::from_secs(30);

/// Peers that are barred at one time. When there are more, the one that is free soonest is let go.
pub(super) const MAX_BARRED: usize = 1024;

/// Requests that do not decode, after which their sender is disconnected and barred.
/// An honest node sends none; a few leave room for one of another version.
pub(super) const MAX_GARBAGE: u32 = 8;

/// How long a listener may take to be up.
pub(super) const LISTEN_TIME: Duration = Duration::from_secs(5);

/// How long [`Handle::stop`](super::Handle::stop) waits for the host to end.
pub(super) const STOP_TIME: Duration = Duration::from_secs(5);

/// How long the host waits, when it ends, for connections to close, and then for ports to be free.
pub(super) const CLOSE_TIME: Duration = Duration::from_secs(2);

/// How long the host waits before it looks again whether a port is free.
pub(super) const FREE_PAUSE: Duration = Duration::from_millis(5);

/// How often the host looks for partners to dial and strangers to end.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// How long a silent connection stays. Every peer was let in by name and is
/// wanted; a short time would only make partners reconnect. A dead one is found
/// by QUIC's idle time and by ping.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Connections that two nodes open to one another within this time are two halves
/// of one meeting. A later one means that the peer has lost the earlier.
pub(super) const CROSSING_TIME: Duration = Duration::from_secs(2);

/// How often each connection is pinged.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How long a ping may take before its connection is closed as dead: generous
/// for a busy machine, and still sooner than a request gives up.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(8);

/// QUIC: a connection from which nothing came for so long is dead, in milliseconds.
pub(super) const QUIC_IDLE_MS: u32 = 30_000;

/// How often identify repeats itself.
pub(super) const IDENTIFY_TIME: Duration = Duration::from_secs(300);

/// The times that tests shorten.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// [`REQUEST_TIMEOUT`].
    pub(super) request: Duration,
    /// [`STRANGER_TIME`].
    pub(super) stranger: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            request: REQUEST_TIMEOUT,
            stranger: STRANGER_TIME,
        }
    }
}

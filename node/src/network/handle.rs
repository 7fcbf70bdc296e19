//! What the rest of the node holds of the network.

use std::sync::Arc;
use std::time::Duration;

use comity_protocol::wire::{MAX_GOSSIP_BYTES, Refusal, RefusalCode, Request, Response};
use libp2p::gossipsub::MessageAcceptance;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use super::RequestError;
use super::limits::STOP_TIME;
use super::stats::{Counters, NetworkStats};

/// A cheap handle of the running host.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) peer_id: PeerId,
    pub(super) listening: Vec<Multiaddr>,
    pub(super) counters: Arc<Counters>,
    /// The longest that a request may take, dial included.
    pub(super) patience: Duration,
}

/// What the host is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Request {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        request: Box<Request>,
        answer: oneshot::Sender<Result<Response, RequestError>>,
    },
    Allow {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    },
    Disallow(PeerId),
    SetOpen(bool),
    Publish(Vec<u8>),
    Connected(oneshot::Sender<Vec<PeerId>>),
    Stop,
}

/// What happens on the network.
#[derive(Debug)]
pub enum Event {
    /// A peer's first connection is up, or one in place of those that the peer
    /// lost: what was on its way to it may not have arrived.
    Connected(PeerId),
    /// A peer's last connection has ended.
    Disconnected(PeerId),
    /// A peer asks something.
    Inbound(Inbound),
    /// A peer gossips a head.
    Gossip {
        /// The message.
        bytes: Vec<u8>,
        /// To be told what it is worth.
        judged: Judged,
    },
}

/// A peer's request, to be answered once.
#[derive(Debug)]
pub struct Inbound {
    /// Who asks.
    pub peer: PeerId,
    /// Whether the peer is allowed. A stranger's requests other than Hello are
    /// refused before they get here.
    pub known: bool,
    /// What it asks.
    pub request: Request,
    pub(super) reply: oneshot::Sender<Response>,
}

impl Inbound {
    /// Answers. A peer that has gone away is not told, and nobody minds. One
    /// that is dropped unanswered is refused as busy.
    pub fn answer(self, response: Response) {
        let _ = self.reply.send(response);
    }

    /// Refuses with a stable code; `trace` stands in this node's log too.
    pub fn refuse(self, code: RefusalCode, trace: String) {
        self.answer(Response::Refused(Refusal { code, trace }));
    }
}

/// What a gossiped message is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is passed on.
    Accept,
    /// It is dropped: old, or of somebody unknown. The sender could not know.
    Ignore,
    /// It is dropped and counts against the sender, who could have checked it.
    Reject,
}

/// Tells the host the verdict on a gossiped message. Dropped without a word
/// means [`Verdict::Ignore`].
#[derive(Debug)]
pub struct Judged(pub(super) oneshot::Sender<MessageAcceptance>);

impl Judged {
    /// Gives the verdict.
    pub fn as_(self, verdict: Verdict) {
        let _ = self.0.send(match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        });
    }
}

impl Handle {
    /// This node's peer id.
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// The addresses that the host listens on, with the peer id.
    pub fn listening(&self) -> &[Multiaddr] {
        &self.listening
    }

    /// Asks `peer` something, dialling it at `addresses` (and where it is kept
    /// connected) when it is not connected. The peer must be allowed.
    ///
    /// A refusal is an error. The dial happens at once, however long ago the
    /// last one failed: somebody waits for the answer.
    pub async fn request(
        &self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        request: Request,
    ) -> Result<Response, RequestError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Request {
            peer,
            addresses,
            request: Box::new(request),
            answer,
        };
        let asked = async {
            let sent = self.commands.send(command).await;
            sent.map_err(|_| RequestError::Stopping)?;
            answered.await.map_err(|_| RequestError::Stopping)?
        };
        // libp2p has time-outs of its own; an event that it loses must not hang the caller.
        let response = tokio::time::timeout(self.patience, asked)
            .await
            .map_err(|_| RequestError::Timeout)??;
        match response {
            Response::Refused(Refusal { code, trace }) => {
                Err(RequestError::Refused { code, trace })
            }
            response => Ok(response),
        }
    }

    /// Lets `peer` connect and keeps connected to it at `addresses`.
    pub async fn allow(&self, peer: PeerId, addresses: Vec<Multiaddr>) {
        self.tell(Command::Allow { peer, addresses }).await;
    }

    /// Ends every connection of `peer` and lets it open none.
    pub async fn disallow(&self, peer: PeerId) {
        self.tell(Command::Disallow(peer)).await;
    }

    /// Whether a few strangers may connect: while an invitation is open.
    pub async fn set_open(&self, open: bool) {
        self.tell(Command::SetOpen(open)).await;
    }

    /// Gossips a head. Nobody may be listening: gossip is only latency.
    ///
    /// More than [`MAX_GOSSIP_BYTES`] would be dropped by every receiver and is not sent.
    pub async fn publish(&self, head: Vec<u8>) {
        if head.len() > MAX_GOSSIP_BYTES {
            tracing::error!(bytes = head.len(), "the head is too large to be gossiped");
            return;
        }
        self.tell(Command::Publish(head)).await;
    }

    /// The peers that are connected now.
    pub async fn connected(&self) -> Vec<PeerId> {
        let (answer, answered) = oneshot::channel();
        self.tell(Command::Connected(answer)).await;
        answered.await.unwrap_or_default()
    }

    /// Ends the host: connections close, ports are free.
    ///
    /// Requests under way end with [`RequestError::Stopping`]. Dropping every
    /// handle does the same, without waiting.
    pub async fn stop(&self) {
        let stopped = async {
            self.tell(Command::Stop).await;
            self.commands.closed().await;
        };
        if tokio::time::timeout(STOP_TIME, stopped).await.is_err() {
            tracing::error!("the network did not end in time");
        }
    }

    /// What has happened on the network since the start.
    pub fn stats(&self) -> NetworkStats {
        self.counters.snapshot()
    }

    async fn tell(&self, command: Command) {
        // A host that has ended needs no orders.
        let _ = self.commands.send(command).await;
    }
}

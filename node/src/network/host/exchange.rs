//! Requests: this node's to others and theirs to it.

use std::io;
use std::time::Instant;

use comity_protocol::wire::{Refusal, RefusalCode, Request, Response};
use libp2p::request_response::{self, Message, OutboundFailure, ResponseChannel};
use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;

use super::{Asked, Host};
use crate::network::RequestError;
use crate::network::codec::{Arrived, Kind};
use crate::network::dial::explain;
use crate::network::handle::{Event, Inbound};
use crate::network::limits::{MAX_ASKED, MAX_GARBAGE};
use crate::network::quota::{Allowance, Flow};

impl Host {
    /// Sends a request. The dial is the host's own: libp2p's would first put the
    /// addresses into a book that only grows, and try all that others wrote there (A26).
    pub(super) fn ask(&mut self, asked: Asked, mut addresses: Vec<Multiaddr>, request: Request) {
        self.counters.asked.count();
        let refuse = |why: String| RequestError::Unreachable(why);
        if self.asked.len() >= MAX_ASKED {
            let why = refuse("too many requests wait for an answer".to_owned());
            return self.failed(asked, why);
        }
        if !self.swarm.is_connected(&asked.peer) {
            let known = self.redial.addresses(&asked.peer);
            let more: Vec<_> = known
                .iter()
                .filter(|a| !addresses.contains(a))
                .cloned()
                .collect();
            addresses.extend(more);
            match self.dial(asked.peer, addresses) {
                // Under way already: the request travels on the connection that it makes.
                Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
                Err(error) => return self.failed(asked, refuse(explain(&error))),
            }
        }
        let kind = Kind::of(&request);
        let requests = self.swarm.behaviour_mut().requests(kind);
        let id = requests.send_request(&asked.peer, Arrived::Request(request));
        self.asked.insert((kind, id), asked);
    }

    pub(super) fn dial(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    ) -> Result<(), DialError> {
        self.swarm.dial(
            DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(addresses)
                .build(),
        )
    }

    pub(super) fn failed(&self, asked: Asked, error: RequestError) {
        self.counters.asked_failed.count();
        // Who asked may have given up.
        let _ = asked.answer.send(Err(error));
    }

    pub(super) fn exchange(
        &mut self,
        kind: Kind,
        event: request_response::Event<Arrived, Response>,
    ) {
        use request_response::Event as E;
        match event {
            E::Message {
                peer,
                message:
                    Message::Request {
                        request, channel, ..
                    },
                ..
            } => {
                self.serve(peer, kind, request, channel);
            }
            E::Message {
                peer,
                message:
                    Message::Response {
                        request_id,
                        response,
                    },
                ..
            } => {
                self.redial.answered(&peer);
                if let Some(asked) = self.asked.remove(&(kind, request_id)) {
                    // Who asked may have given up.
                    let _ = asked.answer.send(Ok(response));
                }
            }
            E::OutboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                if let Some(asked) = self.asked.remove(&(kind, request_id)) {
                    let dial = self.dial_errors.get(&peer).cloned();
                    self.failed(asked, request_error(error, dial));
                }
            }
            E::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, ?kind, %error, "a request was not answered");
            }
            E::ResponseSent { .. } => {}
        }
    }

    fn serve(
        &mut self,
        peer: PeerId,
        kind: Kind,
        arrived: Arrived,
        channel: ResponseChannel<Response>,
    ) {
        let known = self.swarm.behaviour().admission.is_allowed(&peer);
        let allowance = self.quotas.take(peer, Flow::Request(kind), Instant::now());
        let answer = match (arrived, allowance) {
            (_, Allowance::Flooding) => return self.cut_off(peer, "it floods"),
            (Arrived::Garbage(error), _) => {
                tracing::debug!(%peer, ?kind, %error, "a request cannot be read");
                self.garbage(peer);
                Err(RefusalCode::Malformed)
            }
            (_, Allowance::Exceeded) => Err(RefusalCode::Busy),
            // A stranger has one thing to say: which invitation it holds.
            _ if !known && kind != Kind::Hello => Err(RefusalCode::NotFederated),
            (Arrived::Request(request), Allowance::Granted) => self.deliver(peer, known, request),
        };
        match answer {
            Ok(replied) => {
                let answered = async move { (kind, channel, replied.await.ok()) };
                self.replies.push(Box::pin(answered));
            }
            Err(code) => {
                let response = self.refusal(code);
                let requests = self.swarm.behaviour_mut().requests(kind);
                let _ = requests.send_response(channel, response);
            }
        }
    }

    /// Hands a request to the node, if it has room for one.
    fn deliver(
        &mut self,
        peer: PeerId,
        known: bool,
        request: Request,
    ) -> Result<oneshot::Receiver<Response>, RefusalCode> {
        self.counters.requests.count();
        // Not before the node knows that the peer is there.
        if !self.news.is_empty() {
            return Err(RefusalCode::Busy);
        }
        let (reply, replied) = oneshot::channel();
        let inbound = Inbound {
            peer,
            known,
            request,
            reply,
        };
        match self.events.try_send(Event::Inbound(inbound)) {
            Ok(()) => Ok(replied),
            Err(_) => Err(RefusalCode::Busy),
        }
    }

    fn garbage(&mut self, peer: PeerId) {
        self.counters.requests_garbage.count();
        let count = self.garbage.entry(peer).or_default();
        *count += 1;
        if *count >= MAX_GARBAGE {
            self.cut_off(peer, "its requests cannot be read");
        }
    }

    pub(super) fn refusal(&self, code: RefusalCode) -> Response {
        self.counters.requests_refused.count();
        let mut bytes = [0; 8];
        // Without randomness the trace is zeros: it helps nobody, and nothing depends on it.
        let _ = getrandom::fill(&mut bytes);
        let trace = data_encoding::HEXLOWER.encode(&bytes);
        tracing::debug!(%code, trace, "a request was refused");
        Response::Refused(Refusal { code, trace })
    }
}

fn request_error(error: OutboundFailure, dial: Option<String>) -> RequestError {
    match error {
        OutboundFailure::Timeout => RequestError::Timeout,
        OutboundFailure::DialFailure => {
            RequestError::Unreachable(dial.unwrap_or_else(|| "it could not be dialled".to_owned()))
        }
        OutboundFailure::Io(e) if e.kind() == io::ErrorKind::FileTooLarge => RequestError::TooLarge,
        OutboundFailure::Io(e) if e.kind() == io::ErrorKind::InvalidData => {
            RequestError::Unexpected
        }
        OutboundFailure::UnsupportedProtocols => {
            RequestError::Unreachable("it does not speak this protocol".to_owned())
        }
        OutboundFailure::ConnectionClosed | OutboundFailure::Io(_) => RequestError::Closed,
    }
}

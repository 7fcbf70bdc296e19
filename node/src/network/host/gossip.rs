//! Heads that peers gossip.

use std::time::Instant;

use comity_protocol::wire::MAX_GOSSIP_BYTES;
use libp2p::PeerId;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId};
use tokio::sync::oneshot;

use super::Host;
use crate::network::handle::{Event, Judged};
use crate::network::limits::MAX_UNJUDGED;
use crate::network::quota::{Allowance, Flow};

impl Host {
    pub(super) fn gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message {
                propagation_source: source,
                message_id,
                message,
            } => {
                self.counters.gossip.count();
                let known = self.swarm.behaviour().admission.is_allowed(&source);
                let allowance = self.quotas.take(source, Flow::Gossip, Instant::now());
                let drop_as = if message.data.len() > MAX_GOSSIP_BYTES {
                    // The sender could have measured it.
                    Some(MessageAcceptance::Reject)
                } else if !known
                    || allowance != Allowance::Granted
                    || self.verdicts.len() >= MAX_UNJUDGED
                {
                    Some(MessageAcceptance::Ignore)
                } else {
                    self.pass_on(message_id.clone(), source, message.data)
                };
                if let Some(verdict) = drop_as {
                    self.counters.gossip_dropped.count();
                    self.judge(&message_id, &source, verdict);
                }
                if allowance == Allowance::Flooding {
                    self.cut_off(source, "it floods with gossip");
                }
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                // A41: a peer that does not read makes our queues grow.
                self.cut_off(peer_id, "it does not read what it is sent");
            }
            _ => {}
        }
    }

    /// Hands a gossiped head to the node, or says as what to drop it.
    fn pass_on(
        &mut self,
        id: MessageId,
        source: PeerId,
        bytes: Vec<u8>,
    ) -> Option<MessageAcceptance> {
        let (judged, verdict) = oneshot::channel();
        let event = Event::Gossip {
            bytes,
            judged: Judged(judged),
        };
        if self.events.try_send(event).is_err() {
            return Some(MessageAcceptance::Ignore);
        }
        self.verdicts.push(Box::pin(async move {
            (
                id,
                source,
                verdict.await.unwrap_or(MessageAcceptance::Ignore),
            )
        }));
        None
    }

    pub(super) fn judge(&mut self, id: &MessageId, source: &PeerId, verdict: MessageAcceptance) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        // Whether the message was still there matters to nobody.
        let _ = gossip.report_message_validation_result(id, source, verdict);
    }
}

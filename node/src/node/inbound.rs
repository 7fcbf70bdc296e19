//! What others ask of this node.

use std::sync::Arc;

use comity_identity::OrgId;
use comity_identity::history::History;
use comity_identity::keyring::{AdmitError, Evidence};
use comity_identity::organization::VerifiedDocument;
use comity_protocol::wire::{Hello, MAX_FETCH, MAX_RESPONSE_BYTES, RefusalCode, Request, Response};
use libp2p::PeerId;
use tokio::sync::{Semaphore, mpsc};

use super::Node;
use super::exchange::WIRE_VERSION;
use crate::access::policy::Asked;
use crate::access::{Meeting, WelcomeError};
use crate::clock;
use crate::network::{Event, Inbound, Verdict};

/// Requests that are worked on at one time; more wait in the network's queue.
const MAX_AT_WORK: usize = 64;

impl Node {
    /// Works on what the network brings, until the node stops. Nothing here
    /// waits for a partner: what must be asked of one is an errand.
    pub(super) async fn listen(self: Arc<Self>, mut events: mpsc::Receiver<Event>) {
        let places = Arc::new(Semaphore::new(MAX_AT_WORK));
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = self.stop.cancelled() => return,
            };
            match event {
                None => return,
                // Here and not in the tasks below, which may overtake one another:
                // a late "connected" would outlive the connection.
                Some(Event::Connected(peer)) => {
                    self.connected().insert(peer);
                    if let Some(org) = self.org_of(&peer) {
                        // A partner is back: at once, and not at the next tick.
                        self.visit(org);
                    }
                }
                Some(Event::Disconnected(peer)) => drop(self.connected().remove(&peer)),
                Some(Event::Gossip { bytes, judged }) => {
                    judged.as_(self.on_gossip(bytes));
                }
                Some(Event::Inbound(inbound)) => {
                    let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                        return;
                    };
                    let node = Arc::clone(&self);
                    self.tasks.spawn(async move {
                        tokio::select! {
                            () = node.answer(inbound) => {}
                            () = node.stop.cancelled() => {}
                        }
                        drop(place);
                    });
                }
            }
        }
    }

    fn on_gossip(self: &Arc<Self>, bytes: Vec<u8>) -> Verdict {
        match String::from_utf8(bytes) {
            Err(_) => Verdict::Reject,
            Ok(text) if self.heard_head(&text) => Verdict::Accept,
            // Of an organization that we do not know: the sender may well know it.
            Ok(_) => Verdict::Ignore,
        }
    }

    async fn answer(self: &Arc<Self>, mut inbound: Inbound) {
        let request = std::mem::replace(&mut inbound.request, Request::Fetch(Vec::new()));
        let org = self.org_of(&inbound.peer).filter(|_| inbound.known);
        // One that is frozen, or whose document has run out, may say who it is
        // by now, and nothing else (spec/2-identity.md#I-18, #I-28).
        let counts = |org: &OrgId| {
            let partner = self.partners.get(org);
            partner.is_some_and(|p| p.counts(clock::now()))
        };
        let answered = match (request, org) {
            (Request::Hello(hello), org) => self.on_hello(inbound.peer, org, *hello).await,
            (_, Some(org)) if !counts(&org) => Err(RefusalCode::NotFederated),
            // spec/4-negotiation.md#N-33
            (Request::Fetch(_) | Request::Negotiate(_), Some(org))
                if self.partners.get(&org).is_some_and(|p| p.is_ended()) =>
            {
                Err(RefusalCode::NotFederated)
            }
            (_, None) => Err(RefusalCode::NotFederated),
            (Request::Fetch(digests), Some(org)) => self.on_fetch(&org, &digests),
            (Request::Negotiate(text), Some(org)) => self
                .negotiations
                .hear(&org, &text)
                .await
                .map(Response::Negotiate),
            (Request::Revoke(text), Some(org)) => self.on_revoke(&org, &text).await,
            (Request::Receipt(asked), Some(org)) => self.on_receipt(&org, &asked).await,
        };
        match answered {
            Ok(response) => inbound.answer(response),
            Err(code) => {
                let trace = crate::access::new_trace();
                tracing::info!(peer = %inbound.peer, %code, trace, "refused a request");
                self.metrics.refused(&code.to_string());
                inbound.refuse(code, trace);
            }
        }
    }

    /// A Hello of a partner updates what is known of it; of a stranger it
    /// counts only with the secret of an open invitation.
    async fn on_hello(
        self: &Arc<Self>,
        peer: PeerId,
        org: Option<OrgId>,
        hello: Hello,
    ) -> Result<Response, RefusalCode> {
        if hello.version != WIRE_VERSION {
            return Err(RefusalCode::Version);
        }
        let now = clock::now();
        let evidence = Evidence {
            history: hello.history,
            document: hello.document,
        };
        // One whose federation has ended comes anew with an invitation, or not at all.
        let ended = |org: &OrgId| self.partners.get(org).is_some_and(|p| p.is_ended());
        let comes_anew = hello.invitation.is_some() && ended(&hello.org);
        if let Some(org) = org.filter(|_| !comes_anew) {
            let admission = self.partners.update(evidence).await.map_err(|error| {
                tracing::warn!(partner = self.partners.alias(&org), %error, "evidence refused");
                admit_code(&error)
            })?;
            if admission.organization.id() != org || hello.org != org {
                return Err(RefusalCode::Malformed);
            }
            if admission.changed {
                self.let_in(&org).await;
            }
            if let Some(head) = hello.head {
                self.heard_head(&head);
            }
            let federated = self
                .partners
                .get(&org)
                .is_some_and(|p| p.is_federated(clock::now()));
            let shown = federated && self.may_discover(&org).is_ok();
            return Ok(Response::Hello(Box::new(self.hello(shown, None))));
        }
        let Some(proof) = hello.invitation else {
            return self.on_new_node(peer, hello.org, evidence).await;
        };
        let named = self
            .partners
            .check_proof(&proof, &hello.org, now)
            .ok_or(RefusalCode::InvitationInvalid)?;
        // The evidence must be of the organization that is named, and must list this very peer.
        let history = History::verify(&evidence.history).map_err(|_| RefusalCode::Malformed)?;
        let document = VerifiedDocument::verify(&evidence.document, &history, now)
            .map_err(|_| RefusalCode::Malformed)?;
        let node = document.node_by_peer_id(&peer.to_string(), now);
        let node = node
            .filter(|_| history.org() == hello.org)
            .ok_or(RefusalCode::Malformed)?;
        let meeting = Meeting {
            org: hello.org,
            given_alias: named,
            own_alias: hello.alias,
            peer_id: node.peer_id.clone(),
            addresses: node.addresses.clone(),
            invitation: proof.invitation,
        };
        self.partners
            .welcome(&proof, evidence, meeting)
            .await
            .map_err(|error| {
                tracing::warn!(%error, "a guest could not be introduced");
                match error {
                    WelcomeError::Invitation => RefusalCode::InvitationInvalid,
                    _ => RefusalCode::Unavailable,
                }
            })?;
        self.let_in(&hello.org).await;
        self.refresh_door().await;
        Ok(Response::Hello(Box::new(self.hello(false, None))))
    }

    /// A node that no document here lists says which organization it is of. It
    /// counts if that one is known, and if the news that it brings, which count
    /// from whoever brings them, list it (`spec/2-identity.md#I-56`).
    ///
    /// So a partner whose node has a new key comes back by itself: waiting for
    /// its old node to say so would be waiting for the one that was stolen.
    async fn on_new_node(
        self: &Arc<Self>,
        peer: PeerId,
        org: OrgId,
        evidence: Evidence,
    ) -> Result<Response, RefusalCode> {
        let now = clock::now();
        // Before any signature is looked at: strangers make no work.
        let known = self.partners.get(&org).filter(|p| p.is_federated(now));
        if known.is_none() {
            return Err(RefusalCode::NotFederated);
        }
        let admission = self.partners.update(evidence).await.map_err(|error| {
            tracing::warn!(partner = self.partners.alias(&org), %peer, %error, "evidence refused");
            RefusalCode::NotFederated
        })?;
        let organization = admission.organization;
        let name = peer.to_string();
        let listed = organization
            .document()
            .node_by_peer_id(&name, now)
            .is_some();
        if admission.changed {
            self.let_in(&organization.id()).await;
        }
        if organization.id() != org || !listed {
            return Err(RefusalCode::NotFederated);
        }
        tracing::info!(partner = self.partners.alias(&org), node = %peer, "its node has a new key");
        self.visit(org);
        Ok(Response::Hello(Box::new(self.hello(false, None))))
    }

    fn on_fetch(
        &self,
        org: &OrgId,
        digests: &[comity_identity::Digest],
    ) -> Result<Response, RefusalCode> {
        let federated = self
            .partners
            .get(org)
            .is_some_and(|p| p.is_federated(clock::now()));
        if !federated {
            return Err(RefusalCode::NotFederated);
        }
        self.may_discover(org)?;
        // spec/3-catalog.md#C-18
        if digests.len() > MAX_FETCH {
            return Err(RefusalCode::Malformed);
        }
        // As much as one answer holds; the asker asks again for the rest.
        let mut room = usize::try_from(MAX_RESPONSE_BYTES).unwrap_or(usize::MAX) * 9 / 10;
        let mut texts = self.catalog.serve(digests);
        texts.retain(|text| {
            let fits = text.len() <= room;
            room = room.saturating_sub(if fits { text.len() } else { 0 });
            fits
        });
        Ok(Response::Fetch(texts))
    }

    /// Whether policy lets the partner see our catalog (`spec/7-policy.md#R-12`).
    pub(super) fn may_discover(&self, org: &OrgId) -> Result<(), RefusalCode> {
        let partner = self.partners.get(org).ok_or(RefusalCode::NotFederated)?;
        let asked = Asked::discover(&partner, clock::now());
        self.policies.permit(asked).map(drop).map_err(|why| {
            tracing::info!(
                partner = partner.alias,
                reason = why.reason,
                "refused by policy"
            );
            let policy = self.policies.digest();
            self.refusals
                .once_by_policy(*org, "discover".to_owned(), &why.reason, policy);
            RefusalCode::Policy
        })
    }

    async fn on_revoke(&self, org: &OrgId, text: &str) -> Result<Response, RefusalCode> {
        let believed = self.agreements.revoked_by_peer(org, text).await;
        if believed.map_err(|_| RefusalCode::Unavailable)? {
            return Ok(Response::Revoked);
        }
        let ended = self.partners.ended_by_peer(org, text).await;
        match ended.map_err(|_| RefusalCode::Unavailable)? {
            true => {
                self.let_in(org).await;
                Ok(Response::Revoked)
            }
            false => Err(RefusalCode::Malformed),
        }
    }

    fn org_of(&self, peer: &PeerId) -> Option<OrgId> {
        self.partners.org_of_peer(&peer.to_string(), clock::now())
    }
}

fn admit_code(error: &AdmitError) -> RefusalCode {
    match error {
        AdmitError::Store(_) => RefusalCode::Unavailable,
        AdmitError::Forked(_) | AdmitError::Frozen(_) | AdmitError::Equivocation { .. } => {
            RefusalCode::ConflictingEvidence
        }
        _ => RefusalCode::Malformed,
    }
}

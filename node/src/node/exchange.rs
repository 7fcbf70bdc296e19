//! What this node asks of others: identities, catalogs, answers in negotiations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use comity_identity::keyring::Evidence;
use comity_identity::{Digest, OrgId};
use comity_protocol::catalog::{DescriptorList, VerifiedHead};
use comity_protocol::wire::{Hello, InvitationProof, MAX_FETCH, Request, Response};
use libp2p::{Multiaddr, PeerId};

use super::Node;
use super::errands::Wanted;
use crate::access::{Partners, Post};
use crate::catalog::{MAX_CATALOG_BYTES, News};
use crate::clock;
use crate::failure::Failure;
use crate::ledger::Contradiction;
use crate::network::{self, Handle, RequestError};

/// The version of the messages between nodes.
pub(super) const WIRE_VERSION: u16 = 1;

/// Delivers negotiation messages over the network.
#[derive(Debug)]
pub(super) struct NetworkPost {
    network: Handle,
    partners: Arc<Partners>,
}

impl NetworkPost {
    pub(super) fn new(network: Handle, partners: Arc<Partners>) -> Self {
        Self { network, partners }
    }
}

#[async_trait]
impl Post for NetworkPost {
    async fn deliver(&self, org: &OrgId, texts: &[String]) -> Result<Vec<String>, String> {
        let mut answers = Vec::new();
        for text in texts {
            let request = Request::Negotiate(text.clone());
            match ask(&self.network, &self.partners, org, request).await {
                Ok(Response::Negotiate(follow)) => answers.extend(follow),
                Ok(_) => return Err(RequestError::Unexpected.to_string()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(answers)
    }
}

/// Nodes of one organization that are tried for one request. Those that are
/// connected come first; a document may list 64 that are not there.
const MAX_TRIED: usize = 3;

/// The longest that one request to an organization may take, over all its nodes.
const ASK_TIME: Duration = Duration::from_secs(30);

/// Asks one node of `org`, the first that answers.
pub(super) async fn ask(
    network: &Handle,
    partners: &Partners,
    org: &OrgId,
    request: Request,
) -> Result<Response, RequestError> {
    let mut nodes = nodes_of(partners, org);
    if nodes.len() > 1 {
        let connected = network.connected().await;
        nodes.sort_by_key(|(peer, _)| !connected.contains(peer));
    }
    first_answer(nodes, |(peer, addresses)| {
        network.request(peer, addresses, request.clone())
    })
    .await
}

/// The first answer of the first [`MAX_TRIED`] of `nodes`, within [`ASK_TIME`].
/// A refusal is an answer.
async fn first_answer<N, A>(
    nodes: Vec<N>,
    mut ask: impl FnMut(N) -> A,
) -> Result<Response, RequestError>
where
    A: Future<Output = Result<Response, RequestError>>,
{
    let tries = async {
        let mut last = RequestError::Unreachable("its document names no node".to_owned());
        for node in nodes.into_iter().take(MAX_TRIED) {
            match ask(node).await {
                Err(error) if error.is_away() => last = error,
                answered => return answered,
            }
        }
        Err(last)
    };
    tokio::time::timeout(ASK_TIME, tries)
        .await
        .unwrap_or(Err(RequestError::Timeout))
}

/// The nodes of organizations that are let in, and where they are.
pub(super) type Admitted = BTreeMap<OrgId, BTreeMap<PeerId, Vec<Multiaddr>>>;

/// The nodes of `org` and where they are: as its current document says, which
/// is signed (A26). For the node that introduced itself, when the document says
/// no address of it, as it was introduced. A frozen organization has none.
pub(super) fn nodes_of(partners: &Partners, org: &OrgId) -> Vec<(PeerId, Vec<Multiaddr>)> {
    let Some(partner) = partners.get(org) else {
        return Vec::new();
    };
    let Some(organization) = partner.organization() else {
        return Vec::new();
    };
    if organization.standing().is_frozen() || partners.is_shut(&partner) {
        return Vec::new();
    }
    let nodes = organization.document().nodes(clock::now());
    let located = nodes.filter_map(|node| {
        let is_first = node.peer_id == partner.peer_id;
        let texts = if node.addresses.is_empty() && is_first {
            &partner.addresses
        } else {
            &node.addresses
        };
        Some((network::peer_id(&node.peer_id)?, network::addresses(texts)))
    });
    located.collect()
}

impl Node {
    /// What this node says of itself. Strangers learn nothing of the catalog.
    pub(super) fn hello(&self, federated: bool, invitation: Option<InvitationProof>) -> Hello {
        let evidence = self.own.evidence();
        let head = self
            .catalog
            .announced()
            .filter(|_| federated)
            .map(|a| a.head);
        Hello {
            version: WIRE_VERSION,
            org: evidence.org,
            alias: self.own.alias().to_owned(),
            history: evidence.history,
            document: evidence.document,
            head,
            invitation,
        }
    }

    /// Lets every partner in and keeps connected to it; one whose nodes changed,
    /// by a new document or by time, is let in as it is now.
    pub(super) async fn meet_partners(&self) {
        for partner in self.partners.all() {
            self.let_in(&partner.org).await;
        }
        self.refresh_door().await;
    }

    /// Lets the nodes of `org` in, as its document lists them now. A node that
    /// it no longer lists is cut off, and dialled no more: it may be the stolen one.
    pub(super) async fn let_in(&self, org: &OrgId) {
        let mut admitted = self.admitted.lock().await;
        let mut now: BTreeMap<_, _> = nodes_of(&self.partners, org).into_iter().collect();
        // A document may list any key, ours too.
        now.remove(&self.network.peer_id());
        let ended = self.partners.get(org).is_some_and(|p| p.is_ended());
        if ended && self.partners.end_notice_for(org).is_none() {
            // It ended the federation: it may come, nobody runs after it.
            now.values_mut().for_each(Vec::clear);
        }
        let before = admitted.insert(*org, now.clone()).unwrap_or_default();
        for gone in before.keys().filter(|peer| !now.contains_key(peer)) {
            if !admitted.values().any(|nodes| nodes.contains_key(gone)) {
                tracing::info!(partner = self.partners.alias(org), node = %gone, "its node is let in no more");
                self.network.disallow(*gone).await;
            }
        }
        for (peer, addresses) in now {
            if before.get(&peer) != Some(&addresses) {
                self.network.allow(peer, addresses).await;
            }
        }
    }

    /// Strangers may knock as long as an invitation is open, and as long as there
    /// is a partner whose node may come back under a new key
    /// (`spec/2-identity.md#I-56`). They are few, for seconds, and may say Hello.
    pub(super) async fn refresh_door(&self) {
        let now = clock::now();
        let awaited = || self.partners.all().iter().any(|p| p.is_federated(now));
        let open = self.partners.open_invitations(now) > 0 || awaited();
        self.network.set_open(open).await;
    }

    /// Does what is wanted of `org`.
    pub(super) async fn run_errand(self: &Arc<Self>, org: &OrgId, wanted: Wanted) {
        if let Some(head) = wanted.head {
            self.fetch(org, *head).await;
        }
        if let Some(rival) = wanted.rival {
            // Beside the head that was just taken it shows what it is (A36).
            self.heard_head(rival.text());
        }
        if wanted.visit {
            self.sync(org).await;
            // First of all: what it may no longer do.
            self.tell_revocations(org).await;
            if self.partners.get(org).is_some_and(|p| p.is_ended()) {
                return;
            }
            // What was not fetched with its head, or got lost on the way.
            self.fetch_results(org).await;
            self.negotiations.resume(org).await;
        }
        if wanted.visit || wanted.receipts {
            self.send_receipts(org).await;
        }
    }

    /// Exchanges identities and heads with `org`.
    async fn sync(self: &Arc<Self>, org: &OrgId) {
        let federated = self
            .partners
            .get(org)
            .is_some_and(|p| p.is_federated(clock::now()));
        let shown = federated && self.may_discover(org).is_ok();
        let hello = Request::Hello(Box::new(self.hello(shown, None)));
        match ask(&self.network, &self.partners, org, hello).await {
            Ok(Response::Hello(hello)) => self.heard_hello(org, *hello).await,
            Ok(_) => tracing::warn!(
                partner = self.partners.alias(org),
                "answered a Hello with something else"
            ),
            Err(error) => tracing::debug!(partner = self.partners.alias(org), %error, "no Hello"),
        }
    }

    /// Takes over what a partner says of itself.
    pub(super) async fn heard_hello(self: &Arc<Self>, org: &OrgId, hello: Hello) {
        let evidence = Evidence {
            history: hello.history,
            document: hello.document,
        };
        match self.partners.update(evidence).await {
            Ok(admission) if admission.organization.id() != *org => {
                tracing::warn!(
                    partner = self.partners.alias(org),
                    "spoke for another organization"
                );
                return;
            }
            Ok(admission) if admission.changed => self.let_in(org).await,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(partner = self.partners.alias(org), %error, "evidence refused");
                return;
            }
        }
        if let Some(head) = hello.head {
            self.heard_head(&head);
        }
    }

    /// A head came by any way: what it announces is wanted, if it is news (A40).
    /// Gives whether it is a head that others may be told.
    pub(super) fn heard_head(self: &Arc<Self>, text: &str) -> bool {
        match self.catalog.admit(text, clock::now()) {
            Ok((org, News::Fetch(head))) => {
                if self.errands.want_head(org, head) {
                    self.begin_errand(org);
                }
                true
            }
            Ok((_, News::Nothing(_))) => true,
            Ok((_, News::Contradiction(evidence))) => {
                self.note_contradiction(evidence);
                true
            }
            Err(error) => {
                tracing::info!(%error, "a head was refused");
                false
            }
        }
    }

    /// Fetches the list and the descriptors that `head` commits to.
    async fn fetch(self: &Arc<Self>, org: &OrgId, head: VerifiedHead) {
        let federated = self
            .partners
            .get(org)
            .is_some_and(|p| p.is_federated(clock::now()));
        if !federated {
            return;
        }
        // It may have been overtaken, or contradicted, since it was wanted.
        let head = match self.catalog.admit(head.text(), clock::now()) {
            Ok((_, News::Fetch(head))) => *head,
            Ok((_, News::Contradiction(evidence))) => return self.note_contradiction(evidence),
            Ok((_, News::Nothing(_))) | Err(_) => return,
        };
        let Ok(_place) = self.errands.fetches.acquire().await else {
            return;
        };
        if let Err(error) = self.try_fetch(org, head).await {
            tracing::warn!(
                partner = self.partners.alias(org),
                error,
                "its catalog could not be fetched"
            );
            return;
        }
        self.fetch_results(org).await;
    }

    async fn try_fetch(&self, org: &OrgId, head: VerifiedHead) -> Result<(), String> {
        let shown = |e: Failure| e.to_string();
        let wanted = head.head().list;
        // A head that only tells of measurements has the list that is here.
        let list = match self.catalog.known_list(org, &wanted) {
            Some(list) => list,
            None => {
                let list = self.fetch_texts(org, &[wanted]).await?.into_iter().next();
                list.ok_or("the list was not given")?
            }
        };
        let parsed = DescriptorList::read(&list, &head).map_err(|e| e.to_string())?;
        let missing = self.catalog.missing(org, &parsed).map_err(shown)?;
        let mut fetched = Vec::new();
        let mut room = MAX_CATALOG_BYTES;
        for some in missing.chunks(MAX_FETCH) {
            let mut rest: Vec<Digest> = some.to_vec();
            // A large answer comes in parts; each round must bring something.
            while !rest.is_empty() {
                let texts = self.fetch_texts(org, &rest).await?;
                let before = rest.len();
                rest.retain(|d| !texts.iter().any(|t| Digest::of(t.as_bytes()) == *d));
                if rest.len() == before {
                    return Err("descriptors of the list were not given".to_owned());
                }
                let bytes = texts.iter().map(String::len).sum();
                room = room
                    .checked_sub(bytes)
                    .ok_or("its descriptors are too large together")?;
                let kept = self.catalog.keep(org, texts, clock::now()).await;
                fetched.extend(kept.map_err(shown)?);
            }
        }
        let seq = head.head().seq;
        self.catalog
            .complete(head, list, fetched, clock::now())
            .await
            .map_err(shown)?;
        tracing::info!(
            partner = self.partners.alias(org),
            seq,
            products = parsed.digests().len(),
            "catalog fetched"
        );
        Ok(())
    }

    fn note_contradiction(self: &Arc<Self>, evidence: Box<Contradiction>) {
        let node = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Err(error) = node.catalog.note_contradiction(*evidence).await {
                tracing::error!(%error, "the evidence of two heads was not kept");
            }
        });
    }

    pub(super) async fn fetch_texts(
        &self,
        org: &OrgId,
        digests: &[Digest],
    ) -> Result<Vec<String>, String> {
        let request = Request::Fetch(digests.to_vec());
        match ask(&self.network, &self.partners, org, request).await {
            Ok(Response::Fetch(texts)) => {
                // Only what was asked for: anything else is not looked at
                // (spec/3-catalog.md#C-18).
                let asked = |t: &String| digests.contains(&Digest::of(t.as_bytes()));
                Ok(texts.into_iter().filter(asked).collect())
            }
            Ok(_) => Err(RequestError::Unexpected.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Tells `org` of revocations until it has recorded them.
    async fn tell_revocations(&self, org: &OrgId) {
        for (agreement, text) in self.agreements.notices_for(org) {
            let partner = || self.partners.alias(org);
            match ask(&self.network, &self.partners, org, Request::Revoke(text)).await {
                Ok(_) => self.agreements.notice_heard(agreement),
                // One that it refuses must not keep the next from it.
                Err(error @ RequestError::Refused { .. }) => {
                    tracing::warn!(partner = partner(), %agreement, %error, "a revocation was refused");
                }
                Err(error) => {
                    tracing::info!(partner = partner(), %error, "a revocation was not delivered; it is told again");
                    return;
                }
            }
        }
        // Last: whoever has heard of the end is let in no more.
        let Some((federation, text)) = self.partners.end_notice_for(org) else {
            return;
        };
        match ask(&self.network, &self.partners, org, Request::Revoke(text)).await {
            Ok(_) | Err(RequestError::Refused { .. }) => {
                self.partners.end_heard(federation);
                self.let_in(org).await;
            }
            Err(error) => {
                let partner = self.partners.alias(org);
                tracing::info!(partner, %error, "the end of the federation was not delivered; it is told again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use comity_protocol::wire::RefusalCode;

    use super::*;

    #[tokio::test]
    async fn a_few_nodes_are_tried_and_a_refusal_is_an_answer() {
        let mut tried = 0;
        let failed = first_answer((0..64).collect(), |_: u32| {
            tried += 1;
            async { Err(RequestError::Timeout) }
        });
        assert_eq!(failed.await, Err(RequestError::Timeout));
        assert_eq!(tried, MAX_TRIED);

        let refused = RequestError::Refused {
            code: RefusalCode::Busy,
            trace: String::new(),
        };
        let mut answers = vec![Ok(Response::Revoked), Err(refused.clone())];
        let answered = first_answer(vec![0, 1], |_: u32| {
            std::future::ready(answers.pop().unwrap())
        });
        assert_eq!(answered.await, Err(refused));
    }
}

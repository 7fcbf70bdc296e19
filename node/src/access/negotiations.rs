//! The negotiation service: what the state machine needs from a node.
//!
//! Every step runs on a copy, is journalled with everything that follows from
//! it as one unit, and only then becomes the state and is told to anybody. A
//! node that is killed anywhere in between has either the whole step or none.

mod decide;
mod rules;
mod terms;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::negotiation::{
    Due, FederationTerms, Message, Negotiation, NegotiationError, NegotiationId, Proposal,
    Received, State,
};
use comity_protocol::wire::RefusalCode;
use tokio::sync::Mutex;

use terms::wanted;

use super::agreements::Agreements;
use super::issuers::Issuers;
use super::partners::Partners;
use crate::admin::{Metrics, api};
use crate::catalog::Catalog;
use crate::clock;
use crate::config::ApproveRule;
use crate::failure::{Failure, Fault};
use crate::index::Table;
use crate::ledger::{self, Ledger, Record, Signed, SignedKind};
use crate::own::Own;

/// The most negotiations of one partner that are open at one time (A31).
const MAX_OPEN_PER_PARTNER: usize = 100;

/// How long a federation holds.
const FEDERATION_LIFETIME: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);

/// For how long an ended negotiation is still told to a partner that comes back.
const TELL_ENDED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How messages reach a partner: the network, or a test.
#[async_trait]
pub trait Post: Send + Sync + std::fmt::Debug {
    /// Delivers `texts` to a node of `org`, in order, and gives the messages
    /// that it answers with.
    async fn deliver(&self, org: &OrgId, texts: &[String]) -> Result<Vec<String>, String>;
}

/// Every negotiation of this organization.
#[derive(Debug)]
pub struct Negotiations {
    own: Arc<Own>,
    ledger: Arc<Ledger>,
    partners: Arc<Partners>,
    catalog: Arc<Catalog>,
    agreements: Arc<Agreements>,
    rules: Vec<ApproveRule>,
    post: Arc<dyn Post>,
    metrics: Metrics,
    all: Mutex<BTreeMap<NegotiationId, Negotiation>>,
    /// Partners whose federation was just signed: their catalogs are fetched.
    federated: tokio::sync::mpsc::Sender<OrgId>,
}

/// What the negotiation service is built from.
#[derive(Debug)]
pub struct Parts {
    /// This organization.
    pub own: Arc<Own>,
    /// Where messages are kept.
    pub ledger: Arc<Ledger>,
    /// Whose messages count.
    pub partners: Arc<Partners>,
    /// What can be asked for.
    pub catalog: Arc<Catalog>,
    /// Where agreements go.
    pub agreements: Arc<Agreements>,
    /// Requests that are agreed to without a person.
    pub rules: Vec<ApproveRule>,
    /// How messages reach a partner.
    pub post: Arc<dyn Post>,
    /// What is counted.
    pub metrics: Metrics,
    /// Told when a federation is signed.
    pub federated: tokio::sync::mpsc::Sender<OrgId>,
}

impl Negotiations {
    /// Reads the negotiations from the ledger by folding their messages.
    pub fn load(parts: Parts) -> Result<Self, Failure> {
        let mut messages: BTreeMap<NegotiationId, Vec<ledger::Message>> = BTreeMap::new();
        for (_, record) in parts.ledger.scan(Table::Negotiations, &[])? {
            let Record::Message(message) = record else {
                continue;
            };
            let id = message
                .negotiation
                .parse()
                .map_err(|e| Failure::own("own-negotiation", e))?;
            messages.entry(id).or_default().push(message);
        }
        let mut all = BTreeMap::new();
        for (id, messages) in messages {
            let texts = messages.iter().map(|m| (m.sent, m.text.as_str()));
            let negotiation = Negotiation::replay(parts.own.org(), texts)
                .map_err(|e| Failure::own("own-negotiation", e))?;
            all.insert(id, negotiation);
        }
        Ok(Self {
            own: parts.own,
            ledger: parts.ledger,
            partners: parts.partners,
            catalog: parts.catalog,
            agreements: parts.agreements,
            rules: parts.rules,
            post: parts.post,
            metrics: parts.metrics,
            all: Mutex::new(all),
            federated: parts.federated,
        })
    }

    /// Asks a partner for access and gives how it stands when the partner has answered.
    pub async fn ask(&self, ask: api::Ask) -> Result<api::Negotiation, Failure> {
        let now = clock::now();
        let partner = self
            .partners
            .by_alias(&ask.partner)
            .ok_or_else(|| Failure::no_partner(&ask.partner))?;
        if partner.federation.is_none() {
            return Err(Failure::new(
                Fault::Conflict,
                "not-federated",
                format!("the federation with {} is not signed yet", ask.partner),
            )
            .next("see 'comity requests'"));
        }
        let found = self.catalog.foreign_product(&partner.org, &ask.product);
        let product = found.ok_or_else(|| unknown_product(&ask.partner, &ask.product))?;
        let descriptor = product.descriptor();
        let terms = wanted(&ask, descriptor, now)?;
        let proposal = Proposal::Access {
            product: descriptor.product.clone(),
            descriptor: product.digest(),
            contract: descriptor.contract_digest,
            terms,
        };
        self.start(partner.org, proposal, ask.reason).await
    }

    /// Asks the inviter to sign the federation that its invitation promised.
    pub async fn ask_federation(
        &self,
        org: OrgId,
        invitation: Digest,
    ) -> Result<api::Negotiation, Failure> {
        let terms = FederationTerms {
            roles: Vec::new(),
            assurance: vec!["local-token".to_owned()],
            expires: clock::now().saturating_add(FEDERATION_LIFETIME),
        };
        self.start(
            org,
            Proposal::Federation { invitation, terms },
            String::new(),
        )
        .await
    }

    async fn start(
        &self,
        org: OrgId,
        proposal: Proposal,
        note: String,
    ) -> Result<api::Negotiation, Failure> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|e| Failure::own("no-randomness", e))?;
        let id = NegotiationId::from_bytes(id);
        let signer = &*self.own.keys().issuer;
        let now = clock::now();
        let (negotiation, _) =
            Negotiation::request(id, self.own.org(), org, proposal, note, now, signer)
                .map_err(|e| Failure::caller("bad-request", e.to_string()))?;
        {
            let mut all = self.all.lock().await;
            self.keep(&mut all, None, negotiation).await?;
        }
        self.drive(id).await;
        self.view_of(&id).await
    }

    /// As the admin API shows them, newest first.
    pub async fn list(&self) -> Vec<api::Negotiation> {
        let all = self.all.lock().await;
        let mut list: Vec<api::Negotiation> = all.values().map(|n| self.view(n)).collect();
        list.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.id.cmp(&b.id)));
        list
    }

    /// How many wait for a person here.
    pub async fn waiting(&self) -> usize {
        self.all
            .lock()
            .await
            .values()
            .filter(|n| n.waits_for_us())
            .count()
    }

    /// A partner says `text`. Gives this side's messages that follow.
    pub async fn hear(&self, from: &OrgId, text: &str) -> Result<Vec<String>, RefusalCode> {
        let now = clock::now();
        let (claimed, id) = Message::claimed(text).map_err(|_| RefusalCode::Malformed)?;
        if claimed != *from {
            return Err(RefusalCode::Malformed);
        }
        let mut all = self.all.lock().await;
        let keys = Issuers {
            own: &self.own,
            keyring: self.partners.keyring(),
        };
        let known = all.get(&id);
        let mut negotiation = match known {
            Some(known) => {
                let mut copy = known.clone();
                match copy.receive(text, &keys, now) {
                    Ok(Received::Again(texts)) => return Ok(texts),
                    Ok(Received::New) => copy,
                    Err(error) => return Err(self.refuse(from, &error)),
                }
            }
            None => {
                let open = |n: &&Negotiation| n.peer() == *from && !n.state().is_final();
                if all.values().filter(open).count() >= MAX_OPEN_PER_PARTNER {
                    return Err(RefusalCode::Busy);
                }
                let answered = Negotiation::answer(self.own.org(), from, text, &keys, now)
                    .map_err(|error| self.refuse(from, &error))?;
                let federated = self
                    .partners
                    .get(from)
                    .is_some_and(|p| p.federation.is_some());
                if !federated && matches!(answered.proposal(), Proposal::Access { .. }) {
                    return Err(RefusalCode::NotFederated);
                }
                answered
            }
        };
        let heard = negotiation.entries().len();
        self.proceed(&mut negotiation, now)
            .map_err(|error| self.refuse(from, &error))?;
        let answers: Vec<String> = negotiation
            .entries()
            .iter()
            .skip(heard)
            .map(|e| e.text.clone())
            .collect();
        let before = all.get(&id).cloned();
        self.keep(&mut all, before.as_ref(), negotiation)
            .await
            .map_err(|_| RefusalCode::Unavailable)?;
        Ok(answers)
    }

    /// Sends again what `org` has not answered. Duplicates change nothing there.
    pub async fn resume(&self, org: &OrgId) {
        let now = clock::now();
        let ids: Vec<NegotiationId> = {
            let all = self.all.lock().await;
            let recent = |n: &&Negotiation| {
                n.peer() == *org
                    && !n.unanswered().is_empty()
                    && (!n.state().is_final() || now.since(n.at()) < TELL_ENDED_FOR)
            };
            all.values().filter(recent).map(Negotiation::id).collect()
        };
        for id in ids {
            self.drive(id).await;
        }
    }

    /// Exchanges messages until neither side has more to say. What could not
    /// be delivered is sent again when the partner is back.
    async fn drive(&self, id: NegotiationId) {
        let (peer, mut texts) = {
            let all = self.all.lock().await;
            let Some(n) = all.get(&id) else { return };
            (n.peer(), n.unanswered())
        };
        // Each round hears something new or ends; a hostile peer cannot prolong it.
        for _ in 0..comity_protocol::negotiation::MAX_MESSAGES {
            if texts.is_empty() {
                return;
            }
            let answers = match self.post.deliver(&peer, &texts).await {
                Ok(answers) => answers,
                Err(error) => {
                    tracing::info!(negotiation = %id, partner = self.partners.alias(&peer), error, "not delivered; it is sent again when the partner is back");
                    return;
                }
            };
            texts.clear();
            for answer in answers {
                match self.hear(&peer, &answer).await {
                    Ok(follow) => texts.extend(follow),
                    Err(code) => {
                        tracing::warn!(negotiation = %id, %code, "an answer was refused");
                        return;
                    }
                }
            }
        }
    }

    /// Takes every step that needs no person.
    fn proceed(&self, n: &mut Negotiation, now: Timestamp) -> Result<(), NegotiationError> {
        let signer = &*self.own.keys().issuer;
        loop {
            match n.due() {
                Some(Due::Agree) => self.agree(n, now)?,
                Some(Due::Verify) => drop(n.verify(now, signer)?),
                Some(Due::Finalize) => drop(n.finalize(now, signer)?),
                None if self.agrees_by_rule(n, now) => self.agree(n, now)?,
                None => return Ok(()),
            }
        }
    }

    fn agree(&self, n: &mut Negotiation, now: Timestamp) -> Result<(), NegotiationError> {
        let peer = self.partners.keyring().get(&n.peer());
        let peer = peer.ok_or(NegotiationError::Stranger)?;
        let heads = (self.own.current().history.head(), peer.history().head());
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|_| NegotiationError::Rule("no randomness"))?;
        n.agree(heads, nonce, now, &*self.own.keys().issuer)
            .map(drop)
    }

    /// Journals what is new in `after` as one unit, then makes it the state.
    async fn keep(
        &self,
        all: &mut BTreeMap<NegotiationId, Negotiation>,
        before: Option<&Negotiation>,
        after: Negotiation,
    ) -> Result<(), ledger::Error> {
        let known = before.map_or(0, |n| n.entries().len());
        let at = clock::now();
        let mut records: Vec<Record> = after
            .entries()
            .iter()
            .skip(known)
            .map(|entry| {
                Record::Message(ledger::Message {
                    negotiation: after.id().to_string(),
                    peer: after.peer(),
                    sent: entry.sent,
                    text: entry.text.clone(),
                    at,
                })
            })
            .collect();
        let finalized = after.state() == State::Finalized
            && before.is_none_or(|n| n.state() != State::Finalized);
        let signed = after.document().filter(|_| finalized).cloned();
        if let Some(signed) = &signed {
            records.push(Record::Signed(Signed {
                kind: match after.proposal() {
                    Proposal::Access { .. } => SignedKind::Agreement,
                    Proposal::Federation { .. } => SignedKind::Federation,
                },
                id: signed.digest(),
                peer: after.peer(),
                negotiation: after.id().to_string(),
                text: signed.text().to_owned(),
            }));
        }
        self.ledger.commit_all(&records).await?;
        if let Some(signed) = signed {
            match after.proposal() {
                Proposal::Access { .. } => self.agreements.add(signed),
                Proposal::Federation { .. } => {
                    self.partners.federated(&after.peer(), signed.digest());
                    // A full queue means that a fetch is under way; the timer catches up.
                    let _ = self.federated.try_send(after.peer());
                }
            }
        }
        if before.map(Negotiation::state) != Some(after.state()) {
            self.metrics.negotiation(after.state().name());
        }
        all.insert(after.id(), after);
        Ok(())
    }

    async fn find(&self, beginning: &str) -> Result<NegotiationId, Failure> {
        let all = self.all.lock().await;
        let mut found = all
            .keys()
            .filter(|id| id.to_string().starts_with(beginning));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(*id),
            (None, _) => Err(no_negotiation(beginning)),
            (Some(_), Some(_)) => Err(Failure::caller(
                "ambiguous",
                format!("several negotiations begin with {beginning}"),
            )
            .next("give more digits of the id")),
        }
    }

    async fn view_of(&self, id: &NegotiationId) -> Result<api::Negotiation, Failure> {
        let all = self.all.lock().await;
        all.get(id)
            .map(|n| self.view(n))
            .ok_or_else(|| no_negotiation(&id.to_string()))
    }

    /// Logs why a partner's message is refused; the partner gets the code alone.
    fn refuse(&self, from: &OrgId, error: &NegotiationError) -> RefusalCode {
        tracing::warn!(partner = self.partners.alias(from), %error, "refused a negotiation message");
        match error {
            NegotiationError::Broken { .. } | NegotiationError::OutOfOrder { .. } => {
                RefusalCode::OutOfOrder
            }
            _ => RefusalCode::Malformed,
        }
    }
}

fn unknown_product(partner: &str, product: &str) -> Failure {
    Failure::new(
        Fault::Unknown,
        "unknown-product",
        format!("{partner} announces no product '{product}'"),
    )
    .next("see 'comity search'")
}

fn no_negotiation(beginning: &str) -> Failure {
    Failure::new(
        Fault::Unknown,
        "unknown-negotiation",
        format!("no negotiation begins with {beginning}"),
    )
    .next("see 'comity requests --all'")
}

//! The negotiation service: what the state machine needs from a node.
//!
//! Every step runs on a copy, is journalled with everything that follows from
//! it as one unit, and only then becomes the state and is told to anybody. A
//! node that is killed anywhere in between has either the whole step or none.

mod amend;
mod approvals;
mod decide;
mod rules;
mod talk;
mod terms;
mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::address::Range;
use comity_protocol::negotiation::{
    FederationTerms, MAX_OPEN, Negotiation, NegotiationId, Proposal, Proposing, Side, State,
};
use tokio::sync::Mutex;

use terms::wanted;

use super::agreements::Agreements;
use super::members::Members;
use super::partners::Partners;
use super::policy::Policies;
use super::refusals::Refusals;
use crate::admin::{Metrics, api};
use crate::catalog::Catalog;
use crate::clock;
use crate::config::{Approval, ApproveRule};
use crate::failure::{Failure, Fault};
use crate::index::Table;
use crate::ledger::{self, Approved, Ledger, Record};
use crate::own::Own;

/// How long a federation holds.
const FEDERATION_LIFETIME: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);

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
    policies: Arc<Policies>,
    agreements: Arc<Agreements>,
    rules: Vec<ApproveRule>,
    approval: Approval,
    members: Arc<Members>,
    open_for: Duration,
    post: Arc<dyn Post>,
    metrics: Metrics,
    refusals: Arc<Refusals>,
    all: Mutex<BTreeMap<NegotiationId, Negotiation>>,
    /// What was approved where it takes two, in the order of the journal.
    approved: std::sync::Mutex<BTreeMap<NegotiationId, Vec<Approved>>>,
    /// Which negotiation is to replace an agreement, once the provider signed:
    /// no agreement is replaced twice.
    replacing: std::sync::Mutex<BTreeMap<Digest, NegotiationId>>,
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
    /// What the owner's policies take away.
    pub policies: Arc<Policies>,
    /// Where agreements go.
    pub agreements: Arc<Agreements>,
    /// Requests that are agreed to without a person.
    pub rules: Vec<ApproveRule>,
    /// What one person alone may not open.
    pub approval: Approval,
    /// Whose approvals are whose.
    pub members: Arc<Members>,
    /// How long what this organization proposes can be accepted.
    pub open_for: Duration,
    /// How messages reach a partner.
    pub post: Arc<dyn Post>,
    /// What is counted.
    pub metrics: Metrics,
    /// Where refusals are written down.
    pub refusals: Arc<Refusals>,
    /// Told when a federation is signed.
    pub federated: tokio::sync::mpsc::Sender<OrgId>,
}

impl Negotiations {
    /// Reads the negotiations from the ledger by folding their messages: they
    /// alone give the state (`spec/4-negotiation.md#N-22`).
    pub fn load(parts: Parts) -> Result<Self, Failure> {
        let mut messages: BTreeMap<NegotiationId, Vec<ledger::Message>> = BTreeMap::new();
        let mut approved: BTreeMap<NegotiationId, Vec<Approved>> = BTreeMap::new();
        for (_, record) in parts.ledger.scan(Table::Negotiations, &[])? {
            let id = |text: &str| {
                let id = text.parse::<NegotiationId>();
                id.map_err(|e| Failure::own("own-negotiation", e))
            };
            match record {
                Record::Message(message) => {
                    let id = id(&message.negotiation)?;
                    messages.entry(id).or_default().push(message);
                }
                Record::Approved(approval) => {
                    let id = id(&approval.negotiation)?;
                    approved.entry(id).or_default().push(approval);
                }
                _ => {}
            }
        }
        let mut all = BTreeMap::new();
        for (id, messages) in messages {
            let texts = messages.iter().map(|m| (m.sent, m.text.as_str()));
            let negotiation = Negotiation::replay(parts.own.org(), texts)
                .map_err(|e| Failure::own("own-negotiation", e))?;
            all.insert(id, negotiation);
        }
        let signed = all.values().filter(|n: &&Negotiation| {
            n.side() == Side::Provider && matches!(n.state(), State::Agreed | State::Verified)
        });
        let replacing = signed
            .filter_map(|n| Some((n.proposal().replaces()?, n.id())))
            .collect();
        Ok(Self {
            own: parts.own,
            ledger: parts.ledger,
            partners: parts.partners,
            catalog: parts.catalog,
            policies: parts.policies,
            agreements: parts.agreements,
            rules: parts.rules,
            approval: parts.approval,
            members: parts.members,
            open_for: parts.open_for,
            post: parts.post,
            metrics: parts.metrics,
            refusals: parts.refusals,
            all: Mutex::new(all),
            approved: std::sync::Mutex::new(approved),
            replacing: std::sync::Mutex::new(replacing),
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
        if !partner.is_federated(now) {
            return Err(Failure::new(
                Fault::Conflict,
                "not-federated",
                format!("there is no federation with {} now", ask.partner),
            )
            .next("see 'comity requests'"));
        }
        let found = self.catalog.foreign_product(&partner.org, &ask.product);
        let product = found.ok_or_else(|| unknown_product(&ask.partner, &ask.product))?;
        let descriptor = product.descriptor();
        let terms = wanted(&ask, descriptor, now)?;
        let proposal = Proposal::Access {
            product: descriptor.product.clone(),
            range: Range::from(descriptor.version),
            descriptor: product.digest(),
            contract: descriptor.contract_digest,
            terms,
            replaces: None,
        };
        let asks = Proposing {
            proposal,
            note: ask.reason,
            until: self.open_until(ask.open_days, now)?,
        };
        self.start(partner.org, asks).await
    }

    /// Asks the inviter to sign the federation that its invitation promised,
    /// with the `roles` that it names.
    pub async fn ask_federation(
        &self,
        org: OrgId,
        invitation: Digest,
        roles: Vec<String>,
    ) -> Result<api::Negotiation, Failure> {
        let now = clock::now();
        let terms = FederationTerms {
            roles,
            assurance: vec!["local-token".to_owned()],
            expires: now.saturating_add(FEDERATION_LIFETIME),
        };
        let asks = Proposing {
            proposal: Proposal::Federation { invitation, terms },
            note: String::new(),
            until: self.open_until(None, now)?,
        };
        self.start(org, asks).await
    }

    /// Until when what is proposed now can be accepted: for `days`, or as long
    /// as the owner's configuration says (`spec/4-negotiation.md#N-90`).
    fn open_until(&self, days: Option<u64>, now: Timestamp) -> Result<Timestamp, Failure> {
        let Some(days) = days else {
            return Ok(now.saturating_add(self.open_for));
        };
        let days = u32::try_from(days).ok().filter(|days| *days > 0);
        let open = days.map(|days| terms::DAY.saturating_mul(days));
        let open = open
            .filter(|open| *open <= MAX_OPEN)
            .ok_or_else(|| Failure::caller("bad-days", "a proposal is open for 1 to 90 days"))?;
        Ok(now.saturating_add(open))
    }

    async fn start(&self, org: OrgId, asks: Proposing) -> Result<api::Negotiation, Failure> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|e| Failure::own("no-randomness", e))?;
        let id = NegotiationId::from_bytes(id);
        let signer = &*self.own.keys().issuer;
        let now = clock::now();
        let (negotiation, _) = Negotiation::request(id, self.own.org(), org, asks, now, signer)
            .map_err(|e| Failure::caller("bad-request", e.to_string()))?;
        self.begin(negotiation, None).await
    }

    /// Keeps a negotiation that this side begins, and says its first message.
    async fn begin(
        &self,
        negotiation: Negotiation,
        approved: Option<Approved>,
    ) -> Result<api::Negotiation, Failure> {
        let id = negotiation.id();
        {
            let mut all = self.all.lock().await;
            self.keep(&mut all, None, negotiation, approved).await?;
        }
        self.drive(id).await;
        self.view_of(&id).await
    }

    /// As the admin API shows them, newest first.
    pub async fn list(&self) -> Vec<api::Negotiation> {
        let all = self.all.lock().await;
        let now = clock::now();
        let mut list: Vec<api::Negotiation> = all.values().map(|n| self.view(n, now)).collect();
        list.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.id.cmp(&b.id)));
        list
    }

    /// How many wait for a person here.
    pub async fn waiting(&self) -> usize {
        let now = clock::now();
        self.all
            .lock()
            .await
            .values()
            .filter(|n| self.waits_here(n, now))
            .count()
    }

    /// Whether a person here decides next.
    fn waits_here(&self, n: &Negotiation, now: Timestamp) -> bool {
        (n.waits_for_us() || self.waits_for_second(n)) && !n.is_expired(now)
    }

    fn approved(&self) -> MutexGuard<'_, BTreeMap<NegotiationId, Vec<Approved>>> {
        self.approved.lock().unwrap_or_else(PoisonError::into_inner)
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
            .map(|n| self.view(n, clock::now()))
            .ok_or_else(|| no_negotiation(&id.to_string()))
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

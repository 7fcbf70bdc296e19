//! The workbench listener's gate: members of this organization.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use comity_identity::keyring::Keyring;
use comity_identity::tls::{CurrentLeaf, peer_client_config};
use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::negotiation::Side;
use comity_protocol::product::VerifiedDescriptor;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::metadata::MetadataMap;

use super::agreements::{Agreement, Agreements, Standing};
use super::grants::Grants;
use super::members::{Members, Unproven, VerifiedMember};
use super::partners::{Partner, Partners};
use super::peer_gate::governed;
use super::policy::{Asked as AskedOfPolicy, CODE, Permitted, Policies, Principal};
use super::record::{Audit, trace};
use super::scope::{Basis, OutOfScope, Scope};
use crate::admin::{Listener, Metrics};
use crate::catalog::{Catalog, OwnProduct, types};
use crate::clock;
use crate::flight::{
    Asked, Denied, Gate, PURPOSE, PeerClient, Right, Session, Taker, Unlimited, workbench,
};
use crate::ledger::Ledger;
use crate::measure::{Observations, freshness};
use crate::network::DialPolicy;
use crate::own::Own;
use crate::query::{
    self, PartnerTable, QueryError, RemoteTable, Salts, TableName, View, ViewBuilder,
};
use crate::receipts::Reading;

/// Judges every call of a member, and gives the view: own products behind the
/// barrier, partners' products as tables.
#[derive(Debug)]
pub struct WorkbenchGate {
    /// This organization.
    pub own: Arc<Own>,
    /// Who may use the workbench.
    pub members: Arc<Members>,
    /// Whose products are shown.
    pub partners: Arc<Partners>,
    /// The products.
    pub catalog: Arc<Catalog>,
    /// What the owner's policies take away.
    pub policies: Arc<Policies>,
    /// What partners opened to us.
    pub agreements: Arc<Agreements>,
    /// Where queries are written down.
    pub ledger: Arc<Ledger>,
    /// What is counted.
    pub metrics: Metrics,
    /// The ways to the partners.
    pub reach: Arc<Reach>,
}

#[async_trait]
impl Gate for WorkbenchGate {
    async fn prepare(&self, metadata: &MetadataMap) {
        if let Some(token) = workbench::token(metadata) {
            self.members.prepare(&token).await;
        }
    }

    fn admit(&self, request: &Request<()>) -> Result<Session, Denied> {
        let trace = trace();
        let token = workbench::token(request.metadata());
        let member = token.as_deref().ok_or(Unproven::Unknown);
        let member = member.and_then(|t| self.members.verify(t, clock::now()));
        let member = match member {
            Ok(member) => Arc::new(member),
            Err(why) => return Err(self.unproven(&why, &trace)),
        };
        let purpose = match request.metadata().get(PURPOSE).map(|p| p.to_str()) {
            None => None,
            Some(Ok(purpose)) => Some(purpose.to_owned()),
            // It must not pass for "no purpose stated", which means every agreed
            // one (spec/5-data-plane.md#D-120).
            Some(Err(_)) => {
                return Err(Denied::new(
                    "purpose",
                    "the purpose is not ASCII text",
                    &trace,
                ));
            }
        };
        let membership = Arc::new(Membership {
            members: Arc::clone(&self.members),
            member: Arc::clone(&member),
        });
        // Read before the judgement: what comes meanwhile is judged again.
        let policy = self.policies.digest();
        let (view, permitted) = self.view(&membership, purpose.as_deref(), &trace);
        let audit = Audit {
            ledger: Arc::clone(&self.ledger),
            refusals: None,
            metrics: self.metrics.clone(),
            listener: Listener::Workbench,
            trace: trace.clone(),
            org: self.own.org(),
            subject: member.name().to_owned(),
            agreement: None,
            purpose,
            policy,
            grant: None,
            direct: None,
            budgets: Vec::new(),
            given: None,
        };
        Ok(Session {
            key: member.key(),
            view,
            stop: CancellationToken::new(),
            right: Arc::new(MemberRight {
                membership,
                permitted,
                policies: Arc::clone(&self.policies),
            }),
            member: true,
            allowance: Arc::new(Unlimited),
            trace,
            recorder: Arc::new(audit),
            token,
        })
    }
}

/// Who calls: a member, by its token.
#[derive(Debug)]
struct Membership {
    members: Arc<Members>,
    member: Arc<VerifiedMember>,
}

impl Membership {
    /// Whether the member's token still counts.
    fn stands(&self) -> bool {
        self.members.stands(&self.member, clock::now())
    }
}

/// A member reads as long as its token counts and policy leaves it every own
/// product that the call could read. Which of them a statement reads is not
/// known here; whoever is cut off asks again and is told.
#[derive(Debug)]
struct MemberRight {
    membership: Arc<Membership>,
    permitted: Vec<Permitted>,
    policies: Arc<Policies>,
}

impl Right for MemberRight {
    fn check(&self) -> Result<(), &'static str> {
        if !self.membership.stands() {
            return Err("unauthenticated");
        }
        let now = clock::now();
        self.permitted.iter().try_for_each(|p| p.check(now))
    }

    fn changes(&self) -> Vec<watch::Receiver<u64>> {
        let mut changes = self.membership.members.changes();
        changes.push(self.policies.changes());
        changes
    }

    fn until(&self) -> Option<Timestamp> {
        self.membership.member.until()
    }
}

impl WorkbenchGate {
    /// Refuses a call without a member. Why is the owner's to read
    /// (`spec/5-data-plane.md#D-118`).
    fn unproven(&self, why: &Unproven, trace: &str) -> Denied {
        tracing::info!(trace, %why, "no member");
        let (code, message) = match why {
            Unproven::Unwritten(_) => ("unavailable", "the node cannot write down who comes"),
            Unproven::Unknown => (
                "unauthenticated",
                "send a member's token: 'comity member add NAME' makes one",
            ),
            _ => (
                "unauthenticated",
                "the token does not count here; the node's log says why",
            ),
        };
        self.metrics.refused(code);
        Denied::new(code, message, trace)
    }

    /// What the member may see, and what must go on to be permitted meanwhile.
    fn view(
        &self,
        membership: &Arc<Membership>,
        purpose: Option<&str>,
        trace: &str,
    ) -> (Arc<View>, Vec<Permitted>) {
        let member = &*membership.member;
        let now = clock::now();
        let mut permitted = Vec::new();
        let mut view = View::builder(self.own.alias()).caller(&member.key());
        let salts = Salts::draw(&*self.own.keys().pseudonym, None);
        for product in self.catalog.own_products() {
            // Of own products nothing is masked for members today; without
            // randomness nothing is shown.
            let Ok(salts) = &salts else { continue };
            let scope = match Scope::decide(Basis::Member, &product, now) {
                Ok(scope) => scope,
                Err(why) => {
                    tracing::warn!(
                        product = %product.address(),
                        reason = why.reason,
                        "left out of the workbench"
                    );
                    continue;
                }
            };
            let tables = scope.tables().iter();
            let asked =
                AskedOfPolicy::query_of_member(member, purpose, &product.descriptor, tables, now);
            match Permitted::decide(&self.policies, asked, now) {
                Ok(own) => permitted.push(own),
                Err(why) => {
                    view = self.refused(view, &product, &scope, &why, trace);
                    continue;
                }
            }
            // One product whose file is gone must not close the whole workbench.
            match governed(self.own.alias(), &product, &scope, salts, &|_| {
                Arc::default()
            }) {
                Ok(tables) => {
                    let end = product.descriptor.deprecation.as_ref();
                    view = view.ending(self.own.alias(), &product.address().to_string(), end);
                    for (name, table) in tables {
                        view = view.governed(name, table);
                    }
                }
                Err(reason) => {
                    let product = product.address();
                    tracing::error!(%product, reason, "left out of the workbench");
                }
            }
        }
        for partner in self.partners.all() {
            for product in self.catalog.foreign_products(&partner.org) {
                view = self.foreign(view, &partner, &product, membership, purpose, trace);
            }
        }
        for agreement in self.agreements.of_side(Side::Consumer) {
            if agreement.standing(now) == Standing::InForce {
                view = self.withdrawn(view, &agreement);
            }
        }
        (view.build(), permitted)
    }

    /// An own product that policy closes to the member: its tables stay and say
    /// so, where a name that is gone would look like a slip of the pen.
    fn refused(
        &self,
        mut view: ViewBuilder,
        product: &OwnProduct,
        scope: &Scope,
        why: &OutOfScope,
        trace: &str,
    ) -> ViewBuilder {
        let address = product.address().to_string();
        let closed: Arc<dyn query::Partner> = Arc::new(ClosedByPolicy {
            alias: self.own.alias().to_owned(),
            reason: why.reason.clone(),
            trace: trace.to_owned(),
            metrics: self.metrics.clone(),
        });
        for table in &product.descriptor.tables {
            let Some(terms) = scope.tables().get(table.name.as_str()) else {
                continue;
            };
            let schema = types::schema(table, |c| terms.columns.contains(c));
            let remote = RemoteTable {
                product: address.clone(),
                table: table.name.to_string(),
            };
            let name = TableName {
                catalog: self.own.alias().to_owned(),
                schema: address.clone(),
                table: table.name.to_string(),
            };
            view = view.partner(name, PartnerTable::new(Arc::clone(&closed), remote, schema));
        }
        view
    }

    /// A product that is agreed and no longer announced: its tables stay and
    /// say so, where a name that is gone would look like a slip of the pen.
    fn withdrawn(&self, mut view: ViewBuilder, agreement: &Agreement) -> ViewBuilder {
        let (peer, product) = (agreement.peer(), agreement.product());
        let Some(partner) = self.partners.get(&peer) else {
            return view;
        };
        if !self.catalog.is_withdrawn(&peer, product) {
            return view;
        }
        let read = agreement.descriptor();
        let Some(descriptor) = read.and_then(|id| self.catalog.remembered(&peer, &id)) else {
            return view;
        };
        for table in &descriptor.tables {
            let Some(terms) = agreement.terms().tables.get(table.name.as_str()) else {
                continue;
            };
            let schema = types::schema(table, |c| terms.columns.contains(c));
            let closed = Arc::new(Closed {
                alias: partner.alias.clone(),
                code: "withdrawn",
            });
            let remote = RemoteTable {
                product: product.to_owned(),
                table: table.name.to_string(),
            };
            let name = TableName {
                catalog: partner.alias.clone(),
                schema: product.to_owned(),
                table: table.name.to_string(),
            };
            view = view.partner(name, PartnerTable::new(closed, remote, schema));
        }
        view
    }

    /// A partner's product: what the agreement opens, or a table that says
    /// which agreement is missing when it is read.
    fn foreign(
        &self,
        mut view: ViewBuilder,
        partner: &Partner,
        product: &VerifiedDescriptor,
        member: &Arc<Membership>,
        purpose: Option<&str>,
        trace: &str,
    ) -> ViewBuilder {
        let now = clock::now();
        let descriptor = product.descriptor();
        let address = descriptor.address().to_string();
        let name = address.as_str();
        view = view.ending(&partner.alias, name, descriptor.deprecation.as_ref());
        let agreement = self.agreements.opening(&partner.org, name, now);
        let closed = match &agreement {
            Some(_) => None,
            None => Some(self.why_closed(&partner.org, name)),
        };
        for table in &descriptor.tables {
            let terms = agreement
                .as_ref()
                .map(|a| a.terms().tables.get(table.name.as_str()));
            let schema = match terms {
                Some(None) => continue,
                Some(Some(terms)) => types::schema(table, |c| terms.columns.contains(c)),
                None => types::schema(table, |_| true),
            };
            let reader: Arc<dyn query::Partner> = match (&agreement, closed) {
                (Some(agreement), _) => Arc::new(Reader {
                    alias: partner.alias.clone(),
                    agreement: Arc::clone(agreement),
                    member: Arc::clone(member),
                    purpose: purpose.map(str::to_owned),
                    trace: trace.to_owned(),
                    reach: Arc::clone(&self.reach),
                    policies: Arc::clone(&self.policies),
                    metrics: self.metrics.clone(),
                    asked: AskedOfPolicy::issue_grant(
                        (
                            Principal::of_member(&member.member),
                            member.member.authentication(),
                        ),
                        purpose,
                        agreement,
                        descriptor,
                        now,
                    ),
                    negotiated: partner.recognized().0.to_vec(),
                    freshness: terms
                        .flatten()
                        .and_then(|t| freshness(descriptor, table, t)),
                }),
                (None, code) => Arc::new(Closed {
                    alias: partner.alias.clone(),
                    code: code.unwrap_or("no-agreement"),
                }),
            };
            let remote = RemoteTable {
                product: name.to_owned(),
                table: table.name.to_string(),
            };
            let full = TableName {
                catalog: partner.alias.clone(),
                schema: name.to_owned(),
                table: table.name.to_string(),
            };
            view = view.partner(full, PartnerTable::new(reader, remote, schema));
        }
        view
    }

    fn why_closed(&self, org: &OrgId, product: &str) -> &'static str {
        let now = clock::now();
        let ours = self.agreements.of_side(Side::Consumer);
        let last = ours
            .iter()
            .filter(|a| a.peer() == *org && a.product() == product)
            .max_by_key(|a| a.terms().not_before);
        match last.map(|a| a.standing(now)) {
            Some(Standing::Revoked) => "revoked",
            Some(Standing::Expired) => "expired",
            _ => "no-agreement",
        }
    }
}

/// The ways to partners' peer listeners: one client for each organization.
#[derive(Debug)]
pub struct Reach {
    own: Arc<Own>,
    keyring: Arc<Keyring>,
    grants: Arc<Grants>,
    leaf: Arc<CurrentLeaf>,
    dial: DialPolicy,
    observed: Arc<Observations>,
    reading: Arc<Reading>,
    clients: Mutex<HashMap<OrgId, Arc<PeerClient>>>,
}

impl Reach {
    /// Ways that present `leaf` and dial only organizations in `keyring`, where `dial` permits.
    /// What is seen on them is noted in `observed`, and what comes is written
    /// down by `reading`.
    pub fn new(
        own: Arc<Own>,
        keyring: Arc<Keyring>,
        grants: Arc<Grants>,
        leaf: Arc<CurrentLeaf>,
        dial: DialPolicy,
        observed: Arc<Observations>,
        reading: Arc<Reading>,
    ) -> Self {
        Self {
            own,
            keyring,
            grants,
            leaf,
            dial,
            observed,
            reading,
            clients: Mutex::default(),
        }
    }

    fn client(&self, org: OrgId, alias: &str) -> Result<Arc<PeerClient>, QueryError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&org) {
            return Ok(Arc::clone(client));
        }
        let trust = Arc::clone(&self.keyring);
        let leaf = Arc::clone(&self.leaf);
        let clock = Arc::new(rustls::time_provider::DefaultTimeProvider);
        let tls = peer_client_config(trust, org, Arc::clone(&leaf) as _, clock)
            .map_err(|e| QueryError::partner_unavailable(alias, e.to_string()))?;
        let holder = Arc::clone(&self.own.keys().node) as _;
        let leaf_of = crate::flight::leaf_of(move || leaf.leaf());
        let keyring = Arc::clone(&self.keyring);
        let epoch = crate::flight::epoch_of(move || keyring.epoch());
        let client = Arc::new(PeerClient::new(
            alias.to_owned(),
            Arc::new(tls),
            holder,
            leaf_of,
            epoch,
            self.dial,
        ));
        clients.insert(org, Arc::clone(&client));
        Ok(client)
    }

    /// Where the organization's nodes serve Flight, from its current document only (A26).
    fn addresses(&self, org: &OrgId) -> Vec<String> {
        let Some(organization) = self.keyring.get(org) else {
            return Vec::new();
        };
        let nodes = organization.document().nodes(clock::now());
        nodes.flat_map(|n| n.flight.iter().cloned()).collect()
    }
}

/// Reads one partner's tables for one member under one agreement.
#[derive(Debug)]
struct Reader {
    alias: String,
    agreement: Arc<Agreement>,
    member: Arc<Membership>,
    purpose: Option<String>,
    trace: String,
    reach: Arc<Reach>,
    policies: Arc<Policies>,
    metrics: Metrics,
    asked: AskedOfPolicy,
    /// The roles that the federation with the partner names.
    negotiated: Vec<String>,
    /// The column of the promised freshness, where the agreement shows it.
    freshness: Option<String>,
}

#[async_trait]
impl query::Partner for Reader {
    fn name(&self) -> &str {
        &self.alias
    }

    async fn open(
        &self,
        sql: String,
        _: SchemaRef,
    ) -> Result<SendableRecordBatchStream, QueryError> {
        let org = self.agreement.peer();
        let now = clock::now();
        let permitted = Permitted::decide(&self.policies, self.asked.clone(), now)
            .map_err(|why| closed_by_policy(&why.reason, &self.trace, &self.metrics))?;
        let grant = self
            .reach
            .grants
            .for_member(
                &self.member.member,
                (&self.agreement, &self.negotiated),
                self.purpose.as_deref(),
                &|| self.member.stands(),
                now,
            )
            .map_err(|e| QueryError::partner_unavailable(&self.alias, e.to_string()))?;
        let asked = Asked {
            agreement: self.agreement.id(),
            grant,
            purpose: self.purpose.clone(),
            trace: self.trace.clone(),
            sql,
        };
        let last = asked.grant.last().map_or(&[][..], |link| link.as_bytes());
        let of = (
            asked.agreement,
            Digest::of(last),
            Digest::of(asked.sql.as_bytes()),
        );
        let subject = self.reach.grants.pseudonym(self.member.member.name(), &org);
        // Before it is asked: a receipt may come before the answer is read.
        let taker = self.reach.reading.begin(&asked.trace, org, of, subject);
        let taker: Arc<dyn Taker> = Arc::new(taker);
        let client = self.reach.client(org, &self.alias)?;
        let began = Instant::now();
        let answer = client
            .query(&self.reach.addresses(&org), &asked, &taker)
            .await;
        let stop = self.agreement.stop().clone();
        let rows = answer.map(|(_, rows)| until_revoked(&self.alias, stop, rows));
        let rows = rows.map_err(QueryError::from);
        let (product, fresh) = (self.agreement.product(), self.freshness.as_deref());
        let observed = &self.reach.observed;
        let rows = observed.watch(org, product, fresh, began, rows)?;
        Ok(while_permitted(rows, permitted))
    }
}

/// `rows` until policy takes the right to ask for them away
/// (`spec/7-policy.md#R-10`).
fn while_permitted(
    rows: SendableRecordBatchStream,
    permitted: Permitted,
) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let rows = rows.map(move |batch| {
        let denied = |_| DataFusionError::External(Box::new(QueryError::policy()));
        permitted.check(clock::now()).map_err(denied)?;
        batch
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// An own table that policy closes to the member.
#[derive(Debug)]
struct ClosedByPolicy {
    alias: String,
    reason: String,
    trace: String,
    metrics: Metrics,
}

#[async_trait]
impl query::Partner for ClosedByPolicy {
    fn name(&self) -> &str {
        &self.alias
    }

    async fn open(&self, _: String, _: SchemaRef) -> Result<SendableRecordBatchStream, QueryError> {
        Err(closed_by_policy(&self.reason, &self.trace, &self.metrics))
    }
}

/// The reason is the owner's: a member may be told that a policy refuses, and not which.
fn closed_by_policy(reason: &str, trace: &str, metrics: &Metrics) -> QueryError {
    tracing::info!(trace, reason, "refused by policy");
    metrics.refused(CODE);
    QueryError::policy()
}

/// `rows` until `stop`: what a partner still sends under an agreement that was
/// taken back is not shown, whether or not the partner has heard of it
/// (`spec/5-data-plane.md#D-127`).
fn until_revoked(
    alias: &str,
    stop: CancellationToken,
    rows: SendableRecordBatchStream,
) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let alias = alias.to_owned();
    let stopped = Box::pin(stop.cancelled_owned());
    let live = futures::stream::unfold(Some((rows, stopped)), move |live| {
        let alias = alias.clone();
        async move {
            let (mut rows, mut stopped) = live?;
            tokio::select! {
                biased;
                () = &mut stopped => {
                    let error = QueryError::partner_refused(&alias, "revoked");
                    Some((Err(DataFusionError::External(Box::new(error))), None))
                }
                batch = rows.next() => batch.map(|batch| (batch, Some((rows, stopped)))),
            }
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, live))
}

/// A partner's table that no agreement opens: it can be found, not read.
#[derive(Debug)]
struct Closed {
    alias: String,
    code: &'static str,
}

#[async_trait]
impl query::Partner for Closed {
    fn name(&self) -> &str {
        &self.alias
    }

    async fn open(&self, _: String, _: SchemaRef) -> Result<SendableRecordBatchStream, QueryError> {
        Err(QueryError::partner_refused(&self.alias, self.code))
    }
}

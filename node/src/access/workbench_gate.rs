//! The workbench listener's gate: members of this organization.

mod closed;
mod reach;
mod reader;

use std::sync::Arc;

use async_trait::async_trait;
use comity_identity::{OrgId, Timestamp};
use comity_protocol::negotiation::Side;
use comity_protocol::product::VerifiedDescriptor;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::metadata::MetadataMap;

use self::closed::{ByPolicy, Closed, ClosedByPolicy};
pub use self::reach::Reach;
use self::reader::Reader;
use super::agreements::{Agreement, Agreements, Standing};
use super::egress::EgressRules;
use super::members::{Members, Unproven, VerifiedMember};
use super::partners::{Partner, Partners};
use super::peer_gate::governed;
use super::policy::{Asked as AskedOfPolicy, Permitted, Policies, Principal};
use super::record::{Audit, trace};
use super::refusals::Refusals;
use super::scope::{Basis, OutOfScope, Scope, purpose_of};
use super::sizes::StatedSizes;
use crate::admin::{Listener, Metrics};
use crate::catalog::{Catalog, OwnProduct, types};
use crate::clock;
use crate::flight::{Denied, Gate, PARTIAL, PURPOSE, Right, Session, Unlimited, workbench};
use crate::ledger::Ledger;
use crate::measure::freshness;
use crate::own::Own;
use crate::query::{self, PartnerTable, RemoteTable, Salts, TableName, View, ViewBuilder};

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
    /// Where refusals are written down.
    pub refusals: Arc<Refusals>,
    /// The ways to the partners.
    pub reach: Arc<Reach>,
    /// Which keys of joins they may be told.
    pub egress: Arc<EgressRules>,
    /// How large tables are.
    pub sizes: Arc<StatedSizes>,
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
        let partial = request.metadata().get(PARTIAL);
        let partial = match partial.map(|p| p.as_bytes()) {
            None => false,
            Some(b"true") => true,
            Some(_) => {
                return Err(Denied::new(
                    "bad-header",
                    "the header 'comity-partial' can be 'true', or left out",
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
        let (view, permitted) = self.view(&membership, purpose.as_deref(), partial, &trace);
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
            salts: None,
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
        let hour = clock::next_hour();
        let end = self.membership.member.until();
        Some(end.map_or(hour, |end| end.min(hour)))
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
        partial: bool,
        trace: &str,
    ) -> (Arc<View>, Vec<Permitted>) {
        let member = &*membership.member;
        let now = clock::now();
        let mut permitted = Vec::new();
        let mut view = View::builder(self.own.alias())
            .caller(&member.key())
            .telling(Arc::clone(&self.egress) as _)
            .sized(Arc::clone(&self.sizes) as _)
            .explaining();
        if partial {
            view = view.partial();
        }
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
                Ok(Arc::default())
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
            refuses: self.by_policy(trace),
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
        let agreed = agreement.as_ref().map(|a| &a.terms().purposes);
        let purpose = agreed.and_then(|agreed| purpose_of(agreed, purpose));
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
                    ledger: Arc::clone(&self.ledger),
                    reach: Arc::clone(&self.reach),
                    refuses: self.by_policy(trace),
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

    fn by_policy(&self, trace: &str) -> ByPolicy {
        ByPolicy {
            own: self.own.org(),
            trace: trace.to_owned(),
            policies: Arc::clone(&self.policies),
            metrics: self.metrics.clone(),
            refusals: Arc::clone(&self.refusals),
        }
    }

    fn why_closed(&self, org: &OrgId, product: &str) -> &'static str {
        let now = clock::now();
        let ours = self.agreements.about(Side::Consumer, org, product);
        let last = ours.iter().max_by_key(|a| a.terms().not_before);
        match last.map(|a| a.standing(now)) {
            Some(Standing::Revoked) => "revoked",
            Some(Standing::Expired) => "expired",
            _ => "no-agreement",
        }
    }
}

//! The peer listener's gate: agreement AND grant AND what is announced today.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use comity_identity::{OrgId, Timestamp};
use comity_protocol::negotiation::Side;
use comity_protocol::terms::TableTerms;
use tokio::sync::watch;
use tonic::Request;

use super::agreements::{Agreement, Agreements, Standing};
use super::asker::{Asker, Known, counts};
use super::claims::AskerClaims;
use super::disclosures::Disclosures;
use super::partners::{Partner, Partners};
use super::policy::{Asked, Permitted, Policies};
use super::quota::Quotas;
use super::record::{Audit, trace};
use super::refusals::Refusals;
use super::scope::{Basis, OutOfScope, Scope, purpose_of};
use crate::admin::{Listener, Metrics};
use crate::catalog::{Catalog, OwnProduct};
use crate::clock;
use crate::config::PartnerNote;
use crate::flight::peers::{Claims, connection};
use crate::flight::{Caller, Denied, Gate, Right, Session};
use crate::ledger::{Ledger, Refused};
use crate::own::Own;
use crate::query::{Disclosed, GovernedTable, KeptError, Salts, TableName, View};
use crate::receipts::Given;

/// Stands for a caller's trace id where none came.
const NO_TRACE: &str = "0000000000000000";

/// Judges every call of a partner's node.
#[derive(Debug)]
pub struct PeerGate {
    /// This organization.
    pub own: Arc<Own>,
    /// Whose keys count.
    pub partners: Arc<Partners>,
    /// What was agreed.
    pub agreements: Arc<Agreements>,
    /// What is served.
    pub catalog: Arc<Catalog>,
    /// What the owner's policies take away.
    pub policies: Arc<Policies>,
    /// Where deliveries are written.
    pub ledger: Arc<Ledger>,
    /// Where refusals are written.
    pub refusals: Arc<Refusals>,
    /// What is counted.
    pub metrics: Metrics,
    /// What partners were told of tables that are read in groups only.
    pub disclosures: Disclosures,
    /// How much was read.
    pub quotas: Arc<Quotas>,
    /// What the owner's configuration says of partners.
    pub notes: Vec<PartnerNote>,
    /// What partners received, and whether they acknowledge it.
    pub given: Arc<Given>,
}

impl Gate for PeerGate {
    fn admit(&self, request: &Request<()>) -> Result<Session, Denied> {
        // Ours makes the pair of a delivery's two records unmistakable; the
        // caller's, in front, finds it in the logs of both.
        let own_trace = format!("{NO_TRACE}{}", trace());
        let Some(caller) = connection(request) else {
            return Err(Denied::new(
                "unauthenticated",
                "this listener wants a node's certificate",
                &own_trace,
            ));
        };
        let Some(claims) = Claims::read(request.metadata()) else {
            let why = out("no-claims", "claims are missing or malformed");
            return Err(match &caller {
                Caller::Node(peer) => self.refuse(peer.org, &own_trace, &why),
                Caller::Holder(_) => self.refuse_stranger(&own_trace, &why),
            });
        };
        let trace = match &claims.trace {
            Some(theirs) => own_trace.replacen(NO_TRACE, &theirs.to_ascii_lowercase(), 1),
            None => own_trace,
        };
        let now = clock::now();
        // Read before the judgement: what changes during it is judged again.
        let epoch = self.partners.epoch();
        let known = Known {
            own: self.own.org(),
            partners: &self.partners,
            agreements: &self.agreements,
        };
        let asker = match &caller {
            Caller::Node(peer) => Asker::node(known, peer, &claims, now)
                .map_err(|why| self.refuse(peer.org, &trace, &why))?,
            Caller::Holder(holder) => {
                Asker::holder(known, *holder, &claims, now).map_err(|refused| {
                    let why = &refused.why;
                    match refused.org {
                        Some(org) => self.refuse(org, &trace, why),
                        None => self.refuse_stranger(&trace, why),
                    }
                })?
            }
        };
        let org = asker.org;
        self.judge(asker, &claims, &trace, (epoch, now))
            .map_err(|why| self.refuse(org, &trace, &why))
    }
}

/// What may end while an answer streams: the standing of the organization, of
/// its node and of the grant, the agreement's time, and what policy leaves of it
/// (I-27, A30, `spec/7-policy.md#R-10`). The agreement's revocation wakes the
/// stream by itself.
#[derive(Debug)]
struct PartnerRight {
    own: OrgId,
    partners: Arc<Partners>,
    org: OrgId,
    caller: Caller,
    grant: Vec<String>,
    grant_expires: Timestamp,
    agreement: Arc<Agreement>,
    permitted: Permitted,
    policies: Arc<Policies>,
    judged: AtomicU64,
}

impl Right for PartnerRight {
    fn check(&self) -> Result<(), &'static str> {
        let now = clock::now();
        match self.agreement.standing(now) {
            Standing::InForce => {}
            Standing::Revoked => return Err("revoked"),
            Standing::Expired => return Err("expired"),
        }
        self.permitted.check(now)?;
        let epoch = self.partners.epoch();
        if self.judged.load(Ordering::Acquire) == epoch {
            return Ok(());
        }
        let organization = counts(&self.partners, &self.caller, &self.org, now);
        let organization = organization.map_err(|e| e.code)?;
        // A grant lives for minutes and an answer may take longer: its end is
        // no reason to cut, its revocation is.
        let last = self.grant_expires.as_secs().saturating_sub(1);
        let at = now.min(Timestamp::from_secs(last));
        let granted = organization.verify_grant(&self.grant, self.own, at);
        granted.map_err(|_| "grant-invalid")?;
        self.judged.store(epoch, Ordering::Release);
        Ok(())
    }

    fn changes(&self) -> Vec<watch::Receiver<u64>> {
        vec![self.partners.changes(), self.policies.changes()]
    }

    fn until(&self) -> Option<Timestamp> {
        Some(self.agreement.terms().expires.min(clock::next_hour()))
    }
}

impl PeerGate {
    /// What whoever asks may see and until when, now that it is known who it is.
    fn judge(
        &self,
        asker: Asker,
        claims: &Claims,
        trace: &str,
        (epoch, now): (u64, Timestamp),
    ) -> Result<Session, OutOfScope> {
        let (agreement, grant) = (&asker.agreement, &asker.grant);
        // After the proof: nobody else learns how a consumer acknowledges.
        // Of any agreement over the product: another one is no way around it.
        let ours = self
            .agreements
            .about(Side::Provider, &asker.org, agreement.product());
        if ours.iter().any(|a| self.given.is_due(&a.id())) {
            let reason = "receipts of this product are not acknowledged";
            return Err(out("receipts-due", reason));
        }
        let product = self
            .catalog
            .own_product(agreement.product())
            .ok_or_else(|| out("withdrawn", "the product is no longer announced"))?;
        let purpose = purpose_of(grant.purposes(), claims.purpose.as_deref())
            .ok_or_else(|| out("purpose", "the grant has several, and none is stated"))?;
        let partner = self.partners.get(&asker.org);
        let partner = partner.ok_or_else(|| out("not-federated", "unknown"))?;
        let attributes = self.attributes(&partner);
        let roles = partner.recognizes(grant.roles());
        let told = AskerClaims::new(&asker.org, &attributes, grant, purpose, roles);
        let scope = Scope::decide(
            Basis::Partner {
                agreement,
                grant,
                purpose,
                claims: &told,
            },
            &product,
            now,
        )?;
        let asked = Asked::query_of_partner(
            &partner,
            (agreement, grant, purpose),
            &product.descriptor,
            scope.tables().iter(),
            now,
        );
        // Last: policy can only refuse, the scope is made already (spec/7-policy.md#R-1).
        let permitted = Permitted::decide(&self.policies, asked, now)?;
        let end = product.descriptor.deprecation.as_ref();
        let address = product.address().to_string();
        let mut view = View::builder(self.own.alias())
            .caller(&asker.org.to_string())
            .ending(self.own.alias(), &address, end);
        let salts = Salts::draw(&*self.own.keys().pseudonym, Some(&agreement.id()))
            .map_err(|e| out("unavailable", e.to_string()))?;
        // By partner and not by agreement: two agreements over one table are one reader.
        let told = |table: &str| self.disclosures.of(asker.org, agreement.product(), table);
        let tables = governed(self.own.alias(), &product, &scope, &salts, &told)
            .map_err(|reason| out("source-unavailable", reason))?;
        for (name, table) in tables {
            view = view.governed(name, table);
        }
        let policy = permitted.policy();
        let right = PartnerRight {
            own: self.own.org(),
            partners: Arc::clone(&self.partners),
            org: asker.org,
            caller: asker.caller.clone(),
            grant: claims.grant.clone(),
            grant_expires: grant.expires(),
            agreement: Arc::clone(agreement),
            permitted,
            policies: Arc::clone(&self.policies),
            judged: AtomicU64::new(epoch),
        };
        let audit = Audit {
            ledger: Arc::clone(&self.ledger),
            refusals: Some(Arc::clone(&self.refusals)),
            metrics: self.metrics.clone(),
            listener: Listener::Peers,
            trace: trace.to_owned(),
            org: asker.org,
            subject: grant.subject().to_owned(),
            agreement: Some(agreement.id()),
            purpose: Some(purpose.to_owned()),
            policy,
            grant: Some(grant.digest()),
            direct: asker.direct(),
            budgets: grant.budgets().iter().map(|b| b.link).collect(),
            salts: Some(salts),
            given: Some(Arc::clone(&self.given)),
        };
        Ok(Session {
            key: asker.key(),
            view: view.build(),
            stop: agreement.stop().clone(),
            right: Arc::new(right),
            member: false,
            allowance: self.quotas.allowance(agreement, grant.budgets()),
            trace: trace.to_owned(),
            recorder: Arc::new(audit),
            token: None,
        })
    }

    /// What the owner says of the partner, by its id or the name given to it
    /// here. A name that it gave itself earns no attribute.
    fn attributes(&self, partner: &Partner) -> BTreeMap<String, String> {
        let meant = |note: &&PartnerNote| partner.is_called(&note.partner);
        let notes = self.notes.iter().filter(meant);
        notes.flat_map(|n| n.attributes.clone()).collect()
    }

    fn refuse(&self, org: OrgId, trace: &str, why: &OutOfScope) -> Denied {
        self.metrics.refused(why.code);
        self.refusals.write(Refused {
            trace: trace.to_owned(),
            org,
            code: why.code.to_owned(),
            reason: why.reason.clone(),
            policy: Some(self.policies.digest()),
            at: clock::now(),
        });
        // The code alone: reasons may tell what the caller must not learn (A19).
        Denied::new(why.code, "refused", trace)
    }

    /// Refuses whoever proved nothing. It is counted and logged, not written into
    /// the journal: strangers must not fill it, nor the minute of an organization
    /// whose name anybody can write into a grant.
    fn refuse_stranger(&self, trace: &str, why: &OutOfScope) -> Denied {
        self.metrics.refused(why.code);
        tracing::info!(trace, code = why.code, reason = why.reason, "refused");
        Denied::new(why.code, "refused", trace)
    }
}

/// The tables of `scope`, behind the barrier. One whose data cannot be read
/// now refuses them all: half a product would look whole.
pub(super) fn governed(
    alias: &str,
    product: &OwnProduct,
    scope: &Scope,
    salts: &Salts,
    disclosed: &dyn Fn(&str) -> Result<Arc<Disclosed>, KeptError>,
) -> Result<Vec<(TableName, GovernedTable)>, String> {
    let governed = |(table, terms): (&String, &TableTerms)| {
        let source = match product.sources.get(table) {
            Some(Ok(source)) => Arc::clone(source),
            Some(Err(reason)) => return Err(format!("table {table}: {reason}")),
            None => return Err(format!("table {table} has no source")),
        };
        // Of tables that are read row by row nothing is remembered.
        let disclosed = match terms.protection {
            Some(_) => disclosed(table).map_err(|e| format!("table {table}: {e}"))?,
            None => Arc::default(),
        };
        let governed = GovernedTable::asked(source, terms, salts, disclosed).map_err(|e| {
            let detail = e.owner_detail().unwrap_or_default();
            format!("table {table}: {e}: {detail}")
        })?;
        let name = TableName {
            catalog: alias.to_owned(),
            schema: product.address().to_string(),
            table: table.clone(),
        };
        Ok((name, governed))
    };
    scope.tables().iter().map(governed).collect()
}

fn out(code: &'static str, reason: impl Into<String>) -> OutOfScope {
    OutOfScope {
        code,
        reason: reason.into(),
    }
}

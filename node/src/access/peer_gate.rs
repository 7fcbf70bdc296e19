//! The peer listener's gate: agreement AND grant AND what is announced today.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use comity_identity::binding::Channel;
use comity_identity::keyring::Organization;
use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::terms::TableTerms;
use tonic::Request;

use super::agreements::{Agreement, Agreements, Standing};
use super::partners::Partners;
use super::record::{Audit, Refusals, trace};
use super::scope::{Basis, OutOfScope, Scope};
use crate::admin::{Listener, Metrics};
use crate::catalog::{Catalog, OwnProduct};
use crate::clock;
use crate::flight::peers::{Claims, connection};
use crate::flight::{Denied, Gate, PeerConnection, Right, Session};
use crate::ledger::{Ledger, Refused};
use crate::own::Own;
use crate::query::{GovernedTable, TableName, View};
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
    /// Where deliveries are written.
    pub ledger: Arc<Ledger>,
    /// Where refusals are written.
    pub refusals: Refusals,
    /// What is counted.
    pub metrics: Metrics,
    /// What partners received, and whether they acknowledge it.
    pub given: Arc<Given>,
}

impl Gate for PeerGate {
    fn admit(&self, request: &Request<()>) -> Result<Session, Denied> {
        // Ours makes the pair of a delivery's two records unmistakable; the
        // caller's, in front, finds it in the logs of both.
        let own_trace = format!("{NO_TRACE}{}", trace());
        let Some(peer) = connection(request) else {
            return Err(Denied::new(
                "unauthenticated",
                "this listener wants a node's certificate",
                &own_trace,
            ));
        };
        let Some(claims) = Claims::read(request.metadata()) else {
            return Err(self.refuse(
                &peer,
                &own_trace,
                &out("no-claims", "claims are missing or malformed"),
            ));
        };
        let trace = match &claims.trace {
            Some(theirs) => own_trace.replacen(NO_TRACE, &theirs.to_ascii_lowercase(), 1),
            None => own_trace,
        };
        self.judge(&peer, &claims, &trace)
            .map_err(|why| self.refuse(&peer, &trace, &why))
    }
}

/// What may end while an answer streams: the standing of the organization, of
/// its node and of the grant, and the agreement's time (I-27, A30). The
/// agreement's revocation wakes the stream by itself.
#[derive(Debug)]
struct PartnerRight {
    own: OrgId,
    partners: Arc<Partners>,
    peer: PeerConnection,
    grant: Vec<String>,
    grant_expires: Timestamp,
    agreement: Arc<Agreement>,
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
        let epoch = self.partners.keyring().epoch();
        if self.judged.load(Ordering::Acquire) == epoch {
            return Ok(());
        }
        let organization = counts(&self.partners, &self.peer, now).map_err(|e| e.code)?;
        // A grant lives for minutes and an answer may take longer: its end is
        // no reason to cut, its revocation is.
        let last = self.grant_expires.as_secs().saturating_sub(1);
        let at = now.min(Timestamp::from_secs(last));
        let granted = organization.verify_grant(&self.grant, self.own, at);
        granted.map_err(|_| "grant-invalid")?;
        self.judged.store(epoch, Ordering::Release);
        Ok(())
    }
}

/// The organization of a connection, if it and its node count now: an open
/// connection outlives the handshake.
fn counts(
    partners: &Partners,
    peer: &PeerConnection,
    now: Timestamp,
) -> Result<Arc<Organization>, OutOfScope> {
    let refused = |reason: &str| out("not-federated", reason);
    let organization = partners.keyring().get(&peer.org);
    let organization = organization.ok_or_else(|| refused("unknown"))?;
    let node = peer.node.parse().map_err(|_| refused("no such node"))?;
    let listed = organization.document().node(&node, now).is_some();
    let partner = partners.get(&peer.org);
    let federated = partner.is_some_and(|p| p.is_federated(now));
    if listed && federated && !organization.standing().is_frozen() {
        Ok(organization)
    } else {
        Err(refused("the node or its organization no longer counts"))
    }
}

impl PeerGate {
    /// The order matters: who speaks, whether it still may, and only then what for
    /// (`spec/5-data-plane.md#D-107`).
    fn judge(
        &self,
        peer: &PeerConnection,
        claims: &Claims,
        trace: &str,
    ) -> Result<Session, OutOfScope> {
        let now = clock::now();
        // Read before the judgement: what changes during it is judged again.
        let epoch = self.partners.keyring().epoch();
        let organization = counts(&self.partners, peer, now)?;
        let agreement = self
            .agreements
            .get(&claims.agreement)
            .filter(|a| a.peer() == peer.org)
            .ok_or_else(|| out("no-agreement", "no such agreement with this organization"))?;
        let grant = organization
            .verify_grant(&claims.grant, self.own.org(), now)
            .map_err(|e| out("grant-invalid", e.to_string()))?;
        // A1, A2: only the holder, only on this connection.
        let last = claims.grant.last().map_or(&[][..], |link| link.as_bytes());
        let channel = Channel {
            exporter: &peer.exporter,
            leaf: &peer.leaf,
            grant: Digest::of(last),
        };
        channel
            .check(&claims.binding, grant.holder())
            .map_err(|e| out("not-bound", e.to_string()))?;
        // After the proof: nobody else learns how a consumer acknowledges.
        if self.given.is_due(&agreement.id()) {
            let reason = "receipts of this agreement are not acknowledged";
            return Err(out("receipts-due", reason));
        }
        let product = self
            .catalog
            .own_product(agreement.product())
            .ok_or_else(|| out("withdrawn", "the product is no longer announced"))?;
        let purpose = claims.purpose.as_deref();
        let scope = Scope::decide(
            Basis::Partner {
                agreement: &agreement,
                grant: &grant,
                purpose,
            },
            &product,
            now,
        )?;
        let end = product.descriptor.deprecation.as_ref();
        let address = product.address().to_string();
        let mut view = View::builder(self.own.alias()).ending(self.own.alias(), &address, end);
        let tables = governed(self.own.alias(), &product, &scope)
            .map_err(|reason| out("source-unavailable", reason))?;
        for (name, table) in tables {
            view = view.governed(name, table);
        }
        let right = PartnerRight {
            own: self.own.org(),
            partners: Arc::clone(&self.partners),
            peer: peer.clone(),
            grant: claims.grant.clone(),
            grant_expires: grant.expires(),
            agreement: Arc::clone(&agreement),
            judged: AtomicU64::new(epoch),
        };
        let audit = Audit {
            ledger: Arc::clone(&self.ledger),
            metrics: self.metrics.clone(),
            listener: Listener::Peers,
            trace: trace.to_owned(),
            org: peer.org,
            subject: grant.subject().to_owned(),
            agreement: Some(agreement.id()),
            purpose: claims.purpose.clone(),
            grant: Some(Digest::of(last)),
            given: Some(Arc::clone(&self.given)),
        };
        Ok(Session {
            // A ticket is the holder's, under this agreement, and nobody else's (A16).
            key: format!("{} {} {}", peer.org, grant.holder(), agreement.id()),
            view: view.build(),
            stop: agreement.stop().clone(),
            right: Arc::new(right),
            member: false,
            max_rows: scope.max_rows(),
            trace: trace.to_owned(),
            recorder: Arc::new(audit),
            token: None,
        })
    }

    fn refuse(&self, peer: &PeerConnection, trace: &str, why: &OutOfScope) -> Denied {
        self.metrics.refused(why.code);
        self.refusals.write(Refused {
            trace: trace.to_owned(),
            org: peer.org,
            code: why.code.to_owned(),
            reason: why.reason.clone(),
            at: clock::now(),
        });
        // The code alone: reasons may tell what the caller must not learn (A19).
        Denied::new(why.code, "refused", trace)
    }
}

/// The tables of `scope`, behind the barrier. One whose data cannot be read
/// now refuses them all: half a product would look whole.
pub(super) fn governed(
    alias: &str,
    product: &OwnProduct,
    scope: &Scope,
) -> Result<Vec<(TableName, GovernedTable)>, String> {
    let governed = |(table, terms): (&String, &TableTerms)| {
        let source = match product.sources.get(table) {
            Some(Ok(source)) => Arc::clone(source),
            Some(Err(reason)) => return Err(format!("table {table}: {reason}")),
            None => return Err(format!("table {table} has no source")),
        };
        let governed = GovernedTable::new(source, terms).map_err(|e| {
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

//! The peer listener's gate: agreement AND grant AND local policy.

use std::sync::Arc;

use comity_identity::Digest;
use comity_identity::binding::Channel;
use tonic::Request;

use super::agreements::Agreements;
use super::partners::Partners;
use super::record::{Audit, refused, trace};
use super::scope::{Basis, OutOfScope, Scope};
use crate::admin::{Listener, Metrics};
use crate::catalog::{Catalog, OwnProduct};
use crate::clock;
use crate::flight::peers::{Claims, connection};
use crate::flight::{Denied, Gate, PeerConnection, Session};
use crate::ledger::{Ledger, Refused};
use crate::own::Own;
use crate::query::{GovernedTable, TableName, View};

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
    /// Where deliveries and refusals are written.
    pub ledger: Arc<Ledger>,
    /// What is counted.
    pub metrics: Metrics,
}

impl Gate for PeerGate {
    fn admit(&self, request: &Request<()>) -> Result<Session, Denied> {
        let own_trace = trace();
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
        let trace = claims.trace.clone().unwrap_or(own_trace);
        self.judge(&peer, &claims, &trace)
            .map_err(|why| self.refuse(&peer, &trace, &why))
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
        // An open connection outlives the handshake: the node must still be listed now (A30).
        let organization = self.partners.keyring().get(&peer.org);
        let organization = organization.ok_or_else(|| out("not-federated", "unknown"))?;
        let node = peer
            .node
            .parse()
            .map_err(|_| out("not-federated", "no such node"))?;
        let listed = organization.document().node(&node, now).is_some();
        let federated = self
            .partners
            .get(&peer.org)
            .is_some_and(|p| p.federation.is_some());
        if !listed || !federated || organization.standing().is_frozen() {
            return Err(out(
                "not-federated",
                "the node or its organization no longer counts",
            ));
        }
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
        let view = governed(
            View::builder(self.own.alias()),
            self.own.alias(),
            &product,
            &scope,
        )
        .map_err(|reason| out("source-unavailable", reason))?
        .build();
        let audit = Audit {
            ledger: Arc::clone(&self.ledger),
            metrics: self.metrics.clone(),
            listener: Listener::Peers,
            trace: trace.to_owned(),
            org: peer.org,
            subject: grant.subject().to_owned(),
            agreement: Some(agreement.id()),
            purpose: claims.purpose.clone(),
        };
        Ok(Session {
            // A ticket is the holder's, under this agreement, and nobody else's (A16).
            key: format!("{} {} {}", peer.org, grant.holder(), agreement.id()),
            view,
            stop: agreement.stop().clone(),
            max_rows: scope.max_rows(),
            trace: trace.to_owned(),
            recorder: Arc::new(audit),
            token: None,
        })
    }

    fn refuse(&self, peer: &PeerConnection, trace: &str, why: &OutOfScope) -> Denied {
        self.metrics.refused(why.code);
        refused(
            &self.ledger,
            Refused {
                trace: trace.to_owned(),
                org: peer.org,
                code: why.code.to_owned(),
                reason: why.reason.clone(),
                at: clock::now(),
            },
        );
        // The code alone: reasons may tell what the caller must not learn (A19).
        Denied::new(why.code, "refused", trace)
    }
}

/// Adds the tables of `scope` to a view, behind the barrier. A table whose
/// data cannot be read now refuses the view: a half view would look whole.
pub(super) fn governed(
    mut view: crate::query::ViewBuilder,
    alias: &str,
    product: &OwnProduct,
    scope: &Scope,
) -> Result<crate::query::ViewBuilder, String> {
    for (table, terms) in scope.tables() {
        let source = match product.sources.get(table) {
            Some(Ok(source)) => Arc::clone(source),
            Some(Err(reason)) => return Err(format!("table {table}: {reason}")),
            None => return Err(format!("table {table} has no source")),
        };
        let governed = GovernedTable::new(source, terms).map_err(|e| {
            format!(
                "table {table}: {e}: {}",
                e.owner_detail().unwrap_or_default()
            )
        })?;
        let name = TableName {
            catalog: alias.to_owned(),
            schema: product.name().to_owned(),
            table: table.clone(),
        };
        view = view.governed(name, governed);
    }
    Ok(view)
}

fn out(code: &'static str, reason: impl Into<String>) -> OutOfScope {
    OutOfScope {
        code,
        reason: reason.into(),
    }
}

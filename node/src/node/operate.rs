//! What the operator asks of the node, where several rooms work together.

use std::sync::Arc;

use comity_identity::organization::Freshness;
use comity_protocol::negotiation::Side;

use super::Node;
use crate::access::Partner;
use crate::admin::{Reading, api};
use crate::clock;
use crate::failure::Failure;
use crate::ledger::{Administered, OPERATOR, Record};

impl Node {
    /// Writes down an act of the operator that leaves no other record, before
    /// its effect; a node that cannot write refuses it (`spec/6-evidence.md#V-3`).
    pub(super) async fn administered(
        &self,
        act: &str,
        target: impl ToString,
    ) -> Result<(), Failure> {
        self.administered_by(OPERATOR.to_owned(), act, target).await
    }

    /// [`Node::administered`], by somebody else than the operator.
    pub(super) async fn administered_by(
        &self,
        by: String,
        act: &str,
        target: impl ToString,
    ) -> Result<(), Failure> {
        let record = Record::Administered(Administered {
            act: act.to_owned(),
            by,
            target: target.to_string(),
            at: clock::now(),
        });
        self.ledger.commit(&record).await?;
        Ok(())
    }

    /// How the node is doing.
    pub async fn status(&self) -> Result<api::Status, Failure> {
        let now = clock::now();
        let current = self.own.current();
        let (journal_records, journal_root) = self.ledger.root();
        let partners = self
            .partners
            .all()
            .into_iter()
            .map(|p| self.partner_status(&p))
            .collect();
        Ok(api::Status {
            org: self.own.org(),
            name: self.name.clone(),
            alias: self.own.alias().to_owned(),
            node: self.own.node().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            health: self
                .health()
                .map_or_else(str::to_owned, |()| self.policy_health().to_owned()),
            listening: self.listening.clone(),
            document_expires: current.document.document().expires_at,
            certificate_expires: self.certificate.expires(),
            journal_records,
            journal_root,
            index_rebuilt: self.ledger.rebuilt().map(str::to_owned),
            partners,
            ending: self.ending(),
            products: self
                .catalog
                .own_products()
                .iter()
                .map(|p| p.address().to_string())
                .collect(),
            policy: self.policies.status(),
            waiting: self.negotiations.waiting().await,
            agreements: self.agreements.in_force(now),
        })
    }

    fn partner_status(&self, partner: &Partner) -> api::PartnerStatus {
        let now = clock::now();
        let organization = partner.organization();
        let frozen = organization.is_some_and(|o| o.standing().is_frozen());
        let contradicted = self.catalog.is_contradicted(&partner.org);
        let state = match (frozen, contradicted, partner.is_federated(now)) {
            (true, _, _) => "frozen",
            _ if partner.is_ended() => "ended",
            (false, true, _) => "contradicted",
            (false, false, true) => "federated",
            (false, false, false) => "introduced",
        };
        api::PartnerStatus {
            alias: partner.alias.clone(),
            org: partner.org,
            name: organization
                .map(|o| o.document().document().name.clone())
                .unwrap_or_default(),
            state: state.to_owned(),
            connected: self.is_connected(&partner.org),
            roles: partner.recognized().0.to_vec(),
            products: self.catalog.foreign_products(&partner.org).len(),
            document: match organization.map(|o| o.freshness(now)) {
                Some(Freshness::Fresh) => "fresh",
                Some(Freshness::Stale) => "stale",
                _ => "expired",
            }
            .to_owned(),
            document_version: organization.map_or(0, |o| o.document().version()),
        }
    }

    /// `/metrics` as OpenMetrics text.
    pub fn metrics(&self) -> Result<String, Failure> {
        let now = clock::now();
        let partners = self.partners.all();
        let reading = Reading {
            journal_records: self.ledger.root().0,
            partners: partners.iter().filter(|p| p.is_federated(now)).count() as u64,
            connected: partners
                .iter()
                .filter(|p| self.is_connected(&p.org))
                .count() as u64,
            agreements: self.agreements.in_force(now) as u64,
        };
        self.metrics
            .render(reading)
            .map_err(|e| Failure::own("metrics", e))
    }

    /// Makes an invitation and opens the door for whoever brings it.
    pub async fn invite(&self, ask: api::Invite) -> Result<api::Invitation, Failure> {
        let made = self.partners.invite(ask).await?;
        self.refresh_door().await;
        Ok(made)
    }

    /// Takes an agreement back and tells the other side.
    pub async fn revoke(self: &Arc<Self>, id: &str) -> Result<api::Agreement, Failure> {
        let agreement = self.agreements.find(id)?;
        self.agreements.revoke(&agreement).await?;
        self.visit(agreement.peer());
        let side = match agreement.side() {
            Side::Provider => "provider",
            Side::Consumer => "consumer",
        };
        tracing::info!(agreement = %agreement.id(), side, "revoked");
        let now = clock::now();
        let revoked = self.agreements.get(&agreement.id()).unwrap_or(agreement);
        Ok(self.agreements.view(&revoked, now))
    }
}

//! What a node does by itself: renewals, and looking after partners.

use std::sync::Arc;
use std::time::Duration;

use comity_identity::OrgId;
use tokio::sync::mpsc;

use super::Node;
use crate::clock;
use crate::journal::Health;

/// How often the node looks whether something must be renewed or repaired.
const TICK: Duration = Duration::from_secs(30);

/// How often a node with a full disk looks whether space returned.
const SPACE_TICK: Duration = Duration::from_secs(2);

/// Partners that are told of a new head directly; gossip and their own timers
/// reach the others.
const MAX_TOLD: usize = 64;

impl Node {
    /// Renews the document, the certificate and the head in time, and asks
    /// connected partners for news. Gossip is only latency; this converges.
    pub(super) async fn tend(self: Arc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tick.tick().await;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = tokio::time::sleep(SPACE_TICK) => {
                    self.look_for_space().await;
                    continue;
                }
                () = self.stop.cancelled() => return,
            }
            if self.ledger.health() == Health::NoSpace {
                continue;
            }
            self.renew().await;
            self.refresh_door().await;
            for org in self.partners.all().into_iter().map(|p| p.org) {
                if self.is_connected(&org) {
                    self.sync(&org).await;
                    self.negotiations.resume(&org).await;
                    self.tell_revocations(&org).await;
                }
            }
        }
    }

    /// Without a try the node would never notice that space returned.
    async fn look_for_space(&self) {
        if self.ledger.health() == Health::NoSpace && self.ledger.probe().await.is_ok() {
            tracing::info!("the disk has space again");
        }
    }

    async fn renew(&self) {
        let now = clock::now();
        match self.own.refresh(&self.reach, now).await {
            Ok(true) => tracing::info!("issued the next organization document"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the organization document was not renewed"),
        }
        match self.certificate.refresh(now) {
            Ok(true) => tracing::info!("issued the next TLS certificate"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the TLS certificate was not renewed"),
        }
        match self.catalog.refresh(now).await {
            Ok(true) => self.spread_head().await,
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the catalog was not renewed"),
        }
    }

    /// Gossips the head and tells the partners that are connected.
    pub(super) async fn spread_head(&self) {
        let Some(announced) = self.catalog.announced() else {
            return;
        };
        self.network.publish(announced.head.into_bytes()).await;
        let partners = self.partners.all();
        let connected = partners
            .iter()
            .map(|p| p.org)
            .filter(|org| self.is_connected(org));
        for org in connected.take(MAX_TOLD).collect::<Vec<_>>() {
            self.sync(&org).await;
        }
    }

    /// Fetches the catalog of every partner whose federation was just signed.
    pub(super) async fn fetch_federated(self: Arc<Self>, mut orgs: mpsc::Receiver<OrgId>) {
        loop {
            let org = tokio::select! {
                org = orgs.recv() => org,
                () = self.stop.cancelled() => return,
            };
            let Some(org) = org else { return };
            self.sync(&org).await;
        }
    }

    pub(super) fn is_connected(&self, org: &OrgId) -> bool {
        let nodes = super::exchange::nodes_of(&self.partners, org);
        let connected = self.connected();
        nodes.iter().any(|(peer, _)| connected.contains(peer))
    }
}

//! What a node does by itself: renewals, and looking after partners.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use comity_identity::OrgId;
use futures::FutureExt as _;
use tokio::sync::mpsc;

use super::Node;
use super::errands::ERRAND_TIME;
use crate::clock;
use crate::journal::Health;

/// How often the node looks whether something must be renewed or repaired.
const TICK: Duration = Duration::from_secs(30);

/// How often sources that could not be opened are tried again.
const SOURCES_TICK: Duration = Duration::from_secs(5);

/// How often the folder of policies is looked at. A change counts when two looks
/// agree, so after two of these at most.
const POLICIES_TICK: Duration = Duration::from_secs(1);

/// How often a node with a full disk looks whether space returned.
const SPACE_TICK: Duration = Duration::from_secs(2);

/// Partners that are told of a new head directly; gossip and their own timers
/// reach the others.
const MAX_TOLD: usize = 64;

impl Node {
    /// Renews the document, the certificate and the head in time, and notices
    /// when a full disk has space again. Waits for no partner: else one that is
    /// silent would keep this organization's document from being renewed.
    pub(super) async fn renew_in_time(self: Arc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
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
            self.meet_partners().await;
        }
    }

    /// Looks again and again for data that could not be read when the node started.
    pub(super) async fn reopen_sources_in_time(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(SOURCES_TICK) => self.catalog.reopen_sources().await,
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Notices when the owner's policies changed.
    pub(super) async fn watch_policies(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(POLICIES_TICK) => self.policies.look().await,
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Wants to visit every partner that is connected, again and again. Gossip
    /// is only latency; this converges.
    pub(super) async fn visit_in_time(self: Arc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tick.tick().await;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.stop.cancelled() => return,
            }
            if self.ledger.health() == Health::NoSpace {
                continue;
            }
            for org in self.partners.all().into_iter().map(|p| p.org) {
                if self.is_connected(&org) {
                    self.visit(org);
                }
            }
        }
    }

    /// Wants to exchange identities and heads with `org`, to repeat what it has
    /// not answered, and to tell it of revocations. Does not wait for it.
    pub(super) fn visit(self: &Arc<Self>, org: OrgId) {
        if self.errands.want_visit(org) {
            self.begin_errand(org);
        }
    }

    /// Does whatever is wanted of `org`, in a task of its own, until nothing is.
    pub(super) fn begin_errand(self: &Arc<Self>, org: OrgId) {
        let node = Arc::clone(self);
        self.tasks.spawn(async move {
            let errand = async {
                while let Some(wanted) = node.errands.next(&org) {
                    // Fair: whoever waits longest is next, so partners that are
                    // silent share the places with the others in turn.
                    let Ok(_place) = node.errands.places.acquire().await else {
                        return;
                    };
                    // An errand that panics must not be the last of its organization.
                    let run = AssertUnwindSafe(node.run_errand(&org, wanted)).catch_unwind();
                    let partner = || node.partners.alias(&org);
                    match tokio::time::timeout(ERRAND_TIME, run).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => tracing::error!(partner = partner(), "an errand panicked"),
                        Err(_) => {
                            tracing::info!(
                                partner = partner(),
                                "did not answer everything in time"
                            );
                        }
                    }
                }
            };
            tokio::select! {
                () = errand => {}
                () = node.stop.cancelled() => {}
            }
        });
    }

    /// Without a try the node would never notice that space returned.
    async fn look_for_space(&self) {
        if self.ledger.health() == Health::NoSpace && self.ledger.probe().await.is_ok() {
            tracing::info!("the disk has space again");
        }
    }

    async fn renew(self: &Arc<Self>) {
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

    /// Gossips the head, and visits the partners that are connected.
    pub(super) async fn spread_head(self: &Arc<Self>) {
        let Some(announced) = self.catalog.announced() else {
            return;
        };
        self.network.publish(announced.head.into_bytes()).await;
        let partners = self.partners.all();
        let connected = partners
            .iter()
            .map(|p| p.org)
            .filter(|org| self.is_connected(org));
        for org in connected.take(MAX_TOLD) {
            self.visit(org);
        }
    }

    /// Visits every partner whose federation was just signed: its catalog is new here.
    pub(super) async fn fetch_federated(self: Arc<Self>, mut orgs: mpsc::Receiver<OrgId>) {
        loop {
            let org = tokio::select! {
                org = orgs.recv() => org,
                () = self.stop.cancelled() => return,
            };
            let Some(org) = org else { return };
            self.refresh_door().await;
            self.visit(org);
        }
    }

    pub(super) fn is_connected(&self, org: &OrgId) -> bool {
        let nodes = super::exchange::nodes_of(&self.partners, org);
        let connected = self.connected();
        nodes.iter().any(|(peer, _)| connected.contains(peer))
    }
}

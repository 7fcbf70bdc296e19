//! A running node: every room, wired together.
//!
//! [`Node::start`] opens what is on disk, binds every listener, and only then
//! tells anybody where it is; [`Node::stop`] takes it down in the reverse
//! order. In between, [`inbound`](self) answers partners and
//! [`exchange`](self) asks them.

mod errands;
mod evidence;
mod exchange;
mod granting;
mod inbound;
mod join;
mod listeners;
mod measuring;
mod members;
mod operate;
mod policies;
mod products;
mod receipts;
mod results;
mod start;
mod taking_back;
mod upkeep;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use libp2p::PeerId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::policy::Policies;
use crate::access::{Agreements, Grants, HandedOut, Members, Negotiations, Partners, Refusals};
use crate::admin::{Metrics, api};
use crate::catalog::Catalog;
use crate::certificate::Certificate;
use crate::clock;
use crate::home::Home;
use crate::journal::Health;
use crate::ledger::Ledger;
use crate::network;
use crate::own::{Own, Reach};
use crate::query::Engine;
use crate::receipts::{Given, Taken};

/// One organization's running node.
#[derive(Debug)]
pub struct Node {
    home: Home,
    name: String,
    own: Arc<Own>,
    ledger: Arc<Ledger>,
    partners: Arc<Partners>,
    catalog: Arc<Catalog>,
    agreements: Arc<Agreements>,
    negotiations: Arc<Negotiations>,
    members: Arc<Members>,
    policies: Arc<Policies>,
    refusals: Arc<Refusals>,
    grants: Arc<Grants>,
    handed: Arc<HandedOut>,
    certificate: Arc<Certificate>,
    network: network::Handle,
    metrics: Metrics,
    reach: Reach,
    listening: api::Listening,
    connected: Mutex<BTreeSet<PeerId>>,
    errands: errands::Errands,
    /// Which nodes of which organization are let in, and where they are.
    admitted: tokio::sync::Mutex<exchange::Admitted>,
    dial: network::DialPolicy,
    engine: Arc<Engine>,
    measuring: measuring::Measuring,
    /// Receipts of what partners received of this node.
    given: Arc<Given>,
    /// Receipts of what this node received of partners.
    taken: Arc<Taken>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Node {
    /// The partners.
    pub fn partners(&self) -> &Arc<Partners> {
        &self.partners
    }

    /// The negotiations.
    pub fn negotiations(&self) -> &Arc<Negotiations> {
        &self.negotiations
    }

    /// The agreements.
    pub fn agreements(&self) -> &Arc<Agreements> {
        &self.agreements
    }

    /// The receipts of what partners received.
    pub fn given(&self) -> &Arc<Given> {
        &self.given
    }

    /// The members.
    pub fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// The policies.
    pub fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// Where partners are dialled.
    pub fn dial_policy(&self) -> network::DialPolicy {
        self.dial
    }

    /// Whether the node makes new promises, or why not.
    pub fn health(&self) -> Result<(), &'static str> {
        match self.ledger.health() {
            Health::Ok if clock::behind().is_some() => {
                Err("the clock is behind what this node has written down: no grants are issued")
            }
            Health::Ok => Ok(()),
            Health::NoSpace => Err("the disk is full: nothing new is promised or served"),
            _ => Err("the journal cannot be written: restart the node after a look at the disk"),
        }
    }

    /// Ends when the node can no longer do its work, and says why: a journal
    /// whose last sync failed is final for the process.
    pub async fn failed(&self) -> String {
        let mut health = self.ledger.watch_health();
        loop {
            if *health.borrow() == Health::Poisoned {
                return "the journal cannot be written; nothing that was acknowledged is lost"
                    .to_owned();
            }
            if health.changed().await.is_err() {
                return "the journal has ended".to_owned();
            }
        }
    }

    /// Stops: no new calls, running ones end, the index is closed cleanly.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.network.stop().await;
        self.tasks.close();
        self.tasks.wait().await;
        if let Err(error) = self.ledger.close() {
            tracing::warn!(%error, "the index was not closed cleanly; the next start rebuilds it");
        }
        for path in [self.home.running(), self.home.admin_socket()] {
            let _ = std::fs::remove_file(path);
        }
    }

    fn connected(&self) -> std::sync::MutexGuard<'_, BTreeSet<PeerId>> {
        self.connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

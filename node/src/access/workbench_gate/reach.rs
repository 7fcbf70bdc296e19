//! The ways to partners' peer listeners.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use comity_identity::OrgId;
use comity_identity::keyring::Keyring;
use comity_identity::tls::{CurrentLeaf, peer_client_config};

use crate::access::Grants;
use crate::clock;
use crate::flight::{PeerClient, Workers};
use crate::measure::Observations;
use crate::network::DialPolicy;
use crate::own::Own;
use crate::query::QueryError;
use crate::receipts::Reading;

/// The ways to partners' peer listeners: one client for each organization.
#[derive(Debug)]
pub struct Reach {
    own: Arc<Own>,
    keyring: Arc<Keyring>,
    pub(super) grants: Arc<Grants>,
    leaf: Arc<CurrentLeaf>,
    dial: DialPolicy,
    workers: Arc<Workers>,
    pub(super) observed: Arc<Observations>,
    pub(super) reading: Arc<Reading>,
    clients: Mutex<HashMap<OrgId, Arc<PeerClient>>>,
}

impl Reach {
    /// Ways that present `leaf` and dial only organizations in `keyring`, where `dial`
    /// permits, on the threads of `workers`.
    /// What is seen on them is noted in `observed`, and what comes is written
    /// down by `reading`.
    pub fn new(
        own: Arc<Own>,
        keyring: Arc<Keyring>,
        grants: Arc<Grants>,
        leaf: Arc<CurrentLeaf>,
        (dial, workers): (DialPolicy, Arc<Workers>),
        observed: Arc<Observations>,
        reading: Arc<Reading>,
    ) -> Self {
        Self {
            own,
            keyring,
            grants,
            leaf,
            dial,
            workers,
            observed,
            reading,
            clients: Mutex::default(),
        }
    }

    pub(super) fn client(&self, org: OrgId, alias: &str) -> Result<Arc<PeerClient>, QueryError> {
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
            (self.dial, Arc::clone(&self.workers)),
        ));
        clients.insert(org, Arc::clone(&client));
        Ok(client)
    }

    /// Where the organization's nodes serve Flight, from its current document only (A26).
    pub(super) fn addresses(&self, org: &OrgId) -> Vec<String> {
        let Some(organization) = self.keyring.get(org) else {
            return Vec::new();
        };
        let nodes = organization.document().nodes(clock::now());
        nodes.flat_map(|n| n.flight.iter().cloned()).collect()
    }
}

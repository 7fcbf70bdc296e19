//! Who asks at the peer listener: a partner's node, or a holder of a grant who
//! comes by itself.

use std::sync::Arc;

use comity_identity::binding::Channel;
use comity_identity::grant::{Chain, VerifiedGrant};
use comity_identity::keyring::Organization;
use comity_identity::{Digest, OrgId, Timestamp};

use super::agreements::{Agreement, Agreements};
use super::partners::Partners;
use super::scope::OutOfScope;
use crate::flight::peers::Claims;
use crate::flight::{Caller, HolderConnection, PeerConnection};

/// Whoever asks, with what it proved. [`Asker::node`] and [`Asker::holder`] are
/// its constructors: agreement, grant and possession have been checked.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) org: OrgId,
    pub(super) agreement: Arc<Agreement>,
    pub(super) grant: VerifiedGrant,
    pub(super) caller: Caller,
}

/// What an asker is checked against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) own: OrgId,
    pub(super) partners: &'a Partners,
    pub(super) agreements: &'a Agreements,
}

/// Why a holder is refused, and whose it is if that is proven.
#[derive(Debug)]
pub(super) struct HolderRefused {
    /// The organization whose signature the grant bears. Without one there is
    /// nobody on whose account the refusal could be written down.
    pub(super) org: Option<OrgId>,
    pub(super) why: OutOfScope,
}

impl Asker {
    /// The order matters: who speaks, whether it still may, and only then what for
    /// (`spec/5-data-plane.md#D-107`).
    pub(super) fn node(
        known: Known<'_>,
        peer: &PeerConnection,
        claims: &Claims,
        now: Timestamp,
    ) -> Result<Self, OutOfScope> {
        let Some(binding) = &claims.binding else {
            return Err(out("no-claims", "claims are missing or malformed"));
        };
        let organization = node_counts(known.partners, peer, now)?;
        let agreement = known.agreement(claims, peer.org)?;
        let grant = organization
            .verify_grant(&claims.grant, known.own, now)
            .map_err(|e| out("grant-invalid", e.to_string()))?;
        // A1, A2: only the holder, only on this connection.
        let channel = Channel {
            exporter: &peer.exporter,
            leaf: &peer.leaf,
            grant: grant.digest(),
        };
        channel
            .check(binding, grant.holder())
            .map_err(|e| out("not-bound", e.to_string()))?;
        Ok(Self {
            org: peer.org,
            agreement,
            grant,
            caller: Caller::Node(peer.clone()),
        })
    }

    /// The organization is the one that the grant names, and nothing of it is
    /// believed until the grant verifies under that organization's document
    /// (`spec/5-data-plane.md#D-132`).
    pub(super) fn holder(
        known: Known<'_>,
        holder: HolderConnection,
        claims: &Claims,
        now: Timestamp,
    ) -> Result<Self, HolderRefused> {
        let unproven = |why| HolderRefused { org: None, why };
        let links = Chain::from_links(claims.grant.clone());
        let first = links
            .danger_unverified()
            .map_err(|e| unproven(out("grant-invalid", e.to_string())))?
            .into_iter()
            .next();
        let first = first.ok_or_else(|| unproven(out("grant-invalid", "no grant")))?;
        let organization = org_counts(known.partners, &first.iss, now).map_err(unproven)?;
        let grant = organization
            .verify_grant(&claims.grant, known.own, now)
            .map_err(|e| unproven(out("grant-invalid", e.to_string())))?;
        let org = grant.issuer();
        let refused = |why| HolderRefused {
            org: Some(org),
            why,
        };
        // A1, A2: the handshake proved the key of this certificate, and the last
        // link names this certificate and no other. One that an earlier link
        // names handed the grant on.
        if grant.certificate() != Some(holder.certificate) {
            let reason = "the grant's last link does not name the certificate";
            return Err(refused(out("not-bound", reason)));
        }
        let agreement = known.agreement(claims, org).map_err(refused)?;
        Ok(Self {
            org,
            agreement,
            grant,
            caller: Caller::Holder(holder),
        })
    }

    /// The digest of the chain's first link, if the holder came by itself: by
    /// it the consumer knows which of its grants this was (`spec/5-data-plane.md#D-133`).
    pub(super) fn direct(&self) -> Option<Digest> {
        match self.caller {
            Caller::Node(_) => None,
            Caller::Holder(_) => self.grant.links().first().copied(),
        }
    }

    /// Whose a ticket is: the holder's, under this agreement, and nobody else's (A16).
    pub(super) fn key(&self) -> String {
        let (holder, agreement) = (self.grant.holder(), self.agreement.id());
        match &self.caller {
            Caller::Node(_) => format!("{} {holder} {agreement}", self.org),
            Caller::Holder(by) => format!("{} {holder} {agreement} {}", self.org, by.certificate),
        }
    }
}

impl Known<'_> {
    fn agreement(&self, claims: &Claims, org: OrgId) -> Result<Arc<Agreement>, OutOfScope> {
        self.agreements
            .get(&claims.agreement)
            .filter(|a| a.peer() == org)
            .ok_or_else(|| out("no-agreement", "no such agreement with this organization"))
    }
}

/// The organization of an open connection, or of the grant that came over it,
/// if it counts now: a connection outlives the handshake.
pub(super) fn counts(
    partners: &Partners,
    caller: &Caller,
    org: &OrgId,
    now: Timestamp,
) -> Result<Arc<Organization>, OutOfScope> {
    match caller {
        Caller::Node(peer) => node_counts(partners, peer, now),
        Caller::Holder(_) => org_counts(partners, org, now),
    }
}

/// The organization and its node.
fn node_counts(
    partners: &Partners,
    peer: &PeerConnection,
    now: Timestamp,
) -> Result<Arc<Organization>, OutOfScope> {
    let refused = |reason: &str| out("not-federated", reason);
    let organization = partners.keyring().get(&peer.org);
    let organization = organization.ok_or_else(|| refused("unknown"))?;
    let node = peer.node.parse().map_err(|_| refused("no such node"))?;
    // Its key too: a node that has a new one keeps its name, and whoever stole the
    // old one may have the connection that it was accepted on.
    let listed = organization.document().node(&node, now);
    let listed = listed.is_some_and(|node| node.tls_spki.contains(&peer.spki));
    let partner = partners.get(&peer.org);
    let federated = partner.is_some_and(|p| p.is_federated(now));
    if listed && federated && !organization.standing().is_frozen() {
        Ok(organization)
    } else {
        Err(refused("the node or its organization no longer counts"))
    }
}

/// The organization alone: its holder has no node.
fn org_counts(
    partners: &Partners,
    org: &OrgId,
    now: Timestamp,
) -> Result<Arc<Organization>, OutOfScope> {
    let refused = |reason: &str| out("not-federated", reason);
    let organization = partners.keyring().get(org);
    let organization = organization.ok_or_else(|| refused("unknown"))?;
    let federated = partners.get(org).is_some_and(|p| p.is_federated(now));
    if federated && !organization.standing().is_frozen() {
        Ok(organization)
    } else {
        Err(refused("the organization no longer counts"))
    }
}

fn out(code: &'static str, reason: impl Into<String>) -> OutOfScope {
    OutOfScope {
        code,
        reason: reason.into(),
    }
}

//! Invitations that this organization gives out.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::invitation::Invitation;
use comity_protocol::wire::InvitationProof;

use super::Partners;
use crate::admin::api;
use crate::clock;
use crate::failure::Failure;
use crate::index::Table;
use crate::ledger::{self, Invited, Ledger, Record, Stage, stage_key};

/// The most invitations that may be open at one time.
const MAX_OPEN_INVITATIONS: usize = 100;

/// Bytes of an invitation's secret.
const SECRET_BYTES: usize = 16;

/// The longest that an invitation may be open, in hours (`spec/4-negotiation.md#N-3`).
const MAX_HOURS: u64 = 168;

#[derive(Clone, Debug)]
pub(super) struct OpenInvitation {
    invited: Invited,
    pub(super) used_by: Option<OrgId>,
}

pub(super) type Invitations = BTreeMap<Digest, OpenInvitation>;

/// Reads the invitations from the ledger.
pub(super) fn load(ledger: &Ledger) -> Result<Invitations, ledger::Error> {
    let mut invitations = Invitations::new();
    for (_, record) in ledger.scan(Table::Invitations, &[])? {
        let Record::Invited(invited) = record else {
            continue;
        };
        let used = ledger.get(Table::Invitations, &stage_key(&invited.id, Stage::Ended))?;
        let used_by = match used {
            Some(Record::InvitationUsed(used)) => Some(used.by),
            _ => None,
        };
        invitations.insert(invited.id, OpenInvitation { invited, used_by });
    }
    Ok(invitations)
}

impl Partners {
    /// Makes an invitation. Its secret is in the text alone; only the hash is kept.
    pub async fn invite(&self, ask: api::Invite) -> Result<api::Invitation, Failure> {
        let now = clock::now();
        if let Some(alias) = &ask.alias {
            // Whose federation has ended may be invited again, under its name.
            let ended = self.by_alias(alias).is_some_and(|p| p.is_ended());
            if !ended {
                self.check_alias(alias)?;
            }
        }
        if self.open_invitations(now) >= MAX_OPEN_INVITATIONS {
            return Err(Failure::caller(
                "too-many-invitations",
                "100 invitations are open already",
            ));
        }
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(|e| Failure::own("no-randomness", e))?;
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let evidence = self.own.evidence();
        let current = self.own.current();
        let nodes = &current.document.document().nodes;
        let node = nodes.iter().find(|n| n.node == *self.own.node());
        let node = node.ok_or_else(|| Failure::own("own-document", "this node is not listed"))?;
        let expires = now.saturating_add(Duration::from_secs(ask.hours.min(MAX_HOURS) * 3600));
        let invitation = Invitation {
            v: 1,
            org: evidence.org,
            alias: self.own.alias().to_owned(),
            history: evidence.history,
            document: evidence.document,
            peer_id: node.peer_id.clone(),
            addresses: node.addresses.clone(),
            secret: secret.clone(),
            expires_at: expires,
            roles: ask.roles.clone(),
        };
        let code = invitation
            .sign(&*self.own.keys().issuer)
            .map_err(|e| Failure::caller("bad-invitation", e.to_string()))?;
        let invited = Invited {
            id: Invitation::id(&code),
            secret_hash: Digest::of(secret.as_bytes()),
            alias: ask.alias,
            expires,
            roles: ask.roles,
        };
        self.ledger
            .commit(&Record::Invited(invited.clone()))
            .await?;
        let open = OpenInvitation {
            invited: invited.clone(),
            used_by: None,
        };
        self.invitations().insert(invited.id, open);
        Ok(api::Invitation { code, expires })
    }

    /// Invitations that somebody may still use at `now`.
    pub fn open_invitations(&self, now: Timestamp) -> usize {
        let open = |i: &&OpenInvitation| i.used_by.is_none() && now < i.invited.expires;
        self.invitations().values().filter(open).count()
    }

    /// Checks a proof that `org` was invited, and gives what to call it.
    ///
    /// An invitation works for one organization: the one that used it first may
    /// use it again, because its first attempt may have been cut off. The answer
    /// holds for the moment: [`Partners::welcome`] asks once more.
    pub fn check_proof(
        &self,
        proof: &InvitationProof,
        org: &OrgId,
        now: Timestamp,
    ) -> Option<Option<String>> {
        let invitations = self.invitations();
        let open = invitations.get(&proof.invitation)?;
        let right = Digest::of(proof.secret.as_bytes()) == open.invited.secret_hash;
        let free = open.used_by.is_none_or(|by| by == *org);
        (right && free && now < open.invited.expires).then(|| open.invited.alias.clone())
    }

    /// The roles of this invitation of ours, if `org` came with it.
    pub fn roles_of_guest(&self, org: &OrgId, invitation: &Digest) -> Option<Vec<String>> {
        let invitations = self.invitations();
        let invited = invitations.get(invitation);
        let used = invited.filter(|i| i.used_by == Some(*org));
        used.map(|i| i.invited.roles.clone())
    }

    /// Whether an open invitation is for a guest that our operator calls `alias`:
    /// another guest must not take the name before it comes.
    pub(super) fn is_promised(&self, alias: &str, now: Timestamp) -> bool {
        self.invitations().values().any(|i| {
            i.used_by.is_none()
                && now < i.invited.expires
                && i.invited.alias.as_deref() == Some(alias)
        })
    }

    pub(super) fn invitations(&self) -> std::sync::MutexGuard<'_, Invitations> {
        self.invitations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

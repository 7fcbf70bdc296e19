//! The end of a federation: one side takes the whole recognition back.
//!
//! What is taken back is the federation document, by the same signed statement
//! that takes back an agreement (`spec/4-negotiation.md#N-31`). Without a
//! federation nothing is served, whatever agreements say.

use comity_identity::{Digest, OrgId};
use comity_protocol::revocation::Revocation;

use super::{Partner, Partners};
use crate::clock;
use crate::failure::{Failure, Fault};
use crate::index::Table;
use crate::ledger::{self, InvitationUsed, Record, Revoked, SignedKind, Stage, stage_key};

/// The end of a federation, signed and not yet in the journal.
#[derive(Debug)]
pub struct Ending {
    org: OrgId,
    revoked: Revoked,
    invitations: Vec<Digest>,
}

impl Ending {
    /// What the journal must have before [`Partners::end`].
    pub fn records(&self, own: OrgId) -> Vec<Record> {
        // Used up by ourselves: nobody comes back with one
        // (spec/4-negotiation.md#N-32).
        let used = |id: &Digest| Record::InvitationUsed(InvitationUsed { id: *id, by: own });
        let mut records: Vec<_> = self.invitations.iter().map(used).collect();
        records.push(Record::Revoked(self.revoked.clone()));
        records
    }
}

impl Partners {
    /// Begins to end the federation with `partner`: signs that it is taken back.
    pub fn ending(&self, partner: &Partner) -> Result<Ending, Failure> {
        let federation = partner.federation.ok_or_else(|| {
            Failure::new(
                Fault::Conflict,
                "not-federated",
                format!("there is no federation with {}", partner.alias),
            )
            .next("see 'comity status'")
        })?;
        let now = clock::now();
        let text = self.own.revocation(partner.org, federation, now)?;
        Ok(self.end_of(partner, federation, self.own.org(), text))
    }

    /// The journal has the records of `ending`: it counts.
    pub fn end(&self, ending: Ending) {
        for id in &ending.invitations {
            if let Some(invitation) = self.invitations().get_mut(id) {
                invitation.used_by = Some(self.own.org());
            }
        }
        if let Some(partner) = self.write().get_mut(&ending.org) {
            partner.ended_by(ending.revoked);
        }
        // After the list: whoever wakes finds no federation.
        self.note_change();
    }

    /// The other side took a federation back with `text`. Gives whether that is
    /// believed.
    pub async fn ended_by_peer(&self, peer: &OrgId, text: &str) -> Result<bool, ledger::Error> {
        let now = clock::now();
        let Ok(revocation) = Revocation::verify(text, peer, &*self.keyring, now) else {
            return Ok(false);
        };
        let id = revocation.agreement;
        let stored = self
            .ledger
            .get(Table::Agreements, &stage_key(&id, Stage::Made))?;
        let between_us = matches!(&stored, Some(Record::Signed(signed))
            if signed.kind == SignedKind::Federation && signed.peer == *peer);
        if !between_us || revocation.peer != self.own.org() {
            return Ok(false);
        }
        let _one = self.meeting.lock().await;
        // Recorded before it is answered; told again, it is the same
        // (spec/4-negotiation.md#N-24).
        let ended = self
            .ledger
            .get(Table::Agreements, &stage_key(&id, Stage::Ended))?;
        let Some(partner) = self.get(peer).filter(|_| ended.is_none()) else {
            return Ok(true);
        };
        let ending = self.end_of(&partner, id, *peer, text.to_owned());
        self.ledger
            .commit_all(&ending.records(self.own.org()))
            .await?;
        tracing::warn!(partner = partner.alias, "ended the federation");
        self.end(ending);
        Ok(true)
    }

    /// That this organization ended the federation with `org`, if `org` may not
    /// have heard of it.
    pub fn end_notice_for(&self, org: &OrgId) -> Option<(Digest, String)> {
        let ended = self.get(org)?.ended?;
        let untold = ended.by == self.own.org() && !self.told().contains(&ended.agreement);
        untold.then(|| (ended.agreement, self.own.present_revocation(&ended.text)))
    }

    /// The partner recorded the end of `federation`, or will never. Remembered
    /// until the node stops: telling it once more costs one message.
    pub fn end_heard(&self, federation: Digest) {
        self.told().insert(federation);
    }

    /// Whether `partner` is let in no more: this organization ended the
    /// federation and the other side has heard of it.
    pub fn is_shut(&self, partner: &Partner) -> bool {
        let ended = partner.ended.as_ref().filter(|_| partner.is_ended());
        ended.is_some_and(|e| e.by == self.own.org() && self.told().contains(&e.agreement))
    }

    fn end_of(&self, partner: &Partner, federation: Digest, by: OrgId, text: String) -> Ending {
        // Seconds are all that is kept of a time: an end in the second of the
        // meeting is after it.
        let after = comity_identity::Timestamp::from_secs(partner.met.as_secs() + 1);
        let used = |(_, i): &(&Digest, &super::invitations::OpenInvitation)| {
            i.used_by == Some(partner.org)
        };
        let invitations = self.invitations();
        Ending {
            org: partner.org,
            revoked: Revoked {
                agreement: federation,
                by,
                text,
                at: clock::now().max(after),
            },
            invitations: invitations.iter().filter(used).map(|(id, _)| *id).collect(),
        }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeSet<Digest>> {
        self.told
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

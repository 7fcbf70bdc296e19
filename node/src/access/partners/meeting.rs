//! First contact: an organization becomes a partner.
//!
//! One meeting at a time. Everything that a meeting decides on, the invitation
//! and the alias, is looked at and taken under one lock that is held until the
//! disk has it, so that two guests with one invitation, or with one name, meet
//! one after the other.

use comity_identity::OrgId;
use comity_identity::keyring;
use comity_protocol::wire::InvitationProof;

use super::{Meeting, Partner, Partners, admission_failure};
use crate::clock;
use crate::failure::Failure;
use crate::ledger::{InvitationUsed, Record};

/// Why a guest is not welcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WelcomeError {
    /// The invitation is not ours, was used by somebody else, or has expired.
    #[error("the invitation is not open to this organization")]
    Invitation,
    /// The evidence is refused, or our own disk does not take it.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Partners {
    /// Takes the organization that invited us into the keyring and the list of
    /// partners. The operator used its invitation, which is what makes first
    /// contact deliberate.
    pub async fn introduce(
        &self,
        evidence: keyring::Evidence,
        meeting: Meeting,
    ) -> Result<Partner, Failure> {
        let _one = self.meeting.lock().await;
        self.meet(evidence, meeting, false).await
    }

    /// Takes a guest that shows the secret of an invitation of ours. The
    /// invitation is its own from then on (`spec/4-negotiation.md#N-4`).
    pub async fn welcome(
        &self,
        proof: &InvitationProof,
        evidence: keyring::Evidence,
        meeting: Meeting,
    ) -> Result<Partner, WelcomeError> {
        let _one = self.meeting.lock().await;
        // Somebody else may have used it since the caller looked.
        let given = self.check_proof(proof, &meeting.org, clock::now());
        let meeting = Meeting {
            given_alias: given.ok_or(WelcomeError::Invitation)?,
            invitation: proof.invitation,
            ..meeting
        };
        Ok(self.meet(evidence, meeting, true).await?)
    }

    /// Only with `self.meeting` held.
    async fn meet(
        &self,
        evidence: keyring::Evidence,
        meeting: Meeting,
        is_guest: bool,
    ) -> Result<Partner, Failure> {
        let now = clock::now();
        let org = meeting.org;
        // After any end of before, within the same second too.
        let ended = self.get(&org).and_then(|known| known.ended);
        let met = ended.map_or(now, |ended| now.max(ended.at));
        let (alias, named_by_us) = match self.get(&org) {
            Some(known) => {
                let confirmed = meeting.given_alias.as_ref() == Some(&known.alias);
                (known.alias, known.named_by_us || confirmed)
            }
            None => match meeting.given_alias {
                Some(alias) => {
                    self.check_alias(&alias)?;
                    (alias, true)
                }
                None => (self.free_alias(&meeting.own_alias, &org), false),
            },
        };
        self.keep(evidence, now, true)
            .await
            .map_err(|e| admission_failure(&alias, &e))?;
        let partner = Partner {
            org,
            alias,
            peer_id: meeting.peer_id,
            addresses: meeting.addresses,
            invitation: Some(meeting.invitation),
            federation: None,
            federated: None,
            named_by_us,
            met,
            ended: None,
            organization: None,
        };
        let mut records = vec![Record::Partner(partner.record(met))];
        if is_guest {
            records.push(Record::InvitationUsed(InvitationUsed {
                id: meeting.invitation,
                by: org,
            }));
        }
        self.ledger.commit_all(&records).await?;
        if is_guest && let Some(open) = self.invitations().get_mut(&meeting.invitation) {
            open.used_by = Some(org);
        }
        {
            let mut all = self.write();
            let entry = all.entry(org).or_insert_with(|| partner.clone());
            // A federation may have been signed since: only what this meeting
            // knows is written.
            *entry = Partner {
                federation: entry.federation,
                federated: entry.federated.clone(),
                ended: entry.ended.take(),
                ..partner.clone()
            };
        }
        Ok(self.get(&org).unwrap_or(partner))
    }

    /// The name that a stranger gives itself is a suggestion; its id decides between two.
    fn free_alias(&self, wished: &str, org: &OrgId) -> String {
        let is_free = |alias: &str| {
            alias != self.own.alias()
                && self.by_alias(alias).is_none()
                && !self.is_promised(alias, clock::now())
        };
        if is_alias(wished) && is_free(wished) {
            return wished.to_owned();
        }
        let base = if is_alias(wished) { wished } else { "partner" };
        let base: String = base.chars().take(50).collect();
        let short = format!("{base}-{}", org.short());
        if is_free(&short) {
            return short;
        }
        // Somebody took even that: the whole id is nobody else's.
        org.to_string()
    }

    pub(super) fn check_alias(&self, alias: &str) -> Result<(), Failure> {
        if !is_alias(alias) {
            return Err(
                Failure::caller("bad-alias", format!("'{alias}' is not a short name"))
                    .next("use 1 to 63 of a-z 0-9 -, beginning with a letter or digit"),
            );
        }
        if alias == self.own.alias() || self.by_alias(alias).is_some() {
            return Err(
                Failure::caller("alias-taken", format!("'{alias}' is somebody else here"))
                    .next("choose another name with --as"),
            );
        }
        Ok(())
    }
}

fn is_alias(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(legal)
}

//! Invitations: how two organizations meet (`spec/4-negotiation.md`, section 1).

use core::time::Duration;

use comity_identity::envelope::{Compact, EnvelopeError, Typ};
use comity_identity::history::{History, HistoryError};
use comity_identity::keyring::Evidence;
use comity_identity::organization::{DocumentError, Role, VerifiedDocument};
use comity_identity::{Digest, OrgId, Signer, Timestamp};
use serde::{Deserialize, Serialize};

use crate::negotiation::are_words;

/// The kind of an invitation: it carries a whole key history.
pub const INVITATION: Typ = Typ::new("comity-invitation+jwt", 128 * 1024);

/// What the text of an invitation begins with.
pub const PREFIX: &str = "comity1:";

/// The longest life of an invitation.
pub const MAX_INVITATION_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The most addresses of an invitation.
pub const MAX_ADDRESSES: usize = 16;

/// The most bytes of one address.
pub const MAX_ADDRESS_BYTES: usize = 256;

/// The most characters of an alias.
pub const MAX_ALIAS_CHARS: usize = 63;

/// The payload of an invitation (`spec/schemas/invitation.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    /// The payload's version: 1.
    pub v: u64,
    /// Who invites.
    pub org: OrgId,
    /// What the inviter calls itself: `[a-z0-9][a-z0-9-]*`, at most 63 characters.
    pub alias: String,
    /// The inviter's key events, oldest first.
    pub history: Vec<String>,
    /// The inviter's organization document.
    pub document: String,
    /// The libp2p peer id of the node to join at.
    pub peer_id: String,
    /// Where that node can be reached, as multiaddresses.
    pub addresses: Vec<String>,
    /// 16 random bytes, base64url: whoever knows them was invited.
    pub secret: String,
    /// Until when the invitation works.
    pub expires_at: Timestamp,
    /// The roles that grants of either side may state: what the federation that
    /// follows names (`spec/4-negotiation.md#N-97`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

/// Why an invitation is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvitationError {
    /// The text does not begin as an invitation does.
    #[error("the text is not an invitation: it does not begin with 'comity1:'")]
    NotOne,
    /// The envelope is refused.
    #[error("the invitation is damaged: {0}")]
    Envelope(#[from] EnvelopeError),
    /// The inviter's key history is refused.
    #[error("the invitation is not believable: {0}")]
    History(#[from] HistoryError),
    /// The inviter's document is refused.
    #[error("the invitation is not believable: {0}")]
    Document(#[from] DocumentError),
    /// The signer is not one of the inviter's agreeing keys.
    #[error("the invitation is not signed by the organization that it names")]
    Signer,
    /// The content breaks a rule of the specification.
    #[error("the invitation is not well formed: {0}")]
    Content(&'static str),
    /// The invitation has expired.
    #[error("the invitation has expired: ask for another")]
    Expired,
}

impl Invitation {
    /// Signs the invitation and gives the text to hand over.
    pub fn sign(&self, signer: &dyn Signer) -> Result<String, InvitationError> {
        self.check()?;
        Ok(format!(
            "{PREFIX}{}",
            Compact::sign(INVITATION, self, signer)?
        ))
    }

    /// Reads an invitation's text and checks it against the evidence inside it.
    ///
    /// That proves that the organization with this id made it, and nothing
    /// more: that the id is the right one is the channel's promise, over which
    /// a person received the text.
    pub fn open(text: &str, now: Timestamp) -> Result<Self, InvitationError> {
        let envelope = text.strip_prefix(PREFIX).ok_or(InvitationError::NotOne)?;
        let envelope = Compact::parse(INVITATION, envelope)?;
        let kid = envelope.claimed_kid();
        let claimed: Self = envelope.danger_unverified_payload()?;
        // spec/4-negotiation.md#N-1
        let history = History::verify(&claimed.history)?;
        let document = VerifiedDocument::verify(&claimed.document, &history, now)?;
        let key = *document
            .issuer(&kid, Role::Agree, now)
            .ok_or(InvitationError::Signer)?;
        let invitation: Self = envelope.verify(&key)?.payload()?;
        if invitation.org != history.org() {
            return Err(InvitationError::Signer);
        }
        invitation.check()?;
        if document.node_by_peer_id(&invitation.peer_id, now).is_none() {
            return Err(InvitationError::Content(
                "the peer id is not one of the organization's nodes",
            ));
        }
        // spec/4-negotiation.md#N-3
        let life = invitation.expires_at.since(now);
        if now >= invitation.expires_at || life > MAX_INVITATION_LIFETIME {
            return Err(InvitationError::Expired);
        }
        Ok(invitation)
    }

    /// spec/4-negotiation.md#N-2
    fn check(&self) -> Result<(), InvitationError> {
        let require = |holds: bool, rule| {
            let refused = InvitationError::Content(rule);
            if holds { Ok(()) } else { Err(refused) }
        };
        require(self.v == 1, "its version is not 1")?;
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let alias = (1..=MAX_ALIAS_CHARS).contains(&self.alias.len())
            && self.alias.bytes().all(legal)
            && !self.alias.starts_with('-');
        require(alias, "the alias is not 1 to 63 of a-z 0-9 -")?;
        let addresses = self.addresses.len() <= MAX_ADDRESSES
            && self.addresses.iter().all(|a| a.len() <= MAX_ADDRESS_BYTES);
        require(addresses, "it has at most 16 addresses of 256 bytes")?;
        require(is_secret(&self.secret), "the secret is not 16 bytes")?;
        require(
            are_words(&self.roles),
            "it has at most 32 roles of 64 of A-Z a-z 0-9 - _ .",
        )
    }

    /// The id of the invitation with this text: the digest of its envelope.
    pub fn id(text: &str) -> Digest {
        Digest::of(text.strip_prefix(PREFIX).unwrap_or(text).as_bytes())
    }

    /// The inviter's evidence, for the keyring.
    pub fn evidence(&self) -> Evidence {
        Evidence {
            history: self.history.clone(),
            document: self.document.clone(),
        }
    }
}

/// 16 bytes as unpadded base64url: 22 characters, the last of which carries two bits.
fn is_secret(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    text.len() == 22 && text.bytes().all(legal) && text.ends_with(['A', 'Q', 'g', 'w'])
}

#[cfg(test)]
mod tests;

//! Whose signature counts for what: the seam to the keyring.

use comity_identity::envelope::{Compact, EnvelopeError, Typ, Verified};
use comity_identity::keyring::{Keyring, Organization};
use comity_identity::organization::Role;
use comity_identity::{KeyId, OrgId, PublicKey, Timestamp};

/// Gives the keys of organizations by the roles that their documents list.
pub trait IssuerKeys {
    /// The key `kid` of `org`, if it holds `role` at `now`.
    fn issuer(&self, org: &OrgId, kid: &KeyId, role: Role, now: Timestamp) -> Option<PublicKey>;
}

impl IssuerKeys for Keyring {
    fn issuer(&self, org: &OrgId, kid: &KeyId, role: Role, now: Timestamp) -> Option<PublicKey> {
        self.get(org)?.issuer(kid, role, now).copied()
    }
}

impl IssuerKeys for Organization {
    fn issuer(&self, org: &OrgId, kid: &KeyId, role: Role, now: Timestamp) -> Option<PublicKey> {
        if *org != self.id() {
            return None;
        }
        Self::issuer(self, kid, role, now).copied()
    }
}

/// Why a statement is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// The envelope is refused.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The key is not one that the organization lists for this kind of statement (A9).
    #[error("the signing key does not hold the role for this statement")]
    NotAnIssuer,
    /// The statement speaks for another organization than the one that signed.
    #[error("the statement speaks for another organization than its signer")]
    OtherOrganization,
    /// The content breaks a rule of the specification.
    #[error("{0}")]
    Rule(&'static str),
    /// The statement is not in force now.
    #[error("the statement is expired or from the future")]
    Time,
}

/// Opens a compact statement that `org` must have signed with a key of `role`.
pub fn open(
    typ: Typ,
    text: &str,
    org: &OrgId,
    role: Role,
    keys: &dyn IssuerKeys,
    now: Timestamp,
) -> Result<Verified, StatementError> {
    let envelope = Compact::parse(typ, text)?;
    let key = keys
        .issuer(org, &envelope.claimed_kid(), role, now)
        .ok_or(StatementError::NotAnIssuer)?;
    Ok(envelope.verify(&key)?)
}

//! A side takes an agreement or a federation back (`spec/4-negotiation.md`, section 6).

use comity_identity::envelope::{Compact, Typ};
use comity_identity::organization::Role;
use comity_identity::{Digest, OrgId, Signer, Timestamp};
use serde::{Deserialize, Serialize};

use crate::keys::{IssuerKeys, StatementError, open};
use crate::terms::MAX_INT;

/// The kind of a revocation.
pub const REVOCATION: Typ = Typ::new("comity-revocation+jwt", 2 * 1024);

/// The payload of a revocation (`spec/schemas/revocation.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// The payload's version: 1.
    pub v: u64,
    /// Who revokes.
    pub org: OrgId,
    /// The other side.
    pub peer: OrgId,
    /// The agreement, or the federation (`spec/4-negotiation.md#N-31`).
    pub agreement: Digest,
    /// From when it no longer holds.
    pub at: Timestamp,
}

impl Revocation {
    /// Signs the revocation with a key that agrees.
    pub fn sign(&self, signer: &dyn Signer) -> Result<String, StatementError> {
        Ok(Compact::sign(REVOCATION, self, signer)?)
    }

    /// Checks that `org` signed `text` with an agreeing key.
    pub fn verify(
        text: &str,
        org: &OrgId,
        keys: &dyn IssuerKeys,
        now: Timestamp,
    ) -> Result<Self, StatementError> {
        // spec/4-negotiation.md#N-23
        let revocation: Self = open(REVOCATION, text, org, Role::Agree, keys, now)?.payload()?;
        if revocation.org != *org {
            return Err(StatementError::OtherOrganization);
        }
        if revocation.v != 1 {
            return Err(StatementError::Rule("the revocation's version is not 1"));
        }
        if revocation.at.as_secs() > MAX_INT {
            return Err(StatementError::Rule("a number is above 2^53 - 1"));
        }
        Ok(revocation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Directory, NOW, Party};

    #[test]
    fn only_an_agreeing_key_of_a_side_takes_back() {
        let (party, other) = (Party::new(1), Party::new(2));
        let keys = Directory::of(&[&party, &other]);
        let revocation = Revocation {
            v: 1,
            org: party.org,
            peer: other.org,
            agreement: Digest::of(b"agreement"),
            at: NOW,
        };
        let text = revocation.sign(&party.agree).unwrap();
        let read = Revocation::verify(&text, &party.org, &keys, NOW);
        assert_eq!(read, Ok(revocation.clone()));
        assert!(text.len() <= REVOCATION.limit() / 2);
        for key in [&party.announce, &party.none, &other.agree] {
            let text = revocation.sign(key).unwrap();
            let refused = Revocation::verify(&text, &party.org, &keys, NOW);
            assert_eq!(refused, Err(StatementError::NotAnIssuer));
        }
        let text = revocation.sign(&other.agree).unwrap();
        let refused = Revocation::verify(&text, &other.org, &keys, NOW);
        assert_eq!(refused, Err(StatementError::OtherOrganization));
        for (at, fits) in [(MAX_INT, true), (MAX_INT + 1, false)] {
            let mut far = revocation.clone();
            far.at = Timestamp::from_secs(at);
            let text = far.sign(&party.agree).unwrap();
            let read = Revocation::verify(&text, &party.org, &keys, NOW);
            assert_eq!(read.is_ok(), fits);
        }
        let mut newer = revocation;
        newer.v = 2;
        let text = newer.sign(&party.agree).unwrap();
        let refused = Revocation::verify(&text, &party.org, &keys, NOW);
        assert!(matches!(refused, Err(StatementError::Rule(_))));
    }
}

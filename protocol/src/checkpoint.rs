//! How far an organization's journal goes, signed: its partners are the
//! witnesses against its rewriting (A33, `spec/4-negotiation.md`, section 7).

use comity_identity::envelope::{Compact, Typ};
use comity_identity::organization::Role;
use comity_identity::{Digest, OrgId, Signer, Timestamp};
use serde::{Deserialize, Serialize};

use crate::keys::{IssuerKeys, StatementError, open};
use crate::terms::MAX_INT;

/// The kind of a checkpoint.
pub const CHECKPOINT: Typ = Typ::new("comity-checkpoint+jwt", 2 * 1024);

/// The most hashes of a consistency proof: a tree of 2^64 leaves needs no more
/// (`spec/4-negotiation.md#N-68`).
pub const MAX_PROOF_HASHES: usize = 128;

/// The payload of a checkpoint (`spec/schemas/checkpoint.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The payload's version: 1.
    pub v: u64,
    /// Whose journal it is, and who signs.
    pub org: OrgId,
    /// How many entries it has.
    pub size: u64,
    /// The Merkle root (RFC 6962) over them.
    pub root: Digest,
    /// When.
    pub at: Timestamp,
}

impl Checkpoint {
    /// Signs the checkpoint with a key that agrees.
    pub fn sign(&self, signer: &dyn Signer) -> Result<String, StatementError> {
        self.check()?;
        Ok(Compact::sign(CHECKPOINT, self, signer)?)
    }

    /// Checks that `org` signed `text` with an agreeing key.
    pub fn verify(
        text: &str,
        org: &OrgId,
        keys: &dyn IssuerKeys,
        now: Timestamp,
    ) -> Result<Self, StatementError> {
        // spec/4-negotiation.md#N-68
        let checkpoint: Self = open(CHECKPOINT, text, org, Role::Agree, keys, now)?.payload()?;
        if checkpoint.org != *org {
            return Err(StatementError::OtherOrganization);
        }
        checkpoint.check()?;
        Ok(checkpoint)
    }

    fn check(&self) -> Result<(), StatementError> {
        if self.v != 1 {
            return Err(StatementError::Rule("the checkpoint's version is not 1"));
        }
        if self.size == 0 {
            return Err(StatementError::Rule("a checkpoint is of one entry or more"));
        }
        if self.size.max(self.at.as_secs()) > MAX_INT {
            return Err(StatementError::Rule("a number is above 2^53 - 1"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Directory, NOW, Party};

    #[test]
    fn only_the_organization_itself_says_how_far_its_journal_goes() {
        let (party, other) = (Party::new(1), Party::new(2));
        let keys = Directory::of(&[&party, &other]);
        let checkpoint = Checkpoint {
            v: 1,
            org: party.org,
            size: 7,
            root: Digest::of(b"root"),
            at: NOW,
        };
        let text = checkpoint.sign(&party.agree).unwrap();
        let read = Checkpoint::verify(&text, &party.org, &keys, NOW);
        assert_eq!(read, Ok(checkpoint.clone()));
        for key in [&party.announce, &party.none, &other.agree] {
            let text = checkpoint.sign(key).unwrap();
            let refused = Checkpoint::verify(&text, &party.org, &keys, NOW);
            assert_eq!(refused, Err(StatementError::NotAnIssuer));
        }
        let text = checkpoint.sign(&other.agree).unwrap();
        let refused = Checkpoint::verify(&text, &other.org, &keys, NOW);
        assert_eq!(refused, Err(StatementError::OtherOrganization));
        let changes: [fn(&mut Checkpoint); 3] =
            [|c| c.v = 2, |c| c.size = 0, |c| c.size = MAX_INT + 1];
        for change in changes {
            let mut bad = checkpoint.clone();
            change(&mut bad);
            assert!(bad.sign(&party.agree).is_err());
            let text = Compact::sign(CHECKPOINT, &bad, &party.agree).unwrap();
            assert!(Checkpoint::verify(&text, &party.org, &keys, NOW).is_err());
        }
    }
}

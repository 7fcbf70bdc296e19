//! What a journal was at one moment, signed (`spec/6-evidence.md`, section 6.2).

use comity_identity::envelope::{Compact, Typ};
use comity_identity::organization::Role;
use comity_identity::{Digest, OrgId, Signer, Timestamp};
use serde::{Deserialize, Serialize};

use crate::keys::{IssuerKeys, StatementError, open};
use crate::terms::MAX_INT;

/// The kind of a checkpoint.
pub const CHECKPOINT: Typ = Typ::new("comity-checkpoint+jwt", 2 * 1024);

/// The most hashes of a consistency proof between two checkpoints: two paths
/// through a tree of 2^64 leaves.
pub const MAX_PROOF_HASHES: usize = 128;

/// The payload of a checkpoint (`spec/schemas/checkpoint.json`).
///
/// Who signed one can never again show a journal that had other records among
/// its first `size`, or fewer of them: whoever holds the checkpoint proves the
/// difference to anybody (A33).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The payload's version: 1.
    pub v: u64,
    /// Whose journal it is, and who signs.
    pub org: OrgId,
    /// How many records the journal had.
    pub size: u64,
    /// The Merkle root (RFC 6962) over the leaves of these records.
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
        // spec/6-evidence.md#V-5
        let checkpoint: Self = open(CHECKPOINT, text, org, Role::Agree, keys, now)?.payload()?;
        if checkpoint.org != *org {
            return Err(StatementError::OtherOrganization);
        }
        checkpoint.check()?;
        Ok(checkpoint)
    }

    /// spec/6-evidence.md#V-6
    fn check(&self) -> Result<(), StatementError> {
        if self.v != 1 {
            return Err(StatementError::Rule("the checkpoint's version is not 1"));
        }
        if self.size == 0 {
            return Err(StatementError::Rule(
                "a checkpoint is of one record or more",
            ));
        }
        if self.size > MAX_INT || self.at.as_secs() > MAX_INT {
            return Err(StatementError::Rule("a number is above 2^53 - 1"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Directory, NOW, Party};

    fn checkpoint(org: OrgId) -> Checkpoint {
        Checkpoint {
            v: 1,
            org,
            size: 12,
            root: Digest::of(b"root"),
            at: NOW,
        }
    }

    #[test]
    fn only_an_agreeing_key_of_the_organization_signs_its_checkpoint() {
        let (party, other) = (Party::new(1), Party::new(2));
        let keys = Directory::of(&[&party, &other]);
        let made = checkpoint(party.org);
        let text = made.sign(&party.agree).unwrap();
        assert!(text.len() <= CHECKPOINT.limit() / 2);
        let read = Checkpoint::verify(&text, &party.org, &keys, NOW);
        assert_eq!(read, Ok(made.clone()));
        for key in [&party.announce, &party.none, &other.agree] {
            let text = made.sign(key).unwrap();
            let refused = Checkpoint::verify(&text, &party.org, &keys, NOW);
            assert_eq!(refused, Err(StatementError::NotAnIssuer));
        }
        let text = made.sign(&other.agree).unwrap();
        let refused = Checkpoint::verify(&text, &other.org, &keys, NOW);
        assert_eq!(refused, Err(StatementError::OtherOrganization));
    }

    #[test]
    fn a_checkpoint_that_breaks_a_rule_is_neither_signed_nor_read() {
        let party = Party::new(1);
        let keys = Directory::of(&[&party]);
        let changes: [fn(&mut Checkpoint); 4] = [
            |c| c.v = 2,
            |c| c.size = 0,
            |c| c.size = MAX_INT + 1,
            |c| c.at = Timestamp::from_secs(MAX_INT + 1),
        ];
        for change in changes {
            let mut bad = checkpoint(party.org);
            change(&mut bad);
            assert!(bad.sign(&party.agree).is_err());
            let text = Compact::sign(CHECKPOINT, &bad, &party.agree).unwrap();
            assert!(Checkpoint::verify(&text, &party.org, &keys, NOW).is_err());
        }
    }
}

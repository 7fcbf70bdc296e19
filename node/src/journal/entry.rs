//! What stands at one position of the journal, and its leaf in the tree.

use sha2::{Digest as _, Sha256};

use super::merkle::{Hash, leaf_hash};

/// Bytes of a record's salt: enough that nobody guesses an erased record by hashing candidates.
pub const SALT_BYTES: usize = 16;

/// The random bytes that are hashed before a record.
pub type Salt = [u8; SALT_BYTES];

/// A record with its salt, or what is left of it.
///
/// The leaf is `SHA-256(0x00 ‖ SHA-256(salt ‖ record))`
/// (`spec/6-evidence.md#V-1`). When personal data must go, the inner hash stays
/// in the place of record and salt: tree, roots and proofs are the same as
/// before, and without the salt the hash tells nothing of the record
/// (`spec/6-evidence.md#V-2`). The rejected alternative, encrypting each record
/// and throwing the key away, keeps the personal data on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// As it was appended.
    Kept {
        /// The record's salt.
        salt: &'a Salt,
        /// The record.
        record: &'a [u8],
    },
    /// Erased: the SHA-256 of salt and record.
    Erased(&'a Hash),
}

impl Entry<'_> {
    /// The SHA-256 of salt and record: the data of the leaf.
    pub fn inner(&self) -> Hash {
        match self {
            Self::Kept { salt, record } => {
                let mut hasher = Sha256::new();
                hasher.update(salt);
                hasher.update(record);
                hasher.finalize().into()
            }
            Self::Erased(inner) => **inner,
        }
    }

    /// The leaf in the tree.
    pub fn leaf(&self) -> Hash {
        leaf_hash(&self.inner())
    }
}

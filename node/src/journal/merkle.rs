//! The RFC 6962 Merkle tree over the journal's records.
//!
//! A root over the first `size` records commits the owner to all of them: a
//! partner who holds an old root can later demand a consistency proof, and a
//! log that was truncated or rewritten cannot give one (A33).
//!
//! Leaves hash as `SHA-256(0x00 ‖ data)` and inner nodes as
//! `SHA-256(0x01 ‖ left ‖ right)` (RFC 6962, section 2.1): without the prefixes
//! an inner node could be passed off as a record. The journal's leaf data is
//! [`Entry::inner`](super::Entry::inner), not the record itself.

use sha2::{Digest as _, Sha256};

/// A SHA-256 hash in the tree.
pub type Hash = [u8; 32];

/// The most hashes a proof can hold: two paths through a tree of 2^64 leaves.
pub const MAX_PROOF_HASHES: usize = 128;

/// An append-only Merkle tree that answers for every earlier size of itself.
///
/// Keeps the hash of every complete subtree (64 bytes a record), so that roots
/// and proofs cost a logarithm of the size instead of a pass over the journal.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// `levels[k][i]` is the hash of leaves `i * 2^k .. (i + 1) * 2^k`.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// Appends a leaf, given as [`leaf_hash`] of its data.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        let mut level = 0;
        loop {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(hash);
            let row = &self.levels[level];
            match row.as_slice() {
                [.., left, right] if row.len().is_multiple_of(2) => hash = node_hash(left, right),
                _ => return,
            }
            level += 1;
        }
    }

    /// The root over the first `size` leaves; `None` when there are fewer.
    ///
    /// The empty tree's root is the hash of nothing (RFC 6962, section 2.1).
    pub fn root(&self, size: u64) -> Option<Hash> {
        (size <= self.size()).then(|| match size {
            0 => Sha256::digest([]).into(),
            _ => self.subtree(0, size),
        })
    }

    /// The audit path of leaf `index` in the tree of `size` leaves (RFC 6962,
    /// section 2.1.1); `None` unless `index < size <= self.size()`.
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        if index >= size || size > self.size() {
            return None;
        }
        let mut path = Vec::new();
        let (mut start, mut end) = (0, size);
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                path.push(self.subtree(middle, end));
                end = middle;
            } else {
                path.push(self.subtree(start, middle));
                start = middle;
            }
        }
        path.reverse();
        Some(path)
    }

    /// The proof that the tree of `old` leaves is a prefix of the tree of `new`
    /// leaves (RFC 6962, section 2.1.2); `None` unless `old <= new <= self.size()`.
    ///
    /// Nothing needs proving from the empty tree or between equal sizes: the proof is empty.
    pub fn consistency(&self, old: u64, new: u64) -> Option<Vec<Hash>> {
        if old > new || new > self.size() {
            return None;
        }
        let mut proof = Vec::new();
        if old == 0 || old == new {
            return Some(proof);
        }
        let (mut start, mut end) = (0, new);
        // Whether the subtree that is left is one whose root the verifier has: the old root itself.
        let mut known = true;
        while end != old {
            let middle = start + split(end - start);
            if old <= middle {
                proof.push(self.subtree(middle, end));
                end = middle;
            } else {
                proof.push(self.subtree(start, middle));
                start = middle;
                known = false;
            }
        }
        if !known {
            proof.push(self.subtree(start, end));
        }
        proof.reverse();
        Some(proof)
    }

    /// The root of leaves `start..end`, where `start` is a multiple of the
    /// largest power of two below `end - start` (as every split gives).
    fn subtree(&self, start: u64, end: u64) -> Hash {
        let width = end - start;
        if width.is_power_of_two() {
            let level = width.trailing_zeros() as usize;
            return self.levels[level][(start >> level) as usize];
        }
        let middle = start + split(width);
        node_hash(&self.subtree(start, middle), &self.subtree(middle, end))
    }
}

/// Whether `path` proves that `leaf` stands at `index` in the tree of `size`
/// leaves with root `root` (RFC 9162, section 2.1.3.2).
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size || path.len() > MAX_PROOF_HASHES {
        return false;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node % 2 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node % 2 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `proof` proves that the tree of `old` leaves with root `old_root` is
/// a prefix of the tree of `new` leaves with root `new_root` (RFC 9162, section 2.1.4.2).
pub fn verify_consistency(
    old: u64,
    new: u64,
    proof: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> bool {
    if old > new || proof.len() > MAX_PROOF_HASHES {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == <Hash>::from(Sha256::digest([]));
    }
    // A complete old tree is a subtree of the new one: its root starts the proof, unsent.
    let (first, rest) = match (old.is_power_of_two(), proof.split_first()) {
        (true, _) => (*old_root, proof),
        (false, Some((first, rest))) => (*first, rest),
        (false, None) => return false,
    };
    let (mut node, mut last) = (old - 1, new - 1);
    while node % 2 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node % 2 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node % 2 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

/// The hash of `data` as a leaf.
pub fn leaf_hash(data: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(data);
    hasher.finalize().into()
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

/// The largest power of two below `width`, for `width >= 2`.
fn split(width: u64) -> u64 {
    1 << (63 - (width - 1).leading_zeros())
}

#[cfg(test)]
mod tests;

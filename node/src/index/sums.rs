//! Count and digest of each table, kept beside its records.
//!
//! A damaged sled database often opens without an error and with records
//! missing (`store.md` 3.2). The sums, written in the same batch as the records
//! they cover, show it.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::store::{Op, Store, StoreError, Table};

/// The key of the sums in every table; shorter than any record's key.
const SUMS_KEY: [u8; 1] = [0];

/// First byte of every record's key, apart from [`SUMS_KEY`].
const RECORD_TAG: u8 = 1;

/// Entries that one step of a scan reads.
const SCAN_STEP: usize = 1024;

/// How many records a table has, and the sum of their hashes, which is the
/// same in whatever order they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) count: u64,
    digest: u128,
}

impl Sums {
    /// The sums as recorded in the store; zero for a new table, `None` when they are unreadable.
    pub(super) fn recorded(store: &dyn Store, table: Table) -> Result<Option<Self>, StoreError> {
        let Some(value) = store.get(table, &SUMS_KEY)? else {
            return Ok(Some(Self::default()));
        };
        Ok(Self::decode(&value))
    }

    /// The sums of what is there, by reading all of it.
    pub(super) fn measured(store: &dyn Store, table: Table) -> Result<Self, StoreError> {
        let mut sums = Self::default();
        let mut from = vec![RECORD_TAG];
        loop {
            let entries = store.range(table, &from, &[], SCAN_STEP)?;
            for (key, value) in &entries {
                sums.add(table, key, value);
            }
            match entries.last() {
                Some((key, _)) if entries.len() == SCAN_STEP => {
                    from.clone_from(key);
                    from.push(0);
                }
                _ => return Ok(sums),
            }
        }
    }

    /// `ops` on records of `table` as one batch that also brings the sums up to date.
    pub(super) fn batch(
        store: &dyn Store,
        table: Table,
        ops: &[Op],
    ) -> Result<Vec<Op>, StoreError> {
        let mut sums = Self::recorded(store, table)?
            .ok_or_else(|| StoreError::Failed("the sums of a table are unreadable".into()))?;
        // The last change of a key counts.
        let changes: BTreeMap<&[u8], Option<&[u8]>> =
            ops.iter().map(|op| (op.key(), op.value())).collect();
        let mut batch = Vec::with_capacity(changes.len() + 1);
        for (key, value) in changes {
            let key = record_key(key);
            if let Some(old) = store.get(table, &key)? {
                sums.remove(table, &key, &old);
            }
            match value {
                Some(value) => {
                    sums.add(table, &key, value);
                    batch.push(Op::put(key, value));
                }
                None => batch.push(Op::delete(key)),
            }
        }
        batch.push(Op::put(SUMS_KEY, sums.encode()));
        Ok(batch)
    }

    fn add(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.digest = self.digest.wrapping_add(hash(table, key, value));
    }

    fn remove(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.digest = self.digest.wrapping_sub(hash(table, key, value));
    }

    fn encode(self) -> Vec<u8> {
        [&self.count.to_be_bytes()[..], &self.digest.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (count, digest) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            count: u64::from_be_bytes(*count),
            digest: u128::from_be_bytes(digest.try_into().ok()?),
        })
    }
}

/// A caller's key as it stands in the store.
pub(super) fn record_key(key: &[u8]) -> Vec<u8> {
    let mut tagged = Vec::with_capacity(1 + key.len());
    tagged.push(RECORD_TAG);
    tagged.extend_from_slice(key);
    tagged
}

/// The upper end `to` of a caller's range; empty means the end of the records.
pub(super) fn range_end(to: &[u8]) -> Vec<u8> {
    if to.is_empty() {
        vec![RECORD_TAG + 1]
    } else {
        record_key(to)
    }
}

/// A record's part of the digest. The lengths are hashed too: without them the
/// boundary between key and value could move unseen.
fn hash(table: Table, key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = Sha256::new();
    hasher.update([table as u8]);
    hasher.update((key.len() as u64).to_be_bytes());
    hasher.update(key);
    hasher.update(value);
    let digest: [u8; 32] = hasher.finalize().into();
    digest
        .first_chunk::<16>()
        .map_or(0, |half| u128::from_be_bytes(*half))
}

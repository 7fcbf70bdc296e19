//! sled behind the trait. No sled type leaves this file.
//!
//! sled 0.34 answers damage with a panic more often than with an error, and
//! opens a truncated file without a word (`store.md` 3.2). So every call is
//! caught here, and completeness is checked one floor up.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::store::{self, Entry, Op, Store, StoreError, Table};

/// How often sled's own thread syncs, in milliseconds. `None` would remove the
/// thread that makes its only periodic fsync.
const FLUSH_EVERY_MS: u64 = 200;

/// How often, and how far apart, a database that is being closed is looked at: 10 seconds in all.
const RELEASE_ATTEMPTS: u32 = 2000;
const RELEASE_PAUSE: Duration = Duration::from_millis(5);

/// A store in a sled database.
#[derive(Debug)]
pub(super) struct SledStore {
    db: sled::Db,
    trees: BTreeMap<Table, sled::Tree>,
    dir: PathBuf,
}

impl SledStore {
    /// Opens or creates the database in `dir`, with at most `cache_bytes` of cache.
    ///
    /// Success proves nothing about completeness.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        wait_until_released(dir)?;
        caught(|| {
            let db = sled::Config::new()
                .path(dir)
                .mode(sled::Mode::LowSpace)
                .cache_capacity(cache_bytes)
                .flush_every_ms(Some(FLUSH_EVERY_MS))
                .open()?;
            let trees = Table::ALL
                .into_iter()
                .map(|table| Ok((table, db.open_tree(table.name())?)))
                .collect::<sled::Result<_>>()?;
            Ok(Self {
                db,
                trees,
                dir: dir.to_owned(),
            })
        })
    }

    fn tree(&self, table: Table) -> Result<&sled::Tree, StoreError> {
        self.trees
            .get(&table)
            .ok_or_else(|| StoreError::Failed("a table is missing".into()))
    }
}

impl Store for SledStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let tree = self.tree(table)?;
        caught(|| Ok(tree.get(key)?.map(|value| value.to_vec())))
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        if !to.is_empty() && from >= to {
            return Ok(Vec::new());
        }
        let tree = self.tree(table)?;
        caught(|| {
            let entries = if to.is_empty() {
                tree.range(from..)
            } else {
                tree.range(from..to)
            };
            entries
                .take(limit)
                .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())))
                .collect()
        })
    }

    fn apply(&self, table: Table, batch: &[Op]) -> Result<(), StoreError> {
        store::check(batch)?;
        let tree = self.tree(table)?;
        let mut changes = sled::Batch::default();
        for op in batch {
            match op {
                Op::Put { key, value } => changes.insert(key.as_slice(), value.as_slice()),
                Op::Delete { key } => changes.remove(key.as_slice()),
            }
        }
        caught(|| tree.apply_batch(changes))
    }

    fn barrier(&self) -> Result<(), StoreError> {
        caught(|| {
            self.db.flush()?;
            // On Linux `flush` ends in `sync_file_range`, which does not reach
            // the device. An fsync acts on the file, whoever opened it.
            File::open(self.dir.join("db"))?.sync_all()?;
            Ok(())
        })
    }
}

/// Waits until a database that this process closed is closed.
///
/// Dropping a sled database hands the rest of the work to its threads, which
/// hold the file's lock until they are done; opening it at once would fail and
/// look like damage. Other processes are kept out by the journal's lock.
fn wait_until_released(dir: &Path) -> Result<(), StoreError> {
    let Ok(file) = File::open(dir.join("db")) else {
        return Ok(());
    };
    for _ in 0..RELEASE_ATTEMPTS {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(RELEASE_PAUSE),
            // Closing the file gives the lock back.
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => {
                return Err(StoreError::Failed(error.to_string().into()));
            }
        }
    }
    Err(StoreError::Failed("its file is locked".into()))
}

/// Runs `body`; a panic of sled becomes an error.
fn caught<T>(body: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result.map_err(|error| StoreError::Failed(error.to_string().into())),
        Err(_) => Err(StoreError::Failed("sled panicked".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_below_the_trait_is_an_error_above_it() {
        assert_eq!(caught(|| Ok(1)), Ok(1));
        let panicked = caught::<()>(|| panic!("as sled does on a damaged file"));
        assert!(matches!(panicked, Err(StoreError::Failed(_))));
        let failed = caught::<()>(|| Err(sled::Error::ReportableBug("text".to_owned())));
        assert!(matches!(failed, Err(StoreError::Failed(_))));
    }
}

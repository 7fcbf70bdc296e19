//! Views of the journal and of what peers sent: fast to look up, rebuilt when in doubt.
//!
//! Acknowledged state survives power loss because of the
//! [`journal`](crate::journal); what is here may be rebuilt. The index never
//! holds the only copy of anything that only this node knows.
//!
//! ```text
//! <home>/index/sled/            the database
//! <home>/index/clean            the last shutdown was clean, at this journal position
//! <home>/index/sled.corrupt-…   the newest two that were found damaged
//! ```
//!
//! A database that opens without an error proves nothing (`store.md` 3.2), so
//! opening counts and hashes every record and compares; anything odd leads to a
//! rebuild, which takes about a second for 100,000 records (A45).
//!
//! Calls may block on the disk: use `spawn_blocking`, never a network task.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use crate::journal::{Journal, JournalError, Position};

mod content;
mod mem;
mod open;
mod sled_store;
mod stats;
mod store;
mod sums;

pub use content::{Content, ContentError, MAX_CONTENT_BYTES};
pub use mem::MemStore;
pub use open::{OpenReport, RebuildReason};
pub use stats::DiskUse;
pub use store::{Entry, MAX_KEY, MAX_VALUE, Op, Store, StoreError, Table};

use sums::{Sums, range_end, record_key};

/// The version of what the tables hold. An older index is rebuilt, a newer one refused.
///
/// Raise it with every change of a key's or a value's encoding.
pub const SCHEMA_VERSION: u64 = 2;

/// Turns one journal record into changes of the index.
///
/// It must depend on its arguments only, or a rebuilt index would differ from
/// the one that was lost.
pub type Fold<'a> = dyn Fn(Position, &[u8]) -> Vec<(Table, Op)> + 'a;

/// How an index is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of memory for sled's cache.
    pub cache_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // sled's own default is 1 GiB.
            cache_bytes: 64 << 20,
        }
    }
}

/// An open index.
pub struct Index {
    dir: PathBuf,
    /// `None` once closed.
    store: RwLock<Option<Box<dyn Store>>>,
    /// The first journal position that is not applied yet. Held during every
    /// change, so that there is one writer.
    next: Mutex<Position>,
}

/// Journal records whose changes are applied in one batch while catching up.
const CATCH_UP_RECORDS: usize = 512;

const SCHEMA_KEY: &[u8] = b"schema_version";
const POSITION_KEY: &[u8] = b"journal_position";

impl Index {
    /// Opens the index in `dir` and brings it up to `journal`, rebuilding it
    /// when it is missing, damaged, or was not closed cleanly.
    pub fn open(
        dir: &Path,
        settings: Settings,
        journal: &Journal,
        fold: &Fold<'_>,
    ) -> Result<(Self, OpenReport), IndexError> {
        open::open(dir, settings, journal, fold)
    }

    /// An index in memory, filled from `journal`: for tests and simulations.
    pub fn in_memory(journal: &Journal, fold: &Fold<'_>) -> Result<Self, IndexError> {
        Self::over(Box::<MemStore>::default(), journal, fold)
    }

    /// An index without a folder over `store`, filled from `journal`.
    pub(crate) fn over(
        store: Box<dyn Store>,
        journal: &Journal,
        fold: &Fold<'_>,
    ) -> Result<Self, IndexError> {
        let index = Self::fresh(PathBuf::new(), store)?;
        index.catch_up(journal, fold)?;
        Ok(index)
    }

    /// An empty index over `store`.
    fn fresh(dir: PathBuf, store: Box<dyn Store>) -> Result<Self, IndexError> {
        let index = Self::resume(dir, store, 0);
        index.apply_to_store(&[(Table::Meta, number(SCHEMA_KEY, SCHEMA_VERSION))])?;
        Ok(index)
    }

    /// An index over `store`, which reflects the journal up to `next`.
    fn resume(dir: PathBuf, store: Box<dyn Store>, next: Position) -> Self {
        Self {
            dir,
            store: RwLock::new(Some(store)),
            next: Mutex::new(next),
        }
    }

    /// The value of `key` in `table`.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.open_store()?.get(table, &record_key(key))?)
    }

    /// At most `limit` entries with `from <= key < to`, in key order; an empty
    /// `to` means to the end.
    pub fn range(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>, IndexError> {
        let mut entries =
            self.open_store()?
                .range(table, &record_key(from), &range_end(to), limit)?;
        for (key, _) in &mut entries {
            key.drain(..1.min(key.len()));
        }
        Ok(entries)
    }

    /// Applies the changes of the journal record at `position`.
    ///
    /// Records are applied in order and once: a position that was applied
    /// before does nothing, one that skips a record is [`IndexError::Gap`].
    /// Where several tasks append, use [`Index::catch_up`] instead, which reads
    /// the order off the journal.
    pub fn apply(&self, position: Position, ops: Vec<(Table, Op)>) -> Result<(), IndexError> {
        let mut next = self.lock_next();
        if position < *next {
            return Ok(());
        }
        if position > *next {
            return Err(IndexError::Gap {
                expected: *next,
                found: position,
            });
        }
        self.advance(&mut next, position + 1, ops)
    }

    /// Applies every journal record that is not applied yet, through `fold`.
    /// Returns the first position that is not applied.
    pub fn catch_up(&self, journal: &Journal, fold: &Fold<'_>) -> Result<Position, IndexError> {
        let mut next = self.lock_next();
        let mut ops = Vec::new();
        let mut upto = *next;
        for record in journal.replay(*next) {
            let (position, bytes) = record?;
            ops.extend(fold(position, &bytes));
            upto = position + 1;
            if (upto - *next) as usize >= CATCH_UP_RECORDS {
                self.advance(&mut next, upto, std::mem::take(&mut ops))?;
            }
        }
        if upto != *next {
            self.advance(&mut next, upto, ops)?;
        }
        Ok(*next)
    }

    /// Applies changes that no journal record stands behind: what the network
    /// gives back when it is lost, such as foreign heads.
    pub fn apply_unjournalled(&self, ops: &[(Table, Op)]) -> Result<(), IndexError> {
        let _writer = self.lock_next();
        self.apply_to_store(ops)
    }

    /// The first journal position that is not applied yet.
    pub fn position(&self) -> Position {
        *self.lock_next()
    }

    /// The number of records in `table`.
    pub fn count(&self, table: Table) -> Result<u64, IndexError> {
        let sums = Sums::recorded(&*self.open_store()?, table)?;
        Ok(sums.unwrap_or_default().count)
    }

    /// What the database takes on disk; for metrics.
    pub fn disk_use(&self) -> DiskUse {
        DiskUse::of(&self.dir.join(open::DATABASE))
    }

    /// Returns when everything applied before the call is on the device.
    pub fn barrier(&self) -> Result<(), IndexError> {
        Ok(self.open_store()?.barrier()?)
    }

    /// Syncs and closes the database and records that this was a clean shutdown.
    ///
    /// Without it the next start rebuilds. Later calls of any method are
    /// [`IndexError::Closed`]; closing twice is not an error.
    pub fn close(&self) -> Result<(), IndexError> {
        let next = self.lock_next();
        let store = self
            .store
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(store) = store else { return Ok(()) };
        let synced = store.barrier();
        open::drop_caught(store)?;
        synced?;
        if self.dir.as_os_str().is_empty() {
            return Ok(());
        }
        open::write_marker(&self.dir, *next)
    }

    fn advance(
        &self,
        next: &mut Position,
        upto: Position,
        mut ops: Vec<(Table, Op)>,
    ) -> Result<(), IndexError> {
        ops.push((Table::Meta, number(POSITION_KEY, upto)));
        self.apply_to_store(&ops)?;
        *next = upto;
        Ok(())
    }

    /// Table by table; a crash between two of them leaves no clean-shutdown
    /// marker, so the half is never seen.
    fn apply_to_store(&self, ops: &[(Table, Op)]) -> Result<(), IndexError> {
        let store = self.open_store()?;
        for table in Table::ALL {
            let changes: Vec<Op> = ops
                .iter()
                .filter(|(t, _)| *t == table)
                .map(|(_, op)| op.clone())
                .collect();
            if !changes.is_empty() {
                store.apply(table, &Sums::batch(&*store, table, &changes)?)?;
            }
        }
        Ok(())
    }

    fn lock_next(&self) -> MutexGuard<'_, Position> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_store(&self) -> Result<OpenStore<'_>, IndexError> {
        let guard = self.store.read().unwrap_or_else(PoisonError::into_inner);
        if guard.is_none() {
            return Err(IndexError::Closed);
        }
        Ok(OpenStore(guard))
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let store = self.store.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = store.take() {
            // Not closed, so the next start rebuilds: how this goes does not matter.
            let _ = open::drop_caught(store);
        }
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("dir", &self.dir)
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

/// A store that is open for as long as this is held.
struct OpenStore<'a>(RwLockReadGuard<'a, Option<Box<dyn Store>>>);

impl std::ops::Deref for OpenStore<'_> {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        self.0
            .as_deref()
            .expect("checked when the guard was made, and the guard keeps it")
    }
}

/// Why the index cannot be opened or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A change would skip a journal record.
    #[error("the index expects the journal record {expected}, not {found}")]
    Gap {
        /// The next position to apply.
        expected: Position,
        /// The position that was given.
        found: Position,
    },
    /// A newer version of this program wrote the index.
    #[error(
        "the index has schema version {found}, this program knows {SCHEMA_VERSION}: start the newer program, or delete the index folder"
    )]
    Newer {
        /// Its version.
        found: u64,
    },
    /// The index was closed.
    #[error("the index is closed")]
    Closed,
    /// The file system refused.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

fn number(key: &[u8], value: u64) -> Op {
    Op::put(key, value.to_be_bytes())
}

#[cfg(test)]
mod tests;

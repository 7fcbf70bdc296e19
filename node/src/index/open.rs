//! Opening: detect what is damaged, and rebuild it (`store.md` 4.7).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::sled_store::SledStore;
use super::sums::{Sums, record_key};
use super::{
    Fold, Index, IndexError, POSITION_KEY, SCHEMA_KEY, SCHEMA_VERSION, Settings, Store, StoreError,
    Table,
};
use crate::clock;
use crate::journal::{Journal, Position, sync_dir};

/// What opening an index found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Why the index was rebuilt; `None` when it was used as found.
    pub rebuilt: Option<RebuildReason>,
    /// Journal records that were applied while opening.
    pub replayed: u64,
    /// Where the damaged database was moved.
    pub quarantined: Option<PathBuf>,
}

/// Why an index was rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RebuildReason {
    /// There was none.
    Missing,
    /// The last process did not close it.
    UncleanShutdown,
    /// sled failed, panicked, or did not hold what it should; the text says which.
    Damaged(String),
    /// An older version of this program wrote it.
    OldSchema,
    /// It reflects records that the journal does not have: the journal was
    /// restored from an older backup or cut. Acknowledged records may be lost;
    /// compare with the partners' checkpoints (A10, A33).
    AheadOfJournal {
        /// The position the index had reached.
        index: Position,
        /// The number of records in the journal.
        journal: Position,
    },
}

impl RebuildReason {
    /// A stable name, for metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::UncleanShutdown => "unclean-shutdown",
            Self::Damaged(_) => "damaged",
            Self::OldSchema => "old-schema",
            Self::AheadOfJournal { .. } => "ahead-of-journal",
        }
    }
}

pub(super) const DATABASE: &str = "sled";
const MARKER: &str = "clean";
const MARKER_PREFIX: &str = "comity-index clean ";
const QUARANTINE_PREFIX: &str = "sled.corrupt-";

/// Damaged databases that are kept for whoever wants to look.
const QUARANTINE_KEPT: usize = 2;

/// Longest marker that is read, in bytes.
const MAX_MARKER_BYTES: u64 = 128;

pub(super) fn open(
    dir: &Path,
    settings: Settings,
    journal: &Journal,
    fold: &Fold<'_>,
) -> Result<(Index, OpenReport), IndexError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| io_error(dir, source))?;
    let database = dir.join(DATABASE);
    let found = examine(dir, &database, settings, journal.len())?;
    // From here on a crash means a rebuild.
    remove_marker(dir)?;
    let mut report = OpenReport::default();
    let index = match found {
        Ok((store, next)) => Index::resume(dir.to_owned(), store, next),
        Err(reason) => {
            report.quarantined = clear_away(dir, &database, &reason)?;
            if reason == RebuildReason::Missing {
                tracing::info!("filling the index from the journal");
            } else {
                tracing::warn!(reason = reason.name(), detail = ?reason, "rebuilding the index from the journal");
            }
            report.rebuilt = Some(reason);
            let store = open_in_thread(&database, settings)?;
            Index::fresh(dir.to_owned(), store)?
        }
    };
    let before = index.position();
    report.replayed = index.catch_up(journal, fold)? - before;
    if report.replayed > 0 {
        index.barrier()?;
    }
    Ok((index, report))
}

type Usable = (Box<dyn Store>, Position);

/// The database with the position it reflects, or why it cannot be used.
fn examine(
    dir: &Path,
    database: &Path,
    settings: Settings,
    journal: Position,
) -> Result<Result<Usable, RebuildReason>, IndexError> {
    if !database.exists() {
        return Ok(Err(RebuildReason::Missing));
    }
    let Some(marked) = read_marker(dir) else {
        return Ok(Err(RebuildReason::UncleanShutdown));
    };
    let damaged = |error| match error {
        StoreError::Failed(what) => RebuildReason::Damaged(what.into_owned()),
        other => RebuildReason::Damaged(other.to_string()),
    };
    let store = match open_in_thread(database, settings) {
        Ok(store) => store,
        Err(error) => return Ok(Err(damaged(error))),
    };
    let verdict = match check(&*store, marked, journal) {
        Ok(Verdict::Usable) => return Ok(Ok((store, marked))),
        Ok(Verdict::Newer(found)) => Err(IndexError::Newer { found }),
        Ok(Verdict::Rebuild(reason)) => Ok(Err(reason)),
        Err(error) => Ok(Err(damaged(error))),
    };
    // It is moved or deleted next; how its closing went does not matter.
    let _ = drop_caught(store);
    verdict
}

enum Verdict {
    Usable,
    Rebuild(RebuildReason),
    Newer(u64),
}

fn check(store: &dyn Store, marked: Position, journal: Position) -> Result<Verdict, StoreError> {
    let damaged = |what: &str| Ok(Verdict::Rebuild(RebuildReason::Damaged(what.to_owned())));
    // Everything is counted before anything is believed.
    for table in Table::ALL {
        if Sums::recorded(store, table)? != Some(Sums::measured(store, table)?) {
            return damaged(&format!(
                "records of table {} are missing or changed",
                table.name()
            ));
        }
    }
    match number(store, SCHEMA_KEY)? {
        Some(SCHEMA_VERSION) => {}
        Some(newer) if newer > SCHEMA_VERSION => return Ok(Verdict::Newer(newer)),
        Some(_) => return Ok(Verdict::Rebuild(RebuildReason::OldSchema)),
        None => return damaged("its schema version is missing"),
    }
    if number(store, POSITION_KEY)?.unwrap_or(0) != marked {
        return damaged("it is not at the position of the last clean shutdown");
    }
    if marked > journal {
        return Ok(Verdict::Rebuild(RebuildReason::AheadOfJournal {
            index: marked,
            journal,
        }));
    }
    Ok(Verdict::Usable)
}

fn number(store: &dyn Store, key: &[u8]) -> Result<Option<u64>, StoreError> {
    let value = store.get(Table::Meta, &record_key(key))?;
    Ok(value.and_then(|bytes| bytes.try_into().ok().map(u64::from_be_bytes)))
}

/// Opens sled on a thread of its own: on damage it may panic with locks held.
fn open_in_thread(database: &Path, settings: Settings) -> Result<Box<dyn Store>, StoreError> {
    let database = database.to_owned();
    std::thread::Builder::new()
        .name("index-open".to_owned())
        .spawn(move || SledStore::open(&database, settings.cache_bytes))
        .map_err(|error| StoreError::Failed(error.to_string().into()))?
        .join()
        .unwrap_or_else(|_| Err(StoreError::Failed("sled panicked while opening".into())))
        .map(|store| Box::new(store) as Box<dyn Store>)
}

/// Drops `store`, which for sled flushes, syncs, and may panic.
pub(super) fn drop_caught(store: Box<dyn Store>) -> Result<(), StoreError> {
    catch_unwind(AssertUnwindSafe(|| drop(store)))
        .map_err(|_| StoreError::Failed("sled panicked while closing".into()))
}

/// Makes room for a new database. A damaged one is kept aside.
fn clear_away(
    dir: &Path,
    database: &Path,
    reason: &RebuildReason,
) -> Result<Option<PathBuf>, IndexError> {
    match reason {
        RebuildReason::Missing => return Ok(None),
        RebuildReason::UncleanShutdown | RebuildReason::OldSchema => {
            fs::remove_dir_all(database).map_err(|source| io_error(database, source))?;
            return Ok(None);
        }
        RebuildReason::Damaged(_) | RebuildReason::AheadOfJournal { .. } => {}
    }
    let mut kept = quarantined(dir)?;
    // Later than the last one, also when the clock is not: the newest are kept.
    let stamp = clock::now()
        .as_secs()
        .max(kept.last().map_or(0, |(stamp, _)| stamp.saturating_add(1)));
    let aside = dir.join(format!("{QUARANTINE_PREFIX}{stamp}"));
    fs::rename(database, &aside).map_err(|source| io_error(database, source))?;
    let surplus = (kept.len() + 1).saturating_sub(QUARANTINE_KEPT);
    for (_, old) in kept.drain(..surplus) {
        fs::remove_dir_all(&old).map_err(|source| io_error(&old, source))?;
    }
    sync_dir(dir).map_err(|source| io_error(dir, source))?;
    Ok(Some(aside))
}

/// The quarantined databases with their time stamps, oldest first.
fn quarantined(dir: &Path) -> Result<Vec<(u64, PathBuf)>, IndexError> {
    let mut found: Vec<(u64, PathBuf)> = fs::read_dir(dir)
        .map_err(|source| io_error(dir, source))?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let stamp = path
                .file_name()?
                .to_str()?
                .strip_prefix(QUARANTINE_PREFIX)?;
            Some((stamp.parse().ok()?, path))
        })
        .collect();
    found.sort();
    Ok(found)
}

/// The position in the clean-shutdown marker; `None` when there is no readable one.
fn read_marker(dir: &Path) -> Option<Position> {
    let mut text = String::new();
    File::open(dir.join(MARKER))
        .ok()?
        .take(MAX_MARKER_BYTES)
        .read_to_string(&mut text)
        .ok()?;
    text.strip_prefix(MARKER_PREFIX)?
        .strip_suffix('\n')?
        .parse()
        .ok()
}

/// Records a clean shutdown at `position`, durably.
pub(super) fn write_marker(dir: &Path, position: Position) -> Result<(), IndexError> {
    let path = dir.join(MARKER);
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        writeln!(file, "{MARKER_PREFIX}{position}")?;
        file.sync_all()?;
        sync_dir(dir)
    };
    write().map_err(|source| io_error(&path, source))
}

fn remove_marker(dir: &Path) -> Result<(), IndexError> {
    let path = dir.join(MARKER);
    match fs::remove_file(&path) {
        Ok(()) => sync_dir(dir).map_err(|source| io_error(dir, source)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io_error(&path, source)),
    }
}

pub(super) fn io_error(path: &Path, source: io::Error) -> IndexError {
    IndexError::Io {
        path: path.to_owned(),
        source,
    }
}

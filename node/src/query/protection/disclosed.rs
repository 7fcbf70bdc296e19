//! What one partner was told of one protected table, cell by cell: two answers
//! about one cell at different times would tell of the few units that changed
//! between them (A21).

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::kept::{Entry, Kept, KeptError};
use super::prints::Prints;
use crate::query::QueryError;

/// The most units, counted once in each version of each fact, that are
/// remembered of one partner and table: 16 bytes each. When they are full,
/// facts that were not told before are left out until the owner removes the file.
const MAX_REMEMBERED: usize = 4_000_000;

/// What a partner was told of the cells of a table.
#[derive(Debug)]
pub struct Disclosed {
    prints: Prints,
    told: Mutex<Told>,
    /// Where it outlives the node; nowhere in tests, and for members.
    kept: Option<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Told {
    /// By which cells the table was told first.
    partition: Option<u64>,
    facts: HashMap<Fact, Vec<Version>>,
    /// The length of all versions.
    units: usize,
    /// What is not on the disk yet.
    new: Vec<Entry>,
}

impl Default for Disclosed {
    /// Nothing, and nowhere kept.
    fn default() -> Self {
        Self {
            prints: Prints::of_this_process(),
            told: Mutex::default(),
            kept: None,
        }
    }
}

/// Something about a cell: how many rows it has, or the values of a column there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fact {
    /// The fingerprint of the cell's key.
    pub(super) cell: u64,
    /// The measured column; none for the number of rows.
    pub(super) column: Option<String>,
}

/// The state of a fact: the fingerprint of each unit in the cell, in order, and
/// that of what the unit adds to the fact.
pub(super) type Version = Vec<(u64, u64)>;

impl Disclosed {
    /// What the file at `path` says was told, and a place for what will be.
    /// Fingerprints are taken with `key`, a secret that stays the same.
    ///
    /// # Errors
    /// The file is damaged or cannot be had: then nothing must be told.
    pub fn open(path: &Path, key: [u8; 16]) -> Result<Self, KeptError> {
        let (kept, entries) = Kept::open(path)?;
        let mut told = Told::default();
        for entry in entries {
            match entry {
                Entry::Partition(partition) => told.partition = Some(partition),
                Entry::Told(fact, version) => {
                    told.units = told.units.saturating_add(version.len());
                    told.facts.entry(fact).or_default().push(version);
                }
            }
        }
        Ok(Self {
            prints: Prints::keyed(key),
            told: Mutex::new(told),
            kept: Some(Mutex::new(kept)),
        })
    }

    /// What takes the fingerprints of this table.
    pub(super) fn prints(&self) -> Prints {
        self.prints
    }

    /// Returns when everything that was admitted is on the disk: only then may it
    /// be told (`spec/5-data-plane.md#D-143`).
    ///
    /// # Errors
    /// `failed` if it cannot be written; the next one tries it again.
    pub(super) async fn keep(self: &Arc<Self>) -> Result<(), QueryError> {
        let disclosed = Arc::clone(self);
        let kept = tokio::task::spawn_blocking(move || disclosed.write()).await;
        let kept = kept.map_err(|stopping| stopping.to_string());
        let kept = kept.and_then(|kept| kept.map_err(|e| e.to_string()));
        kept.map_err(|error| {
            tracing::error!(error, "what is told of a protected table cannot be kept");
            QueryError::failed(error)
        })
    }

    fn write(&self) -> Result<(), KeptError> {
        // Locked first: whoever finds nothing new of its own has waited for the
        // one who is writing it.
        let kept = self.kept.as_ref();
        let mut kept = kept.map(|k| k.lock().unwrap_or_else(PoisonError::into_inner));
        let new = std::mem::take(&mut self.lock().new);
        let written = match &mut kept {
            Some(kept) if !new.is_empty() => kept.append(&new),
            _ => Ok(()),
        };
        if written.is_err() {
            let mut told = self.lock();
            let since = std::mem::replace(&mut told.new, new);
            told.new.extend(since);
        }
        written
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the table may be told by the cells of `partition`, a fingerprint
    /// of what makes them. The first one that is asked for stays: cells of two
    /// partitions overlap in parts of any size.
    pub(super) fn is_by(&self, partition: u64) -> bool {
        let mut told = self.lock();
        if told.partition.is_none() {
            told.partition = Some(partition);
            told.new.push(Entry::Partition(partition));
        }
        told.partition == Some(partition)
    }

    /// Whether a fact may be told as it is now: as it was told before, or
    /// different from every version that was told by `min_units` units at
    /// least. One that may is remembered.
    pub(super) fn admit(&self, fact: Fact, now: Version, min_units: u64) -> bool {
        let mut told = self.lock();
        let told = &mut *told;
        let mut versions = match told.facts.entry(fact.clone()) {
            Place::Occupied(known) => known,
            Place::Vacant(new) => new.insert_entry(Vec::new()),
        };
        for earlier in versions.get() {
            match differing(earlier, &now, min_units) {
                0 => return true,
                few if few < min_units => return false,
                _ => {}
            }
        }
        let units = told.units.saturating_add(now.len());
        if units > MAX_REMEMBERED {
            tracing::warn!(
                "what was told of a protected table fills its memory; what is new is left out"
            );
            return false;
        }
        told.units = units;
        told.new.push(Entry::Told(fact, now.clone()));
        versions.get_mut().push(now);
        true
    }
}

/// Why a table that is told by one partition is not told by another.
pub(super) fn other_partition() -> QueryError {
    QueryError::not_permitted(
        "this table was read in other groups or rows before, and both together could tell of single units",
    )
}

/// By how many units two versions differ; counted up to `enough`.
fn differing(a: &[(u64, u64)], b: &[(u64, u64)], enough: u64) -> u64 {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut differ = 0;
    while differ < enough {
        match (a.peek(), b.peek()) {
            (None, None) => break,
            (Some((left, seen)), Some((right, other))) if left == right => {
                differ += u64::from(seen != other);
                a.next();
                b.next();
            }
            (Some((left, _)), Some((right, _))) if left < right => {
                differ += 1;
                a.next();
            }
            (Some(_), None) => {
                differ += 1;
                a.next();
            }
            (_, Some(_)) => {
                differ += 1;
                b.next();
            }
        }
    }
    differ
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(units: impl IntoIterator<Item = u64>) -> Version {
        units.into_iter().map(|unit| (unit, 1)).collect()
    }

    fn fact(cell: u64) -> Fact {
        Fact { cell, column: None }
    }

    #[test]
    fn versions_that_differ_by_few_units_are_not_both_told() {
        let told = Disclosed::default();
        let admit = |now| told.admit(fact(1), now, 5);
        assert!(admit(version(0..100)));
        assert!(admit(version(0..100)), "the same again tells nothing new");
        for close in [
            version(1..100),
            version(0..104),
            version(4..100),
            version(2..102),
        ] {
            assert!(!admit(close));
        }
        assert!(admit(version(5..100)), "by five");
        // What a unit adds counts, not only the unit.
        let mut other = version(0..100);
        other[7].1 = 2;
        assert!(!admit(other.clone()));
        for pair in other.iter_mut().take(5) {
            pair.1 = 3;
        }
        assert!(admit(other));
        // Neither may it come back close to any version before the last.
        assert!(!admit(version(1..100)));
        // Another cell is another fact.
        assert!(told.admit(fact(2), version(1..100), 5));
    }

    /// Regression: a restart forgot it, and the next version was told.
    #[tokio::test]
    async fn a_restart_forgets_nothing_that_was_told() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("told");
        let open = || Arc::new(Disclosed::open(&path, [7; 16]).unwrap());
        let told = open();
        assert!(told.is_by(7) && told.admit(fact(1), version(0..100), 5));
        told.keep().await.unwrap();
        assert!(told.admit(fact(2), version(0..50), 5), "not kept: not told");
        let again = open();
        assert!(!again.is_by(8) && again.is_by(7));
        assert!(!again.admit(fact(1), version(1..100), 5));
        assert!(again.admit(fact(1), version(0..100), 5));
        assert!(again.admit(fact(2), version(1..50), 5));
        again.keep().await.unwrap();
        assert!(!open().admit(fact(2), version(0..50), 5));
        assert_eq!(open().lock().units, 149);
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_not_told_and_tried_again() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("told");
        let told = Arc::new(Disclosed::open(&path, [7; 16]).unwrap());
        // A device that is always full, in the place of the file.
        let full = Kept::on("/dev/full");
        let file = std::mem::replace(&mut *told.kept.as_ref().unwrap().lock().unwrap(), full);
        assert!(told.admit(fact(1), version(0..10), 5));
        assert!(told.keep().await.is_err());
        *told.kept.as_ref().unwrap().lock().unwrap() = file;
        told.keep().await.unwrap();
        let again = Disclosed::open(&path, [7; 16]).unwrap();
        assert!(!again.admit(fact(1), version(1..10), 5));
    }

    #[test]
    fn the_first_partition_stays() {
        let told = Disclosed::default();
        assert!(told.is_by(7) && told.is_by(7) && !told.is_by(8));
    }

    #[test]
    fn memory_that_is_full_tells_only_what_was_told() {
        let told = Disclosed::default();
        assert!(told.admit(fact(1), version(0..MAX_REMEMBERED as u64), 2));
        assert!(!told.admit(fact(2), version(0..10), 2));
        assert!(told.admit(fact(1), version(0..MAX_REMEMBERED as u64), 2));
    }
}

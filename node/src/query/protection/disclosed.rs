//! What one partner was told of one protected table, cell by cell: two answers
//! about one cell at different times would tell of the few units that changed
//! between them (A21).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use crate::query::QueryError;

/// The most units, counted once in each version of each fact, that are
/// remembered of one partner and table: 16 bytes each. When they are full,
/// facts that were not told before are left out until the node starts anew.
const MAX_REMEMBERED: usize = 4_000_000;

/// What a partner was told of the cells of a table.
#[derive(Debug, Default)]
pub struct Disclosed(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// By which cells the table was told first.
    partition: Option<u64>,
    facts: HashMap<Fact, Vec<Version>>,
    /// The length of all versions.
    units: usize,
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
    /// Whether the table may be told by the cells of `partition`, a fingerprint
    /// of what makes them. The first one that is asked for stays: cells of two
    /// partitions overlap in parts of any size.
    pub(super) fn is_by(&self, partition: u64) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *told.partition.get_or_insert(partition) == partition
    }

    /// Whether a fact may be told as it is now: as it was told before, or
    /// different from every version that was told by `min_units` units at
    /// least. One that may is remembered.
    pub(super) fn admit(&self, fact: Fact, now: Version, min_units: u64) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = &mut *told;
        let mut versions = match told.facts.entry(fact) {
            Entry::Occupied(known) => known,
            Entry::Vacant(new) => new.insert_entry(Vec::new()),
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

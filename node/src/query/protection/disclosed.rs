//! What one partner was told of one protected table: two answers that differ
//! by few units would tell of these by their difference (A21).

use std::sync::{Mutex, PoisonError};

/// The most units, counted once in each group, that are remembered of one
/// partner and table: 16 bytes each. When they are full, groups that were not
/// answered before are left out until the node starts anew.
const MAX_REMEMBERED: usize = 4_000_000;

/// The groups that were answered.
///
/// A group is the units in it, each with a fingerprint of its rows there. Two
/// groups differ by the units whose fingerprints differ.
#[derive(Debug, Default)]
pub struct Disclosed(Mutex<Answered>);

#[derive(Debug, Default)]
struct Answered {
    groups: Vec<Vec<(u64, u64)>>,
    units: usize,
}

impl Disclosed {
    /// Whether a group may be answered, given as units and fingerprints in the
    /// order of the units. One that may is remembered.
    pub(super) fn admit(&self, group: Vec<(u64, u64)>, min_units: u64) -> bool {
        let mut answered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for earlier in &answered.groups {
            match differing(earlier, &group, min_units) {
                0 => return true,
                few if few < min_units => return false,
                _ => {}
            }
        }
        let units = answered.units.saturating_add(group.len());
        if units > MAX_REMEMBERED {
            tracing::warn!(
                "what was answered of a protected table fills its memory; new groups are left out"
            );
            return false;
        }
        answered.units = units;
        answered.groups.push(group);
        true
    }
}

/// By how many units two groups differ; counted up to `enough`.
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

    fn group(units: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
        units.into_iter().map(|unit| (unit, 1)).collect()
    }

    #[test]
    fn groups_that_differ_by_few_units_are_not_both_answered() {
        let told = Disclosed::default();
        assert!(told.admit(group(0..100), 5));
        assert!(
            told.admit(group(0..100), 5),
            "the same again tells nothing new"
        );
        for close in [group(1..100), group(0..104), group(4..100), group(2..102)] {
            assert!(!told.admit(close, 5));
        }
        assert!(told.admit(group(5..100), 5), "by five");
        assert!(told.admit(group(1_000..1_005), 5));
        // The rows of a unit count, not only the unit.
        let mut other_rows = group(0..100);
        other_rows[7].1 = 2;
        assert!(!told.admit(other_rows.clone(), 5));
        for pair in other_rows.iter_mut().take(5) {
            pair.1 = 3;
        }
        assert!(told.admit(other_rows, 5));
    }

    #[test]
    fn memory_that_is_full_answers_only_what_was_answered() {
        let told = Disclosed::default();
        assert!(told.admit(group(0..MAX_REMEMBERED as u64), 2));
        assert!(!told.admit(group(9_000_000..9_000_010), 2));
        assert!(told.admit(group(0..MAX_REMEMBERED as u64), 2));
    }
}

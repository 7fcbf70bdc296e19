//! Narrowing as a law, over random grants (A4).

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use super::{Stage, set};
use crate::Timestamp;
use crate::fixture::NOW;
use crate::grant::Grant;

/// Grants over small alphabets, so that random pairs are often comparable.
fn arbitrary() -> impl Strategy<Value = Grant> {
    let names = |all: &'static [&'static str]| {
        subsequence(all, 0..=all.len()).prop_map(|names| set(&names))
    };
    let tables = proptest::option::of(names(&["a", "b"]));
    let columns = proptest::collection::btree_map(
        prop_oneof![Just("a".to_owned()), Just("b".to_owned())],
        names(&["x", "y"]),
        0..3,
    );
    let limits = (proptest::option::of(0u64..3), 0u64..3, 3u64..6);
    let texts = (names(&["r", "s"]), names(&["p", "q"]), any::<bool>());
    (tables, proptest::option::of(columns), limits, texts).prop_map(
        |(tables, cols, (max_rows, nbf, exp), (roles, purpose, job))| {
            let mut grant = Stage::new().grant();
            grant.act = if job { vec!["job".to_owned()] } else { vec![] };
            grant.tables = tables;
            grant.cols = cols;
            grant.max_rows = max_rows;
            grant.nbf = Timestamp::from_secs(NOW.as_secs() + nbf);
            grant.exp = Timestamp::from_secs(NOW.as_secs() + exp);
            grant.roles = roles;
            grant.purpose = purpose;
            grant
        },
    )
}

/// What a grant permits, asked one cell at a time: the meaning that `narrows` must respect.
fn permits(grant: &Grant, table: &str, column: &str, purpose: &str, rows: u64, now: u64) -> bool {
    let column_listed = |cols: &BTreeMap<String, BTreeSet<String>>| {
        cols.get(table).is_none_or(|c| c.contains(column))
    };
    grant.tables.as_ref().is_none_or(|t| t.contains(table))
        && grant.cols.as_ref().is_none_or(column_listed)
        && grant.purpose.contains(purpose)
        && grant.max_rows.is_none_or(|m| rows <= m)
        && grant.nbf.as_secs() <= now
        && now < grant.exp.as_secs()
}

/// Every question that the small alphabets can ask.
fn questions() -> impl Iterator<Item = (&'static str, &'static str, &'static str, u64, u64)> {
    ["a", "b", "c"].into_iter().flat_map(|t| {
        ["x", "y", "z"].into_iter().flat_map(move |c| {
            ["p", "q"].into_iter().flat_map(move |p| {
                (0..4).flat_map(move |r| (0..7).map(move |n| (t, c, p, r, NOW.as_secs() + n)))
            })
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A4: an accepted child permits nothing that its parent does not.
    #[test]
    fn a4_an_accepted_child_never_widens(parent in arbitrary(), other in arbitrary(), take in any::<[bool; 6]>()) {
        // Most fields are the parent's, or hardly any random child would be accepted.
        let mut child = parent.clone();
        if take[0] { child.tables = other.tables; }
        if take[1] { child.cols = other.cols; }
        if take[2] { child.purpose = other.purpose; }
        if take[3] { child.max_rows = other.max_rows; }
        if take[4] { (child.nbf, child.exp) = (other.nbf, other.exp); }
        if take[5] { (child.roles, child.act) = (other.roles, other.act); }
        if child.narrows(&parent).is_ok() {
            for (t, c, p, r, n) in questions() {
                prop_assert!(!permits(&child, t, c, p, r, n) || permits(&parent, t, c, p, r, n));
            }
            prop_assert!(child.roles.is_subset(&parent.roles));
            prop_assert!(child.act.starts_with(&parent.act));
        }
    }

    /// The other side: whatever is equal or derived by taking away is accepted.
    #[test]
    fn taking_away_is_always_accepted(parent in arbitrary(), pick in any::<Index>()) {
        prop_assert_eq!(parent.narrows(&parent), Ok(()));
        let mut child = parent.clone();
        match pick.index(6) {
            0 => child.tables = Some(BTreeSet::new()),
            1 => child.cols.get_or_insert_default().values_mut().for_each(BTreeSet::clear),
            2 => child.purpose.clear(),
            3 => child.max_rows = Some(0),
            4 => child.exp = child.nbf,
            _ => child.act.push("another".to_owned()),
        }
        prop_assert_eq!(child.narrows(&parent), Ok(()));
    }

    /// Narrowing is transitive, so a chain of any length never widens.
    #[test]
    fn narrowing_is_transitive(a in arbitrary(), b in arbitrary(), c in arbitrary()) {
        if b.narrows(&a).is_ok() && c.narrows(&b).is_ok() {
            prop_assert_eq!(c.narrows(&a), Ok(()));
        }
    }
}

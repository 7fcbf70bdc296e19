//! The order of terms: `narrows` and `intersect` (`spec/4-negotiation.md#N-7` and N-8).
//!
//! Filters are compared by their predicates as written: a filter with more
//! predicates narrows one with fewer. That a predicate *implies* another is
//! never guessed: `x > 5` does not narrow `x > 3` here, so a wrong guess
//! cannot widen anything; it only asks a person once more.

use std::cmp::{max, min};
use std::collections::BTreeMap;

use super::{Limits, Mask, RowFilter, TableTerms, Terms};

impl Terms {
    /// Whether these terms permit no more than `other` does. A partial order:
    /// reflexive, transitive, and terms that narrow each other are equal.
    pub fn narrows(&self, other: &Self) -> bool {
        let tables = self.tables.iter().all(|(name, table)| {
            other
                .tables
                .get(name)
                .is_some_and(|wider| table.narrows(wider))
        });
        tables
            && self.purposes.is_subset(&other.purposes)
            && self.limits.narrows(&other.limits)
            && self.not_before >= other.not_before
            && self.expires <= other.expires
    }

    /// What both permit, or nothing. The result narrows both.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let tables: BTreeMap<String, TableTerms> = self
            .tables
            .iter()
            .filter_map(|(name, table)| {
                Some((name.clone(), table.intersect(other.tables.get(name)?)?))
            })
            .collect();
        let both = Self {
            tables,
            purposes: self
                .purposes
                .intersection(&other.purposes)
                .cloned()
                .collect(),
            limits: self.limits.intersect(&other.limits),
            not_before: max(self.not_before, other.not_before),
            expires: min(self.expires, other.expires),
        };
        let permits =
            !both.tables.is_empty() && !both.purposes.is_empty() && both.not_before < both.expires;
        permits.then_some(both)
    }
}

impl TableTerms {
    /// Whether this permits no more of the table than `other` does.
    pub fn narrows(&self, other: &Self) -> bool {
        let masked = self
            .columns
            .iter()
            .all(|column| narrower_mask(self.masks.get(column), other.masks.get(column)));
        self.columns.is_subset(&other.columns) && self.filter.narrows(&other.filter) && masked
    }

    /// What both permit of the table; nothing when they share no column.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let columns: std::collections::BTreeSet<String> =
            self.columns.intersection(&other.columns).cloned().collect();
        if columns.is_empty() {
            return None;
        }
        let masks = columns
            .iter()
            .filter_map(|column| {
                let mask = stricter_mask(self.masks.get(column), other.masks.get(column))?;
                Some((column.clone(), mask))
            })
            .collect();
        Some(Self {
            columns,
            filter: self.filter.and(&other.filter),
            masks,
        })
    }
}

impl RowFilter {
    /// Whether every predicate of `other` is one of these too.
    pub fn narrows(&self, other: &Self) -> bool {
        self.0.is_superset(&other.0)
    }

    /// Both filters at once.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }
}

impl Limits {
    fn narrows(&self, other: &Self) -> bool {
        match (self.max_rows_per_query, other.max_rows_per_query) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(theirs)) => own <= theirs,
        }
    }

    fn intersect(&self, other: &Self) -> Self {
        let limits = [self.max_rows_per_query, other.max_rows_per_query];
        Self {
            max_rows_per_query: limits.into_iter().flatten().min(),
        }
    }
}

/// A mask narrows its absence, null narrows every mask, and no other two
/// masks are comparable: each keeps something that the other hides.
fn narrower_mask(mask: Option<&Mask>, than: Option<&Mask>) -> bool {
    match (mask, than) {
        (_, None) | (Some(Mask::ReplaceWithNull), _) => true,
        (mask, than) => mask == than,
    }
}

fn stricter_mask(a: Option<&Mask>, b: Option<&Mask>) -> Option<Mask> {
    match (a, b) {
        (None, None) => None,
        (Some(mask), None) | (None, Some(mask)) => Some(*mask),
        (Some(a), Some(b)) if a == b => Some(*a),
        (Some(_), Some(_)) => Some(Mask::ReplaceWithNull),
    }
}

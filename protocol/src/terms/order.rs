//! The order of terms: `narrows` and `intersect` (`spec/4-negotiation.md#N-7` and N-8).
//!
//! Filters are compared by their predicates as written: a filter with more
//! predicates narrows one with fewer. That a predicate *implies* another is
//! never guessed: `x > 5` does not narrow `x > 3` here, so a wrong guess
//! cannot widen anything; it only asks a person once more.
//!
//! A predicate is not harmless because it removes rows: one over a column
//! that the reader may not see asks a yes-or-no question about it, and the
//! rows that remain are the answer. So terms narrow others only if whoever has
//! the wider ones could have filtered so by itself.

use std::cmp::{max, min};
use std::collections::{BTreeMap, BTreeSet};

use super::{Literal, Mask, Predicate, RowFilter, TableTerms, Terms};

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
            limits: self.limits.intersect(&other.limits)?,
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
        self.columns.is_subset(&other.columns)
            && masked
            && self.filters_within(other)
            && self.protected_within(other)
    }

    /// Whether the filter has every predicate of `wider` and asks, beyond
    /// them, only about what `wider` shows.
    fn filters_within(&self, wider: &Self) -> bool {
        let more = self.filter.0.difference(&wider.filter.0);
        self.filter.0.is_superset(&wider.filter.0) && wider.could_ask(more)
    }

    /// Whether a reader under these terms can evaluate `predicates` by itself.
    pub(super) fn could_ask<'a>(
        &self,
        predicates: impl IntoIterator<Item = &'a Predicate>,
    ) -> bool {
        let mut predicates = predicates.into_iter();
        predicates.all(|p| p.columns().into_iter().all(|c| self.shows(c)))
    }

    /// Whether `column` may be read as it is: permitted, not masked, and, where
    /// rows are read in groups only, one to group by.
    pub fn shows(&self, column: &str) -> bool {
        let protection = self.protection.as_ref();
        self.columns.contains(column)
            && !self.masks.contains_key(column)
            && protection.is_none_or(|p| p.group_by.contains(column))
    }

    /// What both permit of the table; nothing when they share no column, when
    /// one filters by what the other hides, or when they protect different units.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let comparable = self.could_ask(other.filter.0.difference(&self.filter.0))
            && other.could_ask(self.filter.0.difference(&other.filter.0));
        if !comparable {
            return None;
        }
        let columns: BTreeSet<String> =
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
        let protection = self.protect_both(other, &columns).ok()?;
        Some(Self {
            columns,
            filter: self.filter.and(&other.filter),
            masks,
            protection,
        })
    }
}

impl RowFilter {
    /// Both filters at once.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }
}

impl Predicate {
    /// Whether the predicate compares with a claim.
    pub fn has_claims(&self) -> bool {
        let is_claim = |value: &Literal| matches!(value, Literal::Claim(_));
        match self {
            Self::Compare { value, .. } => is_claim(value),
            Self::In { values, .. } => values.iter().any(is_claim),
            Self::IsNull { .. } => false,
            Self::Not(inner) => inner.has_claims(),
            Self::Any(inner) | Self::All(inner) => inner.iter().any(Self::has_claims),
        }
    }

    /// The columns that the predicate is about.
    pub fn columns(&self) -> BTreeSet<&str> {
        match self {
            Self::Compare { column, .. } | Self::In { column, .. } | Self::IsNull { column } => {
                BTreeSet::from([column.as_str()])
            }
            Self::Not(inner) => inner.columns(),
            Self::Any(inner) | Self::All(inner) => inner.iter().flat_map(Self::columns).collect(),
        }
    }
}

/// A mask narrows its absence, null narrows every mask, and no other two
/// masks are comparable: each keeps something that the other hides.
pub(super) fn narrower_mask(mask: Option<&Mask>, than: Option<&Mask>) -> bool {
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

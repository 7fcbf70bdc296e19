//! Terms under which rows are read in groups only: disclosure control, which
//! hinders that single units are told apart. It is no guarantee of privacy: who
//! asks cleverly and often enough, or together with others, may still learn of
//! one unit (A21).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{TableTerms, unique};

/// The fewest units that terms may demand of a group: below two every group could be one unit.
pub const MIN_UNITS: u64 = 2;

/// That a table is read in groups only, each of enough units
/// (`spec/5-data-plane.md#D-140`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protection {
    /// The column that says whom a row is about: a person, a household, an
    /// aircraft. It is not among the permitted columns: it can be counted by
    /// the provider, and neither shown, filtered nor joined.
    pub unit: String,
    /// The fewest different units that a cell must have: the rows with the same
    /// values in all of `group_by` (`spec/5-data-plane.md#D-142`).
    pub min_units: u64,
    /// The permitted columns by which rows may be grouped and filtered.
    #[serde(deserialize_with = "unique::set")]
    pub group_by: BTreeSet<String>,
    /// What may be computed over a group.
    #[serde(deserialize_with = "unique::set")]
    pub aggregates: BTreeSet<Aggregate>,
}

/// A function over a group. Least and greatest values are not among them: each
/// is the value of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregate {
    /// How many rows, or values that are not null.
    Count,
    /// The sum.
    Sum,
    /// The arithmetic mean.
    Avg,
}

impl Protection {
    /// Whether this shows no more than `other` does, of the same units.
    pub(super) fn narrows(&self, other: &Self) -> bool {
        self.unit == other.unit
            && self.min_units >= other.min_units
            && self.group_by.is_subset(&other.group_by)
            && self.aggregates.is_subset(&other.aggregates)
    }

    fn intersect(&self, other: &Self) -> Option<Self> {
        let both = Self {
            unit: self.unit.clone(),
            min_units: self.min_units.max(other.min_units),
            group_by: self
                .group_by
                .intersection(&other.group_by)
                .cloned()
                .collect(),
            aggregates: &self.aggregates & &other.aggregates,
        };
        // Two kinds of unit would have to be counted side by side; nobody negotiates that.
        (self.unit == other.unit && !both.aggregates.is_empty()).then_some(both)
    }
}

impl TableTerms {
    /// Whether the protection of this is at least that of `wider`.
    pub(super) fn protected_within(&self, wider: &Self) -> bool {
        match (&self.protection, &wider.protection) {
            (None, None) => true,
            (None, Some(_)) => false,
            // Which groups are large enough is an answer about the unit: only
            // one who may see it could have left the small ones out by itself.
            (Some(own), None) => wider.shows(&own.unit),
            (Some(own), Some(theirs)) => own.narrows(theirs),
        }
    }

    /// The protection that both demand over `columns`; an error when no terms
    /// could keep to both.
    pub(super) fn protect_both(
        &self,
        other: &Self,
        columns: &BTreeSet<String>,
    ) -> Result<Option<Protection>, Incompatible> {
        let both = match (&self.protection, &other.protection) {
            (None, None) => return Ok(None),
            (Some(own), None) => other.shows(&own.unit).then(|| own.clone()),
            (None, Some(theirs)) => self.shows(&theirs.unit).then(|| theirs.clone()),
            (Some(own), Some(theirs)) => own.intersect(theirs),
        };
        let mut both = both.ok_or(Incompatible)?;
        both.group_by.retain(|column| columns.contains(column));
        Ok(Some(both))
    }
}

/// No terms keep to both protections.
#[derive(Debug)]
pub(super) struct Incompatible;

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |set: Vec<String>| set.join(", ");
        let functions = self.aggregates.iter().map(ToString::to_string).collect();
        write!(f, "only {} of groups", list(functions))?;
        if !self.group_by.is_empty() {
            write!(f, " by {}", list(self.group_by.iter().cloned().collect()))?;
        }
        write!(f, " of at least {} different {}", self.min_units, self.unit)
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Avg => "avg",
        })
    }
}

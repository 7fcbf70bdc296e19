//! What changed between two versions of a product, for whom, and how much the
//! version must rise for it (`spec/3-catalog.md#C-72`).
//!
//! Three perspectives. The *consumer*: may a query, an obligation or a meaning
//! break? Then it is a new major. The *producer*: may a check of ours fail that
//! passed before? The *protected party*, whose data it is: does more leave the
//! house? That never forces a major, because nothing breaks, but two people
//! should look at it.
//!
//! ```text
//! contract ─┐ walk: pairs what belongs together, by id and name
//! tables   ─┼──> grade: one rule for each field ──> findings ──> bump
//! offer    ─┘ served: what is on the wire, what is on the table
//! ```
//!
//! A field without a rule counts as breaking: a change is never passed over
//! because nobody thought of it. That one value *implies* another is decided
//! only where it is certain (numbers, sets, conjunctions of the same
//! predicates); everything else is undetermined and counts against the change.

mod grade;
mod meaning;
mod served;
mod walk;

#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::Value;

use crate::product::{Descriptor, Table};
use crate::terms::Terms;
use crate::version::{Bump, Version};

/// One version of a product: what of it is compared.
#[derive(Clone, Debug)]
pub struct Edition<'a> {
    /// Its version.
    pub version: Version,
    /// The public projection of its contract.
    pub contract: &'a Value,
    /// What is on the wire. A file whose sources nobody opened does not say.
    pub tables: Option<&'a [Table]>,
    /// What partners may ask for without further talk.
    pub offer: Option<&'a Terms>,
}

/// Everything that differs between two editions.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    old: Version,
    new: Version,
    findings: Vec<Finding>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What happened.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The part of the contract, as ODCS calls it; `tables` is what is on the
    /// wire, and `offer` what partners may ask for.
    pub section: String,
    /// What it concerns, from the section down. Names are the contract's: hostile text.
    pub path: String,
    /// The field.
    pub field: String,
    /// What it was.
    #[serde(rename = "value1", skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What it is.
    #[serde(rename = "value2", skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
    /// How much the version must rise: what the consumer notices.
    #[serde(rename = "impactLevel")]
    pub impact: Bump,
    /// Whether data that passed the producer's checks may fail them now.
    pub producer: bool,
    /// Whether more may leave the house: a second person looks at it.
    pub second_look: bool,
    /// Why it is graded so.
    pub reason: &'static str,
}

/// What happened to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    /// It is new.
    Add,
    /// It is gone.
    Remove,
    /// It has another value.
    Change,
}

impl<'a> Edition<'a> {
    /// What of an announced product is compared.
    pub fn of(descriptor: &'a Descriptor) -> Self {
        Self {
            version: descriptor.version,
            contract: &descriptor.contract,
            tables: Some(&descriptor.tables),
            offer: descriptor.offer.as_ref(),
        }
    }
}

impl Comparison {
    /// Compares two editions of one product.
    ///
    /// Left out are the version itself and what every announcement renews: its
    /// times, and those of its offer.
    pub fn of(old: &Edition<'_>, new: &Edition<'_>) -> Self {
        let mut findings = walk::contracts(old.contract, new.contract);
        if let (Some(old), Some(new)) = (old.tables, new.tables) {
            served::tables(old, new, &mut findings);
        }
        served::offers(old, new, &mut findings);
        // The worst first; among equals the order of the contract.
        findings.sort_by_key(|f| core::cmp::Reverse(f.impact));
        Self {
            old: old.version,
            new: new.version,
            findings,
        }
    }

    /// The differences, those that break most first.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How much the version must rise; `None` when nothing differs.
    pub fn bump(&self) -> Option<Bump> {
        self.findings.iter().map(|f| f.impact).max()
    }

    /// The earlier version.
    pub fn old_version(&self) -> Version {
        self.old
    }

    /// The later version, as its author numbered it.
    pub fn new_version(&self) -> Version {
        self.new
    }

    /// The lowest version that the later edition may have.
    pub fn suggested(&self) -> Version {
        self.bump().map_or(self.old, |bump| self.old.raised(bump))
    }

    /// Whether the later edition's number promises more compatibility than it keeps.
    pub fn is_too_low(&self) -> bool {
        self.new < self.suggested()
    }

    /// What a second person should look at: more may leave the house
    /// (`spec/3-catalog.md#C-73`).
    pub fn second_looks(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.second_look)
    }

    /// How many differences have this impact.
    pub fn count(&self, impact: Bump) -> usize {
        self.findings.iter().filter(|f| f.impact == impact).count()
    }
}

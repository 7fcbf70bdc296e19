//! `[[approve]]`: requests that are agreed to without a person.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use comity_identity::Timestamp;
use comity_protocol::terms::{Limits, Mask, Protection, RowFilter, TableTerms, Terms};
use serde::{Deserialize, Serialize};

/// A rule: a request of this partner for this product that asks no more than
/// [`ApproveRule::terms`] is agreed to. Anything else waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveRule {
    /// The partner's organization id, or the name that was given to it here
    /// (`--as` of `comity invite` and `comity join`). A name that it gave itself opens nothing.
    pub partner: String,
    /// The product: its name, or NAME@MAJOR for another major than 1.
    pub product: String,
    /// The purposes that may be asked for.
    pub purposes: BTreeSet<String>,
    /// How many days from now the agreement may last.
    pub max_days: u32,
    /// How much may be read; a request must not ask for more. None means what
    /// the product offers.
    #[serde(skip_serializing_if = "is_none", default)]
    pub limits: Limits,
    /// The tables that may be asked for, by name. None means what the product
    /// offers in its contract.
    #[serde(default)]
    pub tables: BTreeMap<String, TableRule>,
}

/// What may be asked for of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableRule {
    /// The columns that may be asked for.
    pub columns: BTreeSet<String>,
    /// Conditions that the request must contain; none means every row.
    #[serde(default)]
    pub filter: RowFilter,
    /// Masks that the request must contain, by column.
    #[serde(default)]
    pub masks: BTreeMap<String, Mask>,
    /// That rows are read in groups only, which the request must contain.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub protection: Option<Protection>,
}

impl ApproveRule {
    /// The widest terms that the rule agrees to at `now`. A request falls under
    /// the rule when its terms narrow these.
    pub fn terms(&self, now: Timestamp) -> Terms {
        let days = Duration::from_secs(u64::from(self.max_days) * SECONDS_A_DAY);
        let tables = self.tables.iter().map(|(name, rule)| {
            let terms = TableTerms {
                columns: rule.columns.clone(),
                filter: rule.filter.clone(),
                masks: rule.masks.clone(),
                protection: rule.protection.clone(),
            };
            (name.clone(), terms)
        });
        Terms {
            tables: tables.collect(),
            purposes: self.purposes.clone(),
            limits: self.limits.clone(),
            // A rule says how far terms may reach ahead, not when they begin.
            not_before: Timestamp::from_secs(0),
            expires: now.saturating_add(days),
        }
    }
}

fn is_none(limits: &Limits) -> bool {
    *limits == Limits::default()
}

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

//! How one side's terms differ from the other's, in words.

use core::fmt;
use std::collections::BTreeSet;

use comity_identity::Timestamp;

use super::{Limit, Mask, Predicate, Protection, Terms, Weekday};

/// One difference between two terms, as seen from the earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A table is no longer permitted.
    TableRemoved(String),
    /// A table is permitted now.
    TableAdded(String),
    /// Columns are no longer permitted.
    ColumnsRemoved(String, Vec<String>),
    /// Columns are permitted now.
    ColumnsAdded(String, Vec<String>),
    /// Rows must meet one more condition.
    FilterAdded(String, Predicate),
    /// A condition on rows is gone.
    FilterRemoved(String, Predicate),
    /// A column is masked otherwise.
    MaskChanged(String, String, Option<Mask>),
    /// Purposes are no longer permitted.
    PurposesRemoved(Vec<String>),
    /// Purposes are permitted now.
    PurposesAdded(Vec<String>),
    /// A table is protected otherwise.
    ProtectionChanged(String, Option<Protection>),
    /// A limit differs.
    Limited(Limit, Option<u64>),
    /// The hours of the day differ.
    Hours(Option<BTreeSet<u8>>),
    /// The days of the week differ.
    Weekdays(Option<BTreeSet<Weekday>>),
    /// The terms begin at another time.
    NotBefore(Timestamp),
    /// The terms end at another time.
    Expires(Timestamp),
}

impl Terms {
    /// What differs from `earlier`, in a fixed order; empty when they are equal.
    pub fn changes_from(&self, earlier: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for name in earlier
            .tables
            .keys()
            .filter(|n| !self.tables.contains_key(*n))
        {
            changes.push(Change::TableRemoved(name.clone()));
        }
        for (name, table) in &self.tables {
            let Some(old) = earlier.tables.get(name) else {
                changes.push(Change::TableAdded(name.clone()));
                continue;
            };
            let named = |set: Vec<String>, make: fn(String, Vec<String>) -> Change| {
                (!set.is_empty()).then(|| make(name.clone(), set))
            };
            changes.extend(named(
                missing(&old.columns, &table.columns),
                Change::ColumnsRemoved,
            ));
            changes.extend(named(
                missing(&table.columns, &old.columns),
                Change::ColumnsAdded,
            ));
            for p in table.filter.0.difference(&old.filter.0) {
                changes.push(Change::FilterAdded(name.clone(), p.clone()));
            }
            for p in old.filter.0.difference(&table.filter.0) {
                changes.push(Change::FilterRemoved(name.clone(), p.clone()));
            }
            for column in table.columns.intersection(&old.columns) {
                let mask = table.masks.get(column).copied();
                if mask != old.masks.get(column).copied() {
                    changes.push(Change::MaskChanged(name.clone(), column.clone(), mask));
                }
            }
            if table.protection != old.protection {
                let protection = table.protection.clone();
                changes.push(Change::ProtectionChanged(name.clone(), protection));
            }
        }
        let removed = missing(&earlier.purposes, &self.purposes);
        let added = missing(&self.purposes, &earlier.purposes);
        changes.extend((!removed.is_empty()).then_some(Change::PurposesRemoved(removed)));
        changes.extend((!added.is_empty()).then_some(Change::PurposesAdded(added)));
        for limit in Limit::all() {
            let now = self.limits.get(limit);
            if now != earlier.limits.get(limit) {
                changes.push(Change::Limited(limit, now));
            }
        }
        if self.limits.hours != earlier.limits.hours {
            changes.push(Change::Hours(self.limits.hours.clone()));
        }
        if self.limits.weekdays != earlier.limits.weekdays {
            changes.push(Change::Weekdays(self.limits.weekdays.clone()));
        }
        if self.not_before != earlier.not_before {
            changes.push(Change::NotBefore(self.not_before));
        }
        if self.expires != earlier.expires {
            changes.push(Change::Expires(self.expires));
        }
        changes
    }
}

fn missing(of: &BTreeSet<String>, from: &BTreeSet<String>) -> Vec<String> {
    of.difference(from).cloned().collect()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TableRemoved(t) => write!(f, "- table {t}"),
            Self::TableAdded(t) => write!(f, "+ table {t}"),
            Self::ColumnsRemoved(t, c) => write!(f, "- {t}: columns {}", c.join(", ")),
            Self::ColumnsAdded(t, c) => write!(f, "+ {t}: columns {}", c.join(", ")),
            Self::FilterAdded(t, p) => write!(f, "- {t}: only rows where {p}"),
            Self::FilterRemoved(t, p) => write!(f, "+ {t}: no longer only rows where {p}"),
            Self::MaskChanged(t, c, Some(m)) => write!(f, "~ {t}: column {c} masked by {m:?}"),
            Self::MaskChanged(t, c, None) => write!(f, "+ {t}: column {c} no longer masked"),
            Self::PurposesRemoved(p) => write!(f, "- purposes {}", p.join(", ")),
            Self::PurposesAdded(p) => write!(f, "+ purposes {}", p.join(", ")),
            Self::ProtectionChanged(t, Some(p)) => write!(f, "~ {t}: {p}"),
            Self::ProtectionChanged(t, None) => write!(f, "+ {t}: row by row"),
            Self::Limited(limit, Some(n)) => write!(f, "~ at most {n} {limit}"),
            Self::Limited(limit, None) => write!(f, "+ no limit on {limit}"),
            Self::Hours(Some(hours)) => {
                let hours: Vec<_> = hours.iter().map(|h| format!("{h:02}")).collect();
                write!(f, "~ only in the hours {} UTC", hours.join(", "))
            }
            Self::Hours(None) => write!(f, "+ at every hour"),
            Self::Weekdays(Some(days)) => {
                let days: Vec<_> = days.iter().map(ToString::to_string).collect();
                write!(f, "~ only on {} (UTC)", days.join(", "))
            }
            Self::Weekdays(None) => write!(f, "+ on every day"),
            Self::NotBefore(t) => write!(f, "~ from {t}"),
            Self::Expires(t) => write!(f, "~ until {t}"),
        }
    }
}

impl fmt::Display for Predicate {
    /// For people: this text is never parsed and never becomes SQL (A17).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &BTreeSet<Self>, word: &str| {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    write!(f, " {word} ")?;
                }
                write!(f, "({item})")?;
            }
            Ok(())
        };
        match self {
            Self::Compare { column, op, value } => write!(f, "{column} {op} {value}"),
            Self::In { column, values } => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(f, "{column} in ({})", values.join(", "))
            }
            Self::IsNull { column } => write!(f, "{column} is null"),
            Self::Not(inner) => write!(f, "not ({inner})"),
            Self::Any(items) => list(f, items, "or"),
            Self::All(items) => list(f, items, "and"),
        }
    }
}

impl fmt::Display for super::Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "=",
            Self::NotEq => "<>",
            Self::Lt => "<",
            Self::LtEq => "<=",
            Self::Gt => ">",
            Self::GtEq => ">=",
        })
    }
}

impl fmt::Display for super::Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(b) => write!(f, "{b}"),
            Self::Int(n) => write!(f, "{n}"),
            Self::Decimal(t) | Self::Date(t) | Self::Timestamp(t) => f.write_str(t),
            Self::Text(t) => write!(f, "'{t}'"),
            Self::Claim(name) => write!(f, "the asker's {name}"),
        }
    }
}

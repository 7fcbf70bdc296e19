//! How terms differ from others, line by line, and which way each line goes.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::limits::within;
use super::order::narrower_mask;
use super::{Change, Terms};

/// One difference between two terms, as seen from the earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What changed.
    pub change: Change,
    /// Whether more or less is permitted by it.
    pub direction: Direction,
    /// What stood there before, in words, where the change does not say it.
    pub was: Option<String>,
}

/// Whether a difference permits less or more. A difference may do neither: one
/// mask in the place of another, or a condition on what the reader does not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// No more is permitted than before.
    Narrower,
    /// No less is permitted than before.
    Wider,
    /// Neither can be said.
    Neither,
}

impl Terms {
    /// What differs from `earlier`, in a fixed order, each with its direction.
    ///
    /// Empty exactly when both are equal; every direction is
    /// [`Direction::Narrower`] exactly when these terms narrow `earlier`
    /// ([`Terms::narrows`]), and [`Direction::Wider`] exactly when `earlier`
    /// narrows these (`spec/4-negotiation.md#N-94`).
    pub fn difference(&self, earlier: &Self) -> Vec<Difference> {
        let changes = self.changes_from(earlier).into_iter();
        let told = changes.map(|change| Difference {
            direction: if change.permits_no_more(self, earlier) {
                Direction::Narrower
            } else if change.permits_no_less(self, earlier) {
                Direction::Wider
            } else {
                Direction::Neither
            },
            was: change.was(earlier),
            change,
        });
        told.collect()
    }

    /// In what these terms permit more than `limit`; empty exactly when they
    /// narrow it ([`Terms::narrows`]).
    pub fn exceed(&self, limit: &Self) -> Vec<Change> {
        let mut changes = self.changes_from(limit);
        changes.retain(|change| !change.permits_no_more(self, limit));
        changes
    }
}

impl Change {
    /// Whether the change from `earlier` to `now` permits nothing more.
    fn permits_no_more(&self, now: &Terms, earlier: &Terms) -> bool {
        match self {
            Self::TableAdded(_)
            | Self::ColumnsAdded(..)
            | Self::FilterRemoved(..)
            | Self::PurposesAdded(_) => false,
            Self::TableRemoved(_) | Self::ColumnsRemoved(..) | Self::PurposesRemoved(_) => true,
            Self::FilterAdded(table, asked) => {
                let wider = earlier.tables.get(table);
                wider.is_some_and(|wider| wider.could_ask([asked]))
            }
            Self::MaskChanged(table, column, mask) => {
                let wider = earlier.tables.get(table);
                let than = wider.and_then(|wider| wider.masks.get(column));
                narrower_mask(mask.as_ref(), than)
            }
            Self::ProtectionChanged(table, _) => {
                let (own, wider) = (now.tables.get(table), earlier.tables.get(table));
                own.zip(wider)
                    .is_some_and(|(own, wider)| own.protected_within(wider))
            }
            Self::Limited(which, _) => now.limits.keeps(*which, &earlier.limits),
            Self::Hours(hours) => within(hours.as_ref(), earlier.limits.hours.as_ref()),
            Self::Weekdays(days) => within(days.as_ref(), earlier.limits.weekdays.as_ref()),
            Self::NotBefore(_) => now.not_before >= earlier.not_before,
            Self::Expires(_) => now.expires <= earlier.expires,
        }
    }

    /// Whether the change from `earlier` to `now` permits nothing less: the way
    /// back would permit nothing more.
    fn permits_no_less(&self, now: &Terms, earlier: &Terms) -> bool {
        let back = match self {
            Self::TableAdded(table) => Self::TableRemoved(table.clone()),
            Self::TableRemoved(table) => Self::TableAdded(table.clone()),
            Self::ColumnsAdded(table, c) => Self::ColumnsRemoved(table.clone(), c.clone()),
            Self::ColumnsRemoved(table, c) => Self::ColumnsAdded(table.clone(), c.clone()),
            Self::FilterAdded(table, p) => Self::FilterRemoved(table.clone(), p.clone()),
            Self::FilterRemoved(table, p) => Self::FilterAdded(table.clone(), p.clone()),
            Self::PurposesAdded(p) => Self::PurposesRemoved(p.clone()),
            Self::PurposesRemoved(p) => Self::PurposesAdded(p.clone()),
            Self::MaskChanged(table, column, _) => {
                let mask = earlier.tables.get(table).and_then(|t| t.masks.get(column));
                Self::MaskChanged(table.clone(), column.clone(), mask.copied())
            }
            Self::ProtectionChanged(table, _) => Self::ProtectionChanged(table.clone(), None),
            Self::Limited(which, _) => Self::Limited(*which, earlier.limits.get(*which)),
            Self::Hours(_) => Self::Hours(earlier.limits.hours.clone()),
            Self::Weekdays(_) => Self::Weekdays(earlier.limits.weekdays.clone()),
            Self::NotBefore(_) => Self::NotBefore(earlier.not_before),
            Self::Expires(_) => Self::Expires(earlier.expires),
        };
        back.permits_no_more(earlier, now)
    }

    /// What stood in the place of the change before.
    fn was(&self, earlier: &Terms) -> Option<String> {
        let none = |text: &str| Some(text.to_owned());
        match self {
            Self::MaskChanged(table, column, _) => {
                let table = earlier.tables.get(table)?;
                match table.masks.get(column) {
                    Some(mask) => Some(format!("masked by {mask:?}")),
                    None => none("not masked"),
                }
            }
            Self::ProtectionChanged(table, _) => {
                let table = earlier.tables.get(table)?;
                match &table.protection {
                    Some(protection) => Some(protection.to_string()),
                    None => none("row by row"),
                }
            }
            Self::Limited(which, _) => match earlier.limits.get(*which) {
                Some(number) => Some(format!("at most {number}")),
                None => none("no limit"),
            },
            Self::Hours(_) => match &earlier.limits.hours {
                Some(hours) => {
                    let hours: Vec<_> = hours.iter().map(|h| format!("{h:02}")).collect();
                    Some(format!("{} UTC", hours.join(", ")))
                }
                None => none("every hour"),
            },
            Self::Weekdays(_) => match &earlier.limits.weekdays {
                Some(days) => {
                    let days: Vec<_> = days.iter().map(ToString::to_string).collect();
                    Some(days.join(", "))
                }
                None => none("every day"),
            },
            Self::NotBefore(_) => Some(earlier.not_before.to_string()),
            Self::Expires(_) => Some(earlier.expires.to_string()),
            Self::TableRemoved(_)
            | Self::TableAdded(_)
            | Self::ColumnsRemoved(..)
            | Self::ColumnsAdded(..)
            | Self::FilterAdded(..)
            | Self::FilterRemoved(..)
            | Self::PurposesRemoved(_)
            | Self::PurposesAdded(_) => None,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.change)?;
        match &self.was {
            Some(was) => write!(f, " (was: {was})"),
            None => Ok(()),
        }
    }
}

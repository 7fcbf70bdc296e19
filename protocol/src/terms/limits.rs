//! How much may be read under one agreement, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::unique;

/// How much may be read under one agreement, by all nodes, members and grants
/// of the consumer together. Absent means no limit of that kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The most rows that one query may deliver.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_rows_per_query: Option<u64>,
    /// The most bytes of Arrow data that one query may deliver.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_bytes_per_query: Option<u64>,
    /// The most answers that may run at one time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_concurrent: Option<u64>,
    /// How much may be read within a window of time.
    #[serde(
        deserialize_with = "unique::map",
        skip_serializing_if = "BTreeMap::is_empty",
        default
    )]
    pub per: BTreeMap<Window, Quota>,
    /// The hours of the day, 0 to 23 in UTC, in which anything may be read.
    #[serde(
        deserialize_with = "unique::some_set",
        skip_serializing_if = "Option::is_none",
        default
    )]
    pub hours: Option<BTreeSet<u8>>,
    /// The days of the week, in UTC, on which anything may be read.
    #[serde(
        deserialize_with = "unique::some_set",
        skip_serializing_if = "Option::is_none",
        default
    )]
    pub weekdays: Option<BTreeSet<Weekday>>,
}

/// What may be read within one window. Absent means no limit of that kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// The most queries.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub queries: Option<u64>,
    /// The most rows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rows: Option<u64>,
    /// The most bytes of Arrow data.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bytes: Option<u64>,
}

/// A window of time. Windows are aligned: each begins at a whole multiple of its
/// length since the Unix epoch, so that both sides count alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Window {
    /// 60 seconds.
    Minute,
    /// 3,600 seconds.
    Hour,
    /// 86,400 seconds: a day in UTC.
    Day,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    /// That of the moment zero.
    #[default]
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// What a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// Queries begun.
    Queries,
    /// Rows delivered.
    Rows,
    /// Bytes of Arrow data delivered.
    Bytes,
}

/// One of the numbers in [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// See [`Limits::max_rows_per_query`].
    RowsPerQuery,
    /// See [`Limits::max_bytes_per_query`].
    BytesPerQuery,
    /// See [`Limits::max_concurrent`].
    Concurrent,
    /// See [`Limits::per`].
    Per(Window, Measure),
}

impl Window {
    /// Every window, shortest first.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// The length in seconds.
    pub fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        }
    }
}

impl Weekday {
    /// The weekday, in UTC, of a moment in seconds since the Unix epoch.
    pub fn of(seconds: u64) -> Self {
        // 1970-01-01 was a Thursday.
        match (seconds / Window::Day.seconds() + 3) % 7 {
            0 => Self::Monday,
            1 => Self::Tuesday,
            2 => Self::Wednesday,
            3 => Self::Thursday,
            4 => Self::Friday,
            5 => Self::Saturday,
            _ => Self::Sunday,
        }
    }

    /// As policies and terms write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Monday => "monday",
            Self::Tuesday => "tuesday",
            Self::Wednesday => "wednesday",
            Self::Thursday => "thursday",
            Self::Friday => "friday",
            Self::Saturday => "saturday",
            Self::Sunday => "sunday",
        }
    }
}

impl Quota {
    /// The limit of one measure.
    pub fn get(&self, measure: Measure) -> Option<u64> {
        match measure {
            Measure::Queries => self.queries,
            Measure::Rows => self.rows,
            Measure::Bytes => self.bytes,
        }
    }

    fn slot(&mut self, measure: Measure) -> &mut Option<u64> {
        match measure {
            Measure::Queries => &mut self.queries,
            Measure::Rows => &mut self.rows,
            Measure::Bytes => &mut self.bytes,
        }
    }
}

impl Measure {
    /// Every measure.
    pub const ALL: [Self; 3] = [Self::Queries, Self::Rows, Self::Bytes];
}

impl Limit {
    /// Every number that limits may have, in a fixed order.
    pub fn all() -> impl Iterator<Item = Self> {
        let windows = Window::ALL
            .into_iter()
            .flat_map(|window| Measure::ALL.map(|measure| Self::Per(window, measure)));
        [Self::RowsPerQuery, Self::BytesPerQuery, Self::Concurrent]
            .into_iter()
            .chain(windows)
    }
}

impl Limits {
    /// One of the numbers.
    pub fn get(&self, limit: Limit) -> Option<u64> {
        match limit {
            Limit::RowsPerQuery => self.max_rows_per_query,
            Limit::BytesPerQuery => self.max_bytes_per_query,
            Limit::Concurrent => self.max_concurrent,
            Limit::Per(window, measure) => self.per.get(&window)?.get(measure),
        }
    }

    /// Whether anything may be read at this moment, in seconds since the Unix epoch.
    pub fn open_at(&self, seconds: u64) -> bool {
        let hour = seconds % Window::Day.seconds() / Window::Hour.seconds();
        let in_hours = |hours: &BTreeSet<u8>| hours.iter().any(|h| u64::from(*h) == hour);
        self.hours.as_ref().is_none_or(in_hours)
            && self
                .weekdays
                .as_ref()
                .is_none_or(|days| days.contains(&Weekday::of(seconds)))
    }

    /// Whether these limits permit no more than `other` in number and time.
    pub(crate) fn narrows(&self, other: &Self) -> bool {
        Limit::all().all(|limit| self.keeps(limit, other))
            && within(self.hours.as_ref(), other.hours.as_ref())
            && within(self.weekdays.as_ref(), other.weekdays.as_ref())
    }

    /// Whether one number permits no more than that of `other`.
    pub(super) fn keeps(&self, limit: Limit, other: &Self) -> bool {
        match (self.get(limit), other.get(limit)) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(theirs)) => own <= theirs,
        }
    }

    /// What both permit; nothing when they share no hour or no day.
    pub(super) fn intersect(&self, other: &Self) -> Option<Self> {
        let mut both = Self::default();
        for limit in Limit::all() {
            let least = [self.get(limit), other.get(limit)];
            if let Some(least) = least.into_iter().flatten().min() {
                both.set(limit, least);
            }
        }
        both.hours = shared(self.hours.as_ref(), other.hours.as_ref());
        both.weekdays = shared(self.weekdays.as_ref(), other.weekdays.as_ref());
        let never = both.hours.as_ref().is_some_and(BTreeSet::is_empty)
            || both.weekdays.as_ref().is_some_and(BTreeSet::is_empty);
        (!never).then_some(both)
    }

    fn set(&mut self, limit: Limit, value: u64) {
        let slot = match limit {
            Limit::RowsPerQuery => &mut self.max_rows_per_query,
            Limit::BytesPerQuery => &mut self.max_bytes_per_query,
            Limit::Concurrent => &mut self.max_concurrent,
            Limit::Per(window, measure) => self.per.entry(window).or_default().slot(measure),
        };
        *slot = Some(value);
    }
}

/// A set narrows its absence, which is every element.
pub(super) fn within<T: Ord>(set: Option<&BTreeSet<T>>, other: Option<&BTreeSet<T>>) -> bool {
    match (set, other) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(own), Some(theirs)) => own.is_subset(theirs),
    }
}

fn shared<T: Ord + Clone>(a: Option<&BTreeSet<T>>, b: Option<&BTreeSet<T>>) -> Option<BTreeSet<T>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.intersection(b).cloned().collect()),
        (one, None) | (None, one) => one.cloned(),
    }
}

impl fmt::Display for Limit {
    /// As in "at most 10 rows per query".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RowsPerQuery => f.write_str("rows per query"),
            Self::BytesPerQuery => f.write_str("bytes per query"),
            Self::Concurrent => f.write_str("answers at one time"),
            Self::Per(window, measure) => {
                let measure = match measure {
                    Measure::Queries => "queries",
                    Measure::Rows => "rows",
                    Measure::Bytes => "bytes",
                };
                let window = match window {
                    Window::Minute => "a minute",
                    Window::Hour => "an hour",
                    Window::Day => "a day",
                };
                write!(f, "{measure} {window}")
            }
        }
    }
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

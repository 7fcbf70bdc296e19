//! Time as this protocol counts it: whole seconds.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment, in whole seconds since the Unix epoch (UTC).
///
/// Statements carry times as JSON integers (`spec/1-envelope.md#E-16`); a missing or textual time is an
/// error, never a default (A6). The type has no `now()`: the clock belongs to
/// the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

/// How far the clocks of two organizations may differ: 60 seconds (A29).
pub const LEEWAY: Duration = Duration::from_secs(60);

impl Timestamp {
    /// The moment `seconds` after the Unix epoch.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds since the Unix epoch.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// This moment plus `duration`, in whole seconds, stopping at the end of time.
    pub const fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// This moment minus `duration`, in whole seconds, stopping at the epoch.
    pub const fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC where the calendar can express it, otherwise the seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = i64::try_from(self.0)
            .ok()
            .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok());
        match date {
            Some(d) => write!(
                f,
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
                d.year(),
                u8::from(d.month()),
                d.day(),
                d.hour(),
                d.minute(),
                d.second()
            ),
            None => write!(f, "{}s", self.0),
        }
    }
}

/// A text that is not a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a moment in UTC: expected YYYY-MM-DD or YYYY-MM-DDThh:mm:ssZ")]
pub struct NotATime;

impl FromStr for Timestamp {
    type Err = NotATime;

    /// RFC 3339 in UTC with whole seconds, or a date, which is its first moment.
    fn from_str(text: &str) -> Result<Self, NotATime> {
        let (day, clock) = match text.split_once('T') {
            Some((day, clock)) => (day, clock.strip_suffix('Z').ok_or(NotATime)?),
            None => (text, "00:00:00"),
        };
        let [year, month, day] = numbers(day, '-', [4, 2, 2])?;
        let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
        let month = time::Month::try_from(low(month)?).map_err(|_| NotATime)?;
        let year = i32::try_from(year).map_err(|_| NotATime)?;
        let date = time::Date::from_calendar_date(year, month, low(day)?);
        let moment = date
            .map_err(|_| NotATime)?
            .with_hms(low(hour)?, low(minute)?, low(second)?);
        let seconds = moment.map_err(|_| NotATime)?.assume_utc().unix_timestamp();
        u64::try_from(seconds).map(Self).map_err(|_| NotATime)
    }
}

/// Three decimal numbers of these lengths.
fn numbers(text: &str, separator: char, lengths: [usize; 3]) -> Result<[u32; 3], NotATime> {
    let mut parts = text.split(separator);
    let mut next = |length: usize| {
        let part = parts.next().filter(|p| p.len() == length);
        let digits = part.filter(|p| p.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|p| p.parse().ok()).ok_or(NotATime)
    };
    let found = [next(lengths[0])?, next(lengths[1])?, next(lengths[2])?];
    match parts.next() {
        None => Ok(found),
        Some(_) => Err(NotATime),
    }
}

fn low(number: u32) -> Result<u8, NotATime> {
    u8::try_from(number).map_err(|_| NotATime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_or_a_moment_in_utc_is_read() {
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("2026-11-18T11:06:40Z", 1_795_000_000),
            ("2028-02-29", 1_835_395_200),
        ] {
            assert_eq!(text.parse(), Ok(Timestamp::from_secs(seconds)), "{text}");
        }
        for bad in [
            "",
            "2026",
            "2026-13-01",
            "2027-02-29",
            "2026-1-1",
            "2026-11-18T25:00:00Z",
            "2026-11-18T11:06:40",
            "2026-11-18T11:06:40+01:00",
            "1969-12-31",
            "2026-11-18-",
            "+026-11-18",
        ] {
            assert_eq!(bad.parse::<Timestamp>(), Err(NotATime), "{bad}");
        }
    }

    #[test]
    fn prints_as_rfc_3339() {
        assert_eq!(Timestamp::from_secs(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(
            Timestamp::from_secs(1_795_000_000).to_string(),
            "2026-11-18T11:06:40Z"
        );
        assert_eq!(
            Timestamp::from_secs(u64::MAX).to_string(),
            format!("{}s", u64::MAX)
        );
    }

    #[test]
    fn textual_and_negative_times_are_refused() {
        assert!(serde_json::from_str::<Timestamp>("\"12\"").is_err());
        assert!(serde_json::from_str::<Timestamp>("-1").is_err());
        assert!(serde_json::from_str::<Timestamp>("1.5").is_err());
    }
}

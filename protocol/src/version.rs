//! A product's version, and how it must rise (`spec/3-catalog.md#C-70`).

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most digits of each of a version's numbers: they fit 32 bits everywhere.
pub const MAX_VERSION_DIGITS: usize = 9;

/// `MAJOR.MINOR.PATCH` of Semantic Versioning 2.0, without pre-release and
/// build: what is announced is released, and two versions must never tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Rises when something breaks. A part of the product's address.
    pub major: u32,
    /// Rises when something is added.
    pub minor: u32,
    /// Rises when only words change.
    pub patch: u32,
}

/// A text that is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version: expected MAJOR.MINOR.PATCH, each at most 9 digits without a leading zero")]
pub struct NotAVersion;

/// How much a version must rise for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bump {
    /// Only words changed.
    Patch,
    /// Something was added; whatever worked still works.
    Minor,
    /// A query, an obligation or a meaning may break.
    Major,
}

impl Version {
    /// The lowest version that is this one raised by `bump`.
    ///
    /// 0.x is no exception: partners hold agreements under it all the same.
    #[must_use]
    pub fn raised(self, bump: Bump) -> Self {
        let Self {
            major,
            minor,
            patch,
        } = self;
        match bump {
            Bump::Major => Self {
                major: major.saturating_add(1),
                minor: 0,
                patch: 0,
            },
            Bump::Minor => Self {
                major,
                minor: minor.saturating_add(1),
                patch: 0,
            },
            Bump::Patch => Self {
                major,
                minor,
                patch: patch.saturating_add(1),
            },
        }
    }
}

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let mut numbers = text.split('.').map(number);
        let mut next = || numbers.next().flatten().ok_or(NotAVersion);
        let version = Self {
            major: next()?,
            minor: next()?,
            patch: next()?,
        };
        match numbers.next() {
            None => Ok(version),
            Some(_) => Err(NotAVersion),
        }
    }
}

/// One number: decimal digits without a leading zero.
pub(crate) fn number(text: &str) -> Option<u32> {
    let plain = (1..=MAX_VERSION_DIGITS).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl fmt::Display for Bump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Major => "major",
        })
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_three_plain_numbers() {
        let widest = "999999999.0.10";
        for good in ["0.0.0", "1.4.0", widest] {
            assert_eq!(good.parse::<Version>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "1",
            "1.0",
            "1.0.0.0",
            "01.0.0",
            "1.0.x",
            "1..0",
            "v1.0.0",
            "1.0.0-rc1",
            "1.0.0+b",
            "+1.0.0",
            "1.0.0 ",
            "1.0.-0",
            "1000000000.0.0",
            "१.0.0",
        ] {
            assert_eq!(bad.parse::<Version>(), Err(NotAVersion), "{bad}");
        }
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let parse = |t: &str| t.parse::<Version>().unwrap();
        assert!(parse("1.10.0") > parse("1.9.9"));
        assert_eq!(parse("1.4.2").raised(Bump::Major), parse("2.0.0"));
        assert_eq!(parse("1.4.2").raised(Bump::Minor), parse("1.5.0"));
        assert_eq!(parse("1.4.2").raised(Bump::Patch), parse("1.4.3"));
        assert_eq!(parse("0.4.2").raised(Bump::Major), parse("1.0.0"));
    }
}

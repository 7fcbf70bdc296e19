//! How a major version of a product is addressed, and which versions an
//! agreement covers (`spec/3-catalog.md#C-74`, `spec/4-negotiation.md#N-60`).

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::Name;
use crate::version::{Version, number};

/// One major version of a product: `orders` is major 1 and nothing else,
/// `orders@2` is major 2.
///
/// The text never depends on which majors exist, so that no statement of an
/// analyst and no rule of an operator changes its meaning when another is
/// announced. That is why the bare name is not "the newest".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The product's name.
    pub product: Name,
    /// The major version.
    pub major: u32,
}

/// A text that is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a product's address: expected NAME, which is NAME@1, or NAME@MAJOR")]
pub struct NotAnAddress;

/// The major whose address is the bare name.
const BARE: u32 = 1;

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let (product, major) = match text.split_once('@') {
            None => (text, Some(BARE)),
            Some((product, major)) => (product, number(major)),
        };
        Ok(Self {
            product: product.parse().map_err(|_| NotAnAddress)?,
            major: major.ok_or(NotAnAddress)?,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.major {
            BARE => write!(f, "{}", self.product),
            major => write!(f, "{}@{major}", self.product),
        }
    }
}

/// The versions that an agreement covers: one major, from a minor on. Written `^1.4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// The major version.
    pub major: u32,
    /// The lowest minor of it.
    pub minor: u32,
}

/// A text that is not a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a range of versions: expected ^MAJOR.MINOR")]
pub struct NotARange;

impl Range {
    /// The versions that keep what `version` promises.
    pub const fn from(version: Version) -> Self {
        Self {
            major: version.major,
            minor: version.minor,
        }
    }

    /// Whether `version` is in the range.
    pub const fn covers(&self, version: Version) -> bool {
        version.major == self.major && version.minor >= self.minor
    }
}

impl FromStr for Range {
    type Err = NotARange;

    fn from_str(text: &str) -> Result<Self, NotARange> {
        let (major, minor) = text
            .strip_prefix('^')
            .and_then(|t| t.split_once('.'))
            .ok_or(NotARange)?;
        Ok(Self {
            major: number(major).ok_or(NotARange)?,
            minor: number(minor).ok_or(NotARange)?,
        })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "^{}.{}", self.major, self.minor)
    }
}

/// Text in JSON. One value has one text: a digest over it must not depend on the writer.
macro_rules! text {
    ($($kind:ty),*) => {$(
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let read: Self = text.parse().map_err(serde::de::Error::custom)?;
                if read.to_string() != text {
                    return Err(serde::de::Error::custom("written another way"));
                }
                Ok(read)
            }
        }
    )*};
}

text!(Address, Range);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bare_name_is_major_1_whatever_else_there_is() {
        for (text, major, shown) in [
            ("orders", 1, "orders"),
            ("orders@1", 1, "orders"),
            ("orders@0", 0, "orders@0"),
            ("orders@2", 2, "orders@2"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(
                (address.major, address.to_string().as_str()),
                (major, shown)
            );
        }
        for bad in [
            "",
            "@2",
            "orders@",
            "orders@02",
            "orders@2.0",
            "orders@x",
            "Orders",
            "a@1@2",
        ] {
            assert_eq!(bad.parse::<Address>(), Err(NotAnAddress), "{bad}");
        }
        // On the wire it has one text.
        assert!(serde_json::from_str::<Address>("\"orders@2\"").is_ok());
        assert!(serde_json::from_str::<Address>("\"orders@1\"").is_err());
    }

    #[test]
    fn a_range_covers_its_major_from_its_minor_on() {
        let range: Range = "^1.4".parse().unwrap();
        assert_eq!(range.to_string(), "^1.4");
        let covers = |v: &str| range.covers(v.parse().unwrap());
        assert!(covers("1.4.0") && covers("1.4.9") && covers("1.10.0"));
        assert!(!covers("1.3.9") && !covers("2.4.0") && !covers("0.9.0"));
        for bad in ["1.4", "^1", "^1.4.0", "^01.4", "^1.x", "~1.4", "^"] {
            assert_eq!(bad.parse::<Range>(), Err(NotARange), "{bad}");
        }
    }
}

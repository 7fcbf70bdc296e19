//! Names that stand in SQL, in paths and on screens: ASCII only (A27, `spec/3-catalog.md#C-8`).

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most characters of a product's or a table's name.
pub const MAX_NAME_CHARS: usize = 63;

/// The most characters of a column's name. Columns come from warehouses, which
/// have longer names and capitals.
pub const MAX_COLUMN_CHARS: usize = 128;

/// The name of a product or a table: `[a-z][a-z0-9_-]*`, at most 63 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// A text that is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a name: expected 1 to 63 of a-z 0-9 _ -, beginning with a letter")]
pub struct NotAName;

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if begins && text.len() <= MAX_NAME_CHARS && text.bytes().all(legal) {
            return Ok(Self(text.to_owned()));
        }
        Err(NotAName)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Whether `text` may be a column's name: 1 to 128 of `A-Z a-z 0-9 _ -`.
pub fn is_column(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (1..=MAX_COLUMN_CHARS).contains(&text.len()) && text.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a27_names_are_plain_ascii_and_bounded() {
        for good in ["weather", "a", "a-b_c9", &"x".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "Weather",
            "9a",
            "-a",
            "a.b",
            "a b",
            "wеather",
            "a/..",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        assert!(is_column("dep_Time") && !is_column("dep time") && !is_column("\"x"));
    }
}

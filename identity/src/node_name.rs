//! The name of a node within its organization.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most characters of a node name; it then fits a DNS label and a URI path segment.
pub const MAX_NODE_NAME_CHARS: usize = 63;

/// A node's name: `[a-z0-9][a-z0-9-]{0,62}` (`spec/2-identity.md#I-29`).
///
/// ASCII only, because the name is compared byte for byte in certificates and
/// must not have look-alikes (A27).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

impl NodeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is not a node name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a node name: expected 1 to 63 of a-z, 0-9 and -, not starting with -")]
pub struct NotANodeName;

impl FromStr for NodeName {
    type Err = NotANodeName;

    fn from_str(text: &str) -> Result<Self, NotANodeName> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty()
            || text.len() > MAX_NODE_NAME_CHARS
            || text.starts_with('-')
            || !text.bytes().all(legal)
        {
            return Err(NotANodeName);
        }
        Ok(Self(text.to_owned()))
    }
}

impl AsRef<str> for NodeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeName({})", self.0)
    }
}

impl Serialize for NodeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NodeName {
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
    fn grammar_is_two_sided() {
        for good in ["a", "0", "node-1", "a-", &"n".repeat(MAX_NODE_NAME_CHARS)] {
            assert!(good.parse::<NodeName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "A",
            "a_b",
            "a/b",
            "a.b",
            "ä",
            "а", // Cyrillic (A27)
            &"n".repeat(MAX_NODE_NAME_CHARS + 1),
        ] {
            assert_eq!(bad.parse::<NodeName>(), Err(NotANodeName), "{bad}");
        }
    }
}

//! The name of an organization.

use core::fmt;
use core::str::FromStr;

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::LazyLock;

use crate::Digest;

/// An organization's id: the SHA-256 of its inception event's payload bytes, as
/// 52 lower-case base32 characters (RFC 4648, no padding).
///
/// It is never a public key, or rotating that key would lose the identity
/// (`spec/2-identity.md#I-1`). The text form is a valid SPIFFE trust domain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrgId([u8; 32]);

/// Characters in the text form: 256 bits at 5 bits a character.
pub const ORG_ID_CHARS: usize = 52;

impl OrgId {
    /// The id that the digest of an inception event's payload gives.
    pub const fn from_inception(digest: Digest) -> Self {
        Self(*digest.as_bytes())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight characters, for logs and tables. Never compare these.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(8);
        text
    }
}

/// A text that is not an organization id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an organization id: expected 52 lower-case base32 characters")]
pub struct NotAnOrgId;

static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    spec.encoding()
        .expect("the RFC 4648 alphabet is a valid base32 specification")
});

impl FromStr for OrgId {
    type Err = NotAnOrgId;

    fn from_str(text: &str) -> Result<Self, NotAnOrgId> {
        // spec/2-identity.md#I-2: the decoder refuses upper case, padding and unused bits.
        let bytes = BASE32.decode(text.as_bytes()).map_err(|_| NotAnOrgId)?;
        Ok(Self(bytes.try_into().map_err(|_| NotAnOrgId)?))
    }
}

impl fmt::Display for OrgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32.encode(&self.0))
    }
}

impl fmt::Debug for OrgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "org:{}…", self.short())
    }
}

impl Serialize for OrgId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OrgId {
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
    fn text_form_round_trips_and_is_strict() {
        let id = OrgId::from_inception(Digest::of(b"inception"));
        let text = id.to_string();
        assert_eq!(text.len(), ORG_ID_CHARS);
        assert_eq!(text.parse(), Ok(id));
        assert!(text.to_uppercase().parse::<OrgId>().is_err());
        assert!(text[1..].parse::<OrgId>().is_err());
        // The last character carries one spare bit-pair that must be zero, or one id had two texts.
        let mut twin = text;
        let last = twin.pop().expect("not empty");
        twin.push(if last == 'b' { 'c' } else { 'b' });
        assert_ne!(twin.parse(), Ok(id));
    }
}

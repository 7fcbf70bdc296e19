//! A member who proved to be one.

use std::collections::BTreeSet;

use comity_identity::{Digest, Timestamp};

/// How the holder of a local token logged in, as grants state it.
const LOCAL_TOKEN: &str = "local-token";

/// A member of this organization whose token was verified. Only
/// [`Members`](super::Members) makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedMember {
    name: String,
    roles: BTreeSet<String>,
    authentication: BTreeSet<String>,
    until: Option<Timestamp>,
    proof: Proof,
}

/// What the member's identity rests on: looked at again while answers stream.
/// The token itself is in none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// A local token, by its hash.
    Local {
        /// The SHA-256 of the token.
        hash: Digest,
        /// The token's id.
        id: String,
    },
    /// A token of the identity provider.
    Issued {
        /// The digest of the key that signed it.
        key: Digest,
        /// When it was issued.
        issued: Timestamp,
    },
}

impl VerifiedMember {
    /// A member with a local token.
    pub(super) fn local(
        name: String,
        roles: BTreeSet<String>,
        until: Option<Timestamp>,
        (hash, id): (Digest, String),
    ) -> Self {
        Self {
            name,
            roles,
            authentication: BTreeSet::from([LOCAL_TOKEN.to_owned()]),
            until,
            proof: Proof::Local { hash, id },
        }
    }

    /// A member for whom the identity provider vouches until `until`.
    pub(super) fn issued(
        name: String,
        (roles, authentication): (BTreeSet<String>, BTreeSet<String>),
        until: Timestamp,
        (key, issued): (Digest, Timestamp),
    ) -> Self {
        Self {
            name,
            roles,
            authentication,
            until: Some(until),
            proof: Proof::Issued { key, issued },
        }
    }

    /// The member's name: a local one, or `oidc:` and the provider's word for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The roles that the member has here.
    pub fn roles(&self) -> &BTreeSet<String> {
        &self.roles
    }

    /// How the member logged in, in the words of RFC 8176 where the provider uses them.
    pub fn authentication(&self) -> &BTreeSet<String> {
        &self.authentication
    }

    /// From when on the token counts no more.
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// The id of the local token.
    pub fn token_id(&self) -> Option<&str> {
        match &self.proof {
            Proof::Local { id, .. } => Some(id),
            Proof::Issued { .. } => None,
        }
    }

    /// Whose tickets it may use (A16): those of the same member with the same
    /// roles. A person's next token, issued a minute later, is as good.
    pub(in crate::access) fn key(&self) -> String {
        let roles: Vec<_> = self.roles.iter().map(String::as_str).collect();
        // No name and no role has a space.
        format!("member {} as {}", self.name, roles.join(","))
    }

    pub(super) fn proof(&self) -> &Proof {
        &self.proof
    }
}

//! Grant chains: "this person or job of ours acts under that agreement"
//! (`spec/2-identity.md`, section 5).
//!
//! Link 0 is signed by an issuer key of the consumer's organization and names
//! the key of its holder. A holder may pass on less than it has by signing
//! another link for another holder; every link narrows the one before it (A4).
//! No bearer secret exists: a chain counts only together with a proof of
//! possession of the last holder's key ([`crate::binding`], A2).
//!
//! This crate knows who may speak and that nothing widens. What the names of
//! tables, columns and the filter expressions *mean* is for the terms of the
//! agreement; here they are opaque.

mod chain;
mod narrow;

#[cfg(test)]
mod tests;

pub use chain::{Budget, Chain, VerifiedGrant};
pub use narrow::Widened;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::envelope::{EnvelopeError, Typ};
use crate::{Digest, OrgId, PublicKey, Timestamp};

/// The kind of a grant; at most 8 KiB for each link.
pub const GRANT: Typ = Typ::new("comity-grant+jwt", 8 * 1024);

/// The most links of a chain.
pub const MAX_LINKS: usize = 4;

/// The longest life of a grant: 15 minutes. It bounds what a lost revocation costs.
pub const MAX_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The payload of one link (`spec/schemas/grant.json`).
///
/// A new field must state how it narrows in `narrow.rs`, or it does not compile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The payload's version: 1.
    pub v: u64,
    /// The organization whose member or job acts: the consumer.
    pub iss: OrgId,
    /// The organization that is asked: the provider. A grant for one provider
    /// is worthless at another (A3).
    pub aud: OrgId,
    /// The agreement, by digest.
    pub agr: Digest,
    /// Who acts, under a pseudonym that differs for each provider.
    pub sub: String,
    /// Through whom: jobs or services, outermost last. A link may append.
    pub act: Vec<String>,
    /// Roles of the subject in its own organization.
    pub roles: BTreeSet<String>,
    /// How the subject was authenticated, such as `mfa`.
    pub amr: BTreeSet<String>,
    /// The holder's key: who may use this link, or sign the next.
    pub cnf: PublicKey,
    /// The SHA-256 of the DER certificate with which the holder may come to the
    /// provider by itself ([`crate::tls::HolderCertificate`]), as `x5t#S256` of
    /// RFC 8705 (`spec/2-identity.md#I-59`). Absent: it comes through its
    /// organization's node only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<Digest>,
    /// The only tables that may be read. Absent: all tables of the agreement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<BTreeSet<String>>,
    /// For a table that is named here, the only columns that may be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cols: Option<BTreeMap<String, BTreeSet<String>>>,
    /// Row filters that this link adds; all filters of a chain hold together (AND).
    pub filter: Vec<Value>,
    /// The only purposes that may be claimed.
    pub purpose: BTreeSet<String>,
    /// How many rows may be delivered under this link, and whatever is narrowed
    /// from it, in its whole life. Absent: as the agreement says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u64>,
    /// From when the link counts.
    pub nbf: Timestamp,
    /// Until when; at most [`MAX_LIFETIME`] after `nbf`.
    pub exp: Timestamp,
    /// The link's own id, unique for its issuer: what is revoked and replay-checked.
    pub jti: String,
    /// The digest of the previous link's exact text; absent in link 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prt: Option<Digest>,
}

/// Why a grant chain is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// No link, or more than [`MAX_LINKS`].
    #[error("a grant chain has 1 to {MAX_LINKS} links, this one has {0}")]
    Length(usize),
    /// A link's envelope is refused.
    #[error("grant link {link}: {source}")]
    Envelope {
        /// The position in the chain.
        link: usize,
        /// What is wrong with the envelope.
        source: EnvelopeError,
    },
    /// A link breaks a rule of its content.
    #[error("grant link {link}: {rule}")]
    Rule {
        /// The position in the chain.
        link: usize,
        /// The rule that is broken.
        rule: &'static str,
    },
    /// Link 0 is not signed by a key that may issue grants now.
    #[error("the grant is not signed by a key that its organization lets issue grants")]
    NotAnIssuer,
    /// The grant speaks for another organization than the issuer document's.
    #[error("the grant speaks for another organization")]
    OtherOrganization,
    /// The grant is meant for another provider (A3).
    #[error("the grant is meant for another organization")]
    OtherAudience,
    /// A link does not name the link before it.
    #[error("grant link {link} does not follow the link before it")]
    Broken {
        /// The position in the chain.
        link: usize,
    },
    /// A link permits more than the link before it (A4).
    #[error("grant link {link} permits more than the link before it: {source}")]
    Widened {
        /// The position in the chain.
        link: usize,
        /// In what it is wider.
        source: Widened,
    },
    /// The time is not between `nbf` and `exp`.
    #[error("the grant is not valid at this time; ask for a new one, or compare the clocks")]
    Time,
    /// The issuer's organization document is past its expiry (A11).
    #[error("the issuer's organization document is stale; ask its organization for a new one")]
    StaleDocument,
    /// The issuer's organization forked its key history (A12).
    #[error("the issuer's organization is frozen")]
    Frozen,
    /// The issuer revoked the grant, the agreement or one of the keys.
    #[error("the grant was revoked by its organization")]
    Revoked,
}

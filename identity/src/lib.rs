//! Who an organization is, and how it is proven.
//!
//! Everything an organization says is a signed statement in one envelope
//! ([`envelope`], `spec/1-envelope.md`). Whose signature counts is answered by
//! the organization's [`history`]: a hash-chained log of key events whose first
//! event gives the organization its name. The root keys of that log vouch for a
//! short-lived [`organization`] document, and that document lists what works
//! day by day: nodes, issuer keys, the TLS certificate authority, revocations.
//!
//! ```text
//! key history (root keys, rare, offline)
//!    └─ organization document (doc key, <= 7 days)
//!         ├─ issuer keys ── grants, agreements, heads, descriptors
//!         ├─ nodes ──────── libp2p peer ids, TLS public key hashes
//!         └─ TLS CA ─────── <= 7-day leaves, one `spiffe://ORG/node/NODE` name
//! ```
//!
//! [`keyring`] keeps what we know of every organization, [`grant`] lets members
//! and jobs act under an agreement, [`binding`] ties a grant to its holder's
//! connection, and [`tls`] proves which node is at the other end.
//!
//! An organization begins with three keys and one event:
//!
//! ```
//! use comity_identity::history::{History, KeyEvent, KeySet};
//! use comity_identity::{SecretKey, Signer, Timestamp};
//!
//! let [root, next, doc] = [[1; 32], [2; 32], [3; 32]].map(|seed| SecretKey::from_seed(&seed));
//! let keys = KeySet::single(root.public(), &next.public(), doc.public());
//! let inception = KeyEvent::inception(keys, Timestamp::from_secs(1_795_000_000), "founded");
//! let history = History::verify(&[inception.sign(&[&root])?])?;
//! assert_eq!(history.org().to_string().len(), 52);
//! assert_eq!(history.doc_keys(), [doc.public()]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This crate does no I/O, reads no clock and draws no randomness: time and
//! random bytes are arguments. That keeps every rule testable in microseconds
//! and lets a simulator own the clock. The one exception is P-256 in
//! [`tls::TlsKey`], whose crypto provider has a generator of its own.

#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod binding;
pub mod der;
pub mod digest;
pub mod envelope;
pub mod grant;
pub mod history;
pub mod key;
pub mod keyring;
pub mod node_name;
pub mod org;
pub mod organization;
pub mod time;
pub mod tls;

#[cfg(test)]
mod fixture;

pub use der::Der;
pub use digest::Digest;
pub use key::{KeyId, PublicKey, SecretKey, Signer};
pub use node_name::NodeName;
pub use org::OrgId;
pub use time::{LEEWAY, Timestamp};

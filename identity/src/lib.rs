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
//! This crate does no I/O, reads no clock and draws no randomness: time and
//! random bytes are arguments. That keeps every rule testable in microseconds
//! and lets a simulator own the clock.

#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod digest;
pub mod envelope;
pub mod key;
pub mod org;
pub mod time;

pub use digest::Digest;
pub use key::{KeyId, PublicKey, SecretKey, Signer};
pub use org::OrgId;
pub use time::Timestamp;

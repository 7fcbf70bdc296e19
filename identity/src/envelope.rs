//! The one signed envelope (`spec/1-envelope.md#E-1`).
//!
//! A JSON Web Signature (RFC 7515) with a fixed profile: `alg` is always
//! `Ed25519` (RFC 9864), `typ` separates the kinds of statement, `kid` hints at
//! the key, and nothing in a token says how to verify it (A5). Two forms exist:
//!
//! * [`Compact`]: one signature, three base64url parts joined by dots.
//! * [`General`]: several signatures over the same payload bytes, for what two
//!   organizations sign together.
//!
//! Verification always runs in the same order (`spec/1-envelope.md#E-10`):
//! size, shape, header, signature over the exact received bytes, and only then
//! the payload's JSON. The exact bytes are kept; every id is a digest of them.

mod compact;
mod general;
mod header;

#[cfg(test)]
mod tests;

pub use compact::{Compact, Verified};
pub use general::{General, Signatory};
pub use header::Typ;

use crate::key::BadSignature;

/// Why an envelope is refused. Every case is the sender's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// More bytes than the statement's kind allows.
    #[error("{typ} has {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The kind that was expected.
        typ: &'static str,
        /// Bytes received.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not three parts of strict base64url, or not the allowed JSON members.
    #[error("the envelope is malformed: {0}")]
    Malformed(&'static str),
    /// The protected header is not exactly the profile's three members.
    #[error("the protected header is not allowed: {0}")]
    Header(&'static str),
    /// The statement is of another kind (A6).
    #[error("expected {expected}, found another kind of statement")]
    WrongTyp {
        /// The kind that was expected.
        expected: &'static str,
    },
    /// The key id in the verified header is not the verifying key's.
    #[error("the statement names another key than the one that verifies it")]
    WrongKey,
    /// The signature does not verify.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// The signatures are not exactly those of the expected keys.
    #[error("the signatures are not exactly those of the expected keys")]
    Signatories,
    /// The payload is not the JSON that this kind demands.
    #[error("the payload is not a valid {typ}: {reason}")]
    Payload {
        /// The kind that was expected.
        typ: &'static str,
        /// What the JSON reader says.
        reason: String,
    },
}

//! The protected header: three members, no more, no less.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::EnvelopeError;
use crate::KeyId;

/// A kind of statement: its `typ` and the most bytes one may have.
///
/// `typ` is the domain separation of the protocol: a signature under one kind
/// never counts for another (A6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Typ {
    name: &'static str,
    limit: usize,
}

impl Typ {
    /// A kind called `name` of at most `limit` bytes in its serialised form.
    pub const fn new(name: &'static str, limit: usize) -> Self {
        Self { name, limit }
    }

    /// The header's `typ` value.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The most bytes that a statement of this kind may have, in envelope form.
    pub const fn limit(self) -> usize {
        self.limit
    }

    /// spec/1-envelope.md#E-2
    pub(super) fn check_size(self, size: usize) -> Result<(), EnvelopeError> {
        if size > self.limit {
            return Err(EnvelopeError::TooLarge {
                typ: self.name,
                size,
                limit: self.limit,
            });
        }
        Ok(())
    }
}

/// The only algorithm (RFC 9864, fully specified).
const ALG: &str = "Ed25519";

/// No header of the profile is longer, encoded: `typ` is at most 40 characters.
const MAX_HEADER_CHARS: usize = 256;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'a> {
    alg: &'a str,
    kid: KeyId,
    typ: &'a str,
}

/// Encodes the header; members are in canonical (JCS) order.
pub(super) fn encode(typ: Typ, kid: KeyId) -> String {
    let members = Members {
        alg: ALG,
        kid,
        typ: typ.name,
    };
    let json = serde_json::to_vec(&members).expect("three strings always serialise");
    URL_SAFE_NO_PAD.encode(json)
}

/// Reads a header and checks it whole. Until the signature over it has been
/// verified, the returned key id is only a hint for finding the key.
pub(super) fn decode(encoded: &str, typ: Typ) -> Result<KeyId, EnvelopeError> {
    // spec/1-envelope.md#E-6
    if encoded.len() > MAX_HEADER_CHARS {
        return Err(EnvelopeError::Header("it is too long"));
    }
    let json = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| EnvelopeError::Malformed("the header is not unpadded base64url"))?;
    // A borrowed `&str` also refuses escape sequences: one header has one spelling of its values.
    let members: Members<'_> = serde_json::from_slice(&json)
        .map_err(|_| EnvelopeError::Header("expected exactly alg, kid and typ"))?;
    // spec/1-envelope.md#E-7
    if members.alg != ALG {
        return Err(EnvelopeError::Header("alg is not Ed25519"));
    }
    // spec/1-envelope.md#E-8
    if members.typ != typ.name {
        return Err(EnvelopeError::WrongTyp { expected: typ.name });
    }
    Ok(members.kid)
}

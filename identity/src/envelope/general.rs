//! The general JSON form: several signatures over one payload.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::compact::{canonical, decode_signature, read_payload};
use super::{EnvelopeError, Typ, header};
use crate::{Digest, KeyId, PublicKey, Signer};

/// The most signatures on one statement: current and next root keys of a small board.
const MAX_SIGNATURES: usize = 16;

/// A statement that several keys sign: key events, federations, agreements, receipts.
///
/// Every signature covers its own protected header and the same payload bytes.
/// The statement's id is the digest of the *payload*, not of the signature
/// list, so that adding the second signature does not change what was agreed.
#[derive(Clone, Debug)]
pub struct General {
    typ: Typ,
    /// base64url text of the payload, exactly as received.
    payload: String,
    bytes: Vec<u8>,
    signatures: Vec<Signatory>,
}

/// One signature of a [`General`] envelope, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signatory {
    kid: KeyId,
    protected: String,
    signature: [u8; 64],
}

impl Signatory {
    /// The key that the signature claims.
    pub fn claimed_kid(&self) -> KeyId {
        self.kid
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outer {
    payload: String,
    signatures: Vec<OuterSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OuterSignature {
    protected: String,
    signature: String,
}

impl General {
    /// An envelope around `payload` (as canonical JSON) without signatures yet.
    pub fn new<T: Serialize>(typ: Typ, payload: &T) -> Result<Self, EnvelopeError> {
        let bytes = canonical(typ, payload)?;
        let payload = URL_SAFE_NO_PAD.encode(&bytes);
        typ.check_size(payload.len())?;
        Ok(Self {
            typ,
            payload,
            bytes,
            signatures: Vec::new(),
        })
    }

    /// Adds `signer`'s signature. Signing twice with one key keeps one signature.
    pub fn sign(mut self, signer: &dyn Signer) -> Self {
        let kid = signer.public().id();
        if self.signatures.iter().any(|s| s.kid == kid) {
            return self;
        }
        let protected = header::encode(self.typ, kid);
        let signature = signer.sign(signing_input(&protected, &self.payload).as_bytes());
        self.signatures.push(Signatory {
            kid,
            protected,
            signature,
        });
        self
    }

    /// Checks size and shape of an envelope received as JSON `text`.
    pub fn parse(typ: Typ, text: &str) -> Result<Self, EnvelopeError> {
        typ.check_size(text.len())?;
        // spec/1-envelope.md#E-5
        let outer: Outer = serde_json::from_str(text).map_err(|_| {
            EnvelopeError::Malformed("expected exactly payload and signatures, each signature exactly protected and signature")
        })?;
        if outer.signatures.len() > MAX_SIGNATURES {
            return Err(EnvelopeError::Malformed("too many signatures"));
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(&outer.payload)
            .map_err(|_| EnvelopeError::Malformed("the payload is not unpadded base64url"))?;
        let mut signatures: Vec<Signatory> = Vec::with_capacity(outer.signatures.len());
        for OuterSignature {
            protected,
            signature,
        } in outer.signatures
        {
            let kid = header::decode(&protected, typ)?;
            if signatures.iter().any(|s| s.kid == kid) {
                return Err(EnvelopeError::Malformed("one key signed twice"));
            }
            signatures.push(Signatory {
                kid,
                protected,
                signature: decode_signature(&signature)?,
            });
        }
        Ok(Self {
            typ,
            payload: outer.payload,
            bytes,
            signatures,
        })
    }

    /// The JSON text to store and send.
    pub fn to_text(&self) -> String {
        let outer = Outer {
            payload: self.payload.clone(),
            signatures: self
                .signatures
                .iter()
                .map(|s| OuterSignature {
                    protected: s.protected.clone(),
                    signature: URL_SAFE_NO_PAD.encode(s.signature),
                })
                .collect(),
        };
        serde_json::to_string(&outer).expect("strings always serialise")
    }

    /// The signatures, unverified.
    pub fn signatories(&self) -> &[Signatory] {
        &self.signatures
    }

    /// The digest of the payload bytes: the statement's id.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// The exact payload bytes. True only for a verified envelope.
    pub fn payload_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether `key` signed this payload, by strict verification.
    pub fn is_signed_by(&self, key: &PublicKey) -> Result<(), EnvelopeError> {
        let kid = key.id();
        let signatory = self
            .signatures
            .iter()
            .find(|s| s.kid == kid)
            .ok_or(EnvelopeError::Signatories)?;
        let input = signing_input(&signatory.protected, &self.payload);
        key.verify(input.as_bytes(), &signatory.signature)?;
        Ok(())
    }

    /// Requires exactly one valid signature of each of `keys` and no other, and
    /// returns the payload (`spec/1-envelope.md#E-13`).
    pub fn verify_exactly<T: DeserializeOwned>(
        &self,
        keys: &[PublicKey],
    ) -> Result<T, EnvelopeError> {
        if self.signatures.len() != keys.len() {
            return Err(EnvelopeError::Signatories);
        }
        for (i, key) in keys.iter().enumerate() {
            if keys[..i].contains(key) {
                return Err(EnvelopeError::Signatories);
            }
            self.is_signed_by(key)?;
        }
        read_payload(self.typ, &self.bytes)
    }

    /// The payload before any signature was verified.
    ///
    /// `danger` because nothing in it is true yet: use it only to choose whose
    /// keys to verify with.
    pub fn danger_unverified_payload<T: DeserializeOwned>(&self) -> Result<T, EnvelopeError> {
        read_payload(self.typ, &self.bytes)
    }
}

fn signing_input(protected: &str, payload: &str) -> String {
    format!("{protected}.{payload}")
}

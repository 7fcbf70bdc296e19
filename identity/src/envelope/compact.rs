//! The compact form: one signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{EnvelopeError, Typ, header};
use crate::key::SIGNATURE_BYTES;
use crate::{Digest, KeyId, PublicKey, Signer};

/// A compact envelope whose shape was checked and whose signature was not.
#[derive(Clone, Debug)]
pub struct Compact {
    typ: Typ,
    text: String,
    /// Bytes of `text` before the second dot: what is signed.
    signed: usize,
    kid: KeyId,
    signature: [u8; SIGNATURE_BYTES],
}

impl Compact {
    /// Signs `payload` as a statement of kind `typ` and returns the envelope's text.
    ///
    /// The payload is written as canonical JSON (RFC 8785), so that anyone who
    /// holds the parsed document can recompute its digest in any language
    /// (`spec/1-envelope.md#E-14`).
    pub fn sign<T: Serialize>(
        typ: Typ,
        payload: &T,
        signer: &dyn Signer,
    ) -> Result<String, EnvelopeError> {
        let json = canonical(typ, payload)?;
        let mut text = header::encode(typ, signer.public().id());
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(&json, &mut text);
        let signature = signer.sign(text.as_bytes());
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut text);
        typ.check_size(text.len())?;
        Ok(text)
    }

    /// Checks size, shape and header of an envelope received as `text`.
    pub fn parse(typ: Typ, text: &str) -> Result<Self, EnvelopeError> {
        typ.check_size(text.len())?;
        // spec/1-envelope.md#E-3
        let (signed, signature) = text
            .rsplit_once('.')
            .ok_or(EnvelopeError::Malformed("expected three parts"))?;
        let (header, payload) = signed
            .split_once('.')
            .ok_or(EnvelopeError::Malformed("expected three parts"))?;
        if payload.contains('.') {
            return Err(EnvelopeError::Malformed("expected three parts"));
        }
        let kid = header::decode(header, typ)?;
        let signature = decode_signature(signature)?;
        Ok(Self {
            typ,
            signed: signed.len(),
            text: text.to_owned(),
            kid,
            signature,
        })
    }

    /// The key that the sender claims to have signed with: a hint for finding
    /// it in the sender's own documents, nothing more.
    pub fn claimed_kid(&self) -> KeyId {
        self.kid
    }

    /// The payload before verification, for finding out *who claims to speak*.
    ///
    /// `danger` because nothing in it is true yet: use it to choose whose keys
    /// to try and then read everything again from [`Compact::verify`].
    pub fn danger_unverified_payload<T: DeserializeOwned>(&self) -> Result<T, EnvelopeError> {
        read_payload(self.typ, &self.payload_bytes()?)
    }

    /// Verifies the signature with `key` over the exact received bytes.
    pub fn verify(self, key: &PublicKey) -> Result<Verified, EnvelopeError> {
        // spec/1-envelope.md#E-9
        if key.id() != self.kid {
            return Err(EnvelopeError::WrongKey);
        }
        let signed = &self.text.as_bytes()[..self.signed];
        key.verify(signed, &self.signature)?;
        let payload = self.payload_bytes()?;
        Ok(Verified {
            typ: self.typ,
            text: self.text,
            kid: self.kid,
            payload,
        })
    }

    fn payload_bytes(&self) -> Result<Vec<u8>, EnvelopeError> {
        let payload = self.text[..self.signed]
            .split_once('.')
            .map_or("", |(_, payload)| payload);
        // spec/1-envelope.md#E-4: the decoder refuses padding, whitespace and unused bits.
        URL_SAFE_NO_PAD
            .decode(payload)
            .map_err(|_| EnvelopeError::Malformed("the payload is not unpadded base64url"))
    }
}

/// A compact envelope whose signature was verified. [`Compact::verify`] is its one constructor.
#[derive(Clone, Debug)]
pub struct Verified {
    typ: Typ,
    text: String,
    kid: KeyId,
    payload: Vec<u8>,
}

impl Verified {
    /// Reads the payload. Unknown members, missing times and wrong types are
    /// errors when `T` denies them, as every payload of this protocol does
    /// (`spec/1-envelope.md#E-15`).
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, EnvelopeError> {
        read_payload(self.typ, &self.payload)
    }

    /// The exact payload bytes.
    pub fn payload_bytes(&self) -> &[u8] {
        &self.payload
    }

    /// The exact text that was verified: what is stored and passed on
    /// (`spec/1-envelope.md#E-18`).
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The key that signed.
    pub fn kid(&self) -> KeyId {
        self.kid
    }

    /// The digest of the exact text: the statement's id.
    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }
}

pub(super) fn canonical<T: Serialize>(typ: Typ, payload: &T) -> Result<Vec<u8>, EnvelopeError> {
    serde_json_canonicalizer::to_vec(payload).map_err(|e| EnvelopeError::Payload {
        typ: typ.name(),
        reason: e.to_string(),
    })
}

pub(super) fn read_payload<T: DeserializeOwned>(
    typ: Typ,
    bytes: &[u8],
) -> Result<T, EnvelopeError> {
    serde_json::from_slice(bytes).map_err(|e| EnvelopeError::Payload {
        typ: typ.name(),
        reason: e.to_string(),
    })
}

pub(super) fn decode_signature(text: &str) -> Result<[u8; SIGNATURE_BYTES], EnvelopeError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(EnvelopeError::Malformed(
            "the signature is not 64 bytes of unpadded base64url",
        ))
}

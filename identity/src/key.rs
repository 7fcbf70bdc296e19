//! Ed25519 keys: the only signature algorithm of the protocol.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Digest;

/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// A key that signs. Implemented by keys in memory and, later, by hardware.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The public half.
    fn public(&self) -> PublicKey;

    /// The Ed25519 signature over exactly `message`.
    fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES];
}

/// An Ed25519 public key that is safe to rely on.
///
/// The constructor refuses encodings that are not points and points of small
/// order: under a small-order key one signature fits many messages, so its
/// owner could repudiate an agreement (A7).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The key that `bytes` encode.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        // spec/1-envelope.md#E-12
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        // A second encoding of one point would give one key two ids.
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(KeyError::NotAPoint);
        }
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(Self(key))
    }

    /// The 32-byte encoding (RFC 8032).
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        KeyId(*Digest::of(self.as_bytes()).as_bytes())
    }

    /// Checks `signature` over exactly `message` (`spec/1-envelope.md#E-11`) with the strict rules of
    /// RFC 8032 (no small-order points, canonical encodings). There is no lax
    /// variant on purpose (A7).
    pub fn verify(
        &self,
        message: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), BadSignature> {
        self.0
            .verify_strict(message, &Signature::from_bytes(signature))
            .map_err(|_| BadSignature)
    }
}

/// Why bytes are not a usable public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The bytes do not encode a curve point, or not in the one canonical way.
    #[error("the public key is not the canonical encoding of a point of the curve")]
    NotAPoint,
    /// The point has small order (A7).
    #[error("the public key is weak: its point has small order")]
    Weak,
    /// The text is not 43 characters of unpadded base64url.
    #[error("the public key is not 32 bytes of unpadded base64url")]
    Encoding,
}

/// A signature that does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = decode_32(&text).ok_or(KeyError::Encoding);
        bytes
            .and_then(|bytes| Self::from_bytes(&bytes))
            .map_err(serde::de::Error::custom)
    }
}

/// The id of a public key: unpadded base64url of its SHA-256 (43 characters).
///
/// An id in a header is only a hint for looking the key up in the signer's own
/// documents; the key itself is never taken from a token (A5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 32]);

impl KeyId {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        decode_32(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom("not a key id: expected 43 base64url characters")
        })
    }
}

/// A signing key held in memory; wiped when dropped.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of a 32-byte seed. The caller owns the randomness and wipes its copy.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The 32-byte seed, for writing to a key file.
    pub fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }
}

impl Signer for SecretKey {
    fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    /// Names the public half only: a secret must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public().id())
    }
}

fn decode_32(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The point of order four: plain `verify` accepts one signature for many messages under such a key.
    const SMALL_ORDER: [u8; 32] = [0; 32];

    #[test]
    fn a7_small_order_key_is_refused() {
        assert_eq!(PublicKey::from_bytes(&SMALL_ORDER), Err(KeyError::Weak));
        let text = format!("\"{}\"", URL_SAFE_NO_PAD.encode(SMALL_ORDER));
        assert!(serde_json::from_str::<PublicKey>(&text).is_err());
    }

    /// The field has 2^255 - 19 elements, so 19 values of 255 bits encode one a second time.
    #[test]
    fn a_second_encoding_of_a_point_is_refused() {
        for low in 0xed..=0xff_u8 {
            for high in [0x7f, 0xff] {
                let mut bytes = [0xff; 32];
                bytes[0] = low;
                bytes[31] = high;
                assert!(PublicKey::from_bytes(&bytes).is_err(), "{low:x} {high:x}");
            }
        }
    }

    #[test]
    fn a_signature_fits_one_message_and_one_key() {
        let (a, b) = (
            SecretKey::from_seed(&[1; 32]),
            SecretKey::from_seed(&[2; 32]),
        );
        let signature = a.sign(b"message");
        assert_eq!(a.public().verify(b"message", &signature), Ok(()));
        assert_eq!(a.public().verify(b"Message", &signature), Err(BadSignature));
        assert_eq!(b.public().verify(b"message", &signature), Err(BadSignature));
    }

    #[test]
    fn debug_output_does_not_hold_the_secret() {
        let key = SecretKey::from_seed(&[7; 32]);
        assert!(!format!("{key:?}").contains(&URL_SAFE_NO_PAD.encode([7; 32])));
    }
}

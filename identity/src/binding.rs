//! Proof of possession: a grant counts only on the connection of its holder
//! (`spec/2-identity.md`, section 6).
//!
//! The holder signs the TLS exporter of the live connection together with the
//! client's certificate. Both ends compute the exporter themselves, so a proof
//! copied from one connection is worthless on any other (A1), and a grant
//! without its key is worthless everywhere (A2).

use crate::key::SIGNATURE_BYTES;
use crate::{Digest, PublicKey, Signer};

/// The label of the TLS exporter (RFC 8446, section 7.5); no context value.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-comity-channel-v1";

/// Bytes of the TLS exporter.
pub const EXPORTER_BYTES: usize = 32;

/// The first part of what is signed. It separates these signatures from
/// envelopes, whose signed bytes start with base64url text, and from anything else.
const DOMAIN: &[u8] = b"comity-binding-v1";

/// What a proof ties a grant to.
#[derive(Clone, Copy, Debug)]
pub struct Channel<'a> {
    /// The connection's exporter for [`EXPORTER_LABEL`].
    pub exporter: &'a [u8; EXPORTER_BYTES],
    /// The client's leaf certificate, DER.
    pub leaf: &'a [u8],
    /// The digest of the last link of the grant chain
    /// ([`VerifiedGrant::digest`](crate::grant::VerifiedGrant::digest)).
    pub grant: Digest,
}

impl Channel<'_> {
    /// The holder's signature over this channel.
    pub fn prove(&self, holder: &dyn Signer) -> [u8; SIGNATURE_BYTES] {
        holder.sign(&self.message())
    }

    /// Checks a proof received as `proof` against the grant's holder key
    /// (`spec/2-identity.md#I-41`). The exporter must be the checker's own.
    pub fn check(&self, proof: &[u8], holder: &PublicKey) -> Result<(), NotBound> {
        let signature = proof.try_into().map_err(|_| NotBound)?;
        holder
            .verify(&self.message(), signature)
            .map_err(|_| NotBound)
    }

    /// spec/2-identity.md#I-40: every part is preceded by its length, or two
    /// different channels could have the same bytes.
    fn message(&self) -> Vec<u8> {
        let parts: [&[u8]; 4] = [DOMAIN, self.exporter, self.leaf, self.grant.as_bytes()];
        let size = parts.iter().map(|p| 8 + p.len()).sum();
        let mut message = Vec::with_capacity(size);
        for part in parts {
            message.extend_from_slice(&(part.len() as u64).to_be_bytes());
            message.extend_from_slice(part);
        }
        message
    }
}

/// A proof that does not belong to this connection, this grant or this holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proof of possession does not fit this connection")]
pub struct NotBound;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKey;

    #[test]
    fn a1_a2_a_proof_fits_one_connection_one_leaf_one_grant_and_one_holder() {
        let (holder, thief) = (
            SecretKey::from_seed(&[1; 32]),
            SecretKey::from_seed(&[2; 32]),
        );
        let here = Channel {
            exporter: &[7; 32],
            leaf: b"leaf",
            grant: Digest::of(b"grant"),
        };
        let proof = here.prove(&holder);
        assert_eq!(here.check(&proof, &holder.public()), Ok(()));
        assert_eq!(here.check(&proof, &thief.public()), Err(NotBound));
        assert_eq!(here.check(&proof[..63], &holder.public()), Err(NotBound));
        assert_eq!(here.check(b"", &holder.public()), Err(NotBound));
        for elsewhere in [
            Channel {
                exporter: &[8; 32],
                ..here
            },
            Channel {
                leaf: b"leaf2",
                ..here
            },
            Channel {
                grant: Digest::of(b"other"),
                ..here
            },
        ] {
            assert_eq!(elsewhere.check(&proof, &holder.public()), Err(NotBound));
        }
    }
}

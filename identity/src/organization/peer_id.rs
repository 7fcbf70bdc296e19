//! The libp2p peer id of an Ed25519 key.
//!
//! Computed here, so that a document whose peer id belongs to another key than
//! the one beside it is refused before it reaches the network.

use crate::PublicKey;

/// The text form that libp2p prints: base58 (Bitcoin alphabet) of the identity
/// multihash of the key's protobuf encoding. 52 characters, `12D3KooW…`.
///
/// Source: libp2p specification, "Peer Ids and Keys".
pub fn peer_id(key: &PublicKey) -> String {
    // Identity multihash (code 0x00, 36 bytes) of { Type = Ed25519 (1), Data = 32 bytes }.
    let mut bytes = [0; 38];
    bytes[..6].copy_from_slice(&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20]);
    bytes[6..].copy_from_slice(key.as_bytes());
    base58(&bytes)
}

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Schoolbook conversion from base 256 to base 58; leading zero bytes become `1`.
fn base58(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    let mut digits: Vec<u8> = Vec::with_capacity(bytes.len() * 2);
    for byte in &bytes[zeros..] {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let ones = core::iter::repeat_n('1', zeros);
    let rest = digits
        .iter()
        .rev()
        .map(|d| char::from(ALPHABET[usize::from(*d)]));
    ones.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SecretKey, Signer};

    /// The ids that the rust-libp2p hole-punching tutorial prints for its
    /// `--secret-key-seed` 1 and 2 (a seed whose first byte is that number).
    #[test]
    fn published_ids_are_reproduced() {
        for (first, id) in [
            (0, "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"),
            (1, "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"),
            (2, "12D3KooWH3uVF6wv47WnArKHk5p6cvgCJEb74UTmxztmQDc298L3"),
        ] {
            let mut seed = [0; 32];
            seed[0] = first;
            assert_eq!(peer_id(&SecretKey::from_seed(&seed).public()), id);
        }
    }

    #[test]
    fn leading_zero_bytes_become_ones() {
        assert_eq!(base58(&[0, 0, 1]), "112");
        assert_eq!(base58(b"Hello World!"), "2NEpo7TZRRrLZSi2U");
    }
}

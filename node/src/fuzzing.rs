//! The laws that `fuzz/node` tries on bytes that it makes up, and the tests on
//! the seeds that are kept (A24, A31, A47, A49).
//!
//! Each law stands as a child of what it is about, because that is private and
//! stays so: here is only the list. Built for tests and with the feature
//! `fuzzing`, which nothing but `fuzz/` turns on.

use crate::{flight, network, products, query};

/// Panics where the law is broken.
pub type Law = fn(&[u8]);

/// The laws by the names of their targets and seed folders.
pub const ALL: [(&str, Law); 5] = [
    ("wire", network::fuzzed::law),
    ("flight", flight::fuzzed::law),
    ("values", flight::fuzzed::values),
    ("gate", query::fuzzed::law),
    ("contract", products::fuzzed::law),
];

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use comity_identity::Digest;

    use super::*;

    /// Changes of each seed. A statement of the gate takes some 20 ms.
    const CHANGES: u8 = 8;

    /// A finding that was mended stays mended; and the smoke run of a fuzzer,
    /// without its instruments, whose build of this crate would take minutes.
    #[test]
    fn every_kept_seed_and_changes_of_it_hold_the_law_of_their_target() {
        let seeds = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
        for (target, law) in ALL {
            let mut tried = 0;
            for file in std::fs::read_dir(seeds.join(target)).unwrap() {
                let file = file.unwrap().path();
                let seed = std::fs::read(&file).unwrap();
                for n in 0..=CHANGES {
                    // Shown when the law panics.
                    println!("{} change {n}", file.display());
                    law(&changed(&seed, n));
                }
                tried += 1;
            }
            assert!(tried > 0, "{target} has no seeds");
        }
    }

    /// The same for the same seed and number, on every machine; 0 changes nothing.
    fn changed(seed: &[u8], n: u8) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        let chosen = Digest::of(&[seed, &[n]].concat());
        for change in chosen
            .as_bytes()
            .chunks_exact(4)
            .take(usize::from(n.min(4)))
        {
            // The first byte says what the others are.
            let Some(room) = bytes.len().checked_sub(1).filter(|room| *room > 0) else {
                break;
            };
            let place = 1 + usize::from(u16::from_be_bytes([change[0], change[1]])) % room;
            match change[2] % 4 {
                0 => bytes[place] ^= 1 << (change[3] % 8),
                1 => bytes[place] = change[3],
                2 => drop(bytes.remove(place)),
                _ => {
                    let part = bytes[place..].iter().take(usize::from(change[3] % 32));
                    let part: Vec<_> = part.copied().collect();
                    bytes.splice(place..place, part);
                }
            }
        }
        bytes
    }
}

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

    use super::*;

    /// A finding that was mended stays mended.
    #[test]
    fn every_kept_seed_holds_the_law_of_its_target() {
        let seeds = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
        for (target, law) in ALL {
            let mut tried = 0;
            for file in std::fs::read_dir(seeds.join(target)).unwrap() {
                let file = file.unwrap().path();
                // Shown when the law panics.
                println!("{}", file.display());
                law(&std::fs::read(&file).unwrap());
                tried += 1;
            }
            assert!(tried > 0, "{target} has no seeds");
        }
    }
}

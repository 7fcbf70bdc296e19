//! The fuzz targets' laws over the seeds that are kept in `fuzz/seeds`, without
//! a fuzzer: a finding that was mended stays mended.

#[path = "../../../fuzz/pure/src/laws/mod.rs"]
mod laws;

use std::path::PathBuf;

#[test]
fn every_kept_seed_holds_the_law_of_its_target() {
    let seeds = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    for (target, law) in laws::ALL {
        let files = std::fs::read_dir(seeds.join(target)).unwrap();
        let mut tried = 0;
        for file in files {
            let file = file.unwrap().path();
            // Shown when the law panics.
            println!("{}", file.display());
            law(&std::fs::read(&file).unwrap());
            tried += 1;
        }
        assert!(tried > 0, "{target} has no seeds");
    }
}

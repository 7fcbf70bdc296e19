//! libFuzzer's entry for the laws that need no node; `COMITY_FUZZ` names the law.

#![no_main]

mod laws;

use std::sync::LazyLock;

/// The law that this process tries.
static LAW: LazyLock<laws::Law> = LazyLock::new(|| {
    let name = std::env::var("COMITY_FUZZ").unwrap_or_default();
    let law = laws::ALL.iter().find(|(known, _)| *known == name);
    law.map_or_else(
        || panic!("set COMITY_FUZZ to one of {:?}", laws::ALL.map(|(n, _)| n)),
        |(_, law)| *law,
    )
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| LAW(data));

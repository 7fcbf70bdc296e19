//! libFuzzer's entry for the laws inside the node; `COMITY_FUZZ` names the law.

#![no_main]

use std::sync::LazyLock;

use comity::fuzzing;

/// The law that this process tries.
static LAW: LazyLock<fuzzing::Law> = LazyLock::new(|| {
    let name = std::env::var("COMITY_FUZZ").unwrap_or_default();
    let law = fuzzing::ALL.iter().find(|(known, _)| *known == name);
    law.map_or_else(
        || {
            panic!(
                "set COMITY_FUZZ to one of {:?}",
                fuzzing::ALL.map(|(n, _)| n)
            )
        },
        |(_, law)| *law,
    )
});

libfuzzer_sys::fuzz_target!(
    // libFuzzer's own hook ends the process over every panic, also over one that the
    // node contains. What is not contained still ends it: the laws see the difference.
    init: std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))),
    |data: &[u8]| LAW(data)
);

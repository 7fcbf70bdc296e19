//! No row loses its tests.

use std::collections::BTreeSet;
use std::path::Path;

/// The rows whose tests are due: those of gossip, synchronisation and flooding
/// (A14, A15, A36 to A43) come with the network.
const DUE: [std::ops::RangeInclusive<u32>; 4] = [1..=13, 16..=35, 44..=46, 47..=52];

/// The numbers that test functions of `text` begin with: `fn a1_a2_…` has two.
fn numbers(text: &str) -> BTreeSet<u32> {
    let mut numbers = BTreeSet::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
            continue;
        }
        if line.starts_with("#[ignore") {
            is_test = false;
        }
        let name = line
            .strip_prefix("async fn ")
            .or_else(|| line.strip_prefix("fn "));
        let Some(name) = name.filter(|_| is_test) else {
            continue;
        };
        is_test = false;
        let rows = name
            .split('_')
            .map_while(|word| word.strip_prefix('a')?.parse::<u32>().ok());
        numbers.extend(rows);
    }
    numbers
}

fn walk(folder: &Path, of: &mut impl FnMut(&str)) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, of)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            of(&std::fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

#[test]
fn every_row_that_is_due_has_a_test() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeSet::new();
    for folder in ["identity", "protocol", "node", "tests"] {
        walk(&root.join(folder), &mut |text| found.extend(numbers(text)))?;
    }
    let missing: Vec<_> = DUE
        .into_iter()
        .flatten()
        .filter(|n| !found.contains(n))
        .collect();
    assert!(missing.is_empty(), "without a test: {missing:?}");
    Ok(())
}

#[test]
fn a_number_counts_in_a_tests_name_only() {
    assert_eq!(
        numbers("#[test]\nfn a1_a22_x() {}\nfn a3_y() {}"),
        [1, 22].into()
    );
    assert_eq!(
        numbers("// fn a4_z\n#[tokio::test]\nasync fn a5_() {}"),
        [5].into()
    );
    for none in ["#[test]\nfn all_a6() {}", "#[test]\n#[ignore]\nfn a6_() {}"] {
        assert_eq!(numbers(none), BTreeSet::new(), "{none}");
    }
}

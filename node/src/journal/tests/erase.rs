//! Erased records.

use proptest::prelude::*;

use super::*;

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|at| at == word)
}

#[test]
fn an_erased_record_is_gone_and_everything_proves_as_before() {
    let home = TempDir::new().unwrap();
    let groups: &[&[&[u8]]] = &[
        &[b"one", b"about ann"],
        &[b"two"],
        &[b"ann again", b"three"],
    ];
    written(home.path(), groups);
    let salt = seen(home.path())[1].0;
    let (journal, _) = open(home.path());
    let roots: Vec<_> = (0..=5).map(|size| journal.root(size)).collect();
    let (path, proof) = (
        journal.inclusion_proof(2, 5),
        journal.consistency_proof(2, 5),
    );
    drop(journal);

    let about_ann = |record: &[u8]| contains(record, b"ann");
    let erased = Journal::erase(home.path(), about_ann).unwrap();
    assert_eq!((erased.records, erased.segments), (2, 1));
    let file = fs::read(last_segment(home.path())).unwrap();
    assert!(!contains(&file, b"ann") && !contains(&file, &salt));

    let (journal, report) = open(home.path());
    assert_eq!((report.records, report.torn), (5, None));
    assert_eq!(contents(&journal), [&b"one"[..], b"two", b"three"]);
    let positions: Vec<_> = journal.replay(0).map(|entry| entry.unwrap().0).collect();
    assert_eq!(positions, [0, 2, 4]);
    assert_eq!(journal.read(1).unwrap(), None);
    assert_eq!(
        (0..=5).map(|size| journal.root(size)).collect::<Vec<_>>(),
        roots
    );
    assert_eq!(journal.inclusion_proof(2, 5), path);
    assert_eq!(journal.consistency_proof(2, 5), proof);
    // It goes on, and erasing again finds nothing.
    assert_eq!(append(&journal, &[b"four"]).unwrap(), 5);
    drop(journal);
    assert_eq!(
        Journal::erase(home.path(), about_ann).unwrap(),
        Erased::default()
    );
    assert_eq!(open(home.path()).1.records, 6);
}

#[test]
fn a_journal_in_use_is_not_erased_from() {
    let home = TempDir::new().unwrap();
    let (journal, _) = open(home.path());
    append(&journal, &[b"one"]).unwrap();
    let refused = Journal::erase(home.path(), |_| true).unwrap_err();
    assert!(matches!(refused, JournalError::Locked { .. }));
    assert_eq!(contents(&journal), [b"one"]);
}

#[test]
fn a_flipped_bit_in_an_erased_record_is_damage_too() {
    let home = TempDir::new().unwrap();
    written(home.path(), &[&[b"first"], &[b"second"]]);
    Journal::erase(home.path(), |record| record == b"first").unwrap();
    let file = last_segment(home.path());
    let whole = fs::read(&file).unwrap();
    let second = whole.len() - FRAME_BYTES - b"second".len();
    for at in segment::HEADER_BYTES..second {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&file, &bytes).unwrap();
        assert!(
            matches!(refusal(home.path()), JournalError::Corrupt { .. }),
            "byte {at}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn erasing_any_records_changes_no_root_and_no_other_record(
        groups in prop::collection::vec(prop::collection::vec(0u8..20, 1..5), 1..10),
        chosen in prop::collection::hash_set(0u8..20, 0..10),
    ) {
        let home = TempDir::new().unwrap();
        let (journal, _) = open(home.path());
        for group in &groups {
            let records: Vec<Vec<u8>> = group.iter().map(|n| vec![*n; 30]).collect();
            journal.append_blocking(&records).unwrap();
        }
        let all = groups.concat();
        let roots: Vec<_> = (0..=all.len() as u64).map(|size| journal.root(size)).collect();
        drop(journal);
        let erased = Journal::erase(home.path(), |record| chosen.contains(&record[0])).unwrap();
        let (journal, report) = open(home.path());
        let kept: Vec<Vec<u8>> = all
            .iter()
            .filter(|n| !chosen.contains(n))
            .map(|n| vec![*n; 30])
            .collect();
        prop_assert_eq!(erased.records as usize, all.len() - kept.len());
        prop_assert_eq!(report.records as usize, all.len());
        prop_assert_eq!(contents(&journal), kept);
        let after: Vec<_> = (0..=all.len() as u64).map(|size| journal.root(size)).collect();
        prop_assert_eq!(after, roots);
    }
}

//! Files that a crash or a bad disk changed.

use proptest::prelude::*;

use super::super::segment::HEADER_BYTES;
use super::*;

#[test]
fn a45_a_tail_torn_at_any_byte_is_cut_off_and_earlier_records_stand() {
    let home = TempDir::new().unwrap();
    let whole = written(
        home.path(),
        &[&[b"first"], &[b"second"], &[b"the last record"]],
    );
    let kept = whole.len() - FRAME_BYTES - b"the last record".len();
    let file = last_segment(home.path());
    for cut in kept + 1..whole.len() {
        fs::write(&file, &whole[..cut]).unwrap();
        let (journal, report) = open(home.path());
        let torn = report.torn.unwrap();
        assert_eq!(
            (torn.offset, torn.bytes),
            (kept as u64, (cut - kept) as u64)
        );
        assert_eq!(contents(&journal), [&b"first"[..], b"second"]);
        assert_eq!(append(&journal, &[b"after"]).unwrap(), 2);
        drop(journal);
        assert_eq!(open(home.path()).1.torn, None);
    }
    // The whole file and the file without its last record are not torn.
    for cut in [kept, whole.len()] {
        fs::write(&file, &whole[..cut]).unwrap();
        assert_eq!(open(home.path()).1.torn, None);
    }
}

#[test]
fn a45_zeros_or_noise_after_the_last_record_are_cut_off() {
    let home = TempDir::new().unwrap();
    let whole = written(home.path(), &[&[b"first"]]);
    for tail in [vec![0; 5000], vec![0xff; 100], b"noise".to_vec()] {
        fs::write(last_segment(home.path()), [&whole[..], &tail].concat()).unwrap();
        let (journal, report) = open(home.path());
        assert_eq!(report.torn.unwrap().bytes, tail.len() as u64);
        assert_eq!(contents(&journal), [b"first"]);
    }
}

#[test]
fn a45_an_append_is_there_whole_or_not_at_all() {
    let home = TempDir::new().unwrap();
    let whole = written(home.path(), &[&[b"first"], &[b"one", b"two", b"three"]]);
    let file = last_segment(home.path());
    let group = whole.len() - 3 * FRAME_BYTES - b"onetwothree".len();
    for cut in group..whole.len() {
        fs::write(&file, &whole[..cut]).unwrap();
        assert_eq!(contents(&open(home.path()).0), [b"first"]);
    }
    // A page of the unsynced group may be missing while later ones are there.
    for hole in group..whole.len() {
        let mut bytes = whole.clone();
        bytes[hole] ^= 0xff;
        fs::write(&file, &bytes).unwrap();
        assert_eq!(contents(&open(home.path()).0), [b"first"], "hole at {hole}");
    }
}

#[test]
fn a45_a_flipped_bit_before_a_later_group_is_refused_with_file_and_offset() {
    let home = TempDir::new().unwrap();
    let whole = written(home.path(), &[&[b"first"], &[b"second"], &[b"third"]]);
    let file = last_segment(home.path());
    let second = HEADER_BYTES + FRAME_BYTES + b"first".len();
    let third = second + FRAME_BYTES + b"second".len();
    for at in HEADER_BYTES..third {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            fs::write(&file, &bytes).unwrap();
            let expected = if at < second { HEADER_BYTES } else { second } as u64;
            match refusal(home.path()) {
                JournalError::Corrupt {
                    file: named,
                    offset,
                    ..
                } => {
                    assert_eq!(
                        (named, offset),
                        (file.clone(), expected),
                        "byte {at} bit {bit}"
                    );
                }
                other => panic!("byte {at} bit {bit}: {other}"),
            }
        }
    }
    // Refusing changes nothing.
    assert_eq!(fs::read(&file).unwrap().len(), whole.len());
}

#[test]
fn a45_damage_to_an_older_segment_is_refused_even_at_its_end() {
    let home = TempDir::new().unwrap();
    let (journal, _) = Journal::open(home.path(), SMALL).unwrap();
    for i in 0..4 {
        journal.append_blocking(&[vec![i; 60 << 10]]).unwrap();
    }
    drop(journal);
    let first = segment::file_name(home.path(), 0);
    let whole = fs::read(&first).unwrap();
    fs::write(&first, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(refusal(home.path()), JournalError::Corrupt { .. }));
    fs::write(&first, &whole).unwrap();
    assert_eq!(open(home.path()).1.records, 4);
    fs::remove_file(&first).unwrap();
    assert!(
        refusal(home.path())
            .to_string()
            .contains("missing or renamed")
    );
}

#[test]
fn headers_are_checked_byte_by_byte() {
    let home = TempDir::new().unwrap();
    let whole = written(home.path(), &[&[b"first"]]);
    let file = last_segment(home.path());
    for at in 0..HEADER_BYTES {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&file, &bytes).unwrap();
        assert!(
            matches!(
                refusal(home.path()),
                JournalError::Corrupt { offset: 0, .. }
            ),
            "byte {at}"
        );
    }
    for (version, says) in [
        (1u32, "start the older program"),
        (3, "start the newer program"),
    ] {
        let mut other = whole[..24].to_vec();
        other[8..12].copy_from_slice(&version.to_le_bytes());
        other.extend_from_slice(&crc32c::crc32c(&other).to_le_bytes());
        fs::write(&file, &other).unwrap();
        let refused = refusal(home.path());
        assert!(matches!(refused, JournalError::Version { found, .. } if found == version));
        assert!(refused.to_string().contains(says), "{refused}");
    }
    fs::write(&file, &whole[..HEADER_BYTES - 1]).unwrap();
    assert!(refusal(home.path()).to_string().contains("cut short"));
}

#[test]
fn a_record_cannot_pose_as_the_next_group() {
    // Bytes that a partner chose, which look like a record of a segment with seed 0.
    let mut posing = Vec::new();
    let forged = Entry::Kept {
        salt: &[0; SALT_BYTES],
        record: b"forged",
    };
    segment::encode_group(0, [forged].into_iter(), &mut posing);
    let home = TempDir::new().unwrap();
    let whole = written(home.path(), &[&[b"first"], &[&posing, b"more"]]);
    fs::write(last_segment(home.path()), &whole[..whole.len() - 1]).unwrap();
    let (journal, report) = open(home.path());
    assert!(report.torn.is_some());
    assert_eq!(contents(&journal), [b"first"]);
}

#[test]
fn a_record_that_changes_under_a_running_node_is_noticed() {
    let home = TempDir::new().unwrap();
    let (journal, _) = open(home.path());
    append(&journal, &[b"first"]).unwrap();
    let file = last_segment(home.path());
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    assert!(matches!(journal.read(0), Err(JournalError::Corrupt { .. })));
    assert_eq!(journal.replay(0).filter(Result::is_err).count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_was_acknowledged_is_replayed_after_any_cut_behind_it(
        groups in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..4), 1..12),
        lost in 0usize..200,
    ) {
        let home = TempDir::new().unwrap();
        let (journal, _) = open(home.path());
        let mut ends = vec![(HEADER_BYTES, 0)];
        for group in &groups {
            journal.append_blocking(group).unwrap();
            let bytes: usize = group.iter().map(|record| FRAME_BYTES + record.len()).sum();
            let (end, count) = ends[ends.len() - 1];
            ends.push((end + bytes, count + group.len()));
        }
        drop(journal);
        let file = last_segment(home.path());
        let whole = fs::read(&file).unwrap();
        let cut = whole.len().saturating_sub(lost).max(HEADER_BYTES);
        fs::write(&file, &whole[..cut]).unwrap();
        let expected = ends.iter().rev().find(|(end, _)| *end <= cut).unwrap().1;
        let all: Vec<Vec<u8>> = groups.concat();
        prop_assert_eq!(contents(&open(home.path()).0), &all[..expected]);
    }

    #[test]
    fn hostile_files_do_not_panic(noise in prop::collection::vec(any::<u8>(), 0..300), with_header: bool) {
        let home = TempDir::new().unwrap();
        let header = segment::Header { seed: 1, first: 0 }.encode();
        let bytes = if with_header { [&header[..], &noise].concat() } else { noise };
        fs::write(segment::file_name(home.path(), 0), bytes).unwrap();
        let _ = Journal::open(home.path(), Settings::default());
    }
}

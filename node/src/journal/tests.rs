//! `store.md`, section 5, for the journal.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;

use super::*;

mod damage;
mod erase;
mod faults;

const SMALL: Settings = Settings {
    segment_bytes: *SEGMENT_BYTES_RANGE.start(),
};

fn open(dir: &Path) -> (Journal, OpenReport) {
    Journal::open(dir, Settings::default()).unwrap()
}

fn refusal(dir: &Path) -> JournalError {
    Journal::open(dir, Settings::default()).unwrap_err()
}

fn append(journal: &Journal, records: &[&[u8]]) -> Result<Position, JournalError> {
    let records: Vec<Vec<u8>> = records.iter().map(|r| r.to_vec()).collect();
    journal.append_blocking(&records)
}

fn contents(journal: &Journal) -> Vec<Vec<u8>> {
    journal.replay(0).map(|record| record.unwrap().1).collect()
}

fn last_segment(dir: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| segment::is_segment(path))
        .collect();
    files.sort();
    files.pop().unwrap()
}

/// The salts and records of the only segment.
fn seen(dir: &Path) -> Vec<(Salt, Vec<u8>)> {
    let bytes = fs::read(last_segment(dir)).unwrap();
    let header = segment::Header::decode(&bytes, dir).unwrap();
    let mut seen = Vec::new();
    segment::scan(header.seed, &bytes, |entry| match entry {
        Entry::Kept { salt, record } => seen.push((*salt, record.to_vec())),
        Entry::Erased(_) => panic!("an erased record"),
    });
    seen
}

/// A journal with these groups, closed; returns the bytes of its one segment.
fn written(dir: &Path, groups: &[&[&[u8]]]) -> Vec<u8> {
    let (journal, _) = open(dir);
    for group in groups {
        append(&journal, group).unwrap();
    }
    drop(journal);
    fs::read(last_segment(dir)).unwrap()
}

#[test]
fn records_are_numbered_kept_and_replayed_in_order() {
    let home = TempDir::new().unwrap();
    let (journal, report) = open(home.path());
    assert_eq!(report, OpenReport::default());
    assert!(journal.is_empty());
    assert_eq!(append(&journal, &[b"a", b"b"]).unwrap(), 0);
    assert_eq!(append(&journal, &[b"c"]).unwrap(), 2);
    assert_eq!(journal.read(1).unwrap().unwrap(), b"b");
    assert_eq!(journal.read(3).unwrap(), None);
    let root = journal.root(3);
    drop(journal);

    let (journal, report) = open(home.path());
    assert_eq!((report.records, report.segments, report.torn), (3, 1, None));
    assert_eq!(contents(&journal), [b"a", b"b", b"c"]);
    assert_eq!(journal.replay(2).count(), 1);
    assert_eq!(journal.replay(9).count(), 0);
    assert_eq!(journal.root(3), root);
    assert_eq!(append(&journal, &[b"d"]).unwrap(), 3);
}

#[test]
fn proofs_cover_what_was_appended() {
    let home = TempDir::new().unwrap();
    let (journal, _) = open(home.path());
    append(&journal, &[b"a", b"b", b"c"]).unwrap();
    let old = journal.root(3).unwrap();
    append(&journal, &[b"d", b"e"]).unwrap();
    let new = journal.root(5).unwrap();
    let path = journal.inclusion_proof(1, 5).unwrap();
    let seen = seen(home.path());
    assert_eq!(seen[1].1, b"b");
    let leaf = Entry::Kept {
        salt: &seen[1].0,
        record: b"b",
    }
    .leaf();
    assert!(merkle::verify_inclusion(&leaf, 1, 5, &path, &new));
    assert!(
        seen.iter()
            .map(|(salt, _)| salt)
            .collect::<HashSet<_>>()
            .len()
            == 5
    );
    let proof = journal.consistency_proof(3, 5).unwrap();
    assert!(merkle::verify_consistency(3, 5, &proof, &old, &new));
}

#[tokio::test]
async fn concurrent_appends_get_positions_of_their_own() {
    let home = TempDir::new().unwrap();
    let (journal, _) = open(home.path());
    let journal = Arc::new(journal);
    let tasks: Vec<_> = (0..200u32)
        .map(|i| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                let record = i.to_be_bytes().to_vec();
                let position = journal.append(std::slice::from_ref(&record)).await.unwrap();
                assert_eq!(journal.read(position).unwrap().unwrap(), record);
                position
            })
        })
        .collect();
    let mut positions = HashSet::new();
    for task in tasks {
        positions.insert(task.await.unwrap());
    }
    assert_eq!(positions, (0..200).collect());
}

#[test]
fn segments_roll_and_replay_crosses_them() {
    let home = TempDir::new().unwrap();
    let (journal, _) = Journal::open(home.path(), SMALL).unwrap();
    let record = vec![7; 30 << 10];
    for _ in 0..10 {
        journal
            .append_blocking(std::slice::from_ref(&record))
            .unwrap();
    }
    let before = (contents(&journal), journal.root(10), journal.bytes());
    drop(journal);
    let (journal, report) = Journal::open(home.path(), SMALL).unwrap();
    assert_eq!((report.records, report.segments), (10, 4));
    assert_eq!(
        (contents(&journal), journal.root(10), journal.bytes()),
        before
    );
    assert_eq!(append(&journal, &[b"next"]).unwrap(), 10);
}

#[test]
fn record_and_append_sizes_are_bounded_on_both_sides() {
    let home = TempDir::new().unwrap();
    let (journal, _) = open(home.path());
    assert!(
        journal
            .append_blocking(&[vec![1; MAX_RECORD_BYTES]])
            .is_ok()
    );
    assert!(matches!(
        journal.append_blocking(&[vec![1; MAX_RECORD_BYTES + 1]]),
        Err(JournalError::RecordSize { .. })
    ));
    assert!(matches!(
        append(&journal, &[b"a", b""]),
        Err(JournalError::RecordSize { bytes: 0 })
    ));
    assert!(matches!(
        append(&journal, &[]),
        Err(JournalError::AppendSize { .. })
    ));
    let most = vec![vec![1; MAX_RECORD_BYTES - FRAME_BYTES]; MAX_APPEND_BYTES / MAX_RECORD_BYTES];
    assert!(journal.append_blocking(&most).is_ok());
    let more = [most.as_slice(), &[vec![1]]].concat();
    assert!(matches!(
        journal.append_blocking(&more),
        Err(JournalError::AppendSize { .. })
    ));
    assert_eq!(journal.len(), 9);
    drop(journal);
    assert_eq!(open(home.path()).1.records, 9);
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let home = TempDir::new().unwrap();
    let (journal, _) = open(home.path());
    let error = refusal(home.path());
    assert!(
        matches!(error, JournalError::Locked { owner: Some(id), .. } if id == std::process::id())
    );
    assert!(
        error
            .to_string()
            .contains("in use by another comity process"),
        "{error}"
    );
    drop(journal);
    open(home.path());
}

#[test]
fn files_are_readable_by_their_owner_only() {
    let home = TempDir::new().unwrap();
    let dir = home.path().join("journal");
    written(&dir, &[&[b"first"]]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&last_segment(&dir)), 0o600);
}

#[test]
fn an_interrupted_creation_leaves_nothing_in_the_way() {
    let home = TempDir::new().unwrap();
    written(home.path(), &[&[b"first"]]);
    let leftover = home.path().join("00000000000000000001.tmp");
    fs::write(&leftover, b"half a header").unwrap();
    assert_eq!(contents(&open(home.path()).0), [b"first"]);
    assert!(!leftover.exists());
}

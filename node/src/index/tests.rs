//! `store.md`, section 5, for the index.

use std::fs;

use tempfile::TempDir;

use super::sled_store::SledStore;
use super::*;

mod conformance;
mod damage;

const SMALL: Settings = Settings {
    cache_bytes: 8 << 20,
};

/// A record `key=value` puts, `key` alone deletes.
fn fold(_: Position, record: &[u8]) -> Vec<(Table, Op)> {
    let op = match record.iter().position(|byte| *byte == b'=') {
        Some(at) => Op::put(&record[..at], &record[at + 1..]),
        None => Op::delete(record),
    };
    vec![(Table::Agreements, op)]
}

struct Home {
    dir: TempDir,
    journal: Journal,
}

impl Home {
    fn with_records(count: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let settings = crate::journal::Settings::default();
        let (journal, _) = Journal::open(&dir.path().join("journal"), settings).unwrap();
        let records: Vec<Vec<u8>> = (0..count).map(record).collect();
        for chunk in records.chunks(1000) {
            journal.append_blocking(chunk).unwrap();
        }
        Self { dir, journal }
    }

    fn index_dir(&self) -> PathBuf {
        self.dir.path().join("index")
    }

    fn open(&self) -> (Index, OpenReport) {
        Index::open(&self.index_dir(), SMALL, &self.journal, &fold).unwrap()
    }

    /// What the index must hold: the journal, replayed into memory.
    fn expected(&self) -> Vec<Entry> {
        all(&Index::in_memory(&self.journal, &fold).unwrap())
    }

    fn quarantined(&self) -> usize {
        fs::read_dir(self.index_dir())
            .unwrap()
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_string_lossy().starts_with("sled.corrupt-")
            })
            .count()
    }
}

fn record(i: usize) -> Vec<u8> {
    format!("agreement/{i:06}={}", "x".repeat(40 + i % 60)).into_bytes()
}

fn all(index: &Index) -> Vec<Entry> {
    index
        .range(Table::Agreements, b"", b"", usize::MAX)
        .unwrap()
}

#[test]
fn a_new_index_follows_the_journal_and_reopens_as_it_was() {
    let home = Home::with_records(3);
    let (index, report) = home.open();
    assert_eq!(report.rebuilt, Some(RebuildReason::Missing));
    assert_eq!((report.replayed, index.position()), (3, 3));
    let position = home
        .journal
        .append_blocking(&[b"agreement/000001".to_vec()])
        .unwrap();
    index
        .apply(position, fold(position, b"agreement/000001"))
        .unwrap();
    assert_eq!(
        index.get(Table::Agreements, b"agreement/000001").unwrap(),
        None
    );
    assert_eq!(index.count(Table::Agreements).unwrap(), 2);
    index.close().unwrap();
    index.close().unwrap();
    assert!(matches!(
        index.get(Table::Agreements, b"x"),
        Err(IndexError::Closed)
    ));
    drop(index);

    let (index, report) = home.open();
    assert_eq!(report, OpenReport::default());
    assert_eq!(all(&index), home.expected());
}

#[test]
fn records_are_applied_once_and_in_order() {
    let home = Home::with_records(2);
    let (index, _) = home.open();
    // Replaying what was applied changes nothing, whatever it says.
    index
        .apply(0, vec![(Table::Agreements, Op::delete("agreement/000000"))])
        .unwrap();
    assert_eq!(all(&index), home.expected());
    assert!(matches!(
        index.apply(3, Vec::new()),
        Err(IndexError::Gap {
            expected: 2,
            found: 3
        })
    ));
    index.apply(2, Vec::new()).unwrap();
    assert_eq!(index.position(), 3);
}

#[test]
fn the_gap_after_a_clean_shutdown_is_replayed() {
    let home = Home::with_records(10);
    home.open().0.close().unwrap();
    home.journal
        .append_blocking(&[record(10), record(11)])
        .unwrap();
    let (index, report) = home.open();
    assert_eq!((report.rebuilt, report.replayed), (None, 2));
    assert_eq!(all(&index), home.expected());
}

#[test]
fn a45_an_index_that_was_not_closed_is_rebuilt() {
    let home = Home::with_records(50);
    drop(home.open());
    let (index, report) = home.open();
    assert_eq!(report.rebuilt, Some(RebuildReason::UncleanShutdown));
    assert_eq!(report.quarantined, None);
    assert_eq!(all(&index), home.expected());
    index.close().unwrap();
    drop(index);
    assert_eq!(home.open().1.rebuilt, None);
}

#[test]
fn a_marker_of_another_position_or_of_noise_leads_to_a_rebuild() {
    for marker in ["comity-index clean 49\n", "comity-index clean\n", "50", ""] {
        let home = Home::with_records(50);
        home.open().0.close().unwrap();
        fs::write(home.index_dir().join("clean"), marker).unwrap();
        let (index, report) = home.open();
        assert!(report.rebuilt.is_some(), "{marker:?}");
        assert_eq!(all(&index), home.expected());
    }
}

#[test]
fn a10_an_index_ahead_of_the_journal_says_that_records_were_lost() {
    let home = Home::with_records(5);
    home.open().0.close().unwrap();
    let older = Home::with_records(3);
    let (index, report) = Index::open(&home.index_dir(), SMALL, &older.journal, &fold).unwrap();
    assert_eq!(
        report.rebuilt,
        Some(RebuildReason::AheadOfJournal {
            index: 5,
            journal: 3
        })
    );
    assert!(report.quarantined.is_some());
    assert_eq!(all(&index), older.expected());
}

#[test]
fn an_older_schema_is_rebuilt_and_a_newer_one_refused() {
    let home = Home::with_records(5);
    for (version, rebuilt) in [(SCHEMA_VERSION - 1, true), (SCHEMA_VERSION + 1, false)] {
        let (index, _) = home.open();
        let change = (Table::Meta, number(SCHEMA_KEY, version));
        index.apply_unjournalled(&[change]).unwrap();
        index.close().unwrap();
        drop(index);
        let opened = Index::open(&home.index_dir(), SMALL, &home.journal, &fold);
        if rebuilt {
            assert_eq!(opened.unwrap().1.rebuilt, Some(RebuildReason::OldSchema));
        } else {
            assert!(matches!(opened, Err(IndexError::Newer { .. })));
        }
    }
}

#[test]
fn content_without_a_journal_record_survives_a_clean_shutdown_only() {
    let home = Home::with_records(1);
    let (index, _) = home.open();
    index
        .apply_unjournalled(&[(Table::Heads, Op::put("org", "head"))])
        .unwrap();
    index.close().unwrap();
    drop(index);
    let (index, _) = home.open();
    assert_eq!(index.get(Table::Heads, b"org").unwrap().unwrap(), b"head");
    drop(index);
    let (index, _) = home.open();
    assert_eq!(index.get(Table::Heads, b"org").unwrap(), None);
}

#[test]
fn the_longest_value_makes_no_blob_file_and_a_longer_one_is_refused() {
    let home = Home::with_records(0);
    let (index, _) = home.open();
    for i in 0..300u32 {
        let put = Op::put(i.to_be_bytes(), vec![i as u8; MAX_VALUE]);
        index
            .apply_unjournalled(&[(Table::Documents, put)])
            .unwrap();
    }
    let long = Op::put("long", vec![1; MAX_VALUE + 1]);
    let refused = index.apply_unjournalled(&[(Table::Documents, long)]);
    assert!(matches!(
        refused,
        Err(IndexError::Store(StoreError::ValueTooLong { .. }))
    ));
    index.barrier().unwrap();
    let found = index.disk_use();
    assert_eq!(found.blob_files, 0);
    assert!(found.bytes > 300 * MAX_VALUE as u64);
}

#[test]
fn keys_are_bounded_on_both_sides() {
    let store = MemStore::default();
    let put = |bytes| store.apply(Table::Heads, &[Op::put(vec![1; bytes], "v")]);
    assert!(put(MAX_KEY).is_ok());
    assert_eq!(
        put(MAX_KEY + 1),
        Err(StoreError::KeyTooLong { bytes: MAX_KEY + 1 })
    );
}

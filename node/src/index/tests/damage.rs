//! Databases that a crash or a bad disk changed.

use super::*;

/// The damage table of `store.md` 3.2: whatever sled makes of it, the content
/// equals the journal's replay, and nothing is lost in silence.
#[test]
fn a45_every_damage_of_the_table_is_found_and_rebuilt() {
    const RECORDS: usize = 4000;
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 10] = [
        ("100 bytes cut from the end", |dir| {
            cut(dir, |len| len - 100)
        }),
        ("64 KiB cut from the end", |dir| {
            cut(dir, |len| len - (64 << 10))
        }),
        ("cut to half", |dir| cut(dir, |len| len / 2)),
        ("cut to zero length", |dir| cut(dir, |_| 0)),
        ("4 KiB zeroed", |dir| {
            change(dir, |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle..middle + 4096].fill(0);
            })
        }),
        ("50 bytes flipped", |dir| {
            change(dir, |bytes| {
                let step = bytes.len() / 51;
                for i in 1..=50 {
                    bytes[i * step] ^= 0xff;
                }
            })
        }),
        ("first segment zeroed", |dir| {
            change(dir, |bytes| {
                let end = bytes.len().min(512 << 10);
                bytes[..end].fill(0);
            })
        }),
        ("snapshot deleted", |dir| remove(dir, "snap.")),
        ("configuration deleted", |dir| remove(dir, "conf")),
        ("database file deleted", |dir| remove(dir, "db")),
    ];
    let home = Home::with_records(RECORDS);
    let expected = home.expected();
    home.open().0.close().unwrap();
    let pristine = home.dir.path().join("pristine");
    copy(&home.index_dir(), &pristine);
    for (name, damage) in damages {
        fs::remove_dir_all(home.index_dir()).unwrap();
        copy(&pristine, &home.index_dir());
        damage(&home.index_dir().join("sled"));
        let (index, report) = home.open();
        assert_eq!(all(&index), expected, "{name}");
        match report.rebuilt {
            // Only free space, or what sled can make again, was hit.
            None => assert_eq!(report.replayed, 0, "{name}"),
            Some(RebuildReason::Damaged(_)) => {
                assert_eq!(report.replayed, RECORDS as u64, "{name}");
                assert_eq!(home.quarantined(), 1, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
        index.close().unwrap();
        drop(index);
        assert_eq!(
            home.open().1.rebuilt,
            None,
            "{name}: the rebuilt index opens"
        );
    }
}

#[test]
fn a45_records_that_vanish_without_an_error_are_missed() {
    let home = Home::with_records(100);
    home.open().0.close().unwrap();
    // What sled does when the end of its file is cut: fewer records, no error.
    let store = SledStore::open(&home.index_dir().join("sled"), SMALL.cache_bytes).unwrap();
    let key = record_key(b"agreement/000042");
    store.apply(Table::Agreements, &[Op::delete(key)]).unwrap();
    drop(store);
    let (index, report) = home.open();
    let Some(RebuildReason::Damaged(what)) = report.rebuilt else {
        panic!("{report:?}");
    };
    assert!(what.contains("agreements"), "{what}");
    assert_eq!(all(&index), home.expected());
}

#[test]
fn the_newest_two_damaged_databases_are_kept() {
    let home = Home::with_records(10);
    for round in 1..=4 {
        home.open().0.close().unwrap();
        change(&home.index_dir().join("sled"), |bytes| bytes.fill(0x55));
        let (_, report) = home.open();
        assert!(
            matches!(report.rebuilt, Some(RebuildReason::Damaged(_))),
            "{report:?}"
        );
        assert!(report.quarantined.unwrap().exists());
        assert_eq!(home.quarantined(), round.min(2));
        // The next round begins from a clean shutdown.
        fs::remove_dir_all(home.index_dir().join("sled")).unwrap();
    }
}

fn database(dir: &Path) -> PathBuf {
    dir.join("db")
}

fn cut(dir: &Path, len: impl Fn(u64) -> u64) {
    let file = fs::OpenOptions::new()
        .write(true)
        .open(database(dir))
        .unwrap();
    let now = file.metadata().unwrap().len();
    file.set_len(len(now)).unwrap();
}

fn change(dir: &Path, with: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(database(dir)).unwrap();
    with(&mut bytes);
    fs::write(database(dir), bytes).unwrap();
}

fn remove(dir: &Path, prefix: &str) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

//! A disk that is full or broken.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::super::disk::Append;
use super::*;

#[tokio::test]
#[expect(
    clippy::await_holding_lock,
    reason = "nothing is awaited while the gate is shut"
)]
async fn appends_that_wait_share_one_sync() {
    let home = TempDir::new().unwrap();
    let disk = FaultyDisk::default();
    let faults = Arc::clone(&disk.faults);
    let (journal, _) = Journal::open_on(Box::new(disk), home.path(), SMALL).unwrap();
    let gate = faults.gate.lock().unwrap();
    let records: Vec<Vec<Vec<u8>>> = (0..100u8).map(|i| vec![vec![i]]).collect();
    let appends = records.iter().map(|record| journal.append(record));
    let mut appends = futures::future::join_all(appends);
    // The first poll queues all of them; what the writer took before it met
    // the gate is one group, the rest is another.
    assert!(futures::poll!(&mut appends).is_pending());
    drop(gate);
    let positions: Vec<Position> = appends.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(positions, (0..100).collect::<Vec<_>>());
    assert!(faults.syncs.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn a_full_disk_fails_the_append_and_nothing_else() {
    let home = TempDir::new().unwrap();
    let disk = FaultyDisk::default();
    let faults = Arc::clone(&disk.faults);
    let (journal, _) = Journal::open_on(Box::new(disk), home.path(), SMALL).unwrap();
    journal.append(&[b"before".to_vec()]).await.unwrap();
    let size = fs::metadata(last_segment(home.path())).unwrap().len();

    faults.space.store(10, Ordering::SeqCst);
    let error = journal.append(&[vec![1; 100]]).await.unwrap_err();
    assert!(matches!(error, JournalError::NoSpace { .. }), "{error}");
    assert_eq!(journal.health(), Health::NoSpace);
    assert_eq!(journal.len(), 1);
    // What was half written is gone, and reading goes on.
    assert_eq!(fs::metadata(last_segment(home.path())).unwrap().len(), size);
    assert_eq!(journal.read(0).unwrap().unwrap(), b"before");
    assert!(journal.probe().await.is_err());
    assert_eq!(journal.health(), Health::NoSpace);

    faults.space.store(u64::MAX, Ordering::SeqCst);
    journal.probe().await.unwrap();
    assert_eq!(journal.health(), Health::Ok);
    assert_eq!(journal.append(&[b"after".to_vec()]).await.unwrap(), 1);
    drop(journal);
    let (journal, report) = Journal::open(home.path(), SMALL).unwrap();
    assert_eq!(report.torn, None);
    assert_eq!(contents(&journal), [&b"before"[..], b"after"]);
}

#[test]
fn a_disk_that_is_full_when_a_segment_begins_recovers_too() {
    let home = TempDir::new().unwrap();
    let disk = FaultyDisk::default();
    let faults = Arc::clone(&disk.faults);
    faults.space.store(0, Ordering::SeqCst);
    let (journal, _) = Journal::open_on(Box::new(disk), home.path(), SMALL).unwrap();
    assert!(matches!(
        append(&journal, &[b"a"]),
        Err(JournalError::NoSpace { .. })
    ));
    faults.space.store(u64::MAX, Ordering::SeqCst);
    assert_eq!(append(&journal, &[b"a"]).unwrap(), 0);
    assert_eq!(journal.health(), Health::Ok);
}

#[tokio::test]
async fn a_failed_sync_is_final_and_never_retried() {
    let home = TempDir::new().unwrap();
    let disk = FaultyDisk::default();
    let faults = Arc::clone(&disk.faults);
    let (journal, _) = Journal::open_on(Box::new(disk), home.path(), SMALL).unwrap();
    journal.append(&[b"before".to_vec()]).await.unwrap();
    let mut health = journal.watch_health();

    faults.fail_sync.store(true, Ordering::SeqCst);
    let error = journal.append(&[b"lost".to_vec()]).await.unwrap_err();
    assert!(matches!(error, JournalError::Poisoned { .. }), "{error}");
    health
        .wait_for(|health| *health == Health::Poisoned)
        .await
        .unwrap();
    assert_eq!(journal.len(), 1);

    // The disk works again; the process does not believe it.
    faults.fail_sync.store(false, Ordering::SeqCst);
    let syncs = faults.syncs.load(Ordering::SeqCst);
    for _ in 0..3 {
        let error = journal.append(&[b"more".to_vec()]).await.unwrap_err();
        assert!(matches!(error, JournalError::Poisoned { .. }), "{error}");
        assert!(journal.probe().await.is_err());
    }
    assert_eq!(faults.syncs.load(Ordering::SeqCst), syncs);
    assert_eq!(journal.health(), Health::Poisoned);
}

#[test]
fn a_failed_write_or_truncation_is_final_too() {
    for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
        let home = TempDir::new().unwrap();
        let disk = FaultyDisk::default();
        let faults = Arc::clone(&disk.faults);
        let (journal, _) = Journal::open_on(Box::new(disk), home.path(), SMALL).unwrap();
        append(&journal, &[b"before"]).unwrap();
        *faults.fail_write.lock().unwrap() = Some(kind);
        faults.fail_truncate.store(true, Ordering::SeqCst);
        assert!(matches!(
            append(&journal, &[b"lost"]),
            Err(JournalError::Poisoned { .. })
        ));
        *faults.fail_write.lock().unwrap() = None;
        faults.fail_truncate.store(false, Ordering::SeqCst);
        assert!(matches!(
            append(&journal, &[b"more"]),
            Err(JournalError::Poisoned { .. })
        ));
    }
}

#[test]
fn a_writer_that_panicked_is_as_good_as_poisoned() {
    let home = TempDir::new().unwrap();
    let disk = FaultyDisk::default();
    let faults = Arc::clone(&disk.faults);
    let (journal, _) = Journal::open_on(Box::new(disk), home.path(), SMALL).unwrap();
    // A poisoned mutex makes the disk's next sync panic.
    let poisoner = Arc::clone(&faults);
    let _ = std::thread::spawn(move || {
        let _gate = poisoner.gate.lock().unwrap();
        panic!("on purpose");
    })
    .join();
    assert!(matches!(
        append(&journal, &[b"lost"]),
        Err(JournalError::Poisoned { .. })
    ));
    assert!(append(&journal, &[b"more"]).is_err());
    let mut health = journal.watch_health();
    while futures::executor::block_on(health.changed()).is_ok() {}
    assert_eq!(journal.health(), Health::Poisoned);
}

/// A disk that fails when it is told to.
#[derive(Default)]
struct FaultyDisk {
    faults: Arc<Faults>,
}

struct Faults {
    /// Bytes that still fit.
    space: AtomicU64,
    fail_sync: AtomicBool,
    fail_truncate: AtomicBool,
    fail_write: Mutex<Option<io::ErrorKind>>,
    /// Syncs wait while this is held.
    gate: Mutex<()>,
    syncs: AtomicU64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            space: AtomicU64::new(u64::MAX),
            fail_sync: AtomicBool::new(false),
            fail_truncate: AtomicBool::new(false),
            fail_write: Mutex::new(None),
            gate: Mutex::new(()),
            syncs: AtomicU64::new(0),
        }
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path, header: &[u8]) -> io::Result<Box<dyn Append>> {
        if self.faults.space.load(Ordering::SeqCst) < header.len() as u64 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.wrap(FileSystem.create(path, header)?)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        self.wrap(FileSystem.open(path)?)
    }
}

impl FaultyDisk {
    fn wrap(&self, file: Box<dyn Append>) -> io::Result<Box<dyn Append>> {
        Ok(Box::new(FaultyFile {
            file,
            faults: Arc::clone(&self.faults),
        }))
    }
}

struct FaultyFile {
    file: Box<dyn Append>,
    faults: Arc<Faults>,
}

impl Append for FaultyFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some(kind) = *self.faults.fail_write.lock().unwrap() {
            return Err(kind.into());
        }
        let space = self.faults.space.load(Ordering::SeqCst);
        if space < bytes.len() as u64 {
            // A real disk takes what fits before it fails.
            self.file.write_at(&bytes[..space as usize], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_at(bytes, offset)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        if self.faults.fail_truncate.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected"));
        }
        self.file.truncate(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        let _gate = self.faults.gate.lock().unwrap();
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        if self.faults.fail_sync.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected"));
        }
        self.file.sync()
    }
}

//! The node's append-only, fsynced, Merkle-hashed log: the truth.
//!
//! Acknowledged state survives power loss because of the journal; the
//! [`index`](crate::index) may be rebuilt from it at any time. A record is an
//! event of this node, as bytes; what the bytes mean is not this room's matter.
//!
//! ```text
//! append ──> bounded queue ──> writer thread: gather what waits into one group
//!                                             write, fdatasync, then acknowledge all of it
//! ```
//!
//! * Records are numbered from 0 without gaps; the number is a record's [`Position`].
//! * The records of one `append` are one unit: after a crash all of them are there, or none.
//! * A full disk fails the append and nothing else: what was half written is
//!   cut off, nothing is acknowledged, and appends work again once there is space.
//! * A failed sync is final for the process. After an error the kernel may have
//!   dropped the dirty pages, and a second sync would report success for data
//!   that is gone, so it is never retried.
//! * The records, each with a salt of its own ([`Entry`]), are the leaves of an
//!   RFC 6962 tree ([`merkle`]), so that partners who hold an old root catch a
//!   log that was cut or rewritten (A33), and personal data can be erased.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};

mod disk;
mod entry;
mod erase;
mod error;
mod lock;
pub mod merkle;
mod offline;
mod open;
mod segment;
mod writer;

pub use entry::{Entry, SALT_BYTES, Salt};
pub use erase::Erased;
pub use error::JournalError;
pub use offline::{Break, Walk};
pub use open::{OpenReport, TornTail};
pub use segment::MAX_RECORD_BYTES;

pub(crate) use disk::sync_dir;

use disk::{Disk, FileSystem};
use lock::Lock;
use merkle::{Hash, Tree};
use segment::{FRAME_BYTES, Frame};
use writer::{Command, Writer};

/// The number of a record, from 0.
pub type Position = u64;

/// The most bytes that one append may take in the file: 24 for each record besides its content.
pub const MAX_APPEND_BYTES: usize = 8 << 20;

/// Appends that may wait for the writer; the next one waits for a place.
pub const QUEUE_APPENDS: usize = 1024;

/// The smallest and largest allowed [`Settings::segment_bytes`].
pub const SEGMENT_BYTES_RANGE: std::ops::RangeInclusive<u64> = (64 << 10)..=(256 << 20);

/// How a journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes after which a new segment file begins. A segment is read into
    /// memory when the journal is opened. Clamped to [`SEGMENT_BYTES_RANGE`].
    pub segment_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
        }
    }
}

/// Whether the journal takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// The last write reached the disk.
    Ok,
    /// The disk was full at the last write. The next append, or
    /// [`Journal::probe`], finds out whether there is space again.
    NoSpace,
    /// A write or a sync failed: nothing is appended until the node is restarted.
    Poisoned,
}

/// An open journal. One process holds it; share it within the process in an `Arc`.
///
/// Dropping it waits for the appends that are queued, then releases the folder.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    health: watch::Receiver<Health>,
    // In an Option for `Drop`: the writer ends when the last sender is gone.
    queue: Option<mpsc::Sender<Command>>,
    writer: Option<JoinHandle<()>>,
    // Released last, when the writer has ended.
    _lock: Lock,
}

impl Journal {
    /// Opens the journal in the folder `dir`, which is created if it is missing.
    ///
    /// Reads and checks every record. A torn tail (a group of records that a
    /// crash cut short, so never acknowledged) is cut off and reported; damage
    /// anywhere else is refused with the file and the offset (A45).
    pub fn open(dir: &Path, settings: Settings) -> Result<(Self, OpenReport), JournalError> {
        Self::open_on(Box::new(FileSystem), dir, settings)
    }

    fn open_on(
        disk: Box<dyn Disk>,
        dir: &Path,
        settings: Settings,
    ) -> Result<(Self, OpenReport), JournalError> {
        create_private_dir(dir).map_err(|source| JournalError::io(dir, source))?;
        let lock = Lock::acquire(dir)?;
        let (state, tail, report) = open::open(&*disk, dir)?;
        let shared = Arc::new(Shared {
            state: RwLock::new(state),
        });
        let (health_sender, health) = watch::channel(Health::Ok);
        let (queue, commands) = mpsc::channel(QUEUE_APPENDS);
        let writer = Writer::new(
            disk,
            dir,
            settings
                .segment_bytes
                .clamp(*SEGMENT_BYTES_RANGE.start(), *SEGMENT_BYTES_RANGE.end()),
            tail,
            Arc::clone(&shared),
            health_sender,
        );
        let writer = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(commands))
            .map_err(|source| JournalError::io(dir, source))?;
        Ok((
            Self {
                shared,
                health,
                queue: Some(queue),
                writer: Some(writer),
                _lock: lock,
            },
            report,
        ))
    }

    /// Appends `records` as one unit and returns the position of the first,
    /// when all of them are on the device.
    ///
    /// A future that is dropped before it is ready leaves it open whether the
    /// records were written.
    pub async fn append(&self, records: &[Vec<u8>]) -> Result<Position, JournalError> {
        let (command, reply) = Command::append(records)?;
        self.queue()?.send(command).await.map_err(|_| gone())?;
        reply.await.map_err(|_| gone())?
    }

    /// [`Journal::append`] for threads outside the async runtime; panics within it.
    pub fn append_blocking(&self, records: &[Vec<u8>]) -> Result<Position, JournalError> {
        let (command, reply) = Command::append(records)?;
        self.queue()?.blocking_send(command).map_err(|_| gone())?;
        reply.blocking_recv().map_err(|_| gone())?
    }

    /// Tries whether the disk takes a write, without appending anything, and
    /// brings [`Journal::health`] up to date.
    ///
    /// For a node that refuses new promises while the disk is full, and would
    /// otherwise never write again.
    pub async fn probe(&self) -> Result<(), JournalError> {
        let (reply, answer) = oneshot::channel();
        self.queue()?
            .send(Command::Probe(reply))
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Whether the journal takes records, as of the last write.
    pub fn health(&self) -> Health {
        // The writer's end of the channel is gone only if it panicked.
        match self.health.has_changed() {
            Ok(_) => *self.health.borrow(),
            Err(_) => Health::Poisoned,
        }
    }

    /// Follows [`Journal::health`]: a node ends itself when it turns
    /// [`Health::Poisoned`], or when the channel closes under an open journal.
    pub fn watch_health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// The number of durable records, which is the position that the next one gets.
    pub fn len(&self) -> u64 {
        self.shared.read().tree.size()
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all segment files.
    pub fn bytes(&self) -> u64 {
        self.shared.read().segments.iter().map(|s| s.end).sum()
    }

    /// The record at `position`, checked against its checksum; `None` past the
    /// end, and where the record was erased.
    pub fn read(&self, position: Position) -> Result<Option<Vec<u8>>, JournalError> {
        let Some(place) = self.shared.read().locate(position) else {
            return Ok(None);
        };
        place.read()
    }

    /// The records from position `from` to the end as it is now, in order,
    /// without those that were erased.
    pub fn replay(&self, from: Position) -> Replay<'_> {
        Replay {
            journal: self,
            next: from,
            end: self.len(),
        }
    }

    /// The RFC 6962 root over the first `size` records; `None` when there are fewer.
    pub fn root(&self, size: u64) -> Option<Hash> {
        self.shared.read().tree.root(size)
    }

    /// The audit path of the record at `position` in the tree of `size` records.
    pub fn inclusion_proof(&self, position: Position, size: u64) -> Option<Vec<Hash>> {
        self.shared.read().tree.inclusion(position, size)
    }

    /// The proof that the first `old` records are a prefix of the first `new`.
    pub fn consistency_proof(&self, old: u64, new: u64) -> Option<Vec<Hash>> {
        self.shared.read().tree.consistency(old, new)
    }

    /// Reads the journal in `dir` as it is at this moment, without its lock and
    /// without changing anything, giving each record to `visit` in order. For
    /// auditors: a running node may go on writing (`spec/6-evidence.md#V-7`).
    ///
    /// Damage is a finding and not an error; see [`Walk::broken`]. An error is a
    /// file that cannot be read, or one of another version of this program.
    pub fn walk(dir: &Path, visit: impl FnMut(Position, Entry<'_>)) -> Result<Walk, JournalError> {
        offline::walk(dir, visit)
    }

    fn queue(&self) -> Result<&mpsc::Sender<Command>, JournalError> {
        self.queue.as_ref().ok_or_else(gone)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was already answered with `Poisoned`.
            let _ = writer.join();
        }
    }
}

/// Records in order; ends after the first error.
#[derive(Debug)]
pub struct Replay<'a> {
    journal: &'a Journal,
    next: Position,
    end: Position,
}

impl Iterator for Replay<'_> {
    type Item = Result<(Position, Vec<u8>), JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.next < self.end {
            let position = self.next;
            self.next += 1;
            match self.journal.read(position) {
                Ok(Some(record)) => return Some(Ok((position, record))),
                // Erased.
                Ok(None) => {}
                Err(error) => {
                    self.next = self.end;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// What readers and the writer share: only durable records are in it.
#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
}

impl Shared {
    // Nothing panics while holding the lock half way through a change that a
    // reader could misread, so a poisoned lock is taken as it is.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct State {
    segments: Vec<Segment>,
    tree: Tree,
}

impl State {
    fn locate(&self, position: Position) -> Option<Place> {
        let after = self.segments.partition_point(|s| s.first <= position);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        let index = usize::try_from(position - segment.first).ok()?;
        let start = u64::from(*segment.offsets.get(index)?);
        let end = segment
            .offsets
            .get(index + 1)
            .map_or(segment.end, |next| u64::from(*next));
        Some(Place {
            file: Arc::clone(&segment.file),
            path: Arc::clone(&segment.path),
            seed: segment.seed,
            start,
            len: usize::try_from(end - start).ok()?,
        })
    }
}

/// A segment file and where its durable records begin.
#[derive(Debug)]
struct Segment {
    path: Arc<PathBuf>,
    file: Arc<File>,
    seed: u32,
    first: Position,
    offsets: Vec<u32>,
    end: u64,
}

/// Where one record stands.
struct Place {
    file: Arc<File>,
    path: Arc<PathBuf>,
    seed: u32,
    start: u64,
    len: usize,
}

impl Place {
    /// `None` when it was erased.
    fn read(&self) -> Result<Option<Vec<u8>>, JournalError> {
        let mut bytes = vec![0; self.len.min(FRAME_BYTES + MAX_RECORD_BYTES)];
        self.file
            .read_exact_at(&mut bytes, self.start)
            .map_err(|source| JournalError::io(&self.path, source))?;
        match Frame::at(self.seed, &bytes, 0).filter(|frame| frame.len() == bytes.len()) {
            Some(frame) if matches!(frame.entry, Entry::Erased(_)) => return Ok(None),
            Some(_) => {}
            None => {
                return Err(JournalError::corrupt(
                    &self.path,
                    self.start,
                    "the record changed on disk since it was written",
                ));
            }
        }
        bytes.drain(..FRAME_BYTES);
        Ok(Some(bytes))
    }
}

/// Creates `dir` for its owner only, if it is missing.
fn create_private_dir(dir: &Path) -> io::Result<()> {
    if fs::metadata(dir).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    dir.parent().map_or(Ok(()), sync_dir)
}

fn gone() -> JournalError {
    JournalError::Poisoned {
        reason: "the journal's writer has ended".into(),
    }
}

#[cfg(test)]
mod tests;

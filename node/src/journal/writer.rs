//! The one thread that writes: gathers appends into a group, syncs once, acknowledges.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::disk::Disk;
use super::entry::{Entry, SALT_BYTES, Salt};
use super::error::is_no_space;
use super::merkle::Hash;
use super::open::Current;
use super::segment::{self, FRAME_BYTES, HEADER_BYTES, Header};
use super::{
    Health, JournalError, MAX_APPEND_BYTES, MAX_RECORD_BYTES, Position, Segment, Shared, State,
};

/// Bytes that a probe writes and takes back: one block of common file systems.
const PROBE_BYTES: usize = 4096;

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Make these records durable and answer with the position of the first.
    Append {
        records: Vec<Vec<u8>>,
        bytes: usize,
        reply: oneshot::Sender<Result<Position, JournalError>>,
    },
    /// Answer whether the disk takes a write.
    Probe(oneshot::Sender<Result<(), JournalError>>),
}

impl Command {
    /// An append of `records`, whose sizes are checked here, before they queue.
    pub(super) fn append(
        records: &[Vec<u8>],
    ) -> Result<(Self, oneshot::Receiver<Result<Position, JournalError>>), JournalError> {
        let bytes = records
            .iter()
            .map(|record| FRAME_BYTES.saturating_add(record.len()))
            .fold(0, usize::saturating_add);
        if let Some(bad) = records
            .iter()
            .find(|record| record.is_empty() || record.len() > MAX_RECORD_BYTES)
        {
            return Err(JournalError::RecordSize { bytes: bad.len() });
        }
        if bytes == 0 || bytes > MAX_APPEND_BYTES {
            return Err(JournalError::AppendSize { bytes });
        }
        let (reply, answer) = oneshot::channel();
        let records = records.to_vec();
        Ok((
            Self::Append {
                records,
                bytes,
                reply,
            },
            answer,
        ))
    }
}

/// The writer's state; lives on its own thread.
pub(super) struct Writer {
    disk: Box<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    current: Option<Current>,
    shared: Arc<Shared>,
    health: watch::Sender<Health>,
    /// The first failure after which nothing may be written.
    poisoned: Option<Arc<str>>,
}

impl Writer {
    pub(super) fn new(
        disk: Box<dyn Disk>,
        dir: &Path,
        segment_bytes: u64,
        current: Option<Current>,
        shared: Arc<Shared>,
        health: watch::Sender<Health>,
    ) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            segment_bytes,
            current,
            shared,
            health,
            poisoned: None,
        }
    }

    /// Serves `commands` until every sender is gone.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut next = commands.blocking_recv();
        while let Some(command) = next.take() {
            match command {
                Command::Probe(reply) => {
                    // Nobody may wait for the answer any more; the health is up to date.
                    let _ = reply.send(self.probe());
                }
                Command::Append {
                    records,
                    bytes,
                    reply,
                } => {
                    let mut group = Group::default();
                    group.push(records, bytes, reply);
                    // Whatever does not join this group begins the next round.
                    while let Ok(command) = commands.try_recv() {
                        match command {
                            Command::Append {
                                records,
                                bytes,
                                reply,
                            } if group.bytes + bytes <= MAX_APPEND_BYTES => {
                                group.push(records, bytes, reply);
                            }
                            other => {
                                next = Some(other);
                                break;
                            }
                        }
                    }
                    let result = self.write(&group.records);
                    group.answer(result);
                }
            }
            if next.is_none() {
                next = commands.blocking_recv();
            }
        }
    }

    /// Makes `records` durable, then visible to readers.
    fn write(&mut self, records: &[Vec<u8>]) -> Result<Position, JournalError> {
        self.refuse_if_poisoned()?;
        let mut current = self.segment_for_next()?;
        let salts = match random_salts(records.len()) {
            Ok(salts) => salts,
            Err(error) => {
                self.current = Some(current);
                return Err(error);
            }
        };
        let entries = || {
            let kept = |(salt, record)| Entry::Kept { salt, record };
            salts
                .iter()
                .zip(records.iter().map(Vec::as_slice))
                .map(kept)
        };
        let mut bytes = Vec::new();
        segment::encode_group(current.seed, entries(), &mut bytes);
        let written = self.write_and_sync(&mut current, &bytes);
        let start = current.end;
        if written.is_ok() {
            current.end += bytes.len() as u64;
        }
        let end = current.end;
        self.current = Some(current);
        written?;
        // Hashed before the lock is taken: readers do not wait for it.
        let leaves: Vec<Hash> = entries().map(|entry| entry.leaf()).collect();
        let position = publish(&mut self.shared.write(), records, leaves, start, end);
        self.health.send_replace(Health::Ok);
        Ok(position)
    }

    fn write_and_sync(&mut self, current: &mut Current, bytes: &[u8]) -> Result<(), JournalError> {
        if let Err(error) = current.file.write_at(bytes, current.end) {
            if !is_no_space(&error) {
                return Err(self.poison(format!("write: {error}")));
            }
            // What was half written must go: a later append would otherwise
            // stand behind a bad record.
            if let Err(error) = current.file.truncate(current.end) {
                return Err(self.poison(format!("truncate after a full disk: {error}")));
            }
            self.health.send_replace(Health::NoSpace);
            return Err(JournalError::NoSpace {
                file: current.path.to_path_buf(),
            });
        }
        // Never retried, whatever the error says, a full disk included.
        current
            .file
            .sync()
            .map_err(|error| self.poison(format!("sync: {error}")))
    }

    /// The segment that the next group goes to: the current one, or a new one when it is full.
    fn segment_for_next(&mut self) -> Result<Current, JournalError> {
        if let Some(current) = self.current.take_if(|c| c.end < self.segment_bytes) {
            return Ok(current);
        }
        let header = Header {
            seed: random_seed()?,
            first: self.shared.read().tree.size(),
        };
        let path = Arc::new(segment::file_name(&self.dir, header.first));
        let created = self
            .disk
            .create(&path, &header.encode())
            .and_then(|file| Ok((file, File::open(&*path)?)));
        let (file, reader) = match created {
            Ok(files) => files,
            Err(error) if is_no_space(&error) => {
                self.health.send_replace(Health::NoSpace);
                return Err(JournalError::io(&path, error));
            }
            Err(error) => return Err(self.poison(format!("create a segment: {error}"))),
        };
        self.shared.write().segments.push(Segment {
            path: Arc::clone(&path),
            file: Arc::new(reader),
            seed: header.seed,
            first: header.first,
            offsets: Vec::new(),
            end: HEADER_BYTES as u64,
        });
        Ok(Current {
            file,
            path,
            seed: header.seed,
            end: HEADER_BYTES as u64,
        })
    }

    /// Writes a block past the end and takes it back. A crash in between leaves a torn tail.
    fn probe(&mut self) -> Result<(), JournalError> {
        self.refuse_if_poisoned()?;
        let mut current = self.segment_for_next()?;
        let written = current.file.write_at(&[0; PROBE_BYTES], current.end);
        let restored = current.file.truncate(current.end);
        let path = current.path.to_path_buf();
        self.current = Some(current);
        if let Err(error) = restored {
            return Err(self.poison(format!("truncate after a probe: {error}")));
        }
        match written {
            Ok(()) => {
                self.health.send_replace(Health::Ok);
                Ok(())
            }
            Err(error) if is_no_space(&error) => {
                self.health.send_replace(Health::NoSpace);
                Err(JournalError::NoSpace { file: path })
            }
            Err(error) => Err(self.poison(format!("write: {error}"))),
        }
    }

    fn refuse_if_poisoned(&self) -> Result<(), JournalError> {
        self.poisoned.as_ref().map_or(Ok(()), |reason| {
            Err(JournalError::Poisoned {
                reason: Arc::clone(reason),
            })
        })
    }

    fn poison(&mut self, reason: String) -> JournalError {
        tracing::error!(%reason, "the journal stopped: nothing is recorded until the node is restarted");
        let reason: Arc<str> = reason.into();
        self.poisoned = Some(Arc::clone(&reason));
        self.health.send_replace(Health::Poisoned);
        JournalError::Poisoned { reason }
    }
}

/// Appends that share one write and one sync.
#[derive(Default)]
struct Group {
    records: Vec<Vec<u8>>,
    bytes: usize,
    waiting: Vec<(u64, oneshot::Sender<Result<Position, JournalError>>)>,
}

impl Group {
    fn push(
        &mut self,
        records: Vec<Vec<u8>>,
        bytes: usize,
        reply: oneshot::Sender<Result<Position, JournalError>>,
    ) {
        self.waiting.push((self.records.len() as u64, reply));
        self.records.extend(records);
        self.bytes += bytes;
    }

    fn answer(self, result: Result<Position, JournalError>) {
        for (skip, reply) in self.waiting {
            // The caller may have stopped waiting; the record stands all the same.
            let _ = reply.send(result.clone().map(|first| first + skip));
        }
    }
}

/// Adds durable `records`, written from `start` to `end` of the last segment; returns the first's position.
fn publish(
    state: &mut State,
    records: &[Vec<u8>],
    leaves: Vec<Hash>,
    start: u64,
    end: u64,
) -> Position {
    let position = state.tree.size();
    if let Some(segment) = state.segments.last_mut() {
        let mut offset = start;
        for (record, leaf) in records.iter().zip(leaves) {
            // Fits: a segment file is bounded far below 4 GiB.
            segment.offsets.push(offset as u32);
            offset += (FRAME_BYTES + record.len()) as u64;
            state.tree.push(leaf);
        }
        segment.end = end;
    }
    position
}

/// A salt for each of `count` records: secret until the record is shown.
fn random_salts(count: usize) -> Result<Vec<Salt>, JournalError> {
    let mut bytes = vec![0; count * SALT_BYTES];
    getrandom::fill(&mut bytes).map_err(no_random)?;
    let (salts, _) = bytes.as_chunks::<SALT_BYTES>();
    Ok(salts.to_vec())
}

fn random_seed() -> Result<u32, JournalError> {
    getrandom::u32().map_err(no_random)
}

fn no_random(error: getrandom::Error) -> JournalError {
    JournalError::Poisoned {
        reason: format!("no random bytes: {error}").into(),
    }
}

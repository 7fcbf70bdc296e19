//! Reading a journal as evidence: without its lock, without changing it.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::merkle::Tree;
use super::open::MAX_SEGMENT_FILE_BYTES;
use super::segment::{self, Header, Tail};
use super::{Entry, JournalError, Position, TornTail};

/// What [`Journal::walk`](super::Journal::walk) found.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    /// The tree over the records up to the end, or up to where it breaks.
    pub tree: Tree,
    /// Segment files read.
    pub segments: usize,
    /// Records that were erased: their place is there, they are not.
    pub erased: u64,
    /// Bytes at the end that are no complete group: never acknowledged, or lost.
    pub torn: Option<TornTail>,
    /// Where the journal breaks, if it does. Nothing behind it was read.
    pub broken: Option<Break>,
}

/// The first place at which a journal is not what was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Break {
    /// Bytes changed.
    #[error(transparent)]
    Damaged(JournalError),
    /// Records are missing between two segments, or at the beginning.
    #[error("{} begins with record {found}, and the records from {expected} on are in no file", file.display())]
    Missing {
        /// The segment behind the gap.
        file: PathBuf,
        /// The record that should be next.
        expected: Position,
        /// The record that is.
        found: Position,
    },
    /// A segment that others follow ends within a group.
    #[error("{} ends at byte {offset} within a record, and a later segment exists", file.display())]
    CutShort {
        /// The segment.
        file: PathBuf,
        /// Where its last complete group ends.
        offset: u64,
    },
}

/// Reads every record of the journal in `dir`; see [`Journal::walk`](super::Journal::walk).
pub(super) fn walk(
    dir: &Path,
    mut visit: impl FnMut(Position, Entry<'_>),
) -> Result<Walk, JournalError> {
    let files = sized_segments(dir)?;
    let mut walk = Walk::default();
    for (i, (path, size)) in files.iter().enumerate() {
        let bytes = read(path, *size)?;
        let header = match Header::decode(&bytes, path) {
            Ok(header) => header,
            Err(damage @ JournalError::Corrupt { .. }) => {
                walk.broken = Some(Break::Damaged(damage));
                return Ok(walk);
            }
            Err(error) => return Err(error),
        };
        let expected = walk.tree.size();
        if header.first > expected {
            walk.broken = Some(Break::Missing {
                file: path.clone(),
                expected,
                found: header.first,
            });
            return Ok(walk);
        }
        if header.first < expected || segment::file_name(dir, header.first) != *path {
            let what = "the segment does not follow the one before it";
            walk.broken = Some(Break::Damaged(JournalError::corrupt(path, 16, what)));
            return Ok(walk);
        }
        walk.segments += 1;
        let scan = segment::scan(header.seed, &bytes, |entry| {
            if matches!(entry, Entry::Erased(_)) {
                walk.erased += 1;
            }
            visit(walk.tree.size(), entry);
            walk.tree.push(entry.leaf());
        });
        let is_last = i + 1 == files.len();
        walk.broken = match scan.tail {
            None => None,
            Some(Tail::Damaged(offset)) => Some(damaged(path, offset)),
            Some(Tail::Torn) => match segment::bad_record(header.seed, &bytes, scan.end) {
                Some(offset) => Some(damaged(path, offset)),
                None if is_last => {
                    walk.torn = Some(TornTail {
                        file: path.clone(),
                        offset: scan.end as u64,
                        bytes: (bytes.len() - scan.end) as u64,
                    });
                    None
                }
                None => Some(Break::CutShort {
                    file: path.clone(),
                    offset: scan.end as u64,
                }),
            },
        };
        if walk.broken.is_some() {
            return Ok(walk);
        }
    }
    Ok(walk)
}

fn damaged(path: &Path, offset: usize) -> Break {
    let what = "the record's checksum or length is wrong";
    Break::Damaged(JournalError::corrupt(path, offset as u64, what))
}

/// The segments of `dir` with their sizes at this moment: a running node may
/// append while they are read, and what it appends is not part of this reading.
fn sized_segments(dir: &Path) -> Result<Vec<(PathBuf, u64)>, JournalError> {
    let failed = |source| JournalError::io(dir, source);
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if segment::is_segment(&path) {
            let size = fs::metadata(&path).map_err(failed)?.len();
            files.push((path, size));
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path, size: u64) -> Result<Vec<u8>, JournalError> {
    let failed = |source| JournalError::io(path, source);
    if size > MAX_SEGMENT_FILE_BYTES {
        let what = "the file is longer than a segment can be";
        return Err(JournalError::corrupt(path, MAX_SEGMENT_FILE_BYTES, what));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(size).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

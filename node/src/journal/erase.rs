//! Erasing records without changing what the journal proves.

use std::path::Path;

use super::disk::{Disk as _, FileSystem};
use super::lock::Lock;
use super::merkle::Tree;
use super::open::{self, read_bounded};
use super::segment::{self, Header};
use super::{Journal, JournalError};

/// What [`Journal::erase`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Records that were erased.
    pub records: u64,
    /// Segment files that were written anew.
    pub segments: usize,
}

impl Journal {
    /// Erases the records of the journal in `dir` that `choose` picks: record
    /// and salt give way to their hash, so positions, roots and proofs stay
    /// (`spec/6-evidence.md#V-2`). No process may have the journal open.
    ///
    /// Each segment is written anew beside the old one, synced and renamed over
    /// it. After a crash a segment is the old or the new one, never a mixture;
    /// erasing again does the rest. The old file's blocks are the file system's
    /// to reuse: on a disk that is given away, only encryption of the whole
    /// disk makes them unreadable.
    pub fn erase(
        dir: &Path,
        mut choose: impl FnMut(&[u8]) -> bool,
    ) -> Result<Erased, JournalError> {
        let _lock = Lock::acquire(dir)?;
        // Everything is checked before anything is replaced.
        let (state, _, _) = open::open(&FileSystem, dir)?;
        let mut done = Erased::default();
        for held in &state.segments {
            let (_, bytes) = read_bounded(&held.path)?;
            let end = usize::try_from(held.end).unwrap_or(usize::MAX);
            let Some((anew, records)) = segment::without(held.seed, &bytes, end, &mut choose)
            else {
                continue;
            };
            if leaves(&held.path, &anew)? != leaves(&held.path, &bytes)? {
                return Err(JournalError::corrupt(
                    &held.path,
                    0,
                    "erasing would change what the journal proves",
                ));
            }
            FileSystem
                .create(&held.path, &anew)
                .map_err(|source| JournalError::io(&held.path, source))?;
            done.records += records;
            done.segments += 1;
        }
        Ok(done)
    }
}

/// The root over the leaves of one segment's bytes.
fn leaves(file: &Path, bytes: &[u8]) -> Result<(u64, Option<super::merkle::Hash>), JournalError> {
    let header = Header::decode(bytes, file)?;
    let mut tree = Tree::default();
    segment::scan(header.seed, bytes, |entry| tree.push(entry.leaf()));
    Ok((tree.size(), tree.root(tree.size())))
}

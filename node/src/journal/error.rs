//! Why the journal refuses.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{MAX_APPEND_BYTES, MAX_RECORD_BYTES};

/// Why a journal cannot be opened, read or written.
///
/// Every case is local: no peer's input reaches this room unchecked. `Clone`,
/// because one failed sync answers every append that waited for it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The disk is full. Nothing of the append was kept; appends work again once there is space.
    #[error("no space left on the disk of {}: free some space; nothing was recorded", file.display())]
    NoSpace {
        /// The file that could not grow.
        file: PathBuf,
    },
    /// A write or a sync failed earlier; what the disk holds is no longer known.
    #[error(
        "the journal stopped after a failed write ({reason}): check the disk, then restart the node"
    )]
    Poisoned {
        /// The first failure.
        reason: Arc<str>,
    },
    /// Bytes that were once acknowledged are no longer what was written.
    #[error("{} is damaged at byte {offset}: {what}; restore the journal from a backup, do not edit it", file.display())]
    Corrupt {
        /// The segment.
        file: PathBuf,
        /// Offset of the first bad byte.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// Another version of this program wrote the segment.
    #[error("{} has format version {found}, this program knows {known}: {}", file.display(), other_program(*found, *known))]
    Version {
        /// The segment.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The version this program writes.
        known: u32,
    },
    /// Another process has the folder open.
    #[error("{} is in use by another comity process{}: stop it, or use another home folder", dir.display(), owner.map(|id| format!(" (process {id})")).unwrap_or_default())]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// The other process's id, where it could be read.
        owner: Option<u32>,
    },
    /// A record is empty or too long.
    #[error("a record of {bytes} bytes cannot be appended: allowed are 1 to {MAX_RECORD_BYTES}")]
    RecordSize {
        /// The record's length.
        bytes: usize,
    },
    /// One append holds no record, or too many bytes.
    #[error("an append of {bytes} bytes is refused: allowed are 1 to {MAX_APPEND_BYTES}")]
    AppendSize {
        /// Bytes of all records.
        bytes: usize,
    },
    /// The file system refused something else.
    #[error("cannot use {}: {source}", file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl JournalError {
    /// `source` while using `file`; a full disk is told apart.
    pub(super) fn io(file: &Path, source: io::Error) -> Self {
        let file = file.to_owned();
        if is_no_space(&source) {
            return Self::NoSpace { file };
        }
        Self::Io {
            file,
            source: Arc::new(source),
        }
    }

    pub(super) fn corrupt(file: &Path, offset: u64, what: &'static str) -> Self {
        Self::Corrupt {
            file: file.to_owned(),
            offset,
            what,
        }
    }
}

/// What to do about a segment of another version.
fn other_program(found: u32, known: u32) -> &'static str {
    if found > known {
        "start the newer program"
    } else {
        "it cannot be read as evidence; start the older program, or found a new home"
    }
}

/// Whether `error` means that space ran out: the disk's, or the user's quota.
pub(super) fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_full_quota_are_told_from_other_failures() {
        const ENOSPC: i32 = 28;
        const EDQUOT: i32 = 122;
        const EIO: i32 = 5;
        let no_space = |code| is_no_space(&io::Error::from_raw_os_error(code));
        assert!(no_space(ENOSPC) && no_space(EDQUOT));
        assert!(!no_space(EIO));
    }
}

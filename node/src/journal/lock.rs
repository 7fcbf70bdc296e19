//! One process per journal.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::JournalError;

/// The lock file's name within the journal's folder.
const FILE: &str = "lock";

/// Longest process id that is read back from a lock file, in bytes.
const MAX_OWNER_BYTES: u64 = 32;

/// Holds the folder for this process until dropped.
///
/// An advisory lock of the operating system: it ends with the process, so that
/// a killed node leaves nothing to clean up.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of `dir`, or says who holds it.
    pub(super) fn acquire(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|source| JournalError::io(&path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Only a hint in the message: an unreadable owner is no reason to fail differently.
                let _ = (&mut file).take(MAX_OWNER_BYTES).read_to_string(&mut owner);
                return Err(JournalError::Locked {
                    dir: dir.to_owned(),
                    owner: owner.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(JournalError::io(&path, source)),
        }
        // On a full disk the id is missing and the lock holds all the same.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

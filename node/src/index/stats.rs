//! What the index takes on disk.

use std::fs;
use std::path::Path;

/// sled's folder for values that it moves out of its file.
const BLOBS: &str = "blobs";

/// What a database takes on disk. Expect 5 to 10 times its content (`store.md` 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// Bytes of all files.
    pub bytes: u64,
    /// Values that sled moved into files of their own, which it never syncs:
    /// expected 0, because [`MAX_VALUE`](super::MAX_VALUE) is below its limit.
    pub blob_files: u64,
}

impl DiskUse {
    /// Of the database in `dir`; what cannot be read counts as nothing.
    pub(super) fn of(dir: &Path) -> Self {
        let (bytes, _) = files(dir);
        let (blob_bytes, blob_files) = files(&dir.join(BLOBS));
        Self {
            bytes: bytes + blob_bytes,
            blob_files,
        }
    }
}

/// Bytes and number of the files directly in `dir`.
fn files(dir: &Path) -> (u64, u64) {
    let Ok(entries) = fs::read_dir(dir) else {
        return (0, 0);
    };
    entries
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .filter(fs::Metadata::is_file)
        .fold((0, 0), |(bytes, count), file| {
            (bytes + file.len(), count + 1)
        })
}

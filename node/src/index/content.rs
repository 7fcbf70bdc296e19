//! Documents that are too long for the index: files named by the digest of their bytes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use comity_identity::Digest;

use crate::journal::sync_dir;

/// The longest document, in bytes; as long as a journal record.
pub const MAX_CONTENT_BYTES: usize = 1 << 20;

/// A folder of documents by digest. Adding one twice is adding it once.
#[derive(Debug)]
pub struct Content {
    dir: PathBuf,
    temporary: AtomicU64,
}

impl Content {
    /// Opens the folder `dir`, which is created if it is missing.
    pub fn open(dir: &Path) -> Result<Self, ContentError> {
        let failed = |source| ContentError::io(dir, source);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed)?;
        // What a killed process left half written has a name that no digest has.
        for entry in fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|ext| ext == "tmp") {
                fs::remove_file(&path).map_err(failed)?;
            }
        }
        Ok(Self {
            dir: dir.to_owned(),
            temporary: AtomicU64::new(0),
        })
    }

    /// Stores `bytes` durably and returns their digest.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, ContentError> {
        if bytes.len() > MAX_CONTENT_BYTES {
            return Err(ContentError::TooLong { bytes: bytes.len() });
        }
        let digest = Digest::of(bytes);
        let path = self.path(&digest);
        // A damaged file is written anew.
        if self.get(&digest).is_ok_and(|found| found.is_some()) {
            return Ok(digest);
        }
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.dir.join(format!("{number}.tmp"));
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            sync_dir(&self.dir)
        };
        write().map_err(|source| {
            // On a full disk the rest would take the space that is missing.
            let _ = fs::remove_file(&temporary);
            ContentError::io(&path, source)
        })?;
        Ok(digest)
    }

    /// The document with this digest, checked against it; `None` when it is not here.
    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ContentError> {
        let path = self.path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ContentError::io(&path, source)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_CONTENT_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| ContentError::io(&path, source))?;
        if Digest::of(&bytes) != *digest {
            return Err(ContentError::Damaged { file: path });
        }
        Ok(Some(bytes))
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir
            .join(data_encoding::HEXLOWER.encode(digest.as_bytes()))
    }
}

/// Why a document cannot be stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// It is longer than [`MAX_CONTENT_BYTES`].
    #[error("a document of {bytes} bytes is over the {MAX_CONTENT_BYTES} allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Its bytes changed on disk.
    #[error("{} no longer holds what was written: delete it, it is fetched or rebuilt again", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
    },
    /// The file system refused.
    #[error("cannot use {}: {source}", file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ContentError {
    fn io(file: &Path, source: io::Error) -> Self {
        Self::Io {
            file: file.to_owned(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn documents_are_found_by_their_digest_also_after_a_restart() {
        let dir = TempDir::new().unwrap();
        let content = Content::open(dir.path()).unwrap();
        let digest = content.put(b"a document").unwrap();
        assert_eq!(content.put(b"a document").unwrap(), digest);
        assert_eq!(digest, Digest::of(b"a document"));
        fs::write(dir.path().join("7.tmp"), "half of one").unwrap();
        let content = Content::open(dir.path()).unwrap();
        assert_eq!(content.get(&digest).unwrap().unwrap(), b"a document");
        assert_eq!(content.get(&Digest::of(b"another")).unwrap(), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_document_is_refused_and_can_be_written_again() {
        let dir = TempDir::new().unwrap();
        let content = Content::open(dir.path()).unwrap();
        let digest = content.put(b"a document").unwrap();
        fs::write(content.path(&digest), b"b document").unwrap();
        assert!(matches!(
            content.get(&digest),
            Err(ContentError::Damaged { .. })
        ));
        content.put(b"a document").unwrap();
        assert_eq!(content.get(&digest).unwrap().unwrap(), b"a document");
    }

    #[test]
    fn documents_are_bounded_on_both_sides() {
        let dir = TempDir::new().unwrap();
        let content = Content::open(dir.path()).unwrap();
        let longest = vec![1; MAX_CONTENT_BYTES];
        let digest = content.put(&longest).unwrap();
        assert_eq!(content.get(&digest).unwrap().unwrap(), longest);
        assert!(matches!(
            content.put(&vec![1; MAX_CONTENT_BYTES + 1]),
            Err(ContentError::TooLong { .. })
        ));
    }
}

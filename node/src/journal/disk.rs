//! What the journal asks of a disk, so that tests can make it fail.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Opens the files that the journal's writer appends to.
pub(super) trait Disk: Send + Sync {
    /// Creates `path` holding `header`, durably: a crash leaves the whole header or no file.
    fn create(&self, path: &Path, header: &[u8]) -> io::Result<Box<dyn Append>>;

    /// Opens an existing `path` for writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Append>>;
}

/// One file that the journal's writer appends to.
pub(super) trait Append: Send {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file to `len` bytes.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Returns when everything written is on the device (`fdatasync`).
    fn sync(&mut self) -> io::Result<()>;
}

/// The file system.
#[derive(Debug)]
pub(super) struct FileSystem;

impl Disk for FileSystem {
    fn create(&self, path: &Path, header: &[u8]) -> io::Result<Box<dyn Append>> {
        let temporary = path.with_extension("tmp");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all_at(header, 0)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_dir(path.parent().unwrap_or_else(|| Path::new(".")))?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }
}

impl Append for File {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Makes the names in `dir` durable: a file's own sync does not reach its directory entry.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

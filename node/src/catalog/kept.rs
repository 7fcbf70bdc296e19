//! The contract files of what is announced, as they were when it was.
//!
//! An author writes the next version into the same file. After a restart the
//! version that partners have agreements for must still be served as announced
//! (`spec/3-catalog.md#C-76`), so a copy of each file lies in the home folder. It is as private as the file.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use comity_identity::Digest;

use crate::failure::Failure;
use crate::products::{self, Contract};

/// Keeps a copy of `file`, whose bytes have `digest`, in `folder`.
pub(super) async fn keep(folder: &Path, file: &Path, digest: Digest) -> Result<(), Failure> {
    let (folder, file) = (folder.to_owned(), file.to_owned());
    let kept = tokio::task::spawn_blocking(move || write(&folder, &file, digest)).await;
    kept.map_err(|_| Failure::own("stopping", "the node is stopping"))?
        .map_err(|e| Failure::own("contract-copy", format!("the contract's copy: {e}")))
}

/// The contract that was announced from `file` when its bytes had `digest`.
pub(super) async fn recall(folder: &Path, file: &Path, digest: Digest) -> Option<Contract> {
    let (copy, file) = (path(folder, digest), file.to_owned());
    let read = tokio::task::spawn_blocking(move || {
        // A copy that somebody changed is not what was announced.
        let same = std::fs::read(&copy).is_ok_and(|bytes| Digest::of(&bytes) == digest);
        same.then(|| products::read_copy(&copy, &file)).flatten()
    });
    read.await.ok().flatten()?.ok()
}

fn path(folder: &Path, digest: Digest) -> PathBuf {
    let hex = digest.to_string().replacen("sha256:", "", 1);
    folder.join(format!("{hex}.odcs.yaml"))
}

fn write(folder: &Path, file: &Path, digest: Digest) -> std::io::Result<()> {
    let bytes = std::fs::read(file)?;
    if Digest::of(&bytes) != digest {
        return Err(std::io::Error::other(
            "the file changed while it was published",
        ));
    }
    std::fs::create_dir_all(folder)?;
    let path = path(folder, digest);
    // Whole or not at all: a node that is killed now must not find half of it.
    let half = path.with_extension("half");
    let mut copy = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&half)?;
    copy.write_all(&bytes)?;
    copy.sync_all()?;
    std::fs::rename(half, path)
}

//! Why keys cannot be created or opened.

use std::io;
use std::path::{Path, PathBuf};

use super::{MAX_PASSPHRASE_BYTES, MAX_PKCS8_BYTES};

/// Why keys cannot be created or opened. No message holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The file exists, and a key is never overwritten.
    #[error("{} exists already; keys are never overwritten: choose another home folder, or move this one away", file.display())]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// There is no such key file.
    #[error("{} is missing: run `comity init`, or bring the file back from where it is kept", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// Users other than the owner can reach the file or folder.
    #[error("{} can be read or changed by others (mode {mode:03o}): run `chmod {wanted:03o} '{}'`, and replace the keys if others may have read them", path.display(), path.display())]
    Exposed {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they should be.
        wanted: u32,
    },
    /// The file does not hold what its name says.
    #[error("{} is not a usable key file: {what}; restore it from a backup", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong, without its content.
        what: &'static str,
    },
    /// A TLS key that is to be stored is empty or too long.
    #[error("a TLS key of {bytes} bytes cannot be stored: allowed are 1 to {MAX_PKCS8_BYTES}")]
    TlsKeySize {
        /// Its length.
        bytes: usize,
    },
    /// The key is encrypted and no passphrase was given.
    #[error("{} is encrypted: give its passphrase with --passphrase-file, --passphrase-fd, or at the prompt", file.display())]
    PassphraseNeeded {
        /// The file.
        file: PathBuf,
    },
    /// The passphrase does not open the key.
    #[error("the passphrase does not open {}", file.display())]
    WrongPassphrase {
        /// The file.
        file: PathBuf,
    },
    /// The passphrase cannot be used.
    #[error("the passphrase is {0}: it is one line of 1 to {MAX_PASSPHRASE_BYTES} bytes of UTF-8")]
    BadPassphrase(&'static str),
    /// The key could not be encrypted.
    #[error("cannot encrypt the key: {0}")]
    Seal(String),
    /// `SSLKEYLOGFILE` is set (A44).
    #[error(
        "SSLKEYLOGFILE is set, which makes programs write their TLS secrets to a file: unset it and start again"
    )]
    KeyLog,
    /// The file system refused.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl KeysError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { file: path },
            io::ErrorKind::AlreadyExists => Self::Exists { file: path },
            _ => Self::Io { path, source },
        }
    }
}

//! One key file: a line that names kind and version, and a line with the secret.
//!
//! ```text
//! comity-key 1 doc
//! <unpadded base64url>
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use comity_identity::SecretKey;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{KeysError, MAX_PKCS8_BYTES, sealed};

/// The longest key file that is read, in bytes.
pub(super) const MAX_FILE_BYTES: usize = 16 << 10;

const FORMAT: &str = "comity-key 1";
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// What a key is for. It is part of the file, so that a file under another
/// key's name is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Root,
    NextRoot,
    Doc,
    Issuer,
    Node,
    TlsCa,
    TlsNode,
    Pseudonym,
}

impl Kind {
    pub(super) const ALL: [Self; 8] = [
        Self::Root,
        Self::NextRoot,
        Self::Doc,
        Self::Issuer,
        Self::Node,
        Self::TlsCa,
        Self::TlsNode,
        Self::Pseudonym,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::NextRoot => "next-root",
            Self::Doc => "doc",
            Self::Issuer => "issuer",
            Self::Node => "node",
            Self::TlsCa => "tls-ca",
            Self::TlsNode => "tls-node",
            Self::Pseudonym => "pseudonym",
        }
    }

    /// Whether the key can be encrypted, because a running node does not need it.
    pub(super) const fn is_root(self) -> bool {
        matches!(self, Self::Root | Self::NextRoot)
    }

    const fn is_pkcs8(self) -> bool {
        matches!(self, Self::TlsCa | Self::TlsNode)
    }

    pub(super) fn path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.key", self.name()))
    }

    pub(super) fn sealed_path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.key.age", self.name()))
    }
}

/// A key with its place; wiped when dropped.
pub(super) struct KeyFile {
    kind: Kind,
    secret: Zeroizing<Vec<u8>>,
}

impl KeyFile {
    /// A key that is not on disk yet: 32 bytes, or PKCS#8 for TLS.
    pub(super) fn new(kind: Kind, secret: Zeroizing<Vec<u8>>) -> Result<Self, KeysError> {
        if kind.is_pkcs8() && !(1..=MAX_PKCS8_BYTES).contains(&secret.len()) {
            return Err(KeysError::TlsKeySize {
                bytes: secret.len(),
            });
        }
        Ok(Self { kind, secret })
    }

    /// Writes the key in the clear.
    pub(super) fn create(&self, dir: &Path) -> Result<PathBuf, KeysError> {
        write_new(self.kind.path(dir), &self.encode())
    }

    /// Writes the key encrypted.
    pub(super) fn create_sealed(
        &self,
        dir: &Path,
        passphrase: &SecretString,
    ) -> Result<PathBuf, KeysError> {
        write_new(
            self.kind.sealed_path(dir),
            &sealed::seal(&self.encode(), passphrase)?,
        )
    }

    /// Writes the key to `path`, encrypted if there is a passphrase.
    pub(super) fn create_at(
        &self,
        path: PathBuf,
        passphrase: Option<&SecretString>,
    ) -> Result<PathBuf, KeysError> {
        match passphrase {
            Some(passphrase) => write_new(path, &sealed::seal(&self.encode(), passphrase)?),
            None => write_new(path, &self.encode()),
        }
    }

    /// Reads a key that is in the clear.
    pub(super) fn open(dir: &Path, kind: Kind) -> Result<Self, KeysError> {
        let path = kind.path(dir);
        Self::decode(kind, &read(&path)?, &path)
    }

    /// Reads a root key, encrypted or not.
    pub(super) fn open_root(
        dir: &Path,
        kind: Kind,
        passphrase: Option<&SecretString>,
    ) -> Result<Self, KeysError> {
        check_folder(dir)?;
        let path = kind.sealed_path(dir);
        let sealed = match read(&path) {
            Err(KeysError::Missing { .. }) => return Self::open(dir, kind),
            other => other?,
        };
        let passphrase =
            passphrase.ok_or_else(|| KeysError::PassphraseNeeded { file: path.clone() })?;
        Self::decode(kind, &sealed::open(&sealed, passphrase, &path)?, &path)
    }

    /// The key as an Ed25519 signing key.
    pub(super) fn signing_key(&self) -> Result<SecretKey, KeysError> {
        Ok(SecretKey::from_seed(&*self.seed()?))
    }

    /// The key's 32 bytes.
    pub(super) fn seed(&self) -> Result<Zeroizing<[u8; 32]>, KeysError> {
        let mut seed = Zeroizing::new([0; 32]);
        if self.secret.len() != seed.len() {
            return Err(self.malformed("the secret is not 32 bytes"));
        }
        seed.copy_from_slice(&self.secret);
        Ok(seed)
    }

    /// The key's bytes.
    pub(super) fn into_secret(self) -> Zeroizing<Vec<u8>> {
        self.secret
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(&*self.secret));
        // The right capacity from the start: growing would leave copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(64 + secret.len()));
        text.extend_from_slice(FORMAT.as_bytes());
        text.push(b' ');
        text.extend_from_slice(self.kind.name().as_bytes());
        text.push(b'\n');
        text.extend_from_slice(secret.as_bytes());
        text.push(b'\n');
        text
    }

    fn decode(kind: Kind, bytes: &[u8], file: &Path) -> Result<Self, KeysError> {
        let malformed = |what| KeysError::Malformed {
            file: file.to_owned(),
            what,
        };
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not text"))?;
        let (first, rest) = text
            .split_once('\n')
            .ok_or_else(|| malformed("it has no second line"))?;
        let (format, name) = first
            .rsplit_once(' ')
            .ok_or_else(|| malformed("its first line does not name a key"))?;
        if format != FORMAT {
            return Err(malformed("its first line names another format or version"));
        }
        if name != kind.name() {
            return Err(malformed("its first line names another key"));
        }
        let secret = URL_SAFE_NO_PAD
            .decode(rest.trim_end_matches('\n'))
            .map(Zeroizing::new)
            .map_err(|_| malformed("its second line is not base64url"))?;
        let fits = if kind.is_pkcs8() {
            (1..=MAX_PKCS8_BYTES).contains(&secret.len())
        } else {
            secret.len() == 32
        };
        if !fits {
            return Err(malformed("its secret has the wrong length"));
        }
        Ok(Self { kind, secret })
    }

    fn malformed(&self, what: &'static str) -> KeysError {
        KeysError::Malformed {
            file: self.kind.path(Path::new("")),
            what,
        }
    }
}

/// Refuses a key folder that others can reach.
pub(super) fn check_folder(dir: &Path) -> Result<(), KeysError> {
    let found = fs::metadata(dir).map_err(|source| KeysError::io(dir, source))?;
    refuse_exposed(dir, &found, FOLDER_MODE)
}

/// Creates `path` with `bytes`, durably, for its owner only.
pub(super) fn write_new(path: PathBuf, bytes: &[u8]) -> Result<PathBuf, KeysError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&path)
        .map_err(|source| KeysError::io(&path, source))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|source| {
        // Half a key is no key, and it would block the next attempt.
        let _ = fs::remove_file(&path);
        KeysError::io(&path, source)
    })?;
    Ok(path)
}

pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeysError> {
    let failed = |source| KeysError::io(path, source);
    let file = File::open(path).map_err(failed)?;
    // Asked of the open file, not of the name: what is checked is what is read.
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(failed(io::Error::other("it is not a file")));
    }
    refuse_exposed(path, &found, FILE_MODE)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES + 1));
    file.take(MAX_FILE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(KeysError::Malformed {
            file: path.to_owned(),
            what: "it is too long",
        });
    }
    Ok(bytes)
}

fn refuse_exposed(path: &Path, found: &fs::Metadata, wanted: u32) -> Result<(), KeysError> {
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeysError::Exposed {
            path: path.to_owned(),
            mode,
            wanted,
        });
    }
    Ok(())
}

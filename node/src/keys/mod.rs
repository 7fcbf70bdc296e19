//! Keys on disk: who may read them, how they are created and opened.
//!
//! ```text
//! <home>/keys/                   0700
//!   root.key or root.key.age     signs key events; rare, may be kept offline
//!   next-root.key or ….key.age   the next root key, committed to in advance
//!   doc.key                      signs the organization document
//!   issuer.key                   signs grants, agreements and heads
//!   node.key                     the node's own name in the peer network
//!   tls-ca.key tls-node.key      P-256, for the organization's CA and this node's certificate
//!   pseudonym.key                keys the pseudonyms of members
//! ```
//!
//! Every file is 0600 and created with `O_EXCL`: a key is never overwritten. A
//! file or folder that others can read is refused with the command that
//! repairs it. The two root keys can be encrypted with a passphrase; such a
//! file opens with stock `age -d`. A running node needs neither of them.

use std::fmt;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use comity_identity::SecretKey;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::journal::sync_dir;

mod change;
mod error;
mod file;
mod holder;
mod key_log;
mod passphrase;
mod sealed;

pub use change::{Replacement, Staged, settle};
pub use error::KeysError;
pub use holder::{HolderKey, HolderName};
pub use key_log::refuse_key_log;
pub use passphrase::{MAX_PASSPHRASE_BYTES, PassphraseSource};

use file::{KeyFile, Kind};

/// The folder of the key files within a home folder.
pub const FOLDER: &str = "keys";

/// Longest PKCS#8 key that is stored, in bytes. A P-256 key takes about 140.
pub const MAX_PKCS8_BYTES: usize = 4096;

/// The keys that a running node needs.
pub struct Keys {
    /// Signs the organization document.
    pub doc: Arc<SecretKey>,
    /// Signs grants, agreements, heads and descriptors.
    pub issuer: Arc<SecretKey>,
    /// The node's own key, which is also its libp2p identity.
    pub node: Arc<SecretKey>,
    /// The certificate authority's key: P-256, PKCS#8 DER.
    pub tls_ca: Zeroizing<Vec<u8>>,
    /// The node's TLS key: P-256, PKCS#8 DER.
    pub tls_node: Zeroizing<Vec<u8>>,
    /// Keys the pseudonyms under which members appear at partners.
    pub pseudonym: Zeroizing<[u8; 32]>,
}

/// The root keys, as they are at hand only while an organization is created or
/// its root is rotated.
pub struct RootKeys {
    /// Signs key events now.
    pub root: SecretKey,
    /// Signs after the next rotation; its digest is committed to before.
    pub next: SecretKey,
}

/// What [`Keys::create`] is given.
pub struct CreateOptions {
    /// Encrypts the two root keys; `None` leaves them readable to whoever reads the disk.
    pub root_passphrase: Option<SecretString>,
    /// The certificate authority's key: P-256, PKCS#8 DER.
    pub tls_ca: Zeroizing<Vec<u8>>,
    /// The node's TLS key: P-256, PKCS#8 DER.
    pub tls_node: Zeroizing<Vec<u8>>,
}

impl Keys {
    /// Creates every key under `home`, writing random bytes from `entropy`
    /// ([`os_random`] outside tests).
    ///
    /// Refused when any of the files exists. When it fails half way, what it
    /// wrote is removed again.
    pub fn create(
        home: &Path,
        options: &CreateOptions,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(Self, RootKeys), KeysError> {
        let dir = home.join(FOLDER);
        create_folder(&dir)?;
        for kind in Kind::ALL {
            for path in [kind.path(&dir), kind.sealed_path(&dir)] {
                if path.symlink_metadata().is_ok() {
                    return Err(KeysError::Exists { file: path });
                }
            }
        }
        let mut created = Created::default();
        for kind in Kind::ALL {
            let secret = match kind {
                Kind::TlsCa => options.tls_ca.clone(),
                Kind::TlsNode => options.tls_node.clone(),
                _ => {
                    let mut seed = Zeroizing::new(vec![0; 32]);
                    entropy(&mut seed);
                    seed
                }
            };
            let key = KeyFile::new(kind, secret)?;
            let path = match &options.root_passphrase {
                Some(passphrase) if kind.is_root() => key.create_sealed(&dir, passphrase)?,
                _ => key.create(&dir)?,
            };
            created.files.push(path);
        }
        sync_dir(&dir).map_err(|source| KeysError::io(&dir, source))?;
        // Read back: what is used from now on is what a restart will find.
        let keys = Self::open(home)?;
        let roots = RootKeys {
            root: Self::open_root(home, options.root_passphrase.as_ref())?,
            next: Self::open_next_root(home, options.root_passphrase.as_ref())?,
        };
        created.keep();
        Ok((keys, roots))
    }

    /// Opens the keys that a running node needs; the root keys may be elsewhere.
    pub fn open(home: &Path) -> Result<Self, KeysError> {
        let dir = home.join(FOLDER);
        file::check_folder(&dir)?;
        let signing = |kind| Ok(Arc::new(KeyFile::open(&dir, kind)?.signing_key()?));
        Ok(Self {
            doc: signing(Kind::Doc)?,
            issuer: signing(Kind::Issuer)?,
            node: signing(Kind::Node)?,
            tls_ca: KeyFile::open(&dir, Kind::TlsCa)?.into_secret(),
            tls_node: KeyFile::open(&dir, Kind::TlsNode)?.into_secret(),
            pseudonym: KeyFile::open(&dir, Kind::Pseudonym)?.seed()?,
        })
    }

    /// Opens the node's own key alone, where the others may be lost.
    pub fn open_node(home: &Path) -> Result<SecretKey, KeysError> {
        let dir = home.join(FOLDER);
        file::check_folder(&dir)?;
        KeyFile::open(&dir, Kind::Node)?.signing_key()
    }

    /// Opens the root key. `passphrase` is needed when it is encrypted.
    pub fn open_root(
        home: &Path,
        passphrase: Option<&SecretString>,
    ) -> Result<SecretKey, KeysError> {
        KeyFile::open_root(&home.join(FOLDER), Kind::Root, passphrase)?.signing_key()
    }

    /// Opens the next root key. `passphrase` is needed when it is encrypted.
    pub fn open_next_root(
        home: &Path,
        passphrase: Option<&SecretString>,
    ) -> Result<SecretKey, KeysError> {
        KeyFile::open_root(&home.join(FOLDER), Kind::NextRoot, passphrase)?.signing_key()
    }

    /// Whether the root key under `home` asks for a passphrase.
    pub fn root_is_encrypted(home: &Path) -> bool {
        Kind::Root.sealed_path(&home.join(FOLDER)).exists()
    }
}

impl fmt::Debug for Keys {
    /// Names public halves only: a secret must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("doc", &self.doc)
            .field("issuer", &self.issuer)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RootKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootKeys")
            .field("root", &self.root)
            .field("next", &self.next)
            .finish()
    }
}

/// Fills `bytes` from the operating system's random source.
///
/// A system without one cannot run a node: the program ends.
pub fn os_random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives random bytes");
}

/// Removes the files of a creation that failed.
#[derive(Default)]
struct Created {
    files: Vec<PathBuf>,
}

impl Created {
    fn keep(mut self) {
        self.files.clear();
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        for file in &self.files {
            // The error that is on its way out says more than a second one.
            let _ = fs::remove_file(file);
        }
    }
}

fn create_folder(dir: &Path) -> Result<(), KeysError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(dir)
        .map_err(|source| KeysError::io(dir, source))?;
    if let Some(parent) = dir.parent() {
        sync_dir(parent).map_err(|source| KeysError::io(parent, source))?;
    }
    file::check_folder(dir)
}

#[cfg(test)]
mod tests;

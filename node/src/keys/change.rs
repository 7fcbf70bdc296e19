//! Replacing key files so that a crash at any point leaves a home that starts.
//!
//! ```text
//! 1  the new keys        keys/issuer.key.new …   beside the old ones
//! 2  what they wait for  keys/change.json        the digest of the document that brings them into force
//! 3  the journal         the document itself     by whoever makes the change
//! 4  the new names       keys/issuer.key         then the note goes
//! ```
//!
//! Whoever opens the home next finishes or undoes: with the document in the
//! journal the change took place, without it it never did. A key is in force
//! under its old name or under its new one, never under none
//! (`spec/2-identity.md#I-57`).

use std::fs;
use std::path::{Path, PathBuf};

use comity_identity::{Digest, SecretKey};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::file::{self, KeyFile, Kind};
use super::{FOLDER, KeysError};
use crate::journal::sync_dir;

/// The note that says what a change waits for.
const NOTE: &str = "change.json";

/// What the file of a key ends with that is not in force yet.
const NEW: &str = "new";

/// A key that takes the place of another one.
pub struct Replacement {
    kind: Kind,
    secret: Zeroizing<Vec<u8>>,
}

impl Replacement {
    /// The root key in force: the one that was committed to before.
    pub fn root(next: &SecretKey) -> Self {
        Self::signing(Kind::Root, next)
    }

    /// The next root key.
    pub fn next_root(key: &SecretKey) -> Self {
        Self::signing(Kind::NextRoot, key)
    }

    /// The key that signs organization documents.
    pub fn doc(key: &SecretKey) -> Self {
        Self::signing(Kind::Doc, key)
    }

    /// The key that signs grants, agreements and heads.
    pub fn issuer(key: &SecretKey) -> Self {
        Self::signing(Kind::Issuer, key)
    }

    /// The node's own key.
    pub fn node(key: &SecretKey) -> Self {
        Self::signing(Kind::Node, key)
    }

    /// The node's TLS key: P-256, PKCS#8 DER.
    pub fn tls_node(pkcs8: &[u8]) -> Self {
        Self {
            kind: Kind::TlsNode,
            secret: Zeroizing::new(pkcs8.to_vec()),
        }
    }

    fn signing(kind: Kind, key: &SecretKey) -> Self {
        Self {
            kind,
            secret: Zeroizing::new(key.seed().to_vec()),
        }
    }
}

/// New keys that lie beside the old ones and are not in force.
#[derive(Debug)]
pub struct Staged {
    dir: PathBuf,
    replace: Vec<String>,
    remove: Vec<String>,
}

/// The note's content.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// The SHA-256 of the organization document's text.
    document: Digest,
    /// Names of files that the ones with `.new` take the place of.
    replace: Vec<String>,
    /// Names of files that go: the other form of a key that was replaced.
    remove: Vec<String>,
}

impl Staged {
    /// Writes `keys` beside those of `home`. Root keys are encrypted with
    /// `passphrase` where there is one.
    pub fn write(
        home: &Path,
        keys: &[Replacement],
        passphrase: Option<&SecretString>,
    ) -> Result<Self, KeysError> {
        let dir = home.join(FOLDER);
        file::check_folder(&dir)?;
        let mut staged = Self {
            dir: dir.clone(),
            replace: Vec::new(),
            remove: Vec::new(),
        };
        for key in keys {
            let kind = key.kind;
            let sealing = passphrase.filter(|_| kind.is_root());
            let (plain, sealed) = (kind.path(&dir), kind.sealed_path(&dir));
            let (path, other) = match sealing {
                Some(_) => (sealed, plain),
                None => (plain, sealed),
            };
            let file = KeyFile::new(kind, key.secret.clone())?;
            file.create_at(beside(&path), sealing)?;
            staged.replace.push(name(&path));
            if kind.is_root() {
                staged.remove.push(name(&other));
            }
        }
        sync_dir(&dir).map_err(|source| KeysError::io(&dir, source))?;
        Ok(staged)
    }

    /// Notes that the keys come into force with the document whose text has this
    /// digest. Before the journal has that document.
    pub fn wait_for(self, document: Digest) -> Result<(), KeysError> {
        let path = self.dir.join(NOTE);
        let note = Note {
            document,
            replace: self.replace,
            remove: self.remove,
        };
        let text = serde_json::to_vec(&note).expect("names and a digest serialise");
        // Whole or not at all: half a note would say nothing about the keys.
        let half = beside(&path);
        file::write_new(half.clone(), &text)?;
        fs::rename(&half, &path).map_err(|source| KeysError::io(&path, source))?;
        sync_dir(&self.dir).map_err(|source| KeysError::io(&self.dir, source))
    }
}

/// Finishes or undoes a change of keys that was interrupted: `document` is the
/// digest of the document that is in the journal. Gives whether there was one to
/// finish. Before any key is opened.
pub fn settle(home: &Path, document: &Digest) -> Result<bool, KeysError> {
    let dir = home.join(FOLDER);
    let path = dir.join(NOTE);
    let io = |path: &Path, source| KeysError::io(path, source);
    let note = match file::read(&path) {
        // Guessing would remove keys that may be in force.
        Ok(text) => {
            Some(
                serde_json::from_slice::<Note>(&text).map_err(|_| KeysError::Malformed {
                    file: path.clone(),
                    what: "it does not say what change it is about",
                })?,
            )
        }
        Err(KeysError::Missing { .. }) => None,
        Err(error) => return Err(error),
    };
    let took_place = note.filter(|note| note.document == *document);
    let finished = took_place.is_some();
    if let Some(note) = took_place {
        for name in note.replace.iter().filter(|name| is_key_file(name)) {
            let (new, path) = (beside(&dir.join(name)), dir.join(name));
            if new.exists() {
                fs::rename(&new, &path).map_err(|source| io(&path, source))?;
            }
        }
        for name in note.remove.iter().filter(|name| is_key_file(name)) {
            remove(&dir.join(name))?;
        }
        sync_dir(&dir).map_err(|source| io(&dir, source))?;
    }
    // The note after the names that it speaks of: a crash in between settles again.
    remove(&path)?;
    remove(&beside(&path))?;
    for kind in Kind::ALL {
        remove(&beside(&kind.path(&dir)))?;
        remove(&beside(&kind.sealed_path(&dir)))?;
    }
    sync_dir(&dir).map_err(|source| io(&dir, source))?;
    Ok(finished)
}

fn beside(path: &Path) -> PathBuf {
    path.with_added_extension(NEW)
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// A note names key files of this folder, and nothing elsewhere.
fn is_key_file(name: &str) -> bool {
    let here = Path::new("");
    let of = |kind: &Kind| [kind.path(here), kind.sealed_path(here)];
    let mut all = Kind::ALL.iter().flat_map(of);
    all.any(|path| path == Path::new(name))
}

fn remove(path: &Path) -> Result<(), KeysError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(KeysError::io(path, source))
        }
        _ => Ok(()),
    }
}

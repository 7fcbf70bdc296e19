//! Where a passphrase comes from: a file, a descriptor, or a person.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::KeysError;

/// The longest passphrase, in bytes.
pub const MAX_PASSPHRASE_BYTES: usize = 1024;

/// Where to read a passphrase.
///
/// Never an argument or an environment variable: both can be read by other
/// processes and end up in shell histories and service files.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PassphraseSource {
    /// The first line of a file.
    File(PathBuf),
    /// The first line of an open file descriptor, by number.
    Descriptor(u32),
    /// A person at the terminal.
    Prompt,
}

impl PassphraseSource {
    /// Reads a passphrase to open something with. `what` names it at the prompt.
    pub fn read(&self, what: &str) -> Result<SecretString, KeysError> {
        match self {
            Self::File(path) => from_file(path),
            Self::Descriptor(number) => from_file(Path::new(&format!("/dev/fd/{number}"))),
            Self::Prompt => prompt(&format!("Passphrase of {what}: ")),
        }
    }

    /// Reads a passphrase to encrypt something with; a person types it twice.
    pub fn read_new(&self, what: &str) -> Result<SecretString, KeysError> {
        use secrecy::ExposeSecret as _;

        let passphrase = match self {
            Self::Prompt => prompt(&format!("New passphrase of {what}: "))?,
            _ => return self.read(what),
        };
        let again = prompt("The same again: ")?;
        if passphrase.expose_secret() != again.expose_secret() {
            return Err(KeysError::BadPassphrase("not the same both times"));
        }
        Ok(passphrase)
    }
}

fn from_file(path: &Path) -> Result<SecretString, KeysError> {
    let failed = |source| KeysError::io(path, source);
    // One byte more than a line with its end, so that a longer one is noticed.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE_BYTES + 3));
    File::open(path)
        .map_err(failed)?
        .take(MAX_PASSPHRASE_BYTES as u64 + 3)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).map_err(|_| KeysError::BadPassphrase("not text"))?;
    accept(text)
}

fn prompt(text: &str) -> Result<SecretString, KeysError> {
    let line = rpassword::prompt_password(text)
        .map(Zeroizing::new)
        .map_err(|source| KeysError::io(Path::new("/dev/tty"), source))?;
    accept(&line)
}

fn accept(text: &str) -> Result<SecretString, KeysError> {
    match text.len() {
        0 => Err(KeysError::BadPassphrase("empty")),
        1..=MAX_PASSPHRASE_BYTES => Ok(SecretString::from(text)),
        _ => Err(KeysError::BadPassphrase("too long")),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn read(content: &[u8]) -> Result<String, KeysError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        std::fs::write(&path, content).unwrap();
        let source = PassphraseSource::File(path);
        Ok(source.read("the root key")?.expose_secret().to_owned())
    }

    #[test]
    fn the_first_line_is_the_passphrase() {
        assert_eq!(read(b"correct horse").unwrap(), "correct horse");
        assert_eq!(read(b"correct horse\r\nbattery").unwrap(), "correct horse");
        assert_eq!(read(b" spaces count \n").unwrap(), " spaces count ");
    }

    #[test]
    fn empty_binary_and_too_long_passphrases_are_refused() {
        assert!(read(b"").is_err());
        assert!(read(b"\nsecond line").is_err());
        assert!(read(b"\xff\xfe").is_err());
        assert!(read(&[b'x'; MAX_PASSPHRASE_BYTES]).is_ok());
        assert!(read(&[b'x'; MAX_PASSPHRASE_BYTES + 1]).is_err());
        assert!(read(&[b'x'; 100 * MAX_PASSPHRASE_BYTES]).is_err());
    }

    #[test]
    fn a_descriptor_is_read_by_number() {
        use std::os::fd::AsRawFd as _;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        std::fs::write(&path, "from a descriptor\n").unwrap();
        let file = File::open(path).unwrap();
        let source = PassphraseSource::Descriptor(file.as_raw_fd().try_into().unwrap());
        let read = source.read("the root key").unwrap();
        assert_eq!(read.expose_secret(), "from a descriptor");
    }
}

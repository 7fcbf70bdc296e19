//! Encryption of key files with a passphrase, in the `age` format.
//!
//! The file is plain ASCII-armored age: whoever has the passphrase can recover
//! the key with stock `age -d`, without this program.

use std::io::{Read as _, Write as _};
use std::iter;
use std::path::Path;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Decryptor, Encryptor, scrypt};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::KeysError;
use super::file::MAX_FILE_BYTES;

/// Cost of scrypt, as the logarithm of its iterations: about a second and 128 MiB.
///
/// Fixed, because the library's default is measured at run time, which makes a
/// busy machine or an unoptimised build choose a weak one.
#[cfg(not(test))]
const WORK_FACTOR: u8 = 17;
#[cfg(test)]
const WORK_FACTOR: u8 = 2;

/// The highest cost that is accepted: 2 GiB of memory at most, because a file
/// from elsewhere chooses it.
const MAX_WORK_FACTOR: u8 = 21;

/// `plaintext`, encrypted and armored.
pub(super) fn seal(plaintext: &[u8], passphrase: &SecretString) -> Result<Vec<u8>, KeysError> {
    let mut recipient = scrypt::Recipient::new(passphrase.clone());
    recipient.set_work_factor(WORK_FACTOR);
    let encrypt = || -> Result<Vec<u8>, String> {
        let encryptor = Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient))
            .map_err(|error| error.to_string())?;
        let mut armored = Vec::new();
        let io = |error: std::io::Error| error.to_string();
        let armor = ArmoredWriter::wrap_output(&mut armored, Format::AsciiArmor).map_err(io)?;
        let mut writer = encryptor.wrap_output(armor).map_err(io)?;
        writer.write_all(plaintext).map_err(io)?;
        writer
            .finish()
            .and_then(ArmoredWriter::finish)
            .map_err(io)?;
        Ok(armored)
    };
    encrypt().map_err(KeysError::Seal)
}

/// What the armored `sealed` holds. `file` is for messages only.
pub(super) fn open(
    sealed: &[u8],
    passphrase: &SecretString,
    file: &Path,
) -> Result<Zeroizing<Vec<u8>>, KeysError> {
    let malformed = |what| KeysError::Malformed {
        file: file.to_owned(),
        what,
    };
    let mut identity = scrypt::Identity::new(passphrase.clone());
    identity.set_max_work_factor(MAX_WORK_FACTOR);
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(sealed))
        .map_err(|_| malformed("it is not an age file"))?;
    if !decryptor.is_scrypt() {
        return Err(malformed("it is not encrypted with a passphrase"));
    }
    let reader = decryptor
        .decrypt(iter::once(&identity as &dyn age::Identity))
        .map_err(|error| match error {
            DecryptError::ExcessiveWork { .. } => malformed("its scrypt cost is too high"),
            DecryptError::InvalidHeader | DecryptError::UnknownFormat => {
                malformed("its age header is damaged")
            }
            _ => KeysError::WrongPassphrase {
                file: file.to_owned(),
            },
        })?;
    // The capacity is the bound, so that no reallocation leaves a copy behind.
    let mut plaintext = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES));
    reader
        .take(MAX_FILE_BYTES as u64)
        .read_to_end(&mut plaintext)
        .map_err(|_| malformed("its content was changed"))?;
    Ok(plaintext)
}

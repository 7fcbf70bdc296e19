//! The key of a grant's holder: a file of its own, away from the node's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use comity_identity::tls::{HolderCertificate, TlsKey};
use comity_identity::{Digest, PublicKey, SecretKey, Signer as _, Timestamp};
use zeroize::Zeroizing;

use super::KeysError;
use super::file::{read, write_new};

/// The first line of the file.
const FORMAT: &str = "comity-holder 1";

/// What a holder of grants has: an Ed25519 key, which signs what it hands on, and
/// a P-256 key with its certificate, with which it comes to a provider by itself.
///
/// ```text
/// comity-holder 1
/// <the Ed25519 seed>
/// <the P-256 key, PKCS#8>
/// <the certificate, DER>
/// ```
/// Each line is unpadded base64url.
#[derive(Debug)]
pub struct HolderKey {
    signing: SecretKey,
    tls: TlsKey,
    certificate: HolderCertificate,
}

/// What of a [`HolderKey`] whoever issues a grant to it must know. Text form:
/// the key, and the certificate's digest after a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderName {
    /// The Ed25519 key.
    pub key: PublicKey,
    /// The certificate's digest; none for a holder that never comes by itself.
    pub certificate: Option<Digest>,
}

impl HolderKey {
    /// A new key with a certificate that begins at `now`.
    ///
    /// # Errors
    /// What is wrong, for a person: no randomness, or a time beyond the calendar.
    pub fn create(now: Timestamp) -> Result<Self, String> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|e| e.to_string())?;
        let tls = TlsKey::generate().map_err(|e| e.to_string())?;
        let certificate = HolderCertificate::create(&tls, now).map_err(|e| e.to_string())?;
        Ok(Self {
            signing: SecretKey::from_seed(&seed),
            tls,
            certificate,
        })
    }

    /// Writes the key to `path`, for its owner alone. Nothing is overwritten.
    pub fn write(&self, path: PathBuf) -> Result<PathBuf, KeysError> {
        let mut text = Zeroizing::new(String::with_capacity(2048));
        text.push_str(FORMAT);
        let seed = self.signing.seed();
        for part in [&seed[..], self.tls.pkcs8(), self.certificate.der()] {
            let line = Zeroizing::new(URL_SAFE_NO_PAD.encode(part));
            text.push('\n');
            text.push_str(&line);
        }
        text.push('\n');
        write_new(path, text.as_bytes())
    }

    /// Reads the key at `path`. One that others may read is refused.
    pub fn open(path: &Path, now: Timestamp) -> Result<Self, KeysError> {
        let malformed = |what| KeysError::Malformed {
            file: path.to_owned(),
            what,
        };
        let bytes = read(path)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed("it is not text"))?;
        let mut lines = text.lines();
        if lines.next() != Some(FORMAT) {
            return Err(malformed(
                "it is not a holder's key; make one with 'comity grant key'",
            ));
        }
        let mut part = || {
            let line = lines.next().unwrap_or_default();
            URL_SAFE_NO_PAD
                .decode(line)
                .map(Zeroizing::new)
                .map_err(|_| malformed("a line is not base64url"))
        };
        let (seed, tls, certificate) = (part()?, part()?, part()?);
        let seed: &[u8; 32] = seed[..]
            .try_into()
            .map_err(|_| malformed("the secret is not 32 bytes"))?;
        let tls = TlsKey::from_pkcs8(&tls).map_err(|_| malformed("the TLS key is not P-256"))?;
        let certificate = HolderCertificate::parse(&certificate, now)
            .map_err(|_| malformed("its certificate has ended; make a new key"))?;
        Ok(Self {
            signing: SecretKey::from_seed(seed),
            tls,
            certificate,
        })
    }

    /// The key that signs what is handed on.
    pub fn signing(&self) -> &SecretKey {
        &self.signing
    }

    /// The key of the certificate.
    pub fn tls(&self) -> &TlsKey {
        &self.tls
    }

    /// The certificate.
    pub fn certificate(&self) -> &HolderCertificate {
        &self.certificate
    }

    /// What others must know of it.
    pub fn name(&self) -> HolderName {
        HolderName {
            key: self.signing.public(),
            certificate: Some(self.certificate.digest()),
        }
    }
}

impl fmt::Display for HolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        match &self.certificate {
            Some(certificate) => write!(f, " {certificate}"),
            None => Ok(()),
        }
    }
}

impl FromStr for HolderName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split_ascii_whitespace();
        let key = parts.next().unwrap_or_default().to_owned();
        let key = serde_json::from_value(serde_json::Value::String(key))
            .map_err(|e| format!("not a holder's key: {e}"))?;
        let certificate = parts
            .next()
            .map(|digest| {
                digest
                    .parse()
                    .map_err(|_| "not a certificate's digest".to_owned())
            })
            .transpose()?;
        match parts.next() {
            None => Ok(Self { key, certificate }),
            Some(_) => Err("a holder is a key and a certificate's digest".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_key_is_read_as_it_was_written_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.key");
        let made = HolderKey::create(clock::now()).unwrap();
        made.write(path.clone()).unwrap();
        let read = HolderKey::open(&path, clock::now()).unwrap();
        assert_eq!(read.name(), made.name());
        assert_eq!(made.name().to_string().parse(), Ok(made.name()));
        assert!(matches!(
            made.write(path.clone()),
            Err(KeysError::Exists { .. })
        ));
        std::fs::write(&path, "comity-holder 1\nAAAA\n").unwrap();
        assert!(matches!(
            HolderKey::open(&path, clock::now()),
            Err(KeysError::Malformed { .. })
        ));
    }
}

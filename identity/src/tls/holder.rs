//! The certificate with which a holder of a grant comes by itself.

use core::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::authority::{BACKDATE, calendar, serial};
use super::{CertificateError, TlsKey};
use crate::{Digest, LEEWAY, Timestamp};

/// The life of a certificate that [`HolderCertificate::create`] makes: a year.
/// It opens nothing; the grants that name it live for minutes.
pub const HOLDER_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The most bytes of a holder's certificate. Ours have about 400.
const MAX_BYTES: usize = 8 * 1024;

/// A self-signed P-256 certificate that names no node (`spec/2-identity.md#I-60`).
///
/// Who its owner is and what it may do is in the grant that names its digest;
/// nothing that the certificate says of itself is believed. That its owner has
/// the key is what the handshake proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderCertificate {
    der: Vec<u8>,
    digest: Digest,
}

impl HolderCertificate {
    /// A new certificate for `key`.
    pub fn create(key: &TlsKey, at: Timestamp) -> Result<Self, CertificateError> {
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "Comity grant holder");
        params.distinguished_name = name;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.is_ca = IsCa::ExplicitNoCa;
        params.not_before = calendar(at.saturating_sub(BACKDATE))?;
        params.not_after = calendar(at.saturating_add(HOLDER_LIFETIME))?;
        params.serial_number = Some(serial(&key.spki(), at));
        let certificate = params.self_signed(key.pair())?;
        Self::parse(certificate.der(), at).map_err(|_| CertificateError::Malformed)
    }

    /// Reads a DER certificate that came with a handshake at `now`.
    pub fn parse(der: &[u8], now: Timestamp) -> Result<Self, NotAHolders> {
        if der.len() > MAX_BYTES {
            return Err(NotAHolders::TooLarge);
        }
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| NotAHolders::Malformed)?;
        if !rest.is_empty() {
            return Err(NotAHolders::Malformed);
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| NotAHolders::Malformed)?;
        let names = names
            .iter()
            .flat_map(|names| &names.value.general_names)
            .any(|name| matches!(name, GeneralName::URI(_)));
        // A certificate that names a node is judged as a node's and never as
        // anything less: a node that was revoked must not come back this way.
        if names {
            return Err(NotAHolders::NamesANode);
        }
        let validity = certificate.validity();
        let second = |at: i64| u64::try_from(at).unwrap_or(0);
        let begins = Timestamp::from_secs(second(validity.not_before.timestamp()));
        let ends = Timestamp::from_secs(second(validity.not_after.timestamp()));
        if begins > now.saturating_add(LEEWAY) || now >= ends.saturating_add(LEEWAY) {
            return Err(NotAHolders::Time);
        }
        Ok(Self {
            der: der.to_vec(),
            digest: Digest::of(der),
        })
    }

    /// The SHA-256 of the certificate, as a grant names it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The certificate, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}

/// Why a certificate is not one of a grant's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAHolders {
    /// More bytes than any honest certificate has.
    #[error("the certificate is too large")]
    TooLarge,
    /// Not one whole DER certificate.
    #[error("the certificate is malformed")]
    Malformed,
    /// It has a URI name, as nodes' certificates have.
    #[error("the certificate names a node")]
    NamesANode,
    /// It has ended, or has not begun.
    #[error("the certificate is not valid at this time")]
    Time,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::NOW;

    #[test]
    fn a_holders_certificate_names_no_node_and_has_its_time() {
        let key = TlsKey::generate().unwrap();
        let made = HolderCertificate::create(&key, NOW).unwrap();
        assert_eq!(made.digest(), Digest::of(made.der()));
        let at = |now| HolderCertificate::parse(made.der(), now);
        assert_eq!(at(NOW), Ok(made.clone()));
        let end = NOW.saturating_add(HOLDER_LIFETIME);
        assert_eq!(at(end.saturating_add(LEEWAY)), Err(NotAHolders::Time));
        let early = NOW.saturating_sub(BACKDATE + LEEWAY + Duration::from_secs(1));
        assert_eq!(at(early), Err(NotAHolders::Time));
        let longer = [made.der(), &[0]].concat();
        assert_eq!(
            HolderCertificate::parse(&longer, NOW),
            Err(NotAHolders::Malformed)
        );
    }
}

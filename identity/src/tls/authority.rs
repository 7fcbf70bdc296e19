//! An organization's certificate authority, and the leaves it signs.

use core::fmt;
use core::time::Duration;
use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use time::OffsetDateTime;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroizing;

use super::PeerName;
use crate::{Digest, OrgId, Timestamp};

/// The life of a leaf: seven days.
pub const LEAF_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// When a node replaces its leaf: two days after it was made.
pub const RENEW_AFTER: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// The life of a certificate authority: ten years. Between nodes the
/// organization document decides which authority counts, for days; this
/// lifetime is for ordinary clients, which hold the authority in a PEM file.
pub const CA_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How far certificates are dated back, for peers whose clocks are slow.
pub(super) const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// The most DNS and IP names of one leaf.
const MAX_EXTRA_NAMES: usize = 16;

/// A P-256 key pair, kept as PKCS#8 DER; wiped when dropped.
pub struct TlsKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: KeyPair,
}

impl TlsKey {
    /// A new key pair.
    ///
    /// The P-256 operations of this module (making a key, ECDSA signatures) are
    /// the crate's one exception from drawing no randomness: the crypto provider
    /// uses its own generator and takes no bytes from the caller.
    pub fn generate() -> Result<Self, CertificateError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(Self {
            pkcs8: Zeroizing::new(pair.serialize_der()),
            pair,
        })
    }

    /// The key pair that PKCS#8 DER bytes hold. Another curve is refused.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, CertificateError> {
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(der),
            &PKCS_ECDSA_P256_SHA256,
        )?;
        Ok(Self {
            pkcs8: Zeroizing::new(der.to_vec()),
            pair,
        })
    }

    /// The secret key, PKCS#8 DER, for writing to a key file.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub(super) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    /// The public key, DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    /// The digest of the public key, as organization documents list it.
    pub fn spki_digest(&self) -> Digest {
        Digest::of(&self.spki())
    }
}

impl fmt::Debug for TlsKey {
    /// Names the public half only: a secret must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsKey({})", self.spki_digest().short())
    }
}

/// An organization's certificate authority.
#[derive(Debug)]
pub struct Authority {
    org: OrgId,
    key: TlsKey,
    certificate: Vec<u8>,
}

/// What a leaf is to say.
#[derive(Clone, Debug)]
pub struct LeafRequest {
    /// The node; its organization must be the authority's.
    pub peer: PeerName,
    /// The node's public key, DER SubjectPublicKeyInfo ([`TlsKey::spki`]). The
    /// secret key stays with the node.
    pub spki: Vec<u8>,
    /// DNS names for ordinary clients.
    pub dns: Vec<String>,
    /// IP addresses for ordinary clients.
    pub ips: Vec<IpAddr>,
    /// The time of signing.
    pub at: Timestamp,
}

impl Authority {
    /// A new, self-signed authority for `org`.
    pub fn create(org: OrgId, key: TlsKey, at: Timestamp) -> Result<Self, CertificateError> {
        let certificate = authority_params(org, &key, at)?.self_signed(&key.pair)?;
        Ok(Self {
            org,
            certificate: certificate.der().to_vec(),
            key,
        })
    }

    /// The authority whose certificate and key were kept. Refuses a key that is
    /// not the certificate's.
    pub fn open(org: OrgId, certificate: Vec<u8>, key: TlsKey) -> Result<Self, CertificateError> {
        let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(&certificate)
            .map_err(|_| CertificateError::Malformed)?;
        if parsed.public_key().raw != key.spki() {
            return Err(CertificateError::OtherKey);
        }
        Ok(Self {
            org,
            certificate,
            key,
        })
    }

    /// The authority's certificate, DER: what the organization document pins.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Signs a leaf and returns it as DER.
    pub fn issue(&self, request: &LeafRequest) -> Result<Vec<u8>, CertificateError> {
        if request.peer.org != self.org {
            return Err(CertificateError::OtherOrganization);
        }
        if request.dns.len() + request.ips.len() > MAX_EXTRA_NAMES {
            return Err(CertificateError::TooManyNames);
        }
        self.sign(leaf_params(request)?, &request.spki)
    }

    /// Signs whatever `params` say; tests use it to forge.
    pub(super) fn sign(
        &self,
        params: CertificateParams,
        spki: &[u8],
    ) -> Result<Vec<u8>, CertificateError> {
        let subject = Subject::parse(spki)?;
        // Only the subject and the key identifier are taken from these parameters; the time is not.
        let own = authority_params(self.org, &self.key, Timestamp::from_secs(0))?;
        let issuer = Issuer::from_params(&own, &self.key.pair);
        Ok(params.signed_by(&subject, &issuer)?.der().to_vec())
    }
}

fn authority_params(
    org: OrgId,
    key: &TlsKey,
    at: Timestamp,
) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(&format!("Comity TLS CA {}", org.short()), org);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = calendar(at.saturating_sub(BACKDATE))?;
    params.not_after = calendar(at.saturating_add(CA_LIFETIME))?;
    params.serial_number = Some(serial(&key.spki(), at));
    Ok(params)
}

/// spec/2-identity.md#I-43
pub(super) fn leaf_params(request: &LeafRequest) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(request.peer.node.as_str(), request.peer.org);
    let text = |t: &str| t.try_into().map_err(|_| CertificateError::Name);
    params.subject_alt_names = vec![SanType::URI(text(&request.peer.to_string())?)];
    for dns in &request.dns {
        params.subject_alt_names.push(SanType::DnsName(text(dns)?));
    }
    for ip in &request.ips {
        params.subject_alt_names.push(SanType::IpAddress(*ip));
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    params.is_ca = IsCa::ExplicitNoCa;
    params.not_before = calendar(request.at.saturating_sub(BACKDATE))?;
    params.not_after = calendar(request.at.saturating_add(LEAF_LIFETIME))?;
    params.serial_number = Some(serial(&request.spki, request.at));
    Ok(params)
}

fn distinguished_name(common: &str, org: OrgId) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, org.to_string());
    name.push(DnType::CommonName, common);
    name
}

/// Unique per key and second without randomness. 16 bytes, positive.
pub(super) fn serial(spki: &[u8], at: Timestamp) -> SerialNumber {
    let mut input = spki.to_vec();
    input.extend_from_slice(&at.as_secs().to_be_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Digest::of(&input).as_bytes()[..16]);
    // A leading 01 keeps the number positive, and its length fixed.
    bytes[0] = 1;
    SerialNumber::from_slice(&bytes)
}

pub(super) fn calendar(at: Timestamp) -> Result<OffsetDateTime, CertificateError> {
    i64::try_from(at.as_secs())
        .ok()
        .and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok())
        .ok_or(CertificateError::Time)
}

/// A P-256 public key that someone else holds the secret of.
struct Subject {
    point: Vec<u8>,
}

impl Subject {
    fn parse(spki: &[u8]) -> Result<Self, CertificateError> {
        let (rest, parsed) =
            SubjectPublicKeyInfo::from_der(spki).map_err(|_| CertificateError::Malformed)?;
        let subject = Self {
            point: parsed.subject_public_key.data.to_vec(),
        };
        // Encoding the point again as P-256 must give the same bytes, or it was another algorithm.
        if !rest.is_empty() || subject.subject_public_key_info() != spki {
            return Err(CertificateError::Malformed);
        }
        Ok(subject)
    }
}

impl PublicKeyData for Subject {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// Why a key or certificate cannot be made or used. The caller is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The key or certificate library refuses.
    #[error("the TLS key or certificate is refused: {0}")]
    Library(#[from] rcgen::Error),
    /// The TLS library refuses.
    #[error("the TLS key or certificate is refused: {0}")]
    Tls(#[from] rustls::Error),
    /// Not DER, or not a P-256 public key.
    #[error("not a DER certificate or P-256 public key")]
    Malformed,
    /// The key is not the certificate's.
    #[error("the TLS key does not belong to the certificate")]
    OtherKey,
    /// The request names a node of another organization.
    #[error("the requested certificate names another organization")]
    OtherOrganization,
    /// A DNS name is not ASCII.
    #[error("a name for the certificate is not ASCII")]
    Name,
    /// More than 16 DNS and IP names.
    #[error("a certificate has at most 16 DNS and IP names")]
    TooManyNames,
    /// The calendar cannot express the time.
    #[error("the time is outside of the calendar")]
    Time,
}

//! The name in a node's certificate.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::{Digest, NodeName, OrgId};

/// The longest life of a leaf that is accepted: eight days, so that a leaf of
/// seven days may start a little early.
pub const MAX_LEAF_LIFETIME: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// The most bytes of a leaf. Ours have about 600.
const MAX_LEAF_BYTES: usize = 8 * 1024;

/// Who a peer is: a node of an organization. Text form:
/// `spiffe://ORG/node/NODE` (`spec/2-identity.md#I-44`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerName {
    /// The organization.
    pub org: OrgId,
    /// The node.
    pub node: NodeName,
}

impl FromStr for PeerName {
    type Err = NameError;

    /// Strict: no upper case, no port, no user, no query, no trailing slash, no escapes.
    fn from_str(uri: &str) -> Result<Self, NameError> {
        let rest = uri.strip_prefix("spiffe://").ok_or(NameError::Grammar)?;
        let (org, node) = rest.split_once("/node/").ok_or(NameError::Grammar)?;
        Ok(Self {
            org: org.parse().map_err(|_| NameError::Grammar)?,
            node: node.parse().map_err(|_| NameError::Grammar)?,
        })
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/node/{}", self.org, self.node)
    }
}

/// What a leaf certificate *claims*. Nothing of it is proven until the path to
/// the organization's authority is validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafName {
    /// The one URI name.
    pub peer: PeerName,
    /// The digest of the public key (DER SubjectPublicKeyInfo).
    pub spki: Digest,
}

impl LeafName {
    /// Reads the claims of a DER certificate.
    pub fn parse(der: &[u8]) -> Result<Self, NameError> {
        if der.len() > MAX_LEAF_BYTES {
            return Err(NameError::TooLarge);
        }
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| NameError::Malformed)?;
        if !rest.is_empty() {
            return Err(NameError::Malformed);
        }
        let validity = certificate.validity();
        let seconds = validity
            .not_after
            .timestamp()
            .checked_sub(validity.not_before.timestamp())
            .and_then(|s| u64::try_from(s).ok())
            .ok_or(NameError::Malformed)?;
        // spec/2-identity.md#I-45
        if Duration::from_secs(seconds) > MAX_LEAF_LIFETIME {
            return Err(NameError::Lifetime);
        }
        // An error here is a malformed or repeated extension.
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| NameError::Malformed)?
            .ok_or(NameError::NotOneUri)?;
        let mut uris = names
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            });
        // spec/2-identity.md#I-44: with two names a peer could be two organizations.
        let (Some(uri), None) = (uris.next(), uris.next()) else {
            return Err(NameError::NotOneUri);
        };
        Ok(Self {
            peer: uri.parse()?,
            spki: Digest::of(certificate.public_key().raw),
        })
    }
}

/// Why a certificate names no peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// More bytes than any honest leaf has.
    #[error("the certificate is too large")]
    TooLarge,
    /// Not one whole DER certificate.
    #[error("the certificate is malformed")]
    Malformed,
    /// It lives longer than [`MAX_LEAF_LIFETIME`].
    #[error("the certificate lives longer than 8 days")]
    Lifetime,
    /// It has no URI name, or several.
    #[error("the certificate does not have exactly one URI name")]
    NotOneUri,
    /// The URI is not `spiffe://ORG/node/NODE`.
    #[error("the certificate's URI is not spiffe://ORG/node/NODE")]
    Grammar,
}

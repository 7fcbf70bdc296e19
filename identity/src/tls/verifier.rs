//! The two rustls verifiers: one type, the same rules on both sides.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::aws_lc_rs::ECDSA_P256_SHA256;
use webpki::{EndEntityCert, KeyUsage};

use super::{Distrust, HolderCertificate, LeafName, Trust};
use crate::{OrgId, Timestamp};

/// Verifies the other node's certificate (`spec/2-identity.md`, section 7).
#[derive(Clone, Debug)]
pub struct PeerVerifier {
    trust: Arc<dyn Trust>,
    /// The organization that was dialled; any known one on the listening side.
    expect: Option<OrgId>,
    /// Whether holders of grants may come by themselves.
    holders: bool,
}

impl PeerVerifier {
    /// For a listener: any organization that `trust` knows.
    pub fn listening(trust: Arc<dyn Trust>) -> Self {
        Self {
            trust,
            expect: None,
            holders: false,
        }
    }

    /// For a listener: nodes as [`PeerVerifier::listening`] takes them, and
    /// certificates that name no node. Those are nobody's until a call brings
    /// the grant that names them.
    pub fn listening_to_holders(trust: Arc<dyn Trust>) -> Self {
        Self {
            holders: true,
            ..Self::listening(trust)
        }
    }

    /// For a dialler: only nodes of `org`.
    pub fn dialling(trust: Arc<dyn Trust>, org: OrgId) -> Self {
        Self {
            trust,
            expect: Some(org),
            holders: false,
        }
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), Error> {
        let claims = LeafName::parse(leaf)
            .map_err(|e| other(CertificateError::Other(OtherError(Arc::new(e)))))?;
        if let Some(org) = self.expect {
            org.expect(&claims).map_err(distrusted)?;
        }
        let anchor = self
            .trust
            .anchor(&claims, Timestamp::from_secs(now.as_secs()))
            .map_err(distrusted)?;
        // spec/2-identity.md#I-46: this organization's authority and no other. What the peer
        // sent beside its leaf is ignored: the path is always leaf, then authority.
        let anchor = CertificateDer::from(anchor);
        let anchors = [webpki::anchor_from_trusted_cert(&anchor).map_err(path)?];
        EndEntityCert::try_from(leaf)
            .map_err(path)?
            .verify_for_usage(ALGORITHMS.all, &anchors, &[], now, usage, None, None)
            .map_err(path)?;
        Ok(())
    }
}

/// spec/2-identity.md#I-42, #I-43: authorities and leaves are P-256, and nothing else is tried.
static ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[ECDSA_P256_SHA256],
    mapping: &[(SignatureScheme::ECDSA_NISTP256_SHA256, &[ECDSA_P256_SHA256])],
};

/// The only handshake signature that a P-256 leaf can make.
fn schemes() -> Vec<SignatureScheme> {
    vec![SignatureScheme::ECDSA_NISTP256_SHA256]
}

fn verify_handshake(
    message: &[u8],
    leaf: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    rustls::crypto::verify_tls13_signature(message, leaf, signature, &ALGORITHMS)
}

fn tls12() -> Error {
    Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)
}

fn other(error: CertificateError) -> Error {
    Error::InvalidCertificate(error)
}

fn distrusted(reason: Distrust) -> Error {
    other(match reason {
        Distrust::UnknownOrganization => CertificateError::UnknownIssuer,
        Distrust::KeyNotListed | Distrust::UnknownNode | Distrust::Frozen => {
            CertificateError::Revoked
        }
        Distrust::OtherOrganization => CertificateError::NotValidForName,
        Distrust::Stale => CertificateError::Other(OtherError(Arc::new(reason))),
    })
}

fn path(error: webpki::Error) -> Error {
    other(match error {
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    })
}

impl ClientCertVerifier for PeerVerifier {
    /// None: the list would tell a stranger whom we know.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let at = Timestamp::from_secs(now.as_secs());
        if self.holders && HolderCertificate::parse(leaf, at).is_ok() {
            // spec/2-identity.md#I-60: the handshake's signature proves the key.
            return Ok(ClientCertVerified::assertion());
        }
        self.verify(leaf, now, KeyUsage::client_auth())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12()) // A8
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_handshake(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl ServerCertVerifier for PeerVerifier {
    /// Between nodes the DNS name is not compared, on purpose: the organization
    /// that was dialled and its node list say who the peer is.
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(leaf, now, KeyUsage::server_auth())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12()) // A8
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_handshake(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

//! rustls configurations for the two listeners and the dialler.

use core::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::{ClientConfig, ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{SignatureScheme, version};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{CertificateError, PeerVerifier, TlsKey, Trust};
use crate::OrgId;

/// Flight is gRPC, and gRPC is HTTP/2.
const ALPN: &[u8] = b"h2";

/// The crypto provider of every TLS configuration. Named at each builder: the
/// process may hold two providers, and a default would be whichever came first.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The leaf that a node shows now. Replacing it needs no restart: every new
/// handshake, as server or client, takes the newest one.
pub struct CurrentLeaf {
    certified: RwLock<Arc<CertifiedKey>>,
}

impl CurrentLeaf {
    /// Starts with a leaf (DER) and its key.
    pub fn new(leaf: &[u8], key: &TlsKey) -> Result<Self, CertificateError> {
        Ok(Self {
            certified: RwLock::new(certified(leaf, key)?),
        })
    }

    /// Shows `leaf` from now on. A key that is not the leaf's changes nothing.
    pub fn replace(&self, leaf: &[u8], key: &TlsKey) -> Result<(), CertificateError> {
        let certified = certified(leaf, key)?;
        *self
            .certified
            .write()
            .unwrap_or_else(PoisonError::into_inner) = certified;
        Ok(())
    }

    /// The leaf that is shown now, DER.
    pub fn leaf(&self) -> Vec<u8> {
        let leaf = self.current().cert.first().map(|c| c.to_vec());
        leaf.unwrap_or_default()
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(
            &self
                .certified
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

fn certified(leaf: &[u8], key: &TlsKey) -> Result<Arc<CertifiedKey>, CertificateError> {
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8()));
    let signing = aws_lc_rs::sign::any_ecdsa_type(&der)?;
    let certified = CertifiedKey::new(vec![CertificateDer::from(leaf.to_vec())], signing);
    certified
        .keys_match()
        .map_err(|_| CertificateError::OtherKey)?;
    Ok(Arc::new(certified))
}

impl fmt::Debug for CurrentLeaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentLeaf").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for CurrentLeaf {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for CurrentLeaf {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// For the peer listener: mutual TLS between nodes.
pub fn peer_server_config(
    trust: Arc<dyn Trust>,
    leaf: Arc<dyn ResolvesServerCert>,
    clock: Arc<dyn TimeProvider>,
) -> Result<ServerConfig, rustls::Error> {
    listener(PeerVerifier::listening(trust), leaf, clock)
}

/// For the peer listener that holders of grants may come to by themselves, too
/// (`spec/5-data-plane.md#D-132`). Whoever uses it MUST tell the two kinds apart
/// on every call.
pub fn direct_server_config(
    trust: Arc<dyn Trust>,
    leaf: Arc<dyn ResolvesServerCert>,
    clock: Arc<dyn TimeProvider>,
) -> Result<ServerConfig, rustls::Error> {
    listener(PeerVerifier::listening_to_holders(trust), leaf, clock)
}

fn listener(
    verifier: PeerVerifier,
    leaf: Arc<dyn ResolvesServerCert>,
    clock: Arc<dyn TimeProvider>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = provider();
    let verifier = Arc::new(verifier);
    // spec/5-data-plane.md#D-102
    let config = ServerConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(leaf);
    Ok(harden(config))
}

/// For dialling a node of `org`.
pub fn peer_client_config(
    trust: Arc<dyn Trust>,
    org: OrgId,
    leaf: Arc<dyn ResolvesClientCert>,
    clock: Arc<dyn TimeProvider>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = provider();
    let verifier = Arc::new(PeerVerifier::dialling(trust, org));
    let mut config = ClientConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(leaf);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // spec/2-identity.md#I-48 (A30)
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// For the workbench listener: ordinary clients, which authenticate with a
/// token and trust the organization's authority from a PEM file.
pub fn workbench_server_config(
    leaf: Arc<dyn ResolvesServerCert>,
    clock: Arc<dyn TimeProvider>,
) -> Result<ServerConfig, rustls::Error> {
    let config = ServerConfig::builder_with_details(provider(), clock)
        .with_protocol_versions(&[&version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(leaf);
    Ok(harden(config))
}

/// spec/2-identity.md#I-48: no tickets and no session cache on any listener (A30).
fn harden(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config
}

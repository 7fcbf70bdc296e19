//! TLS for the data plane: certificates out of the organization's own
//! authority, and the verifiers that read them (`spec/2-identity.md`, section 7).
//!
//! Every organization runs a P-256 certificate authority, pinned in its signed
//! organization document (`spec/2-identity.md#I-42`); its nodes get leaves of at most seven days with
//! exactly one URI name, `spiffe://ORG/node/NODE`. A verifier chooses the trust
//! anchor **by the organization that the certificate names** and validates the
//! path against that anchor alone, so no organization can mint for another.
//!
//! P-256 and not Ed25519, because BoringSSL clients (grpcio, Java's
//! netty-tcnative) refuse Ed25519 certificates.
//!
//! TLS 1.3 only (`spec/2-identity.md#I-49`). No resumption: rustls does not ask the client-certificate
//! verifier again on resumption, so a revoked peer would keep connecting (A30).

mod authority;
mod config;
mod holder;
mod name;
mod trust;
mod verifier;

#[cfg(test)]
mod tests;

pub use authority::{
    Authority, CA_LIFETIME, CertificateError, LEAF_LIFETIME, LeafRequest, RENEW_AFTER, TlsKey,
};
pub use config::{
    CurrentLeaf, direct_server_config, peer_client_config, peer_server_config, provider,
    workbench_server_config,
};
pub use holder::{HOLDER_LIFETIME, HolderCertificate, NotAHolders};
pub use name::{LeafName, MAX_LEAF_LIFETIME, NameError, PeerName};
pub use trust::{Distrust, Trust};
pub use verifier::PeerVerifier;

//! What the configuration says of a server, read from the files that it names.

use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

/// The longest password or certificate file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Whether nobody else is between this node and the server.
pub(super) fn is_local(host: &str) -> bool {
    host.starts_with('/')
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A file as text.
pub(super) fn file(path: &Path) -> Result<String, std::io::Error> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// The password, or the token, that a file holds.
pub(super) fn secret(path: &Path) -> Result<Zeroizing<String>, std::io::Error> {
    let text = Zeroizing::new(file(path)?);
    // Editors end a file with a new line.
    Ok(Zeroizing::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

/// A variable of the environment that holds something.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// The authorities of a file in PEM.
pub(super) fn authorities(pem: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|e| e.to_string())?;
        roots.add(certificate).map_err(|e| e.to_string())?;
    }
    if roots.is_empty() {
        return Err("it holds no certificate in PEM".to_owned());
    }
    Ok(roots)
}

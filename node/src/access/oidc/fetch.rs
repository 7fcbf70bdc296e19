//! Asking the issuer for its keys.

use std::path::Path;

use reqwest::{Client, Url};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;

use crate::config::{self, is_provider_url};
use crate::failure::Failure;
use crate::outbound;

/// The most bytes of an answer.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// The most bytes of the file of certificates.
const MAX_CA_BYTES: u64 = 1 << 20;

/// Asks the issuer, whose servers the owner's certificates vouch for.
#[derive(Debug)]
pub(super) struct Fetcher {
    client: Client,
    issuer: String,
    jwks_url: Option<String>,
}

/// Why there are no keys. The issuer's fault, or that of the way to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum FetchError {
    /// It does not answer, or its certificate is not vouched for.
    #[error("{url}: {reason}")]
    Away {
        /// What was asked for.
        url: String,
        /// Why there is no answer.
        reason: String,
    },
    /// The answer is too long.
    #[error("{0}: the answer is longer than {MAX_ANSWER_BYTES} bytes")]
    TooLong(String),
    /// The discovery document is not this issuer's.
    #[error("{0}: the discovery document {1}")]
    Discovery(String, &'static str),
}

/// What of a discovery document counts.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Fetcher {
    pub(super) fn new(issuer: &str, settings: &config::Oidc, home: &Path) -> Result<Self, Failure> {
        let failed = |e: &dyn std::fmt::Display| Failure::own("oidc", format!("[oidc]: {e}"));
        let roots = match &settings.ca_file {
            Some(file) => authorities(&home.join(file)).map_err(|e| failed(&e))?,
            None => outbound::system_roots(),
        };
        Ok(Self {
            client: outbound::client(roots).map_err(|e| failed(&e))?,
            issuer: issuer.to_owned(),
            jwks_url: settings.jwks_url.clone(),
        })
    }

    /// The text of the issuer's JWK set: from the owner's address, or from that
    /// of the discovery document, which must be the issuer's own.
    pub(super) async fn keys(&self) -> Result<Vec<u8>, FetchError> {
        if let Some(url) = &self.jwks_url {
            return self.get(url).await;
        }
        let issuer = self.issuer.trim_end_matches('/');
        let at = format!("{issuer}/.well-known/openid-configuration");
        let text = self.get(&at).await?;
        let wrong = |why| FetchError::Discovery(at.clone(), why);
        let document: Discovery =
            serde_json::from_slice(&text).map_err(|_| wrong("cannot be read"))?;
        if document.issuer != self.issuer {
            return Err(wrong("is another issuer's"));
        }
        if !is_provider_url(&document.jwks_uri) {
            return Err(wrong("names keys that are not behind https"));
        }
        self.get(&document.jwks_uri).await
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let away = |reason: &dyn std::fmt::Display| FetchError::Away {
            url: url.to_owned(),
            reason: reason.to_string(),
        };
        let to = Url::parse(url).map_err(|e| away(&e))?;
        let answer = self.client.get(to).send().await;
        // The cause, not only "error sending request".
        let mut answer = answer.map_err(|e| {
            let cause = std::error::Error::source(&e).map(ToString::to_string);
            away(&cause.unwrap_or_else(|| e.to_string()))
        })?;
        if !answer.status().is_success() {
            return Err(away(&answer.status()));
        }
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|e| away(&e))? {
            if text.len() + piece.len() > MAX_ANSWER_BYTES {
                return Err(FetchError::TooLong(url.to_owned()));
            }
            text.extend_from_slice(&piece);
        }
        Ok(text)
    }
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    use std::io::Read as _;
    let said = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let mut pem = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| said(&e))?;
    let read = file.take(MAX_CA_BYTES).read_to_end(&mut pem);
    read.map_err(|e| said(&e))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| said(&e))?;
        roots.add(certificate).map_err(|e| said(&e))?;
    }
    if roots.is_empty() {
        return Err(said(&"it holds no certificate in PEM"));
    }
    Ok(roots)
}

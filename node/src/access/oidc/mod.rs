//! The organization's identity provider: whose tokens make members.
//!
//! Nothing in a token says how it is verified: the issuer, the audience, the
//! signatures and the place of the keys are the owner's settings (A34). The
//! token itself is never kept, logged or passed on; partners get a grant with
//! the member's pseudonym (`spec/5-data-plane.md#D-209`).
//!
//! ```text
//! claims  what a token says, and which of it counts
//! keys    the issuer's keys: read strictly, bounded, with a greatest age
//! fetch   asking the issuer for them
//! ```

use std::path::Path;

use comity_identity::{Digest, Timestamp};
use jsonwebtoken::{Algorithm, Validation, decode};
use tokio::sync::watch;

use self::claims::Rules;
use self::fetch::Fetcher;
use self::keys::Keys;
use crate::config;
use crate::failure::Failure;

mod claims;
mod fetch;
mod header;
mod keys;
#[cfg(test)]
mod tests;

pub(super) use claims::IssuedTo;
use header::Header;

/// The longest token that is read, in bytes. With the user name of `Basic` and
/// its base64 it fits into the headers of a call several times.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Why a token of the identity provider does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is longer than is read.
    #[error("it is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// It is not a signed JWT as this node reads them.
    #[error("its form: {0}")]
    Form(&'static str),
    /// Its signature is of a kind that the owner does not accept.
    #[error("its signature is of a kind that [oidc] algorithms does not name")]
    Algorithm,
    /// The issuer's keys are not known, or too old to count.
    #[error("the issuer's keys could not be fetched in time")]
    NoKeys,
    /// None of the issuer's keys is the one that it names.
    #[error("the issuer has no such key")]
    UnknownKey,
    /// The signature is not the issuer's.
    #[error("its signature is not the issuer's")]
    Signature,
    /// A claim is missing or is not what it must be.
    #[error("its claim {0}: {1}")]
    Claim(String, &'static str),
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// It is not valid yet.
    #[error("it is not valid yet")]
    NotYet,
}

/// The identity provider that the owner trusts to name members.
#[derive(Debug)]
pub struct Issuer {
    rules: Rules,
    keys: Keys,
    fetcher: Fetcher,
}

impl Issuer {
    /// The provider that `settings` name, if they name one. Nothing is fetched:
    /// a node starts while its provider does not answer.
    pub fn new(settings: &config::Oidc, home: &Path) -> Result<Option<Self>, Failure> {
        let (Some(issuer), Some(audience)) = (&settings.issuer, &settings.audience) else {
            return Ok(None);
        };
        Ok(Some(Self {
            rules: Rules::new(issuer, audience, settings),
            keys: Keys::new(settings),
            fetcher: Fetcher::new(issuer, settings, home)?,
        }))
    }

    /// Fetches the issuer's keys, where `token` names one that is not known or
    /// they are growing old; at most once in a while, whoever asks
    /// (`spec/5-data-plane.md#D-207`).
    pub async fn prepare(&self, token: &str, now: Timestamp) {
        let Ok(header) = Header::read(token) else {
            return;
        };
        if self.keys.need_fetching(&header.kid, now) {
            self.keys.fetch(&self.fetcher, now).await;
        }
    }

    /// Who the bearer of `token` is (`spec/5-data-plane.md#D-205`).
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<IssuedTo, Refusal> {
        let header = Header::read(token)?;
        let (key, id) = self.keys.find(&header.kid, header.algorithm, now)?;
        // Times, issuer and audience are judged below, by this node's clock and
        // with a clear reason; the crate judges the signature.
        let mut signature_only = Validation::new(header.algorithm);
        signature_only.algorithms = vec![header.algorithm];
        signature_only.required_spec_claims.clear();
        signature_only.validate_exp = false;
        signature_only.validate_aud = false;
        let decoded =
            decode::<serde_json::Map<String, serde_json::Value>>(token, &key, &signature_only);
        let claims = decoded.map_err(|_| Refusal::Signature)?.claims;
        self.rules.judge(&claims, id, now)
    }

    /// Whether the issuer still has this key, by keys that are not too old
    /// (`spec/5-data-plane.md#D-207`).
    pub(super) fn trusts(&self, key: &Digest, now: Timestamp) -> bool {
        self.keys.has(key, now)
    }

    /// Changes whenever other keys were fetched.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.keys.changes()
    }
}

/// A signature as the crate that checks it calls it.
fn algorithm(named: config::SignatureAlgorithm) -> Algorithm {
    use config::SignatureAlgorithm as Named;
    match named {
        Named::RS256 => Algorithm::RS256,
        Named::RS384 => Algorithm::RS384,
        Named::RS512 => Algorithm::RS512,
        Named::PS256 => Algorithm::PS256,
        Named::PS384 => Algorithm::PS384,
        Named::PS512 => Algorithm::PS512,
        Named::ES256 => Algorithm::ES256,
        Named::ES384 => Algorithm::ES384,
        Named::EdDSA => Algorithm::EdDSA,
    }
}

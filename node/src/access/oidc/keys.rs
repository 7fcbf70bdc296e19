//! The issuer's keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use comity_identity::{Digest, Timestamp};
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, watch};

use super::fetch::Fetcher;
use super::{Refusal, algorithm};
use crate::config;

/// The least time between two attempts to fetch keys. Tokens with made-up keys
/// must not make this node flood its provider.
const FETCH_EVERY: Duration = Duration::from_secs(30);

/// The most keys of an issuer.
const MAX_KEYS: usize = 64;

/// The bytes of an RSA modulus: from 2048 bits, which NIST demands, to the 8192
/// above which checking a signature is work for an attacker to order.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// The keys of the issuer, as they were fetched last.
#[derive(Debug)]
pub(super) struct Keys {
    allowed: BTreeSet<config::SignatureAlgorithm>,
    max_age: Duration,
    current: RwLock<Option<KeySet>>,
    /// When they were asked for last; held while they are.
    asked: Mutex<Option<Timestamp>>,
    changes: watch::Sender<u64>,
}

/// One fetched set.
#[derive(Debug)]
struct KeySet {
    by_kid: BTreeMap<String, Key>,
    fetched: Timestamp,
}

/// One key, and the signatures for which it may be used.
#[derive(Clone)]
struct Key {
    id: Digest,
    decoding: DecodingKey,
    algorithms: Vec<Algorithm>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({}, {:?})", self.id, self.algorithms)
    }
}

impl Keys {
    pub(super) fn new(settings: &config::Oidc) -> Self {
        Self {
            allowed: settings.algorithms.clone(),
            max_age: Duration::from_secs(settings.keys_max_age_seconds),
            current: RwLock::new(None),
            asked: Mutex::new(None),
            changes: watch::Sender::default(),
        }
    }

    /// Whether newer keys could help whoever names `kid`.
    pub(super) fn need_fetching(&self, kid: &str, now: Timestamp) -> bool {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let Some(keys) = current.as_ref() else {
            return true;
        };
        !keys.by_kid.contains_key(kid) || now.since(keys.fetched) > self.max_age / 2
    }

    /// Fetches them, unless that was tried a moment ago. Whoever comes while
    /// they are on the way waits for them.
    pub(super) async fn fetch(&self, fetcher: &Fetcher, now: Timestamp) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|last| now.since(last) < FETCH_EVERY) {
            return;
        }
        *asked = Some(now);
        match fetcher.keys().await {
            Ok(text) => match self.install(&text, now) {
                Ok(count) => tracing::info!(count, "fetched the identity provider's keys"),
                Err(error) => tracing::error!(error, "the identity provider's keys are not used"),
            },
            Err(error) => {
                tracing::error!(%error, "the identity provider's keys could not be fetched");
            }
        }
    }

    /// Puts the keys of a fetched set in place of those before it.
    pub(super) fn install(&self, text: &[u8], now: Timestamp) -> Result<usize, &'static str> {
        let by_kid = read(text, &self.allowed)?;
        let count = by_kid.len();
        let fetched = now;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Some(KeySet { by_kid, fetched });
        drop(current);
        self.changes.send_modify(|n| *n += 1);
        Ok(count)
    }

    /// The key `kid` for a signature of this kind, and its digest.
    pub(super) fn find(
        &self,
        kid: &str,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<(DecodingKey, Digest), Refusal> {
        if !self
            .allowed
            .iter()
            .any(|a| super::algorithm(*a) == algorithm)
        {
            return Err(Refusal::Algorithm);
        }
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let keys = current.as_ref().filter(|keys| self.count(keys, now));
        let key = keys.ok_or(Refusal::NoKeys)?.by_kid.get(kid);
        let key = key.ok_or(Refusal::UnknownKey)?;
        if !key.algorithms.contains(&algorithm) {
            return Err(Refusal::Algorithm);
        }
        Ok((key.decoding.clone(), key.id))
    }

    /// Whether the issuer has the key with this digest.
    pub(super) fn has(&self, id: &Digest, now: Timestamp) -> bool {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let keys = current.as_ref().filter(|keys| self.count(keys, now));
        keys.is_some_and(|keys| keys.by_kid.values().any(|key| key.id == *id))
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A key that the issuer withdrew since must not count for ever (A34).
    fn count(&self, keys: &KeySet, now: Timestamp) -> bool {
        now.since(keys.fetched) <= self.max_age
    }
}

#[derive(Deserialize)]
struct Written {
    keys: Vec<Value>,
}

/// Reads a JWK set. Keys that are not for signatures of the allowed kinds are
/// left out: issuers publish keys for encryption, too.
fn read(
    text: &[u8],
    allowed: &BTreeSet<config::SignatureAlgorithm>,
) -> Result<BTreeMap<String, Key>, &'static str> {
    let written: Written = serde_json::from_slice(text).map_err(|_| "not a JWK set")?;
    if written.keys.len() > MAX_KEYS {
        return Err("the set has more than 64 keys");
    }
    let allowed: Vec<Algorithm> = allowed.iter().map(|a| algorithm(*a)).collect();
    let mut keys = BTreeMap::new();
    for value in written.keys {
        let Some((kid, key)) = key(value, &allowed) else {
            continue;
        };
        // Which of them signed could not be told.
        if keys.insert(kid, key).is_some() {
            return Err("two keys have one id");
        }
    }
    Ok(keys)
}

fn key(value: Value, allowed: &[Algorithm]) -> Option<(String, Key)> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let used = &jwk.common.public_key_use;
    let for_signatures = used.as_ref().is_none_or(|u| *u == PublicKeyUse::Signature);
    let operations = &jwk.common.key_operations;
    let verifies = operations
        .as_ref()
        .is_none_or(|all| all.contains(&KeyOperations::Verify));
    // A shared secret (`oct`) is no key of an issuer, whatever it is for.
    let (fits, material): (&[Algorithm], String) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = URL_SAFE_NO_PAD.decode(&rsa.n).ok()?;
            if !RSA_BYTES.contains(&modulus.len()) {
                return None;
            }
            use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
            let fits = &[RS256, RS384, RS512, PS256, PS384, PS512];
            (fits, format!("RSA.{}.{}", rsa.n, rsa.e))
        }
        AlgorithmParameters::EllipticCurve(ec) => {
            let fits: &[Algorithm] = match ec.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return None,
            };
            (fits, format!("EC.{}.{}", ec.x, ec.y))
        }
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => {
            (&[Algorithm::EdDSA], format!("OKP.{}", okp.x))
        }
        _ => return None,
    };
    let named = jwk.common.key_algorithm;
    let algorithms: Vec<Algorithm> = fits
        .iter()
        .filter(|a| allowed.contains(a))
        .filter(|a| named.is_none_or(|named| named == KeyAlgorithm::from(**a)))
        .copied()
        .collect();
    if !for_signatures || !verifies || algorithms.is_empty() {
        return None;
    }
    let key = Key {
        id: Digest::of(material.as_bytes()),
        decoding: DecodingKey::from_jwk(&jwk).ok()?,
        algorithms,
    };
    Some((jwk.common.key_id?, key))
}

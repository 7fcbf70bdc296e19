//! What a token says, and which of it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use comity_identity::{Digest, Timestamp};
use serde_json::{Map, Value};

use super::Refusal;
use crate::access::is_role;
use crate::config;
use crate::ledger::OIDC;

/// The longest life of a token, from when it was issued. A stolen one ends then
/// at the latest, whatever the issuer says.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest name that the issuer may give a member, in bytes: that of `sub`
/// in OpenID Connect.
const MAX_NAME_BYTES: usize = 255;

/// The most values of a claim that are looked at.
const MAX_VALUES: usize = 512;

/// The most ways of logging in that a grant states.
const MAX_AUTHENTICATION: usize = 16;

/// The greatest moment that a claim can name: what JSON can carry exactly.
const MAX_SECONDS: u64 = (1 << 53) - 1;

/// Who the bearer of a verified token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedTo {
    name: String,
    roles: BTreeSet<String>,
    authentication: BTreeSet<String>,
    until: Timestamp,
    issued: Timestamp,
    key: Digest,
}

/// What the owner demands of a token's claims.
#[derive(Debug)]
pub(super) struct Rules {
    issuer: String,
    audience: String,
    clients: BTreeSet<String>,
    name_claim: String,
    roles_claim: Option<String>,
    role_map: BTreeMap<String, String>,
    required: BTreeMap<String, String>,
    leeway: Duration,
}

impl IssuedTo {
    /// The member's name, behind `oidc:`.
    pub(in crate::access) fn name(&self) -> &str {
        &self.name
    }

    /// The roles, as they are called here.
    pub(in crate::access) fn roles(&self) -> &BTreeSet<String> {
        &self.roles
    }

    /// How the member logged in: `amr`, and `acr` as `acr:VALUE`.
    pub(in crate::access) fn authentication(&self) -> &BTreeSet<String> {
        &self.authentication
    }

    /// From when on the token counts no more, the leeway included.
    pub(in crate::access) fn until(&self) -> Timestamp {
        self.until
    }

    /// When it was issued.
    pub(in crate::access) fn issued(&self) -> Timestamp {
        self.issued
    }

    /// The digest of the key that signed it.
    pub(in crate::access) fn key(&self) -> Digest {
        self.key
    }
}

impl Rules {
    pub(super) fn new(issuer: &str, audience: &str, settings: &config::Oidc) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            clients: settings.clients.clone(),
            name_claim: settings.name_claim.clone(),
            roles_claim: settings.roles_claim.clone(),
            role_map: settings.role_map.clone(),
            required: settings.required_claims.clone(),
            leeway: Duration::from_secs(settings.leeway_seconds),
        }
    }

    /// Judges the claims of a token that `key` signed
    /// (`spec/5-data-plane.md#D-206`).
    pub(super) fn judge(
        &self,
        claims: &Map<String, Value>,
        key: Digest,
        now: Timestamp,
    ) -> Result<IssuedTo, Refusal> {
        // Two issuers can share keys and audiences, as tenants of one service do.
        if text(claims, "iss") != Some(&self.issuer) {
            return Err(claim("iss", "not the issuer of this node's settings"));
        }
        self.audience(claims)?;
        let (issued, until) = self.times(claims, now)?;
        // A token that is bound to a key is worth nothing without it; here it
        // comes as a bearer's (RFC 7800), so whoever sends it may have stolen it.
        if claims.contains_key("cnf") {
            return Err(claim(
                "cnf",
                "bound to a key that the bearer does not prove",
            ));
        }
        for (name, wanted) in &self.required {
            if !values(claims.get(name)).any(|value| value == *wanted) {
                return Err(claim(name, "not as [oidc] required_claims demands"));
            }
        }
        let name = text(claims, &self.name_claim);
        let name = name.ok_or_else(|| claim(&self.name_claim, "missing, or no text"))?;
        let legal = |b: u8| b.is_ascii_graphic();
        if !(1..=MAX_NAME_BYTES).contains(&name.len()) || !name.bytes().all(legal) {
            let why = "a name has 1 to 255 printable characters of ASCII and no space";
            return Err(claim(&self.name_claim, why));
        }
        Ok(IssuedTo {
            name: format!("{OIDC}{name}"),
            roles: self.roles(claims),
            authentication: authentication(claims),
            until,
            issued,
            key,
        })
    }

    /// The token is for this node, and one of the programs that may asked for it.
    fn audience(&self, claims: &Map<String, Value>) -> Result<(), Refusal> {
        let audience: BTreeSet<String> = values(claims.get("aud")).collect();
        if !audience.contains(&self.audience) {
            return Err(claim("aud", "not this node"));
        }
        let azp = match claims.get("azp").or_else(|| claims.get("client_id")) {
            None => None,
            Some(Value::String(azp)) => Some(azp),
            Some(_) => return Err(claim("azp", "no text")),
        };
        match azp {
            Some(azp) if self.clients.contains(azp) => Ok(()),
            Some(_) if !self.clients.is_empty() => Err(claim("azp", "not one of [oidc] clients")),
            // One of several audiences could have passed it on: then it must say
            // that it was made for this one.
            Some(azp) if audience.len() > 1 && *azp != self.audience => {
                Err(claim("azp", "not this node, of several audiences"))
            }
            None if audience.len() > 1 || !self.clients.is_empty() => Err(claim("azp", "missing")),
            _ => Ok(()),
        }
    }

    /// When it was issued and until when it counts.
    fn times(
        &self,
        claims: &Map<String, Value>,
        now: Timestamp,
    ) -> Result<(Timestamp, Timestamp), Refusal> {
        let exp = moment(claims, "exp")?.ok_or_else(|| claim("exp", "missing"))?;
        let iat = moment(claims, "iat")?.ok_or_else(|| claim("iat", "missing"))?;
        let nbf = moment(claims, "nbf")?.unwrap_or(iat);
        if exp <= iat || exp.since(iat) > MAX_LIFETIME {
            return Err(claim("exp", "not within a day after iat"));
        }
        let until = exp.saturating_add(self.leeway);
        if now >= until {
            return Err(Refusal::Expired);
        }
        let latest = now.saturating_add(self.leeway);
        if iat > latest || nbf > latest {
            return Err(Refusal::NotYet);
        }
        Ok((iat, until))
    }

    /// The roles that the owner gives to the issuer's.
    fn roles(&self, claims: &Map<String, Value>) -> BTreeSet<String> {
        let Some(path) = &self.roles_claim else {
            return BTreeSet::new();
        };
        let theirs = match path.strip_prefix('/') {
            None => claims.get(path),
            Some(rest) => {
                let (first, rest) = rest.split_once('/').unwrap_or((rest, ""));
                let first = claims.get(first);
                match rest {
                    "" => first,
                    rest => first.and_then(|value| value.pointer(&format!("/{rest}"))),
                }
            }
        };
        let ours = values(theirs).filter_map(|theirs| self.role_map.get(&theirs).cloned());
        ours.filter(|role| is_role(role)).collect()
    }
}

/// How the member logged in. What does not fit into a grant is left out: it can
/// only be missed, never be taken for something else.
fn authentication(claims: &Map<String, Value>) -> BTreeSet<String> {
    let acr = text(claims, "acr").map(|acr| format!("acr:{acr}"));
    let all = values(claims.get("amr")).chain(acr);
    all.filter(|way| is_role(way))
        .take(MAX_AUTHENTICATION)
        .collect()
}

/// The texts of a claim that is one or a list of them.
fn values(claim: Option<&Value>) -> impl Iterator<Item = String> {
    let all = match claim {
        Some(Value::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    all.iter().take(MAX_VALUES).filter_map(|value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    })
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a String> {
    match claims.get(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// A moment in whole seconds. What is there and no such number is an error, not
/// an absent claim (CVE-2026-25537).
fn moment(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, Refusal> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let seconds = value.as_u64().filter(|seconds| *seconds <= MAX_SECONDS);
    let seconds = seconds.ok_or_else(|| claim(name, "no whole number of seconds"))?;
    Ok(Some(Timestamp::from_secs(seconds)))
}

fn claim(name: &str, why: &'static str) -> Refusal {
    Refusal::Claim(name.to_owned(), why)
}

//! `[oidc]`: the organization's identity provider.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[oidc]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Oidc {
    /// The issuer, exactly as it stands in its tokens. None: there is no provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// What tokens for this node name as their audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The programs that may ask the provider for such tokens.
    pub clients: BTreeSet<String>,
    /// Where the provider's keys are, if not where its discovery document says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// The signatures that count.
    pub algorithms: BTreeSet<SignatureAlgorithm>,
    /// The claim that is the member's name.
    pub name_claim: String,
    /// The claim that holds the provider's groups or roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles_claim: Option<String>,
    /// What the provider's roles are called here.
    pub role_map: BTreeMap<String, String>,
    /// Claims that a token must have, with these values.
    pub required_claims: BTreeMap<String, String>,
    /// How much the provider's clock may differ, in seconds.
    pub leeway_seconds: u64,
    /// How long fetched keys count, in seconds.
    pub keys_max_age_seconds: u64,
    /// The certificates that vouch for the provider's servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// A signature that an identity provider may use. None without a signature and
/// none with a shared secret can be written: whoever knows a public key could
/// make the latter (A34).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA over P-256.
    ES256,
    /// ECDSA over P-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl Default for Oidc {
    fn default() -> Self {
        Self {
            issuer: None,
            audience: None,
            clients: BTreeSet::new(),
            jwks_url: None,
            algorithms: BTreeSet::from([SignatureAlgorithm::RS256, SignatureAlgorithm::ES256]),
            name_claim: "sub".to_owned(),
            roles_claim: None,
            role_map: BTreeMap::new(),
            required_claims: BTreeMap::new(),
            leeway_seconds: 60,
            keys_max_age_seconds: 3600,
            ca_file: None,
        }
    }
}

//! What the admin API says of grants that are handed out.

use std::collections::{BTreeMap, BTreeSet};

use comity_identity::{Der, Digest, OrgId, PublicKey};
use comity_protocol::terms::RowFilter;
use serde::{Deserialize, Serialize};

/// `POST /v1/grants`: a grant for a person, service or job with a key of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueGrant {
    /// The agreement, or any unique beginning of its hex digits.
    pub agreement: String,
    /// The member who answers for it: removed, it takes the grant along.
    pub member: String,
    /// The holder's key.
    pub holder: PublicKey,
    /// The SHA-256 of the certificate with which the holder may come to the
    /// provider by itself.
    #[serde(default)]
    pub certificate: Option<Digest>,
    /// The only purposes; all of the agreement's when empty.
    #[serde(default)]
    pub purposes: BTreeSet<String>,
    /// The only tables. All of the agreement's when empty, unless columns name some.
    #[serde(default)]
    pub tables: BTreeSet<String>,
    /// For a table that is named here, the only columns.
    #[serde(default)]
    pub columns: BTreeMap<String, BTreeSet<String>>,
    /// Rows that are left, by table.
    #[serde(default)]
    pub filter: BTreeMap<String, RowFilter>,
    /// How many rows may be delivered in the grant's life.
    #[serde(default)]
    pub max_rows: Option<u64>,
    /// For how long, in minutes: 1 to 15.
    pub minutes: u64,
    /// Roles, of those that the federation names.
    #[serde(default)]
    pub roles: BTreeSet<String>,
    /// The job or service through which the member acts, outermost last.
    #[serde(default)]
    pub actors: Vec<String>,
}

/// A grant as its holder keeps it, in a file: the chain, and where it counts.
/// There is no secret in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantFile {
    /// The file's version: 1.
    pub v: u64,
    /// The chain's links, oldest first.
    pub links: Vec<String>,
    /// The provider.
    pub provider: OrgId,
    /// The product, as its address.
    pub product: String,
    /// Where the provider's peer listeners were when this was written, `host:port`.
    pub addresses: Vec<String>,
    /// The provider's TLS authority, DER.
    pub tls_ca: Der,
}

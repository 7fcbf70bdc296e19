//! What the admin API says about policies.

use comity_identity::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::access::policy::{Action, Asked, Problem};

/// The policies that decide: `GET /v1/policy`, and a part of the node's state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// The digest of the set in force.
    pub digest: Digest,
    /// Its files.
    pub files: Vec<String>,
    /// How many sets came into force since the node started.
    pub activated: u64,
    /// What is wrong with the files that lie there now, when they are not those
    /// in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Vec<Problem>>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_at: Option<Timestamp>,
    /// Requests that were denied because a policy could not be evaluated, since
    /// the node started.
    pub errors: u64,
}

/// `POST /v1/policy/explain`: a whole request, or names that the node fills in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ExplainPolicy {
    /// A request as policies see it.
    Request(Box<Asked>),
    /// What the node knows of these.
    Named(PolicyNames),
}

/// Names that make a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyNames {
    /// What is to happen.
    pub action: Action,
    /// The partner that asks, or whose product a member reads.
    #[serde(default)]
    pub partner: Option<String>,
    /// The member that asks.
    #[serde(default)]
    pub member: Option<String>,
    /// The product's address.
    #[serde(default)]
    pub product: Option<String>,
    /// The purpose stated.
    #[serde(default)]
    pub purpose: Option<String>,
}

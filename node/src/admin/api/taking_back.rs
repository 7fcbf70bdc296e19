//! What the admin API says of taking back.

use comity_identity::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

/// `POST /v1/revocations`: take back what is not one agreement.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeBack {
    /// What kind of thing.
    pub what: Revocable,
    /// Which one: a grant's `jti`, a member's or node's name, a partner's name here.
    pub id: String,
}

/// What can be taken back as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Revocable {
    /// A grant and all that was narrowed from it.
    Grant,
    /// A member: its token and its grants.
    Member,
    /// Another node of this organization, with its key.
    Node,
    /// A partner: every agreement with it, and the federation.
    Partner,
}

/// What was taken back. It counts here; partners are being told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TakenBack {
    /// What kind of thing.
    pub what: Revocable,
    /// Which one.
    pub id: String,
    /// The version of the organization document that says so, if one had to.
    pub document: Option<u64>,
    /// Grants that were taken back.
    pub grants: Vec<String>,
    /// Agreements that were taken back.
    pub agreements: Vec<Digest>,
}

/// A grant that this node issued and that has not ended: `GET /v1/grants`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LiveGrant {
    /// Its id, for `comity revoke grant`.
    pub jti: String,
    /// The member for whom it was issued.
    pub member: String,
    /// Whose data it opens, as partners are called here.
    pub partner: String,
    /// The agreement that it is under.
    pub agreement: Digest,
    /// When it ends by itself.
    pub expires: Timestamp,
}

//! What the admin API says of members.

use std::collections::BTreeSet;

use comity_identity::Timestamp;
use serde::{Deserialize, Serialize};

use crate::access::Held;
use crate::ledger::TokenScope;

/// `POST /v1/members` for a new member, `POST /v1/members/tokens` for one more
/// token of a known one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddMember {
    /// The member's name.
    pub name: String,
    /// What the token may be used for.
    #[serde(default)]
    pub scope: TokenScope,
    /// The roles that its holder has here.
    #[serde(default)]
    pub roles: BTreeSet<String>,
    /// When it ends by itself; never without.
    #[serde(default)]
    pub expires: Option<Timestamp>,
}

/// `POST /v1/members/remove`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveMember {
    /// The member's name.
    pub name: String,
}

/// `POST /v1/members/tokens/end`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndToken {
    /// The member's name.
    pub name: String,
    /// The token's id.
    pub token: String,
}

/// A member's token, shown once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberToken {
    /// The member's name.
    pub name: String,
    /// The token: a secret.
    pub token: String,
    /// Its id, for `comity member end-token`.
    pub id: String,
    /// What it may be used for.
    pub scope: TokenScope,
    /// When it ends by itself, if it does.
    pub expires: Option<Timestamp>,
}

/// A member: `GET /v1/members`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Member {
    /// The name; `oidc:` and the provider's word for whoever it vouches for.
    pub name: String,
    /// Its local tokens.
    pub tokens: Vec<Token>,
}

/// What is told of a local token: nothing of the token itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// What it may be used for.
    pub scope: TokenScope,
    /// The roles that its holder has here.
    pub roles: BTreeSet<String>,
    /// When it was made.
    pub made: Timestamp,
    /// When it ends by itself, if it does.
    pub expires: Option<Timestamp>,
    /// Whether it has.
    pub expired: bool,
}

/// `POST /v1/members/resolve`: whose pseudonym is this?
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolveMember {
    /// What the partner knows the member as.
    pub pseudonym: String,
    /// The partner, as it is called here; without it, every partner is tried.
    #[serde(default)]
    pub partner: Option<String>,
}

/// Whose pseudonym it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResolvedMember {
    /// The member.
    pub member: String,
    /// The partner who knows it by the pseudonym.
    pub partner: String,
}

impl MemberToken {
    /// A token that was just made.
    pub(crate) fn of(held: Held, token: String) -> Self {
        Self {
            name: held.name,
            token,
            id: held.id,
            scope: held.scope,
            expires: held.expires,
        }
    }
}

//! What somebody asks: the whole of what a policy can look at.

use std::collections::BTreeSet;

use comity_identity::Timestamp;
use comity_protocol::terms::{Weekday, Window};
use serde::{Deserialize, Serialize};

/// A request to decide on. The form of a policy test's `request`, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Asked {
    /// What is to happen.
    pub action: Action,
    /// Who asks.
    pub principal: Principal,
    /// What it is about.
    pub resource: Resource,
    /// What else is known of it.
    #[serde(default)]
    pub context: Circumstances,
}

/// What a policy can permit or forbid.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "camelCase")]
#[value(rename_all = "camelCase")]
pub enum Action {
    /// A partner's node fetches our catalog.
    Discover,
    /// A partner's request is taken up.
    Negotiate,
    /// A request that a rule covers is agreed to without a person.
    AutoApprove,
    /// A grant is made out for a member.
    IssueGrant,
    /// Rows of an own product are read.
    Query,
    /// Evidence or data is taken out in bulk.
    Export,
    /// The admin API is called.
    Administer,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Principal {
    /// Another organization's node.
    Partner {
        /// The organization's id.
        #[serde(default)]
        id: String,
        /// What our operator calls it; absent where it named itself, because a
        /// name that a guest chose must not open anything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alias: Option<String>,
        /// The roles that the federation names.
        #[serde(default)]
        roles: BTreeSet<String>,
        /// How its members log in, as the federation says.
        #[serde(default)]
        assurance: BTreeSet<String>,
    },
    /// A member of this organization.
    Member {
        /// Its name.
        name: String,
        /// Its roles here.
        #[serde(default)]
        roles: BTreeSet<String>,
    },
    /// Whoever uses the admin API.
    Administrator {
        /// `owner` at the Unix socket, `token` over TCP.
        role: String,
    },
}

/// What it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Resource {
    /// A product.
    Product {
        /// Its address.
        address: String,
        /// Whose it is: the organization's id. Empty means this organization's.
        #[serde(default)]
        org: String,
        /// Whether it is this organization's.
        #[serde(default = "yes")]
        own: bool,
        /// The classifications of all its columns.
        #[serde(default)]
        classifications: BTreeSet<String>,
        /// Its tags.
        #[serde(default)]
        tags: BTreeSet<String>,
    },
    /// An agreement.
    Agreement {
        /// Its id.
        id: String,
        /// The purposes that it permits.
        #[serde(default)]
        purposes: BTreeSet<String>,
    },
    /// This node.
    Node,
}

/// What else is known of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Circumstances {
    /// The purpose stated, or every one that the grant names where none is
    /// stated: a policy against a purpose must not be passed by saying nothing.
    pub purposes: BTreeSet<String>,
    /// What it opens, as `table.column`.
    pub columns: BTreeSet<String>,
    /// The classifications of these columns.
    pub classifications: BTreeSet<String>,
    /// The roles that the grant states.
    pub roles: BTreeSet<String>,
    /// How the holder logged in, as the grant states.
    pub authentication: BTreeSet<String>,
    /// The pairwise pseudonym that the grant gives, never a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf: Option<String>,
    /// The agreement that it is under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// For how many days terms are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<u64>,
    /// The call of the admin API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// The hour, 0 to 23, UTC.
    pub hour: u8,
    /// The day of the week, UTC.
    pub weekday: Weekday,
}

/// The agreement that a request is under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Agreement {
    /// Its id.
    pub id: String,
    /// The purposes that it permits.
    #[serde(default)]
    pub purposes: BTreeSet<String>,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 7] = [
        Self::Discover,
        Self::Negotiate,
        Self::AutoApprove,
        Self::IssueGrant,
        Self::Query,
        Self::Export,
        Self::Administer,
    ];

    /// As policies name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Negotiate => "negotiate",
            Self::AutoApprove => "autoApprove",
            Self::IssueGrant => "issueGrant",
            Self::Query => "query",
            Self::Export => "export",
            Self::Administer => "administer",
        }
    }
}

impl Circumstances {
    /// The circumstances of a request at `now`, of which nothing else is known yet.
    pub fn at(now: Timestamp) -> Self {
        let mut at = Self::default();
        at.set_time(now);
        at
    }

    /// Makes it a request at `now`.
    pub fn set_time(&mut self, now: Timestamp) {
        let hours = now.as_secs() / Window::Hour.seconds();
        self.hour = u8::try_from(hours % 24).unwrap_or_default();
        self.weekday = Weekday::of(now.as_secs());
    }
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_weekdays_are_utc() {
        // 2026-11-21 21:18:59 UTC, a Saturday.
        let at = Circumstances::at(Timestamp::from_secs(1_795_295_939));
        assert_eq!((at.hour, at.weekday), (21, Weekday::Saturday));
        let epoch = Circumstances::at(Timestamp::from_secs(0));
        assert_eq!((epoch.hour, epoch.weekday), (0, Weekday::Thursday));
    }
}

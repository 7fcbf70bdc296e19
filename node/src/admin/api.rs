//! What the admin API says: one type per request and answer, used by the
//! server and by the command line alike. `comity … --json` prints these.

use std::collections::{BTreeMap, BTreeSet};

use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::address::{Address, Range};
use comity_protocol::product::Deprecation;
use comity_protocol::terms::Terms;
use serde::{Deserialize, Serialize};

mod grants;
mod measured;
mod members;
mod negotiating;
mod policy;
mod receipts;
mod taking_back;

pub use grants::{GrantFile, IssueGrant};
pub use measured::{
    JustMeasured, Measure, Measured, Measurement, Observed, Promised, ResultsTaken, ResultsUrl,
    Rewritten, Statement, Verdict,
};
pub use members::{
    AddMember, EndToken, Member, MemberToken, RemoveMember, ResolveMember, ResolvedMember, Token,
};
pub use negotiating::{Amend, Approval, Compared, ComparedWith, Difference, End};
pub use policy::{ExplainPolicy, PolicyNames, PolicyStatus};
pub use receipts::{AcceptDispute, Receipts};
pub use taking_back::{LiveGrant, Revocable, TakeBack, TakenBack};

/// The state of a node: `GET /v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The organization's id.
    pub org: OrgId,
    /// Its display name.
    pub name: String,
    /// Its catalog's name in SQL.
    pub alias: String,
    /// This node's name.
    pub node: String,
    /// The program's version.
    pub version: String,
    /// `ok`, or why the node makes no new promises.
    pub health: String,
    /// Where it listens.
    pub listening: Listening,
    /// When the organization document expires; the node renews it by itself.
    pub document_expires: Timestamp,
    /// When the TLS certificate expires; the node renews it by itself.
    pub certificate_expires: Timestamp,
    /// Records in the journal.
    pub journal_records: u64,
    /// The RFC 6962 root over the journal.
    pub journal_root: Digest,
    /// Why the index was rebuilt at the last start, if it was.
    pub index_rebuilt: Option<String>,
    /// The organizations known here.
    pub partners: Vec<PartnerStatus>,
    /// Own products announced.
    pub products: Vec<String>,
    /// Partners' products that an agreement opens to us and that end.
    #[serde(default)]
    pub ending: Vec<Ending>,
    /// The policies that decide here.
    pub policy: PolicyStatus,
    /// Negotiations that wait for a person here.
    pub waiting: usize,
    /// Agreements in force, as provider and as consumer.
    pub agreements: usize,
}

/// The addresses that a node listens on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// libp2p multiaddresses, with the peer id.
    pub network: Vec<String>,
    /// The peer Flight listener, `host:port`.
    pub peers: String,
    /// The workbench Flight SQL listener, as a URI.
    pub workbench: String,
    /// The admin API, as a URI.
    pub admin: String,
}

/// Another organization, as this node sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartnerStatus {
    /// Its catalog's name in SQL here.
    pub alias: String,
    /// Its id.
    pub org: OrgId,
    /// Its own display name. Hostile text until printed through the escaper.
    pub name: String,
    /// `federated`, `introduced`, `contradicted` (it signed two heads or two
    /// documents with one number, which are kept as evidence), `frozen`, or
    /// `ended` (a side took the federation back).
    pub state: String,
    /// Whether its node is connected now.
    pub connected: bool,
    /// The roles that the federation names: members of either side may show them.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Products it announces.
    pub products: usize,
    /// How fresh its organization document is.
    pub document: String,
    /// The version of the document that is known here; 0 when none is.
    #[serde(default)]
    pub document_version: u64,
}

/// `POST /v1/invitations`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// What to call the guest here; its own alias when absent.
    pub alias: Option<String>,
    /// How long the invitation works.
    pub hours: u64,
    /// The roles that members of either side may show the other.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// An invitation to hand over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// The text for `comity join`. Whoever has it can join: send it over a channel you trust.
    pub code: String,
    /// Until when it works.
    pub expires: Timestamp,
}

/// `POST /v1/join`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The inviter's text.
    pub code: String,
    /// What to call the inviter here; its own alias when absent.
    pub alias: Option<String>,
}

/// A federation that was signed by both.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Joined {
    /// The organization joined with.
    pub org: OrgId,
    /// What it is called here.
    pub alias: String,
    /// The federation's id.
    pub federation: Digest,
}

/// `POST /v1/products`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The ODCS file, as an absolute path on the node's machine.
    pub path: String,
}

/// `POST /v1/deprecations`: announce the end of a major version.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deprecate {
    /// The product's address.
    pub product: Address,
    /// Until when it is served at least.
    pub sunset: Timestamp,
    /// What to read instead.
    #[serde(default)]
    pub replacement: Option<Address>,
}

/// `POST /v1/retirements`: withdraw a major version for good.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retire {
    /// The product's address.
    pub product: Address,
}

/// A partner's product that this organization may read, and that ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ending {
    /// Whose it is, as catalogs are called here.
    pub partner: String,
    /// The product's address.
    pub product: String,
    /// When it ends and what to read instead; absent when it is withdrawn already.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deprecation: Option<Deprecation>,
}

/// A product that was just announced.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Published {
    /// The product.
    #[serde(flatten)]
    pub product: Product,
    /// Changes by which more may leave the organization than before, in words.
    #[serde(default)]
    pub second_looks: Vec<String>,
}

/// A product, own or a partner's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Product {
    /// Whose it is, as catalogs are called here.
    pub alias: String,
    /// Whose it is.
    pub org: OrgId,
    /// The product's address: its name, and `@MAJOR` unless that is 1.
    pub product: String,
    /// Its version.
    pub version: String,
    /// The announced end of this major version.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deprecation: Option<Deprecation>,
    /// The descriptor's id.
    pub descriptor: Digest,
    /// What it is for.
    pub description: String,
    /// Its tables.
    pub tables: Vec<Table>,
    /// What partners may ask for without asking more, by default.
    pub offer: Option<Terms>,
    /// The agreement that opens it to this organization, if any.
    pub agreement: Option<Digest>,
    /// Until when the descriptor holds.
    pub expires: Timestamp,
    /// What it promises beside what was measured, where one product is shown.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub measured: Option<Measured>,
}

/// A table of a product.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Table {
    /// The table's name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<Column>,
}

/// A column of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// Its Arrow type.
    pub kind: String,
    /// What it means.
    pub description: Option<String>,
    /// How sensitive it is.
    pub classification: Option<String>,
}

/// `POST /v1/requests`: ask a partner for access.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The partner's name here.
    pub partner: String,
    /// The product's address: its name, and `@MAJOR` unless that is 1.
    pub product: String,
    /// Columns by table; what the product offers when absent.
    #[serde(default)]
    pub columns: BTreeMap<String, BTreeSet<String>>,
    /// Why.
    pub purposes: BTreeSet<String>,
    /// For how long.
    pub days: u64,
    /// A sentence for the person who decides.
    #[serde(default)]
    pub reason: String,
    /// For how many days the request can be agreed to; as configured when absent.
    #[serde(default)]
    pub open_days: Option<u64>,
}

/// A negotiation, as one side sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Negotiation {
    /// Its id. Any unique beginning of it names it on the command line.
    pub id: String,
    /// `access` or `federation`.
    pub kind: String,
    /// `provider` or `consumer`: what this node is in it.
    pub role: String,
    /// The other organization, as it is called here.
    pub partner: String,
    /// The agreement that ends when both have signed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replaces: Option<Digest>,
    /// Whether the proposal only ends that agreement sooner.
    #[serde(default)]
    pub ends: bool,
    /// The product asked for.
    pub product: Option<String>,
    /// The Dataspace Protocol's state.
    pub state: String,
    /// Whether what is on the table can be accepted no more. The state stays
    /// what it is: nothing was said.
    #[serde(default)]
    pub expired: bool,
    /// Until when what is on the table can, or could, be accepted.
    pub until: Timestamp,
    /// Whether it waits for a person here.
    pub waits_for_us: bool,
    /// What names the terms on the table, 64 hex digits: other terms, or the same
    /// ones proposed again, have another.
    #[serde(default)]
    pub read_as: String,
    /// The terms on the table.
    pub terms: Option<Terms>,
    /// How the last offer differs from what was asked, in words.
    pub changes: Vec<String>,
    /// The same line by line: with the proposal before, with what was asked, and
    /// with what is announced.
    #[serde(default)]
    pub compared: Vec<Compared>,
    /// For which of the data two persons here must approve, in words.
    #[serde(default)]
    pub needs_two: Vec<String>,
    /// Who approved already, where it takes two.
    #[serde(default)]
    pub approvals: Vec<Approval>,
    /// In what the request asks for more than the product offers, in words.
    pub beyond_offer: Vec<String>,
    /// The other side's sentence. Hostile text.
    pub note: String,
    /// The agreement it led to.
    pub agreement: Option<Digest>,
    /// When the last message was sent or received.
    pub at: Timestamp,
}

/// `POST /v1/requests/{id}/approve`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// Agree also to what the product does not offer.
    #[serde(default)]
    pub beyond_offer: bool,
    /// What was read: [`Negotiation::read_as`], or the beginning of it. When
    /// something else is on the table by now, nothing is agreed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
}

/// `POST /v1/requests/{id}/counter`: offer other terms.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counter {
    /// Columns by table to offer instead; those asked for when absent.
    #[serde(default)]
    pub columns: BTreeMap<String, BTreeSet<String>>,
    /// Row conditions to add, by table, as the terms' JSON.
    #[serde(default)]
    pub filters: BTreeMap<String, comity_protocol::terms::RowFilter>,
    /// A shorter time.
    pub days: Option<u64>,
    /// For how many days the offer can be accepted; as configured when absent.
    #[serde(default)]
    pub open_days: Option<u64>,
    /// A sentence for the other side.
    #[serde(default)]
    pub note: String,
}

/// `POST /v1/requests/{id}/decline`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decline {
    /// A sentence for the other side.
    #[serde(default)]
    pub note: String,
}

/// An agreement that both signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Agreement {
    /// Its id. Any unique beginning of its hex digits names it on the command line.
    pub id: Digest,
    /// `provider` or `consumer`: what this node is in it.
    pub role: String,
    /// The other organization, as it is called here.
    pub partner: String,
    /// The product's address: its name, and `@MAJOR` unless that is 1.
    pub product: String,
    /// The versions of it that are covered.
    pub range: Range,
    /// `in-force`, `expired`, `revoked` or `replaced`.
    pub state: String,
    /// The agreement in its place, where it was replaced.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replaced_by: Option<Digest>,
    /// The agreement whose place it took.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replaces: Option<Digest>,
    /// What it permits.
    pub terms: Terms,
}

/// Why a request to the admin API failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// A stable code.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}

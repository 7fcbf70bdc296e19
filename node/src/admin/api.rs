//! What the admin API says: one type per request and answer, used by the
//! server and by the command line alike. `comity … --json` prints these.

use std::collections::{BTreeMap, BTreeSet};

use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::address::{Address, Range};
use comity_protocol::product::Deprecation;
use comity_protocol::results::TableExtent;
use comity_protocol::terms::Terms;
use serde::{Deserialize, Serialize};

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
    /// documents with one number, which are kept as evidence) or `frozen`.
    pub state: String,
    /// Whether its node is connected now.
    pub connected: bool,
    /// Products it announces.
    pub products: usize,
    /// How fresh its organization document is.
    pub document: String,
}

/// `POST /v1/invitations`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// What to call the guest here; its own alias when absent.
    pub alias: Option<String>,
    /// How long the invitation works.
    pub hours: u64,
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

/// What a product promises, and what was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Every promise that has a number.
    pub promises: Vec<Promised>,
    /// How far its tables reach.
    pub tables: Vec<TableExtent>,
    /// The newest statement of every process that measures it.
    pub statements: Vec<Statement>,
    /// What this node's own queries saw of a partner's product.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub observed: Option<Observed>,
    /// The organization changed what it had stated of this product.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rewritten: Option<Rewritten>,
}

/// What a node's own queries saw of a partner's product: the last ones, a
/// hundred at most. It stays on this node.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Observed {
    /// How many queries.
    pub queries: usize,
    /// Those that failed, by their stable codes.
    pub failed: BTreeMap<String, usize>,
    /// Milliseconds to the first batch, the median.
    pub first_batch_ms: Option<u64>,
    /// Rows a second, the median over answers of a thousand rows and more.
    pub rows_per_second: Option<u64>,
    /// Rows that came.
    pub rows: u64,
    /// When it was asked last.
    pub last: Option<Timestamp>,
    /// The newest moment that came in the column of the promised freshness, in
    /// seconds since the Unix epoch. A query that asks for old rows sees old ones.
    pub newest: Option<i64>,
    /// When that came.
    pub newest_at: Option<Timestamp>,
}

/// A promise with its verdicts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Promised {
    /// Its id.
    pub id: String,
    /// The table or `TABLE.COLUMN` that it is about.
    pub about: String,
    /// What is counted.
    pub metric: String,
    /// What the number must be, in words.
    pub promise: Option<String>,
    /// What the number counts.
    pub unit: Option<String>,
    /// How much it matters, in its author's words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub severity: Option<String>,
    /// The newest verdict of every process that measured it; none of one that
    /// nobody measured.
    pub verdicts: Vec<Verdict>,
}

/// A verdict about a promise.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// `ok`, `failed`, or `error`: nobody can say.
    pub status: String,
    /// The number, where one is told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value: Option<f64>,
    /// Which process measured.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// A signed statement of what was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Statement {
    /// Its number in the chain of the product.
    pub seq: u64,
    /// Its id.
    pub id: Digest,
    /// When it was measured.
    pub at: Timestamp,
    /// By when the next one was announced.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub due: Option<Timestamp>,
    /// Whether the next one should have come.
    pub late: bool,
    /// Which process measured.
    pub by: String,
    /// Its version.
    pub by_version: String,
    /// The version of the product that was measured.
    pub version: String,
    /// Whether the contract has changed since.
    pub other_contract: bool,
    /// Verdicts that found no room in it.
    pub omitted: u64,
}

/// A statement of the chain, in short: `GET …/measurements`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    /// The statement.
    #[serde(flatten)]
    pub statement: Statement,
    /// Promises kept.
    pub ok: usize,
    /// Promises broken.
    pub failed: usize,
    /// Promises of which nobody can say.
    pub error: usize,
    /// Whether the statement before it is here, and the one that it names.
    pub unbroken: bool,
    /// The promises that are not kept, with `failed` or `error`.
    pub failures: BTreeMap<String, String>,
}

/// An organization changed what it had stated of a product.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Rewritten {
    /// The number of the statement that was known.
    pub seq: u64,
    /// When another one came.
    pub at: Timestamp,
}

/// `POST /v1/measurements`: measure an own product now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// The product's address.
    pub product: Address,
}

/// A measurement that was just made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JustMeasured {
    /// The product, with what was measured.
    #[serde(flatten)]
    pub product: Product,
    /// Why there is no verdict, by the promise's id. For the owner alone: it is
    /// not stated to anybody.
    pub reasons: BTreeMap<String, String>,
}

/// `GET /v1/results-url`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResultsUrl {
    /// What `datacontract test --publish` is given. Whoever has it can publish results.
    pub url: String,
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
    /// The product asked for.
    pub product: Option<String>,
    /// The Dataspace Protocol's state.
    pub state: String,
    /// Whether it waits for a person here.
    pub waits_for_us: bool,
    /// The terms on the table.
    pub terms: Option<Terms>,
    /// How the last offer differs from what was asked, in words.
    pub changes: Vec<String>,
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
    /// `in-force`, `expired` or `revoked`.
    pub state: String,
    /// What it permits.
    pub terms: Terms,
}

/// `POST /v1/members`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddMember {
    /// The member's name.
    pub name: String,
}

/// A member's token, shown once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberToken {
    /// The member's name.
    pub name: String,
    /// The token for the workbench listener.
    pub token: String,
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

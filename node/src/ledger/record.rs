//! What the journal holds: typed records, never changed once released.
//!
//! A record carries the exact signed texts, so that the journal alone proves
//! what was promised. A record whose meaning must change gets a new name; an
//! unknown name stops the start, because a node that skips a promise it cannot
//! read would break it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use comity_identity::{Digest, OrgId, Timestamp, keyring};
use comity_protocol::version::Version;
use serde::{Deserialize, Serialize};

mod approvals;
mod evidence;
mod grants;
mod replaced;

pub use evidence::{
    DisputeAccepted, JournalRewritten, KeysTold, Receipt, ReceiptAnswered, ReceiptTaken, Received,
    ToldKeys, Witnessed,
};

pub use approvals::Approved;
pub use grants::GrantIssued;
pub use replaced::Replaced;

/// One line of the node's log.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on its way to or from the journal"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Record {
    /// This organization's own history and current document.
    Own(Evidence),
    /// Another organization's high-water mark with its evidence, written before
    /// anything is decided by it (A10); with the proof, when it forked (A12).
    Known(keyring::Record),
    /// How another organization is called and reached here.
    Partner(Partner),
    /// An invitation that this node made.
    Invited(Invited),
    /// An invitation that somebody used; it works once.
    InvitationUsed(InvitationUsed),
    /// A product of this organization.
    Published(Published),
    /// A major version of a product that is no longer announced, for good.
    Retired(Retired),
    /// What this organization announces: its head, over all its products.
    Announced(Announced),
    /// A descriptor of another organization.
    ForeignDescriptor(Statement),
    /// A complete catalog of another organization: its head and descriptor list.
    ForeignHead(ForeignHead),
    /// Two statements of another organization that exclude one another: the
    /// proof that it contradicted itself (A36).
    Contradiction(Contradiction),
    /// What was measured of a product, by this organization or by another one.
    Measured(Measured),
    /// A negotiation message, sent or received.
    Message(Message),
    /// One of two persons approved what is on the table of a negotiation.
    Approved(Approved),
    /// A federation or an agreement with both signatures.
    Signed(Signed),
    /// An agreement ended because another one took its place.
    Replaced(Replaced),
    /// A signed revocation, by either side.
    Revoked(Revoked),
    /// A member of this organization who may use the workbench.
    Member(Member),
    /// A member who no longer may.
    MemberRemoved(MemberRemoved),
    /// One of a member's tokens ended before its time.
    MemberTokenEnded(MemberTokenEnded),
    /// Somebody whom the identity provider vouches for was here for the first time.
    MemberSeen(MemberSeen),
    /// A grant for a person, service or job with a key of its own, before it is
    /// handed out. Those that the node's own key holds never leave it.
    GrantIssued(GrantIssued),
    /// Something was served, or is about to be: written before a byte leaves.
    Delivery(Delivery),
    /// Something was refused to a peer or a member.
    Refused(Refused),
    /// How many more refusals an organization got in a minute than were written down.
    RefusedMore(RefusedMore),
    /// An administrative act that no other record tells of, written before its effect.
    Administered(Administered),
    /// Which records are erased now (`spec/6-evidence.md#V-9`), written before they are.
    Erased(Erased),
    /// A set of policies, before it decides anything.
    PolicyActivated(PolicyActivated),
    /// Policies that were refused as a whole; those before them decide.
    PolicyRefused(PolicyRefused),
    /// A partner is told keys of this organization, or of another one, so that it
    /// leaves out the rows that match none: written before it is told.
    KeysTold(KeysTold),
    /// An answer of a partner was received, whole or broken off.
    Received(Received),
    /// A receipt that this node, the provider, signed: written before it is sent.
    Receipt(Receipt),
    /// What the consumer answered to a receipt of this node.
    ReceiptAnswered(ReceiptAnswered),
    /// What this node, the consumer, answered to a receipt: written before it is sent.
    ReceiptTaken(ReceiptTaken),
    /// The operator accepts what a consumer disputed.
    DisputeAccepted(DisputeAccepted),
    /// How far the journal of a partner was proven to go.
    Witnessed(Witnessed),
    /// A partner's journal was rewritten or cut: the evidence (A33).
    JournalRewritten(JournalRewritten),
}

/// The proof of who this organization is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The organization.
    pub org: OrgId,
    /// Its key events, oldest first.
    pub history: Vec<String>,
    /// Its organization document.
    pub document: String,
}

/// See [`Record::Partner`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partner {
    /// The organization.
    pub org: OrgId,
    /// Its local name, which is its catalog in SQL.
    pub alias: String,
    /// The libp2p peer id of the node that introduced itself.
    pub peer_id: String,
    /// Where that node was reached.
    pub addresses: Vec<String>,
    /// The invitation that both used.
    pub invitation: Option<Digest>,
    /// Whether this organization's operator chose the alias. Records of before
    /// this was noted do not say so.
    #[serde(default)]
    pub named_by_us: bool,
    /// When it was met.
    pub at: Timestamp,
}

/// See [`Record::Invited`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invited {
    /// The digest of the invitation's envelope.
    pub id: Digest,
    /// The SHA-256 of the secret: the secret itself is not kept.
    pub secret_hash: Digest,
    /// What the inviter calls the guest.
    pub alias: Option<String>,
    /// Until when it may be used.
    pub expires: Timestamp,
    /// The roles that the federation is to name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

/// See [`Record::InvitationUsed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvitationUsed {
    /// The invitation.
    pub id: Digest,
    /// Who used it.
    pub by: OrgId,
}

/// See [`Record::Published`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The product's address.
    pub product: String,
    /// The ODCS file it was published from. Private.
    pub file: PathBuf,
    /// The digest of that file's bytes when it was published.
    pub file_digest: Digest,
    /// The signed descriptor.
    pub descriptor: String,
    /// The signed head that announced it, in records of before
    /// [`Record::Announced`]: a catalog of many products repeated it with each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The descriptor list of that head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
}

/// See [`Record::Retired`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    /// The product's address.
    pub product: String,
    /// The last version that was announced.
    pub version: Version,
    /// When.
    pub at: Timestamp,
}

/// See [`Record::Announced`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announced {
    /// The signed head.
    pub head: String,
    /// The descriptor list that the head commits to.
    pub list: String,
    /// The list of results that the head commits to, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<String>,
}

/// See [`Record::Measured`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Whose product it is, and who signed.
    pub org: OrgId,
    /// The product's address.
    pub product: String,
    /// The statement's number in the chain of this address.
    pub seq: u64,
    /// The signed statement.
    pub text: String,
}

/// See [`Record::Contradiction`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contradiction {
    /// Who signed both.
    pub org: OrgId,
    /// What both are.
    pub what: Contradicted,
    /// The number that both have: the head's `seq`, the document's `version`. Of
    /// results, that of the known statement, which the other one leaves out.
    pub number: u64,
    /// The statement that was known.
    pub known: String,
    /// The other one.
    pub other: String,
    /// When the other came.
    pub at: Timestamp,
}

/// What an organization signed twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contradicted {
    /// A head (`spec/3-catalog.md#C-16`).
    Head,
    /// An organization document (`spec/2-identity.md#I-23`).
    Document,
    /// What was measured (`spec/3-catalog.md#C-96`).
    Results,
}

/// A signed statement of another organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Who signed it.
    pub org: OrgId,
    /// The exact text.
    pub text: String,
}

/// See [`Record::ForeignHead`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignHead {
    /// Whose catalog it is.
    pub org: OrgId,
    /// The signed head.
    pub head: String,
    /// The descriptor list that the head commits to.
    pub list: String,
}

/// See [`Record::Message`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The negotiation's id, 32 hex digits.
    pub negotiation: String,
    /// The other organization.
    pub peer: OrgId,
    /// Whether this node sent it.
    pub sent: bool,
    /// The exact envelope.
    pub text: String,
    /// When this node sent or received it.
    pub at: Timestamp,
}

/// See [`Record::Signed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// Which kind of document.
    pub kind: SignedKind,
    /// The digest of its payload: its id.
    pub id: Digest,
    /// The other organization.
    pub peer: OrgId,
    /// The negotiation that made it.
    pub negotiation: String,
    /// The exact general envelope.
    pub text: String,
}

/// The kinds of document that two organizations sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignedKind {
    /// Mutual recognition.
    Federation,
    /// Access to one product.
    Agreement,
}

/// See [`Record::Revoked`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    /// The agreement.
    pub agreement: Digest,
    /// Who revoked it.
    pub by: OrgId,
    /// The signed notice.
    pub text: String,
    /// When this node learned of it.
    pub at: Timestamp,
}

/// See [`Record::Member`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The member's name.
    pub name: String,
    /// The SHA-256 of the member's token; the token itself is not kept.
    pub token_hash: Digest,
    /// What the token is good for. Records of before tokens had terms have none:
    /// such a token is for queries, has no roles and does not expire, and a
    /// later one of the same member takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<TokenTerms>,
    /// When the token was made.
    pub at: Timestamp,
}

/// What a local token is good for (`spec/5-data-plane.md#D-200`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenTerms {
    /// Its id, which tells nothing about it: 16 hex digits.
    pub id: String,
    /// What it may be used for.
    pub scope: TokenScope,
    /// The roles that its holder has here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<String>,
    /// When it ends by itself, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The member's token by which it was made: `token` and its id; the
    /// operator made those without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What a local token may be used for. None includes another: whoever queries
/// and administers holds two tokens, and a leaked one opens one door.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum TokenScope {
    /// Queries at the workbench.
    #[default]
    Query,
    /// Calls of the admin API that only read (`GET`), over TCP.
    Observe,
    /// Every call of the admin API, over TCP.
    Administer,
}

/// See [`Record::MemberRemoved`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberRemoved {
    /// The member's name.
    pub name: String,
    /// The ids of the tokens that end with it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tokens: BTreeSet<String>,
    /// When.
    pub at: Timestamp,
}

/// See [`Record::MemberTokenEnded`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberTokenEnded {
    /// The member's name.
    pub name: String,
    /// The token's id; none for one of before tokens had ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// What the names of members begin with whom the identity provider vouches for.
/// No local member's name can.
pub const OIDC: &str = "oidc:";

/// See [`Record::MemberSeen`] (`spec/5-data-plane.md#D-208`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberSeen {
    /// The member's name: [`OIDC`] and what the provider calls it.
    pub name: String,
    /// When.
    pub at: Timestamp,
}

/// See [`Record::Delivery`]. Two records make one delivery: `rows` is absent
/// before the first byte leaves and present when the stream has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// The trace id that both nodes' logs have.
    pub trace: String,
    /// The organization served; this one for its own members.
    pub org: OrgId,
    /// The member's name here, or the pseudonym that the peer's grant gives.
    pub subject: String,
    /// The agreement, when a peer is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Digest>,
    /// The purpose stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The digest of the query text; the text may hold personal data.
    pub query: Digest,
    /// The digest of its plan. Records before that was written have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Digest>,
    /// The states of the sources that were read, at the end, under the name that
    /// the peer is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The digest of the last link of the grant chain, when a peer is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Digest>,
    /// The digest of the first link, when the grant's holder came by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<Digest>,
    /// The digests of the links that have a row budget: it outlives a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Digest>,
    /// How much may have left before there is an end, where that is limited:
    /// what is charged if the node ends first (`spec/5-data-plane.md#D-130`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Reserved>,
    /// Rows that left, at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Bytes of Arrow data that left, at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The digest of the messages that left, at the end, when a peer is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    /// The stable code, when it ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The digest of the policies that decided (`spec/7-policy.md#R-6`). Records
    /// of before there were policies have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// When.
    pub at: Timestamp,
}

/// How much of an answer may leave before more is written down; nothing of what
/// no quota counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reserved {
    /// Rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Bytes of Arrow data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl Reserved {
    /// Whether so many rows and bytes may leave.
    pub fn covers(&self, rows: u64, bytes: u64) -> bool {
        self.rows.is_none_or(|most| rows <= most) && self.bytes.is_none_or(|most| bytes <= most)
    }
}

/// See [`Record::Refused`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The trace id that both nodes' logs have.
    pub trace: String,
    /// The organization refused.
    pub org: OrgId,
    /// The stable code that it was told.
    pub code: String,
    /// The reason, for the owner alone.
    pub reason: String,
    /// The digest of the policies in force (`spec/7-policy.md#R-6`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// When.
    pub at: Timestamp,
}

/// See [`Record::PolicyActivated`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyActivated {
    /// The digest of the set.
    pub digest: Digest,
    /// The digest of every file, by name.
    pub files: BTreeMap<String, Digest>,
    /// When.
    pub at: Timestamp,
}

/// See [`Record::PolicyRefused`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRefused {
    /// What is wrong: file, line, reason.
    pub problems: Vec<String>,
    /// The digest of the set that goes on to decide.
    pub in_force: Digest,
    /// When.
    pub at: Timestamp,
}

/// See [`Record::RefusedMore`] (`spec/6-evidence.md#V-4`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedMore {
    /// The organization refused.
    pub org: OrgId,
    /// How many refusals have no record of their own.
    pub count: u64,
    /// How many of them got which stable code.
    pub codes: BTreeMap<String, u64>,
    /// The beginning of the minute.
    pub at: Timestamp,
}

/// See [`Record::Erased`]. Without it whoever has the files could replace any
/// record by the hash that erasing leaves, and the tree would be whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erased {
    /// Where they stand in the journal.
    pub positions: Vec<u64>,
    /// When.
    pub at: Timestamp,
}

/// Who did an administrative act at the node's own machine.
pub const OPERATOR: &str = "operator";

/// See [`Record::Administered`] (`spec/6-evidence.md#V-3`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Administered {
    /// What was done, such as `start` or `join`.
    pub act: String,
    /// Who did it: [`OPERATOR`], or `token` and the id of a member's token, which
    /// names nobody once the member's own records are erased.
    pub by: String,
    /// To what: the configuration's digest, an organization. Holds no member's name.
    pub target: String,
    /// When.
    pub at: Timestamp,
}

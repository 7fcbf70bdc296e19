//! Records of what was delivered and what partners witnessed.

use std::collections::BTreeMap;

use comity_identity::{Digest, OrgId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::query::KeyForm;

/// See [`Record::Received`](super::Record::Received).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Received {
    /// The trace id that both nodes' logs have: 32 hex digits.
    pub trace: String,
    /// The partner that answered.
    pub org: OrgId,
    /// The agreement.
    pub agreement: Digest,
    /// The digest of the last link of the grant chain.
    pub grant: Digest,
    /// What the partner knows the member as.
    pub subject: String,
    /// The digest of the statement's text.
    pub query: Digest,
    /// Rows that came.
    pub rows: u64,
    /// Bytes of Arrow data that came.
    pub bytes: u64,
    /// The digest of the messages that came.
    pub content: Digest,
    /// How it broke off, when it did: `failed` by the partner, `dropped` by us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// When it ended.
    pub at: Timestamp,
}

/// See [`Record::KeysTold`](super::Record::KeysTold).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysTold {
    /// The half of the trace id that this node made: 16 hex digits.
    pub trace: String,
    /// The partner that is told.
    pub org: OrgId,
    /// The agreement under which it is asked.
    pub agreement: Digest,
    /// What the partner knows the member as.
    pub subject: String,
    /// Which keys.
    pub keys: Vec<ToldKeys>,
    /// When.
    pub at: Timestamp,
}

/// Keys that a partner is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToldKeys {
    /// The columns that they are of, as in SQL.
    pub of: String,
    /// In which form.
    pub form: KeyForm,
    /// How many different ones.
    pub count: u64,
}

/// See [`Record::Receipt`](super::Record::Receipt).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The agreement.
    pub agreement: Digest,
    /// Its number under the agreement.
    pub seq: u64,
    /// Its id: the digest of its payload.
    pub id: Digest,
    /// The envelope with this node's signature.
    pub text: String,
    /// When it was made.
    pub at: Timestamp,
}

/// See [`Record::ReceiptAnswered`](super::Record::ReceiptAnswered).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptAnswered {
    /// The agreement.
    pub agreement: Digest,
    /// The receipt's number.
    pub seq: u64,
    /// The receipt's id.
    pub id: Digest,
    /// Whether the answer is a dispute.
    pub disputed: bool,
    /// The countersigned receipt, or the dispute.
    pub text: String,
    /// When the answer came.
    pub at: Timestamp,
}

/// See [`Record::ReceiptTaken`](super::Record::ReceiptTaken).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptTaken {
    /// The agreement.
    pub agreement: Digest,
    /// The receipt's number.
    pub seq: u64,
    /// The receipt's id.
    pub id: Digest,
    /// Whether the answer is a dispute.
    pub disputed: bool,
    /// The answer: the countersigned receipt, or the dispute.
    pub text: String,
    /// The receipt as the provider signed it, when it is disputed: the dispute
    /// names it only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// By the digest of a grant's first link: the rows that holders of it were
    /// delivered directly, of all receipts up to this one, when it is countersigned.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub direct: BTreeMap<Digest, u64>,
    /// When.
    pub at: Timestamp,
}

/// See [`Record::DisputeAccepted`](super::Record::DisputeAccepted).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisputeAccepted {
    /// The agreement.
    pub agreement: Digest,
    /// The number of the disputed receipt.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
}

/// See [`Record::Witnessed`](super::Record::Witnessed).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witnessed {
    /// Whose journal it is.
    pub org: OrgId,
    /// How many entries it has.
    pub size: u64,
    /// The Merkle root over them.
    pub root: Digest,
    /// The signed checkpoint; absent when it is a receipt, which is recorded
    /// beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// See [`Record::JournalRewritten`](super::Record::JournalRewritten).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalRewritten {
    /// Whose journal it is.
    pub org: OrgId,
    /// The size of the checkpoint that was held, and is recorded as
    /// [`Witnessed`].
    pub held_size: u64,
    /// Its root.
    pub held_root: Digest,
    /// The size of the checkpoint that contradicts it.
    pub size: u64,
    /// Its root.
    pub root: Digest,
    /// The signed text that states it.
    pub text: String,
    /// The proof that does not hold.
    pub proof: Vec<Digest>,
    /// When.
    pub at: Timestamp,
}

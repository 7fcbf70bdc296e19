//! The checkpoints of this journal that anybody signed.

use comity_identity::envelope::{Compact, General};
use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::checkpoint::{CHECKPOINT, Checkpoint};
use comity_protocol::receipt::RECEIPT;
use serde::Deserialize;
use serde_json::Value;

use super::keys::Recorded;
use crate::failure::Failure;

/// The most bytes of a file with checkpoints that a partner holds.
pub const MAX_HELD_BYTES: u64 = 256 << 20;

/// How deep a record is searched for signed statements: records are flat.
const MAX_DEPTH: usize = 8;

/// A signed checkpoint or receipt, as somebody keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A checkpoint (`comity-checkpoint+jwt`).
    Checkpoint(String),
    /// A receipt (`comity-receipt+jwt`), which carries its provider's checkpoint.
    Receipt(String),
}

/// That this journal had `root` at `size`, said by this organization itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) size: u64,
    pub(super) root: Digest,
    /// The place in the chain of receipts, of a receipt that has one.
    pub(super) link: Option<Link>,
}

/// Where a receipt stands among those of its agreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) agreement: Digest,
    pub(super) seq: u64,
    pub(super) prev: Option<Digest>,
    pub(super) digest: Digest,
}

/// The members of a receipt that an auditor of the journal reads: a receipt may
/// say more, and its own rules are the receiver's matter.
#[derive(Deserialize)]
struct Receipt {
    agreement: Digest,
    at: Timestamp,
    journal_size: u64,
    journal_root: Digest,
    seq: Option<u64>,
    prev: Option<Digest>,
}

impl Held {
    /// The statement in `text`, if it is one of these kinds; nothing is verified.
    fn recognise(text: &str) -> Option<Self> {
        if Compact::parse(CHECKPOINT, text).is_ok() {
            return Some(Self::Checkpoint(text.to_owned()));
        }
        let general = text.starts_with('{') && General::parse(RECEIPT, text).is_ok();
        general.then(|| Self::Receipt(text.to_owned()))
    }

    /// What it says about the journal of `own`; `None` when it is about another
    /// organization's. `Err` when no key that `keys` knows signed it.
    pub(super) fn claim(&self, own: &OrgId, keys: &Recorded) -> Result<Option<Claim>, String> {
        match self {
            Self::Checkpoint(text) => {
                let claimed: Checkpoint = Compact::parse(CHECKPOINT, text)
                    .and_then(|envelope| envelope.danger_unverified_payload())
                    .map_err(|e| e.to_string())?;
                if claimed.org != *own {
                    return Ok(None);
                }
                let checkpoint = Checkpoint::verify(text, own, keys, claimed.at)
                    .map_err(|e| format!("a checkpoint of this organization: {e}"))?;
                Ok(Some(Claim {
                    size: checkpoint.size,
                    root: checkpoint.root,
                    link: None,
                }))
            }
            Self::Receipt(text) => receipt(text, own, keys),
        }
    }
}

/// The provider signs first, and the checkpoint is the provider's.
fn receipt(text: &str, own: &OrgId, keys: &Recorded) -> Result<Option<Claim>, String> {
    let envelope = General::parse(RECEIPT, text).map_err(|e| e.to_string())?;
    let receipt: Receipt = envelope
        .danger_unverified_payload()
        .map_err(|e| e.to_string())?;
    let kid = envelope
        .signatories()
        .first()
        .map(comity_identity::envelope::Signatory::claimed_kid)
        .ok_or("a receipt without a signature")?;
    let (provider, key) = keys
        .holder(&kid, receipt.at)
        .ok_or("a receipt whose provider's key no document in this journal lists")?;
    if provider != *own {
        return Ok(None);
    }
    envelope
        .is_signed_by(&key)
        .map_err(|e| format!("a receipt of this organization: {e}"))?;
    Ok(Some(Claim {
        size: receipt.journal_size,
        root: receipt.journal_root,
        link: receipt.seq.map(|seq| Link {
            agreement: receipt.agreement,
            seq,
            prev: receipt.prev,
            digest: envelope.digest(),
        }),
    }))
}

/// Every checkpoint and receipt within a record, whatever the record's kind is:
/// a kind that comes later is searched like the others.
pub(super) fn in_record(record: &Value) -> Vec<Held> {
    let mut found = Vec::new();
    collect(record, 0, &mut found);
    found
}

fn collect(value: &Value, depth: usize, found: &mut Vec<Held>) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::String(text) => found.extend(Held::recognise(text)),
        Value::Array(items) => items.iter().for_each(|v| collect(v, depth + 1, found)),
        Value::Object(members) => members.values().for_each(|v| collect(v, depth + 1, found)),
        _ => {}
    }
}

/// The statements in a partner's file: a JSON array, or one JSON value or bare
/// compact envelope a line. A text that is neither a checkpoint nor a receipt is
/// refused: what is skipped in silence could be the one that convicts.
pub fn read_held(text: &str) -> Result<Vec<Held>, Failure> {
    if let Ok(Value::Array(items)) = serde_json::from_str(text) {
        let items = items.into_iter().enumerate();
        return items.map(|(i, item)| one(i + 1, item)).collect();
    }
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty());
    lines
        .map(|(i, line)| {
            let value = serde_json::from_str(line);
            one(i + 1, value.unwrap_or_else(|_| Value::from(line)))
        })
        .collect()
}

fn one(number: usize, value: Value) -> Result<Held, Failure> {
    let held = match &value {
        Value::String(text) => Held::recognise(text),
        // The general form of an envelope is a JSON object itself.
        Value::Object(_) => Held::recognise(&value.to_string()),
        _ => None,
    };
    held.ok_or_else(|| {
        let message = format!("entry {number} is neither a signed checkpoint nor a receipt");
        Failure::caller("bad-checkpoints", message)
            .next("give the texts as the partner's node keeps them, one a line")
    })
}

//! One agreement with everything that proves it, in one file.

use std::collections::BTreeMap;

use comity_identity::{Digest, Timestamp};
use comity_protocol::negotiation::{AGREEMENT, SignedDocument};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::keys::Recorded;
use super::words::digest_begins;
use crate::clock;
use crate::failure::Failure;
use crate::home::Home;
use crate::journal::{Entry, Journal};
use crate::ledger::{Record, SignedKind};

/// What `comity audit export` writes and `spec/verifier/verify_bundle.py`
/// verifies (`spec/6-evidence.md#V-10`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// The form's version: 1.
    pub v: u64,
    /// The agreement's id.
    pub agreement: Digest,
    /// When the bundle was made. Nothing depends on it.
    pub made: Timestamp,
    /// The signed checkpoint to which every proof leads.
    pub checkpoint: String,
    /// The records, in the order of the journal.
    pub records: Vec<Proven>,
}

/// One record of a bundle with its proof.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proven {
    /// Where it stands in the journal.
    pub position: u64,
    /// Its salt, 32 hexadecimal digits.
    pub salt: String,
    /// The record's exact bytes, which are UTF-8.
    pub record: String,
    /// The RFC 6962 audit path in the checkpoint's tree, as hexadecimal digits.
    pub path: Vec<String>,
}

/// Makes the bundle of the agreement whose digest is `wanted` or begins with it.
///
/// It holds the agreement, the key histories and documents of both sides as
/// this node recorded them, the negotiation, the deliveries, the receipts and
/// the revocation, each proven against one checkpoint that is signed now.
pub fn export(home: &Home, wanted: &str) -> Result<Bundle, Failure> {
    let folder = home.journal();
    let mut keys = Recorded::default();
    let mut found = BTreeMap::new();
    let walk = super::walk(&folder, |_, record| {
        keys.take_json(record);
        if let Ok(Record::Signed(signed)) = serde_json::from_slice(record) {
            let wanted = digest_begins(&signed.id.to_string(), wanted);
            if signed.kind == SignedKind::Agreement && wanted {
                found.insert(signed.id, signed);
            }
        }
    })?;
    let mut found = found.into_values();
    let signed = match (found.next(), found.next()) {
        (Some(one), None) => one,
        (None, _) => {
            let message = format!("no agreement {wanted} is in the journal");
            return Err(Failure::caller("unknown-agreement", message)
                .next("run 'comity agreements' for their ids"));
        }
        (Some(_), Some(_)) => {
            let message = format!("several agreements begin with {wanted}");
            return Err(Failure::caller("ambiguous", message).next("give more of the id"));
        }
    };
    let document = SignedDocument::recall(AGREEMENT, &signed.text)
        .map_err(|e| Failure::own("agreement", e))?;
    let about = About {
        agreement: signed.id.to_string(),
        negotiation: signed.negotiation.clone(),
        orgs: [
            document.document().provider.org.to_string(),
            document.document().consumer.org.to_string(),
        ],
    };
    let checkpoint = super::sign(home, &keys, &walk)?;
    let size = walk.tree.size();
    let mut records = Vec::new();
    let mut erased = 0u64;
    Journal::walk(&folder, |position, entry| match entry {
        Entry::Kept { salt, record } if position < size && about.includes(record) => {
            let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
            let path = walk.tree.inclusion(position, size).unwrap_or_default();
            records.push(Proven {
                position,
                salt: hex(salt),
                record: String::from_utf8_lossy(record).into_owned(),
                path: path.iter().map(|hash| hex(hash)).collect(),
            });
        }
        Entry::Kept { .. } => {}
        Entry::Erased(_) => erased += 1,
    })
    .map_err(super::unreadable)?;
    if erased > 0 {
        tracing::warn!(erased, "erased records cannot be part of the bundle");
    }
    Ok(Bundle {
        v: 1,
        agreement: signed.id,
        made: clock::now(),
        checkpoint,
        records,
    })
}

/// What a bundle is about.
struct About {
    agreement: String,
    negotiation: String,
    orgs: [String; 2],
}

impl About {
    /// By members and not by kinds: a later kind of record that names the
    /// agreement belongs to the bundle too.
    fn includes(&self, record: &[u8]) -> bool {
        let Ok(record) = serde_json::from_slice::<Value>(record) else {
            return false;
        };
        let text = |member: &str| record.get(member).and_then(Value::as_str);
        match text("record") {
            Some("own") => true,
            Some("known") => {
                let org = record.get("mark").and_then(|mark| mark.get("org"));
                let org = org.and_then(Value::as_str);
                self.orgs.iter().any(|side| Some(side.as_str()) == org)
            }
            Some("message") => text("negotiation") == Some(&self.negotiation),
            Some("signed") => text("id") == Some(&self.agreement),
            _ => text("agreement") == Some(&self.agreement),
        }
    }
}

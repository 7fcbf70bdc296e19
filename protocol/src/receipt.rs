//! What was delivered, signed by both (`spec/4-negotiation.md`, section 7).
//!
//! ```text
//! Receipt ── provider signs ──> StatedReceipt ── compared with what came ──> Answer
//!                                                    countersigned (SignedReceipt) or Dispute
//! ```

mod delivered;
mod dispute;
mod signed;

use std::collections::BTreeSet;

use comity_identity::envelope::{EnvelopeError, General, Typ};
use comity_identity::{Digest, Signer, Timestamp};
use serde::{Deserialize, Serialize};

pub use delivered::{
    Delivered, INTERRUPTED, Issued, MAX_ANSWER, MAX_ENDED_CHARS, MAX_SNAPSHOT_CHARS,
    MAX_UNDERWAY_BYTES, Received, TRACE_CHARS,
};
pub use dispute::{Contested, Counted, DISPUTE, Dispute};
pub use signed::{Answer, SignedReceipt, StatedReceipt};

use crate::terms::MAX_INT;

/// The kind of a receipt. [`MAX_DELIVERIES`] of the longest fit.
pub const RECEIPT: Typ = Typ::new("comity-receipt+jwt", 240 * 1024);

/// The most deliveries of one receipt (`spec/4-negotiation.md#N-62`): one
/// signature and one sync of the disk for all of them.
pub const MAX_DELIVERIES: usize = 256;

/// The payload that both sign (`spec/schemas/receipt.json`).
///
/// The provider states what it sent; the consumer countersigns the same bytes
/// only if it received that. Neither can later claim more or less. The receipts
/// under one agreement are a chain, so that none of them can be left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The payload's version: 1.
    pub v: u64,
    /// The agreement under which it was delivered.
    pub agreement: Digest,
    /// The receipt's number under this agreement, from 1 on without a gap.
    pub seq: u64,
    /// The id of the receipt before it; absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<Digest>,
    /// What was delivered, in the order in which it ended.
    pub deliveries: Vec<Delivered>,
    /// When the receipt was made.
    pub at: Timestamp,
    /// How many entries the provider's journal had, these deliveries included.
    pub journal_size: u64,
    /// The Merkle root (RFC 6962) over these entries: later the provider can
    /// show that the deliveries are among them, and cannot quietly lose them.
    pub journal_root: Digest,
}

/// Why a receipt, or the answer to one, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// The envelope is refused.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// A signature is missing, strange, or of a key without the role.
    #[error("the receipt is not signed by an agreeing key of each side")]
    Signatures,
    /// The receipt belongs to another agreement.
    #[error("the receipt is for another agreement")]
    OtherAgreement,
    /// The answer belongs to another receipt.
    #[error("the answer is to another receipt")]
    OtherReceipt,
    /// The content breaks a rule of the specification.
    #[error("{0}")]
    Rule(&'static str),
}

/// Where the chain of an agreement's receipts ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the last receipt.
    pub seq: u64,
    /// Its id.
    pub id: Digest,
}

/// How a receipt stands to the last one of its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is the next.
    Next,
    /// It is the last one, once more.
    Again,
}

/// Why a receipt does not continue its chain (`spec/4-negotiation.md#N-67`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfTurn {
    /// Receipts between the last one and this one are missing, or it is older.
    #[error("the receipt is not the next of its agreement")]
    Gap,
    /// It contradicts the last one: the same number twice, or another former.
    #[error("the receipt contradicts the one that was taken before it")]
    Fork,
}

impl Receipt {
    /// The envelope with the provider's signature.
    ///
    /// # Errors
    /// A content that the other side would refuse is not signed.
    pub fn sign(&self, provider: &dyn Signer) -> Result<String, ReceiptError> {
        self.check()?;
        Ok(General::new(RECEIPT, self)?.sign(provider).to_text())
    }

    /// Reads a receipt that this node verified, or signed, before it wrote it
    /// to its journal, and its id.
    pub fn recall(text: &str) -> Result<(Self, Digest), ReceiptError> {
        let envelope = General::parse(RECEIPT, text)?;
        Ok((envelope.danger_unverified_payload()?, envelope.digest()))
    }

    /// How the receipt with this `id` continues a chain that ends with `last`.
    ///
    /// # Errors
    /// It does not: what lies between was lost, or somebody rewrote the chain (A33).
    pub fn turn(&self, id: Digest, last: Option<Place>) -> Result<Turn, OutOfTurn> {
        let Some(last) = last else {
            return match self.seq {
                1 => Ok(Turn::Next),
                _ => Err(OutOfTurn::Gap),
            };
        };
        // spec/4-negotiation.md#N-67
        if self.seq == last.seq {
            return match id == last.id {
                true => Ok(Turn::Again),
                false => Err(OutOfTurn::Fork),
            };
        }
        match (last.seq.checked_add(1) == Some(self.seq), self.prev) {
            (false, _) => Err(OutOfTurn::Gap),
            (true, Some(prev)) if prev == last.id => Ok(Turn::Next),
            (true, _) => Err(OutOfTurn::Fork),
        }
    }

    /// spec/4-negotiation.md#N-27, #N-62
    fn check(&self) -> Result<(), ReceiptError> {
        let broken = |rule| Err(ReceiptError::Rule(rule));
        if self.v != 1 {
            return broken("the receipt's version is not 1");
        }
        let numbers = [self.seq, self.at.as_secs(), self.journal_size];
        if numbers.iter().any(|n| *n > MAX_INT) {
            return broken("a number is above 2^53 - 1");
        }
        if self.seq == 0 {
            return broken("receipts are numbered from 1 on");
        }
        if self.prev.is_some() != (self.seq > 1) {
            return broken("every receipt but the first names the one before it");
        }
        if self.journal_size == 0 {
            return broken("a journal without entries holds no delivery");
        }
        if self.deliveries.is_empty() || self.deliveries.len() > MAX_DELIVERIES {
            return broken("a receipt is of 1 to 256 deliveries");
        }
        let mut traces = BTreeSet::new();
        for delivered in &self.deliveries {
            delivered.check().map_err(ReceiptError::Rule)?;
            if !traces.insert(delivered.trace.as_str()) {
                return broken("a delivery stands in the receipt twice");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

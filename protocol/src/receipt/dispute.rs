//! The consumer received something else: its signed answer.

use comity_identity::envelope::{Compact, Typ};
use comity_identity::organization::Role;
use comity_identity::{Digest, OrgId, Signer, Timestamp};
use serde::{Deserialize, Serialize};

use super::delivered::{Received, is_trace};
use super::{MAX_DELIVERIES, ReceiptError};
use crate::keys::{IssuerKeys, StatementError, open};
use crate::terms::MAX_INT;

/// The kind of a dispute. [`MAX_DELIVERIES`] contested ones fit.
pub const DISPUTE: Typ = Typ::new("comity-dispute+jwt", 160 * 1024);

/// The payload of a dispute (`spec/schemas/dispute.json`, `spec/4-negotiation.md#N-65`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dispute {
    /// The payload's version: 1.
    pub v: u64,
    /// The agreement of the receipt.
    pub agreement: Digest,
    /// The id of the receipt.
    pub receipt: Digest,
    /// The deliveries of it that are contested; the others are agreed to.
    pub contested: Vec<Contested>,
    /// When.
    pub at: Timestamp,
}

/// A delivery that is stated otherwise than it was received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contested {
    /// Its trace.
    pub trace: String,
    /// What was received instead.
    pub received: Counted,
}

/// What the consumer counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Counted {
    /// No answer with this trace, or none that is not settled already.
    Unknown,
    /// This.
    Counted {
        /// The digest of the last link of the grant chain with which it asked.
        grant: Digest,
        /// The digest of the statement's text.
        query: Digest,
        /// The rows received.
        rows: u64,
        /// The bytes of the bodies received.
        bytes: u64,
        /// The digest of the messages received.
        content: Digest,
    },
}

impl From<Option<&Received>> for Counted {
    fn from(received: Option<&Received>) -> Self {
        received.map_or(Self::Unknown, |r| Self::Counted {
            grant: r.grant,
            query: r.query,
            rows: r.rows,
            bytes: r.bytes,
            content: r.content,
        })
    }
}

impl Dispute {
    /// Signs the dispute with a key that agrees.
    pub fn sign(&self, consumer: &dyn Signer) -> Result<String, ReceiptError> {
        self.check()?;
        Ok(Compact::sign(DISPUTE, self, consumer)?)
    }

    /// Checks that `consumer` disputes, with `text`, the receipt `receipt`
    /// under `agreement`.
    pub fn verify(
        text: &str,
        consumer: &OrgId,
        (agreement, receipt): (Digest, Digest),
        keys: &dyn IssuerKeys,
        now: Timestamp,
    ) -> Result<Self, ReceiptError> {
        let opened = open(DISPUTE, text, consumer, Role::Agree, keys, now);
        let dispute: Self = opened
            .map_err(|e| match e {
                StatementError::Envelope(e) => ReceiptError::Envelope(e),
                _ => ReceiptError::Signatures,
            })?
            .payload()?;
        dispute.check()?;
        if dispute.agreement != agreement {
            return Err(ReceiptError::OtherAgreement);
        }
        if dispute.receipt != receipt {
            return Err(ReceiptError::OtherReceipt);
        }
        Ok(dispute)
    }

    /// spec/4-negotiation.md#N-65
    fn check(&self) -> Result<(), ReceiptError> {
        let broken = |rule| Err(ReceiptError::Rule(rule));
        if self.v != 1 {
            return broken("the dispute's version is not 1");
        }
        if self.contested.is_empty() || self.contested.len() > MAX_DELIVERIES {
            return broken("a dispute is of 1 to 256 deliveries");
        }
        if !self.contested.iter().all(|c| is_trace(&c.trace)) {
            return broken("the trace is not 32 lower-case hex digits");
        }
        let counted = self.contested.iter().filter_map(|c| match c.received {
            Counted::Counted { rows, bytes, .. } => Some([rows, bytes]),
            Counted::Unknown => None,
        });
        let numbers = counted.flatten().chain([self.at.as_secs()]);
        if numbers.max() > Some(MAX_INT) {
            return broken("a number is above 2^53 - 1");
        }
        Ok(())
    }
}

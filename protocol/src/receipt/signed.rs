//! Receipts whose signatures were checked.

use std::collections::BTreeMap;

use comity_identity::envelope::General;
use comity_identity::{Digest, OrgId, PublicKey, Signer, Timestamp};

use super::{Contested, Counted, Dispute, Issued, RECEIPT, Receipt, ReceiptError, Received};
use crate::keys::IssuerKeys;
use crate::negotiation::{Document, DocumentError, signer_of};

/// A receipt that the provider signed and the consumer has not answered.
/// [`StatedReceipt::verify`] is its one constructor.
#[derive(Clone, Debug)]
pub struct StatedReceipt {
    receipt: Receipt,
    envelope: General,
}

/// What the consumer answers to a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It received what is stated: the receipt with its signature.
    Countersigned(String),
    /// It received something else: a dispute.
    Disputed(String),
}

impl StatedReceipt {
    /// Checks that an agreeing key of the provider of `agreement` (whose id is
    /// `id`) signed `text`, and nobody else.
    pub fn verify(
        text: &str,
        (id, agreement): (Digest, &Document),
        keys: &dyn IssuerKeys,
        now: Timestamp,
    ) -> Result<Self, ReceiptError> {
        let envelope = General::parse(RECEIPT, text)?;
        let provider = key_of(&envelope, &agreement.provider.org, keys, now)?;
        let receipt: Receipt = envelope.verify_exactly(&[provider])?;
        receipt.check()?;
        // spec/4-negotiation.md#N-25
        if receipt.agreement != id {
            return Err(ReceiptError::OtherAgreement);
        }
        Ok(Self { receipt, envelope })
    }

    /// The payload.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// The digest of the payload: the receipt's id.
    pub fn digest(&self) -> Digest {
        self.envelope.digest()
    }

    /// Compares every delivery with what was `received` under its trace, or,
    /// of one to a holder who came by itself, with the grant that was `issued`
    /// under the digest of its first link, and
    /// signs: the receipt if they agree, else a dispute. There is no other way
    /// to a countersignature (`spec/4-negotiation.md#N-25`, `#N-65`).
    ///
    /// # Errors
    /// The consumer's own counts are beyond what a dispute can say.
    pub fn answer(
        self,
        received: impl Fn(&str) -> Option<Received>,
        issued: impl Fn(&Digest) -> Option<Issued>,
        consumer: &dyn Signer,
        now: Timestamp,
    ) -> Result<Answer, ReceiptError> {
        let mut contested = Vec::new();
        let mut direct: BTreeMap<Digest, u64> = BTreeMap::new();
        for delivered in &self.receipt.deliveries {
            let received = received(&delivered.trace);
            let agrees = match &delivered.direct {
                None => delivered.agrees_with(received.as_ref()),
                Some(first) => {
                    let more = direct.entry(*first).or_default();
                    let issued = issued(first).map(|issued| Issued {
                        delivered: issued.delivered.saturating_add(*more),
                        ..issued
                    });
                    *more = more.saturating_add(delivered.rows);
                    delivered.is_covered_by(issued.as_ref(), received.as_ref())
                }
            };
            if !agrees {
                contested.push(Contested {
                    trace: delivered.trace.clone(),
                    received: Counted::from(received.as_ref()),
                });
            }
        }
        if contested.is_empty() {
            return Ok(Answer::Countersigned(
                self.envelope.sign(consumer).to_text(),
            ));
        }
        let dispute = Dispute {
            v: 1,
            agreement: self.receipt.agreement,
            receipt: self.envelope.digest(),
            contested,
            at: now,
        };
        dispute.sign(consumer).map(Answer::Disputed)
    }
}

/// A receipt with both signatures. [`SignedReceipt::verify`] is its one constructor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReceipt {
    receipt: Receipt,
    text: String,
    digest: Digest,
}

impl SignedReceipt {
    /// Checks that an agreeing key of each side of `agreement` (whose id is
    /// `id`) signed `text`, and nobody else.
    pub fn verify(
        text: &str,
        (id, agreement): (Digest, &Document),
        keys: &dyn IssuerKeys,
        now: Timestamp,
    ) -> Result<Self, ReceiptError> {
        let envelope = General::parse(RECEIPT, text)?;
        let provider = key_of(&envelope, &agreement.provider.org, keys, now)?;
        let consumer = key_of(&envelope, &agreement.consumer.org, keys, now)?;
        // spec/4-negotiation.md#N-26
        let receipt: Receipt = envelope.verify_exactly(&[provider, consumer])?;
        receipt.check()?;
        if receipt.agreement != id {
            return Err(ReceiptError::OtherAgreement);
        }
        Ok(Self {
            receipt,
            digest: envelope.digest(),
            text: text.to_owned(),
        })
    }

    /// The payload.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// The exact envelope.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The digest of the payload: the receipt's id.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// The signers of a receipt are looked for as those of the agreement are.
fn key_of(
    envelope: &General,
    org: &OrgId,
    keys: &dyn IssuerKeys,
    now: Timestamp,
) -> Result<PublicKey, ReceiptError> {
    signer_of(envelope, org, keys, now).map_err(|e| match e {
        DocumentError::Envelope(e) => ReceiptError::Envelope(e),
        _ => ReceiptError::Signatures,
    })
}

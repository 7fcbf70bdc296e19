//! What was delivered, signed by both (`spec/4-negotiation.md`, section 7).

use comity_identity::envelope::{EnvelopeError, General, Typ};
use comity_identity::{Digest, OrgId, PublicKey, Signer, Timestamp};
use serde::{Deserialize, Serialize};

use crate::keys::IssuerKeys;
use crate::negotiation::{Document, DocumentError, signer_of};
use crate::terms::MAX_INT;

/// The kind of a receipt.
pub const RECEIPT: Typ = Typ::new("comity-receipt+jwt", 4 * 1024);

/// The characters of a trace: 16 bytes as lower-case hex, a W3C trace id.
pub const TRACE_CHARS: usize = 32;

/// The payload that both sign (`spec/schemas/receipt.json`).
///
/// The provider states what it sent; the consumer countersigns the same bytes
/// only if it received that much. Neither can later claim more or less.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The payload's version: 1.
    pub v: u64,
    /// The agreement under which it was delivered.
    pub agreement: Digest,
    /// The digest of the last link of the grant chain that asked.
    pub grant: Digest,
    /// The trace id of the request: 32 lower-case hex digits.
    pub trace: String,
    /// The rows delivered.
    pub rows: u64,
    /// The bytes of the record batches delivered, as they were on the wire.
    pub bytes: u64,
    /// When the delivery ended.
    pub at: Timestamp,
    /// How many entries the provider's journal had, this delivery's included.
    pub journal_size: u64,
    /// The Merkle root (RFC 6962) over these entries: later the provider can
    /// show that the delivery is among them, and cannot quietly lose it.
    pub journal_root: Digest,
}

/// Why a receipt is refused.
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
    /// The content breaks a rule of the specification.
    #[error("{0}")]
    Rule(&'static str),
    /// The provider states something else than was received.
    #[error("the receipt states another delivery than the one received")]
    OtherDelivery,
}

/// What the consumer knows of a delivery, from its own end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The digest of the last link of the grant chain that asked.
    pub grant: Digest,
    /// The trace id of the request.
    pub trace: &'a str,
    /// The rows received.
    pub rows: u64,
    /// The bytes of the record batches received.
    pub bytes: u64,
}

/// A receipt with both signatures. [`SignedReceipt::verify`] is its one constructor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReceipt {
    receipt: Receipt,
    text: String,
    digest: Digest,
}

impl Receipt {
    /// The envelope with the provider's signature.
    pub fn sign(&self, provider: &dyn Signer) -> Result<String, ReceiptError> {
        self.check()?;
        Ok(General::new(RECEIPT, self)?.sign(provider).to_text())
    }

    /// Checks that the provider of `agreement` (whose id is `id`) signed `text`
    /// and that it states `delivery`, and adds the consumer's signature.
    pub fn countersign(
        text: &str,
        (id, agreement): (Digest, &Document),
        delivery: &Delivery<'_>,
        consumer: &dyn Signer,
        keys: &dyn IssuerKeys,
        now: Timestamp,
    ) -> Result<String, ReceiptError> {
        let envelope = General::parse(RECEIPT, text)?;
        let provider = key_of(&envelope, &agreement.provider.org, keys, now)?;
        let receipt: Self = envelope.verify_exactly(&[provider])?;
        receipt.check()?;
        if receipt.agreement != id {
            return Err(ReceiptError::OtherAgreement);
        }
        let stated = Delivery {
            grant: receipt.grant,
            trace: &receipt.trace,
            rows: receipt.rows,
            bytes: receipt.bytes,
        };
        // spec/4-negotiation.md#N-25
        if stated != *delivery {
            return Err(ReceiptError::OtherDelivery);
        }
        Ok(envelope.sign(consumer).to_text())
    }

    /// spec/4-negotiation.md#N-27
    fn check(&self) -> Result<(), ReceiptError> {
        if self.v != 1 {
            return Err(ReceiptError::Rule("the receipt's version is not 1"));
        }
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if self.trace.len() != TRACE_CHARS || !self.trace.bytes().all(hex) {
            return Err(ReceiptError::Rule(
                "the trace is not 32 lower-case hex digits",
            ));
        }
        let numbers = [self.rows, self.bytes, self.at.as_secs(), self.journal_size];
        if numbers.iter().any(|n| *n > MAX_INT) {
            return Err(ReceiptError::Rule("a number is above 2^53 - 1"));
        }
        if self.journal_size == 0 {
            return Err(ReceiptError::Rule(
                "a journal without entries holds no delivery",
            ));
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{DAY, Directory, NOW, Party};
    use crate::negotiation::{self, FederationTerms, NegotiationId, Proposal};

    const ID: Digest = Digest::from_bytes([5; 32]);

    struct World {
        provider: Party,
        consumer: Party,
        stranger: Party,
        keys: Directory,
        agreement: Document,
    }

    impl World {
        fn new() -> Self {
            let [provider, consumer, stranger] = [1, 2, 3].map(Party::new);
            let side = |party: &Party| negotiation::Party {
                org: party.org,
                history: ID,
            };
            let agreement = Document {
                v: 1,
                negotiation: NegotiationId::from_bytes([7; 16]),
                provider: side(&provider),
                consumer: side(&consumer),
                proposal: Proposal::Federation {
                    invitation: ID,
                    terms: FederationTerms {
                        roles: Vec::new(),
                        assurance: Vec::new(),
                        expires: NOW.saturating_add(DAY),
                    },
                },
                last: ID,
                supported: vec![1],
                nonce: "0".repeat(32),
                at: NOW,
            };
            Self {
                keys: Directory::of(&[&provider, &consumer, &stranger]),
                provider,
                consumer,
                stranger,
                agreement,
            }
        }

        fn countersign(&self, text: &str, delivery: &Delivery<'_>) -> Result<String, ReceiptError> {
            let of = (ID, &self.agreement);
            let key = &self.consumer.agree;
            Receipt::countersign(text, of, delivery, key, &self.keys, NOW)
        }

        fn verify(&self, text: &str) -> Result<SignedReceipt, ReceiptError> {
            SignedReceipt::verify(text, (ID, &self.agreement), &self.keys, NOW)
        }
    }

    fn receipt() -> Receipt {
        Receipt {
            v: 1,
            agreement: ID,
            grant: Digest::of(b"grant"),
            trace: "0123456789abcdef0123456789abcdef".to_owned(),
            rows: 26_115,
            bytes: 1_048_576,
            at: NOW,
            journal_size: 12,
            journal_root: Digest::of(b"root"),
        }
    }

    const DELIVERY: fn() -> Delivery<'static> = || Delivery {
        grant: Digest::of(b"grant"),
        trace: "0123456789abcdef0123456789abcdef",
        rows: 26_115,
        bytes: 1_048_576,
    };

    #[test]
    fn both_sign_the_same_bytes() {
        let world = World::new();
        let half = receipt().sign(&world.provider.agree).unwrap();
        assert!(world.verify(&half).is_err());
        let whole = world.countersign(&half, &DELIVERY()).unwrap();
        let read = world.verify(&whole).unwrap();
        assert_eq!(*read.receipt(), receipt());
        assert_eq!(read.text(), whole);
        let payload = General::parse(RECEIPT, &half).unwrap().digest();
        assert_eq!(read.digest(), payload);
    }

    #[test]
    fn a_consumer_countersigns_only_what_it_received() {
        let world = World::new();
        let half = receipt().sign(&world.provider.agree).unwrap();
        let changes: [fn(&mut Delivery<'_>); 4] = [
            |d| d.grant = ID,
            |d| d.trace = "0",
            |d| d.rows -= 1,
            |d| d.bytes += 1,
        ];
        for change in changes {
            let mut delivery = DELIVERY();
            change(&mut delivery);
            let refused = world.countersign(&half, &delivery);
            assert_eq!(refused, Err(ReceiptError::OtherDelivery));
        }
        let mut other = receipt();
        other.agreement = Digest::of(b"another");
        let text = other.sign(&world.provider.agree).unwrap();
        let refused = world.countersign(&text, &DELIVERY());
        assert_eq!(refused, Err(ReceiptError::OtherAgreement));
    }

    #[test]
    fn a_receipt_needs_both_sides_and_nobody_else() {
        let world = World::new();
        let envelope = || General::new(RECEIPT, &receipt()).unwrap();
        let (provider, consumer) = (&world.provider.agree, &world.consumer.agree);
        let stranger = &world.stranger.agree;
        let both = envelope().sign(provider).sign(consumer);
        world.verify(&both.to_text()).unwrap();
        for bad in [
            envelope(),
            envelope().sign(provider),
            envelope().sign(consumer),
            envelope().sign(provider).sign(stranger),
            both.sign(stranger),
            envelope().sign(&world.provider.announce).sign(consumer),
        ] {
            assert!(world.verify(&bad.to_text()).is_err());
        }
        for key in [stranger, consumer, &world.provider.announce] {
            let text = envelope().sign(key).to_text();
            assert!(world.countersign(&text, &DELIVERY()).is_err());
        }
    }

    #[test]
    fn a_receipt_that_breaks_a_rule_is_neither_signed_nor_read() {
        let world = World::new();
        let changes: [fn(&mut Receipt); 7] = [
            |r| r.v = 2,
            |r| r.trace = "0".repeat(TRACE_CHARS - 1),
            |r| r.trace = "F".repeat(TRACE_CHARS),
            |r| r.rows = MAX_INT + 1,
            |r| r.bytes = MAX_INT + 1,
            |r| r.journal_size = 0,
            |r| r.journal_size = MAX_INT + 1,
        ];
        for change in changes {
            let mut bad = receipt();
            change(&mut bad);
            assert!(bad.sign(&world.provider.agree).is_err());
            let Ok(envelope) = General::new(RECEIPT, &bad) else {
                continue;
            };
            let text = envelope
                .sign(&world.provider.agree)
                .sign(&world.consumer.agree)
                .to_text();
            assert!(world.verify(&text).is_err());
        }
        let mut large = receipt();
        (large.rows, large.bytes) = (MAX_INT, MAX_INT);
        let half = large.sign(&world.provider.agree).unwrap();
        assert!(half.len() <= RECEIPT.limit() / 2);
    }
}

//! Messages between nodes, and every limit on them (`spec/3-catalog.md#C-17`).
//!
//! A message is CBOR on a libp2p request-response stream. It carries signed
//! envelopes as text; nothing outside an envelope is believed.

use comity_identity::{Digest, OrgId};
use serde::{Deserialize, Serialize};

/// The most bytes of one request.
pub const MAX_REQUEST_BYTES: u64 = 256 * 1024;
/// The most bytes of one response.
pub const MAX_RESPONSE_BYTES: u64 = 1024 * 1024;
/// The most descriptors that one fetch may name (`spec/3-catalog.md#C-18`).
pub const MAX_FETCH: usize = 64;
/// The most bytes of a gossiped head.
pub const MAX_GOSSIP_BYTES: usize = 2 * 1024;

/// Who I am, with the evidence. Sent when a connection comes up; the answer is another `Hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The version of this protocol that the sender speaks.
    pub version: u16,
    /// The organization that the sender claims to speak for.
    pub org: OrgId,
    /// What the sender calls itself; a suggestion, which the receiver may change.
    pub alias: String,
    /// Its key history: general envelopes, oldest first.
    pub history: Vec<String>,
    /// Its current organization document: a compact envelope.
    pub document: String,
    /// Its current head, if it has published anything.
    pub head: Option<String>,
    /// Proof that the receiver invited it, on first contact.
    pub invitation: Option<InvitationProof>,
}

/// Shows knowledge of an invitation's secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvitationProof {
    /// The digest of the invitation's envelope.
    pub invitation: Digest,
    /// The invitation's secret (base64url, 16 bytes).
    pub secret: String,
}

/// A request of one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Exchange identities.
    Hello(Box<Hello>),
    /// Fetch signed statements by digest.
    Fetch(Vec<Digest>),
    /// Deliver a negotiation message, a compact envelope.
    Negotiate(String),
    /// Say that an agreement is revoked, a compact envelope.
    Revoke(String),
    /// State what was delivered, and ask for the countersignature.
    Receipt(Box<Receipted>),
}

/// A receipt on its way to be answered (`spec/4-negotiation.md#N-68`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipted {
    /// The receipt with the provider's signature, a general envelope.
    pub text: String,
    /// The size of the provider's checkpoint that the consumer holds, as the
    /// provider believes; 0 for none.
    pub held: u64,
    /// That the journal at the smaller of `held` and the receipt's size is a
    /// beginning of the journal at the larger.
    pub proof: Vec<Digest>,
    /// The size of the consumer's checkpoint that the provider holds; 0 for none.
    pub witness: u64,
}

/// The answer to a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptAnswer {
    /// The receipt with both signatures, a general envelope; or a dispute, a
    /// compact envelope.
    pub text: String,
    /// The consumer's own checkpoint, a compact envelope.
    pub checkpoint: String,
    /// That the consumer's journal at `witness` is a beginning of that one;
    /// empty when no such proof can be given.
    pub proof: Vec<Digest>,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// To `Hello`: the answering organization's own evidence.
    Hello(Box<Hello>),
    /// To `Fetch`: the statements that exist and that the asker may see, in any order.
    Fetch(Vec<String>),
    /// To `Negotiate`: the receiver's own messages that follow, oldest first; possibly none.
    Negotiate(Vec<String>),
    /// To `Revoke`: the revocation is recorded here.
    Revoked,
    /// To `Receipt`: the countersignature, or a dispute.
    Receipt(Box<ReceiptAnswer>),
    /// To `Receipt`: prove it from the checkpoint of this size, which is the one held here.
    ProveFrom(u64),
    /// The request is refused, with a stable code.
    Refused(Refusal),
}

/// Why a request is refused: a stable code and a trace id that the owner's log has too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// A stable code.
    pub code: RefusalCode,
    /// Sixteen hex digits that appear in the refusing node's log.
    pub trace: String,
}

/// The closed vocabulary of refusals: it says what to do, never why in detail
/// (A19, `spec/3-catalog.md#C-19`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RefusalCode {
    /// The sender is not known here, or its first Hello has not been accepted.
    #[error("not-federated")]
    NotFederated,
    /// The message is not well formed or not correctly signed.
    #[error("malformed")]
    Malformed,
    /// The message does not fit the state of its negotiation.
    #[error("out-of-order")]
    OutOfOrder,
    /// The invitation is unknown, used or expired.
    #[error("invitation-invalid")]
    InvitationInvalid,
    /// The sender's evidence contradicts what was seen before.
    #[error("conflicting-evidence")]
    ConflictingEvidence,
    /// The sender asks too much at once; ask later.
    #[error("busy")]
    Busy,
    /// The node cannot record anything now; ask later.
    #[error("unavailable")]
    Unavailable,
    /// The protocol versions do not meet.
    #[error("version")]
    Version,
    /// The node's own policies refuse (`spec/7-policy.md#R-2`).
    #[error("policy")]
    Policy,
}

#[cfg(test)]
mod tests {
    use comity_identity::organization::ORGANIZATION_DOCUMENT;

    use super::*;
    use crate::catalog::{DescriptorList, HEAD, MAX_PRODUCTS};
    use crate::checkpoint::{CHECKPOINT, MAX_PROOF_HASHES};
    use crate::negotiation::MESSAGE;
    use crate::product::DESCRIPTOR;
    use crate::receipt::{DISPUTE, RECEIPT};
    use crate::revocation::REVOCATION;

    /// The bytes of `message` as JSON, which is never shorter than its CBOR.
    fn bytes(message: &impl Serialize) -> u64 {
        serde_json::to_vec(message).unwrap().len() as u64
    }

    fn text(limit: usize) -> String {
        "x".repeat(limit)
    }

    #[test]
    fn the_largest_legal_requests_fit() {
        let fetch = vec![Digest::of(b""); MAX_FETCH];
        for request in [
            Request::Fetch(fetch),
            Request::Negotiate(text(MESSAGE.limit())),
            Request::Revoke(text(REVOCATION.limit())),
            Request::Receipt(Box::new(Receipted {
                text: text(RECEIPT.limit()),
                held: u64::MAX,
                proof: vec![Digest::of(b""); MAX_PROOF_HASHES],
                witness: u64::MAX,
            })),
        ] {
            assert!(bytes(&request) <= MAX_REQUEST_BYTES);
        }
    }

    /// A history of 256 events of 8 KiB does not fit and need not: one with a
    /// rotation every month for ten years does.
    #[test]
    fn ten_years_of_rotations_fit_into_a_hello() {
        let hello = Hello {
            version: 1,
            org: OrgId::from_inception(Digest::of(b"")),
            alias: "a".repeat(63),
            history: vec![text(1400); 120],
            document: text(ORGANIZATION_DOCUMENT.limit()),
            head: Some(text(HEAD.limit())),
            invitation: Some(InvitationProof {
                invitation: Digest::of(b""),
                secret: text(22),
            }),
        };
        assert!(bytes(&Request::Hello(Box::new(hello))) <= MAX_REQUEST_BYTES);
    }

    #[test]
    fn every_statement_fits_into_a_response() {
        let list = DescriptorList::new(
            (0..MAX_PRODUCTS)
                .map(|i| Digest::of(&i.to_be_bytes()))
                .collect(),
        );
        for statement in [text(DESCRIPTOR.limit()), list.to_text()] {
            assert!(bytes(&Response::Fetch(vec![statement])) <= MAX_RESPONSE_BYTES);
        }
        assert_eq!(HEAD.limit(), MAX_GOSSIP_BYTES);
        let answer = ReceiptAnswer {
            text: text(RECEIPT.limit().max(DISPUTE.limit())),
            checkpoint: text(CHECKPOINT.limit()),
            proof: vec![Digest::of(b""); MAX_PROOF_HASHES],
        };
        assert!(bytes(&Response::Receipt(Box::new(answer))) <= MAX_RESPONSE_BYTES);
    }

    #[test]
    fn codes_are_stable() {
        for (code, name) in [
            (RefusalCode::NotFederated, "not-federated"),
            (RefusalCode::Malformed, "malformed"),
            (RefusalCode::OutOfOrder, "out-of-order"),
            (RefusalCode::InvitationInvalid, "invitation-invalid"),
            (RefusalCode::ConflictingEvidence, "conflicting-evidence"),
            (RefusalCode::Busy, "busy"),
            (RefusalCode::Unavailable, "unavailable"),
            (RefusalCode::Version, "version"),
            (RefusalCode::Policy, "policy"),
        ] {
            assert_eq!(serde_json::to_value(code).unwrap(), name);
            assert_eq!(code.to_string(), name);
        }
    }
}

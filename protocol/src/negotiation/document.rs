//! The document that both sides sign: a federation or an agreement.

use comity_identity::envelope::{EnvelopeError, General, Typ};
use comity_identity::organization::Role;
use comity_identity::{Digest, OrgId, PublicKey, Signer, Timestamp};
use serde::{Deserialize, Serialize};

use super::{NegotiationId, Proposal, Side};
use crate::keys::IssuerKeys;

/// The kind of an agreement.
pub const AGREEMENT: Typ = Typ::new("comity-agreement+jwt", 96 * 1024);

/// The kind of a federation.
pub const FEDERATION: Typ = Typ::new("comity-federation+jwt", 16 * 1024);

/// The payload that both sign (`spec/schemas/agreement.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The payload's version: 1.
    pub v: u64,
    /// The negotiation that made it.
    pub negotiation: NegotiationId,
    /// The side that has what is asked for.
    pub provider: Party,
    /// The side that asks.
    pub consumer: Party,
    /// What was agreed.
    pub proposal: Proposal,
    /// The digest of the last message before the signatures (A48).
    pub last: Digest,
    /// The protocol versions that the consumer offered (A8).
    pub supported: Vec<u64>,
    /// 16 random bytes of the provider, as hex: two equal agreements differ.
    pub nonce: String,
    /// When the provider signed.
    pub at: Timestamp,
}

/// One side of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// The organization.
    pub org: OrgId,
    /// The head of its key history, as the provider knew it: partners witness each other.
    pub history: Digest,
}

/// Why a document is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The envelope is refused.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// A signature is missing, strange, or of a key without the role.
    #[error("the document is not signed by an agreeing key of each side")]
    Signatures,
    /// The document says something else than was negotiated (A48).
    #[error("the document does not say what was negotiated: {0}")]
    Other(&'static str),
}

/// A document with both signatures.
///
/// [`SignedDocument::verify`] makes one of what a peer sent;
/// [`SignedDocument::recall`] of what this node's own journal holds.
#[derive(Clone, Debug)]
pub struct SignedDocument {
    document: Document,
    text: String,
    digest: Digest,
}

impl Document {
    /// The side of `org`, if it is a party.
    pub fn side_of(&self, org: &OrgId) -> Option<Side> {
        match org {
            org if *org == self.provider.org => Some(Side::Provider),
            org if *org == self.consumer.org => Some(Side::Consumer),
            _ => None,
        }
    }

    /// The envelope's kind.
    pub fn typ(&self) -> Typ {
        typ_of(&self.proposal)
    }

    /// The envelope with the provider's signature; the consumer's is put beside
    /// it, over the same payload bytes (`spec/4-negotiation.md#N-17`).
    pub(super) fn sign(&self, signer: &dyn Signer) -> Result<String, DocumentError> {
        let text = General::new(self.typ(), self)?.sign(signer).to_text();
        // What the other side will refuse must not leave.
        General::parse(self.typ(), &text)?;
        Ok(text)
    }
}

impl SignedDocument {
    /// Checks that an agreeing key of each side signed `text`, and nobody else.
    pub fn verify(
        typ: Typ,
        text: &str,
        keys: &dyn IssuerKeys,
        now: Timestamp,
    ) -> Result<Self, DocumentError> {
        let envelope = General::parse(typ, text)?;
        let claimed: Document = envelope.danger_unverified_payload()?;
        let provider = signer_of(&envelope, &claimed.provider.org, keys, now)?;
        let consumer = signer_of(&envelope, &claimed.consumer.org, keys, now)?;
        // spec/4-negotiation.md#N-17 says who signs, #N-21 that everybody checks it.
        let document: Document = envelope.verify_exactly(&[provider, consumer])?;
        if document.v != 1 || document.typ() != typ {
            return Err(DocumentError::Other("another version or kind of document"));
        }
        Ok(Self {
            document,
            digest: envelope.digest(),
            text: text.to_owned(),
        })
    }

    /// Reads a document that this node verified before it wrote it to its
    /// journal. Keys may have been rotated since: that does not undo it.
    pub fn recall(typ: Typ, text: &str) -> Result<Self, DocumentError> {
        let envelope = General::parse(typ, text)?;
        if envelope.signatories().len() != 2 {
            return Err(DocumentError::Signatures);
        }
        let document = envelope.danger_unverified_payload()?;
        Ok(Self {
            document,
            digest: envelope.digest(),
            text: text.to_owned(),
        })
    }

    /// The payload.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The exact envelope.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The digest of the payload: the document's id.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// The kind of the document that a proposal leads to.
pub(super) fn typ_of(proposal: &Proposal) -> Typ {
    match proposal {
        Proposal::Access { .. } => AGREEMENT,
        Proposal::Federation { .. } => FEDERATION,
    }
}

/// The one agreeing key of `org` that signed.
pub(crate) fn signer_of(
    envelope: &General,
    org: &OrgId,
    keys: &dyn IssuerKeys,
    now: Timestamp,
) -> Result<PublicKey, DocumentError> {
    envelope
        .signatories()
        .iter()
        .find_map(|s| keys.issuer(org, &s.claimed_kid(), Role::Agree, now))
        .ok_or(DocumentError::Signatures)
}

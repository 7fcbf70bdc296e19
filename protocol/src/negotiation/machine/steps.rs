//! What this side says.

use core::time::Duration;

use comity_identity::envelope::General;
use comity_identity::{Digest, Signer, Timestamp};

use super::Negotiation;
use crate::negotiation::document::typ_of;
use crate::negotiation::{
    Body, Document, DocumentError, Message, NegotiationError, NegotiationId, Party, Proposing,
    SignedDocument,
};

impl Negotiation {
    /// The provider offers other terms for the same thing.
    pub fn offer(
        &mut self,
        offers: Proposing,
        now: Timestamp,
        signer: &dyn Signer,
    ) -> Result<String, NegotiationError> {
        offers.proposal.check(now)?;
        if !offers.proposal.same_subject(&self.proposal) {
            return Err(NegotiationError::Rule(
                "an offer is for the thing that was asked for",
            ));
        }
        self.say(
            Body::Offer {
                proposal: Box::new(offers.proposal),
                note: offers.note,
                until: Some(offers.until),
            },
            now,
            signer,
            None,
        )
    }

    /// The consumer answers an offer with another request for the same thing.
    pub fn counter(
        &mut self,
        asks: Proposing,
        now: Timestamp,
        signer: &dyn Signer,
    ) -> Result<String, NegotiationError> {
        if !asks.proposal.same_subject(&self.proposal) {
            return Err(NegotiationError::Rule(
                "a counter-request is for the thing that was asked for",
            ));
        }
        let body = Body::Request {
            proposal: Box::new(asks.proposal),
            note: asks.note,
            until: Some(asks.until),
            supported: self.supported.clone(),
        };
        self.say(body, now, signer, None)
    }

    /// The consumer accepts the offer on the table.
    pub fn accept(
        &mut self,
        now: Timestamp,
        signer: &dyn Signer,
    ) -> Result<String, NegotiationError> {
        self.still_open(now, Duration::ZERO)?;
        let proposal = self.proposal.digest()?;
        self.say(Body::Accept { proposal }, now, signer, None)
    }

    /// The provider signs the document: exactly the proposal on the table.
    /// `heads` are the heads of the provider's and the consumer's key history.
    pub fn agree(
        &mut self,
        heads: (Digest, Digest),
        nonce: [u8; 16],
        now: Timestamp,
        signer: &dyn Signer,
    ) -> Result<String, NegotiationError> {
        self.still_open(now, Duration::ZERO)?;
        self.proposal.check(now)?;
        let document = Document {
            v: 1,
            negotiation: self.id,
            provider: Party {
                org: self.own,
                history: heads.0,
            },
            consumer: Party {
                org: self.peer,
                history: heads.1,
            },
            proposal: self.proposal.clone(),
            last: self.last(),
            supported: self.supported.clone(),
            nonce: NegotiationId::from_bytes(nonce).to_string(),
            at: now,
        };
        let document = document.sign(signer)?;
        self.say(Body::Agree { document }, now, signer, None)
    }

    /// The consumer countersigns the document that the provider signed.
    pub fn verify(
        &mut self,
        now: Timestamp,
        signer: &dyn Signer,
    ) -> Result<String, NegotiationError> {
        let typ = typ_of(&self.proposal);
        let agreed =
            self.entries
                .iter()
                .rev()
                .find_map(|e| match Message::recall(&e.text).ok()?.body {
                    Body::Agree { document } => Some(document),
                    _ => None,
                });
        let agreed = agreed.ok_or(NegotiationError::OutOfOrder {
            step: "verify",
            state: self.state,
        })?;
        let envelope = General::parse(typ, &agreed).map_err(DocumentError::from)?;
        let document = envelope.sign(signer).to_text();
        let signed = SignedDocument::recall(typ, &document)?;
        self.say(Body::Verify { document }, now, signer, Some(signed))
    }

    /// The provider confirms that it has both signatures.
    pub fn finalize(
        &mut self,
        now: Timestamp,
        signer: &dyn Signer,
    ) -> Result<String, NegotiationError> {
        let document = self.document.as_ref().map(SignedDocument::digest);
        let document = document.ok_or(NegotiationError::OutOfOrder {
            step: "finalize",
            state: self.state,
        })?;
        self.say(Body::Finalize { document }, now, signer, None)
    }

    /// Either side ends the negotiation.
    pub fn terminate(
        &mut self,
        note: String,
        now: Timestamp,
        signer: &dyn Signer,
    ) -> Result<String, NegotiationError> {
        self.say(Body::Terminate { note }, now, signer, None)
    }
}

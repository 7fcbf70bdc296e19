//! Who may say what in which state, and what it may carry.

use core::time::Duration;

use comity_identity::envelope::General;
use comity_identity::{Digest, LEEWAY, Timestamp};

use super::Negotiation;
use crate::keys::IssuerKeys;
use crate::negotiation::document::{signer_of, typ_of};
use crate::negotiation::{
    Body, CLOSING_MESSAGES, Document, DocumentError, MAX_MESSAGES, Message, NegotiationError,
    NegotiationId, Side, SignedDocument, State,
};
use crate::terms::MAX_INT;

impl Negotiation {
    /// Who may say what in which state (`spec/4-negotiation.md#N-12`).
    pub(super) fn in_order(
        &self,
        message: &Message,
        speaker: Side,
    ) -> Result<(), NegotiationError> {
        let out_of_order = NegotiationError::OutOfOrder {
            step: message.body.name(),
            state: self.state,
        };
        if self.state.is_final() {
            return Err(out_of_order);
        }
        // Ending is possible even when messages cross (spec/4-negotiation.md#N-14).
        if matches!(message.body, Body::Terminate { .. }) {
            // A provider is bound by its own signature: it takes back by revoking.
            let bound = self.state == State::Agreed && speaker == Side::Provider;
            let open = self.state != State::Verified && !bound;
            return if open { Ok(()) } else { Err(out_of_order) };
        }
        // spec/4-negotiation.md#N-13: the other messages follow one another (A48).
        let expected = self.last();
        if message.prev != Some(expected) || message.seq != self.entries.len() as u64 {
            return Err(NegotiationError::Broken { expected });
        }
        let fits = matches!(
            (&message.body, speaker, self.state),
            (Body::Request { .. }, Side::Consumer, State::Offered)
                | (Body::Offer { .. }, Side::Provider, State::Requested)
                | (Body::Accept { .. }, Side::Consumer, State::Offered)
                | (
                    Body::Agree { .. },
                    Side::Provider,
                    State::Requested | State::Accepted
                )
                | (Body::Verify { .. }, Side::Consumer, State::Agreed)
                | (Body::Finalize { .. }, Side::Provider, State::Verified)
        );
        // spec/4-negotiation.md#N-16
        let haggles = matches!(message.body, Body::Request { .. } | Body::Offer { .. });
        if haggles && self.entries.len() >= MAX_MESSAGES - CLOSING_MESSAGES {
            return Err(NegotiationError::Rule(
                "the negotiation is too long: accept, agree or terminate",
            ));
        }
        if fits { Ok(()) } else { Err(out_of_order) }
    }

    /// Checks what a message of the other side carries: it is about the same
    /// thing, and what it accepts is what was offered (`spec/4-negotiation.md#N-15`).
    pub(super) fn check_body(
        &self,
        body: &Body,
        keys: &dyn IssuerKeys,
        now: Timestamp,
    ) -> Result<Option<SignedDocument>, NegotiationError> {
        match body {
            Body::Request { supported, .. } if *supported != self.supported => Err(
                NegotiationError::Rule("the other side lists other protocol versions than before"),
            ),
            Body::Request { proposal, .. } | Body::Offer { proposal, .. } => {
                if proposal.same_subject(&self.proposal) {
                    return Ok(None);
                }
                Err(NegotiationError::Rule(
                    "the other side proposes another thing",
                ))
            }
            Body::Accept { proposal } if *proposal == self.proposal.digest()? => {
                self.still_open(now, LEEWAY)?;
                Ok(None)
            }
            Body::Accept { .. } => Err(NegotiationError::OtherTerms),
            Body::Agree { document } => {
                self.still_open(now, LEEWAY)?;
                let envelope = General::parse(typ_of(&self.proposal), document)
                    .map_err(DocumentError::from)?;
                let key = signer_of(&envelope, &self.peer, keys, now)?;
                let document: Document = envelope
                    .verify_exactly(&[key])
                    .map_err(DocumentError::from)?;
                self.check_document(&document)?;
                Ok(None)
            }
            Body::Verify { document } => {
                let signed = SignedDocument::verify(typ_of(&self.proposal), document, keys, now)?;
                // spec/4-negotiation.md#N-19
                if Some(signed.digest()) != self.agreed_digest() {
                    return Err(DocumentError::Other("it is not the one that was agreed").into());
                }
                Ok(Some(signed))
            }
            Body::Finalize { document } => {
                // spec/4-negotiation.md#N-20
                if self.document.as_ref().map(SignedDocument::digest) == Some(*document) {
                    return Ok(None);
                }
                Err(DocumentError::Other("another document is finalized").into())
            }
            Body::Terminate { .. } => Ok(None),
        }
    }

    /// spec/4-negotiation.md#N-91: what is on the table is accepted in its time
    /// or not at all. Two clocks differ by `leeway` at most (A29); whoever
    /// accepts is held to its own clock.
    pub(super) fn still_open(
        &self,
        now: Timestamp,
        leeway: Duration,
    ) -> Result<(), NegotiationError> {
        let until = self.until;
        // An acceptance that came in the leeway can be signed.
        let more = match self.state {
            State::Accepted => leeway + LEEWAY,
            _ => leeway,
        };
        if now < until.saturating_add(more) {
            return Ok(());
        }
        Err(NegotiationError::Expired { until })
    }

    /// spec/4-negotiation.md#N-18: the consumer signs only what was negotiated.
    fn check_document(&self, document: &Document) -> Result<(), DocumentError> {
        let other = |what| Err(DocumentError::Other(what));
        if document.v != 1 || document.negotiation != self.id {
            return other("another negotiation");
        }
        if document.provider.org != self.peer || document.consumer.org != self.own {
            return other("other parties");
        }
        if document.proposal != self.proposal {
            return other("other terms");
        }
        if document.last != self.last() {
            return other("other messages before it");
        }
        if document.supported != self.supported {
            return other("other protocol versions");
        }
        if document.at.as_secs() > MAX_INT {
            return other("a number above 2^53 - 1");
        }
        if document.nonce.parse::<NegotiationId>().is_err() {
            return other("a nonce of another form");
        }
        Ok(())
    }

    fn agreed_digest(&self) -> Option<Digest> {
        let typ = typ_of(&self.proposal);
        self.entries
            .iter()
            .rev()
            .find_map(|e| match Message::recall(&e.text).ok()?.body {
                Body::Agree { document } => Some(General::parse(typ, &document).ok()?.digest()),
                _ => None,
            })
    }
}

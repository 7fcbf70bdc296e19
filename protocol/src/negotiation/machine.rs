//! The state machine.

mod rules;
mod steps;

use comity_identity::{Digest, LEEWAY, OrgId, Signer, Timestamp};

use super::document::typ_of;
use super::{
    Body, Message, NegotiationError, NegotiationId, Proposal, Proposing, SUPPORTED, Side,
    SignedDocument, State,
};
use crate::keys::IssuerKeys;

/// One negotiation, as one of its sides sees it.
///
/// It changes in two ways only: [`Negotiation::receive`] for what the other
/// side says, and the steps (`offer`, `accept`, …) for what this side says.
/// Both end in the same fold over the message.
#[derive(Clone, Debug)]
pub struct Negotiation {
    id: NegotiationId,
    side: Side,
    own: OrgId,
    peer: OrgId,
    state: State,
    requested: Proposal,
    proposal: Proposal,
    previous: Option<Proposal>,
    until: Timestamp,
    supported: Vec<u64>,
    note: String,
    at: Timestamp,
    entries: Vec<Entry>,
    proposed: Digest,
    document: Option<SignedDocument>,
}

/// One message of a negotiation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whether this side sent it.
    pub sent: bool,
    /// The exact envelope.
    pub text: String,
    digest: Digest,
}

/// What receiving a message did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// It was new: the state changed.
    New,
    /// It was received before: nothing changed. These are this side's later
    /// messages, to be sent again.
    Again(Vec<String>),
}

/// The next step that needs no person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The provider signs what the consumer accepted.
    Agree,
    /// The consumer checks and countersigns.
    Verify,
    /// The provider confirms.
    Finalize,
}

impl Negotiation {
    /// The consumer's first request. Gives the message to send as well.
    pub fn request(
        id: NegotiationId,
        own: OrgId,
        peer: OrgId,
        asks: Proposing,
        now: Timestamp,
        signer: &dyn Signer,
    ) -> Result<(Self, String), NegotiationError> {
        asks.proposal.check(now)?;
        let body = Body::Request {
            proposal: Box::new(asks.proposal),
            note: asks.note,
            until: Some(asks.until),
            supported: SUPPORTED.to_vec(),
        };
        Self::open(id, (own, peer), body, now, signer)
    }

    /// The provider's first offer: other terms for an agreement that there is
    /// (`spec/4-negotiation.md#N-103`). Gives the message to send as well.
    pub fn propose(
        id: NegotiationId,
        own: OrgId,
        peer: OrgId,
        offers: Proposing,
        now: Timestamp,
        signer: &dyn Signer,
    ) -> Result<(Self, String), NegotiationError> {
        offers.proposal.check(now)?;
        let body = Body::Offer {
            proposal: Box::new(offers.proposal),
            note: offers.note,
            until: Some(offers.until),
        };
        Self::open(id, (own, peer), body, now, signer)
    }

    /// Says the first message, from one organization to another.
    fn open(
        id: NegotiationId,
        (from, to): (OrgId, OrgId),
        body: Body,
        now: Timestamp,
        signer: &dyn Signer,
    ) -> Result<(Self, String), NegotiationError> {
        let message = Message {
            v: 1,
            negotiation: id,
            from,
            to,
            seq: 0,
            prev: None,
            at: now,
            body,
        };
        let text = message.sign(signer)?;
        Ok((Self::begin(true, &message, text.clone())?, text))
    }

    /// The other side of a first message, received as `text` from `from`.
    pub fn answer(
        own: OrgId,
        from: &OrgId,
        text: &str,
        keys: &dyn IssuerKeys,
        now: Timestamp,
    ) -> Result<Self, NegotiationError> {
        let message = Message::verify(text, from, keys, now)?;
        if message.to != own {
            return Err(NegotiationError::Stranger);
        }
        Self::begin(false, &message, text.to_owned())
    }

    /// The negotiation whose messages this node's own journal holds, oldest
    /// first, each with whether it was sent. They were verified when written.
    pub fn replay<'a>(
        own: OrgId,
        messages: impl IntoIterator<Item = (bool, &'a str)>,
    ) -> Result<Self, NegotiationError> {
        let mut messages = messages.into_iter();
        let (sent, text) = messages
            .next()
            .ok_or(NegotiationError::Rule("a negotiation has a message"))?;
        let first = Message::recall(text)?;
        let mut negotiation = Self::begin(sent, &first, text.to_owned())?;
        if negotiation.own != own {
            return Err(NegotiationError::Stranger);
        }
        for (sent, text) in messages {
            let message = Message::recall(text)?;
            let document = match &message.body {
                Body::Verify { document } => {
                    let typ = typ_of(&negotiation.proposal);
                    Some(SignedDocument::recall(typ, document)?)
                }
                _ => None,
            };
            negotiation.fold(&message, text.to_owned(), sent, document);
        }
        Ok(negotiation)
    }

    /// The other side said `text`. Nothing changes unless it is believed, new and in order.
    pub fn receive(
        &mut self,
        text: &str,
        keys: &dyn IssuerKeys,
        now: Timestamp,
    ) -> Result<Received, NegotiationError> {
        let digest = Digest::of(text.as_bytes());
        // spec/4-negotiation.md#N-11
        if let Some(at) = self
            .entries
            .iter()
            .position(|e| e.digest == digest && !e.sent)
        {
            let later = self.entries.iter().skip(at + 1).filter(|e| e.sent);
            return Ok(Received::Again(later.map(|e| e.text.clone()).collect()));
        }
        let message = Message::verify(text, &self.peer, keys, now)?;
        if message.negotiation != self.id || message.to != self.own {
            return Err(NegotiationError::Stranger);
        }
        let ends = matches!(message.body, Body::Terminate { .. });
        // spec/4-negotiation.md#N-14
        if ends && self.state == State::Terminated {
            // Both ended it at once: an answer stops the other side's retries.
            return Ok(Received::Again(Vec::new()));
        }
        self.in_order(&message, self.side.other())?;
        let document = self.check_body(&message.body, keys, now)?;
        self.fold(&message, text.to_owned(), false, document);
        Ok(Received::New)
    }

    /// The next step of this side that needs no person.
    pub fn due(&self) -> Option<Due> {
        match (self.side, self.state) {
            (Side::Provider, State::Accepted) => Some(Due::Agree),
            (Side::Consumer, State::Agreed) => Some(Due::Verify),
            (Side::Provider, State::Verified) => Some(Due::Finalize),
            _ => None,
        }
    }

    /// Whether a person of this side decides next.
    pub fn waits_for_us(&self) -> bool {
        matches!(
            (self.side, self.state),
            (Side::Provider, State::Requested) | (Side::Consumer, State::Offered)
        )
    }

    /// Whether the other side owes an answer: this side's last messages are sent again.
    pub fn unanswered(&self) -> Vec<String> {
        if self.state == State::Finalized {
            return Vec::new();
        }
        let own = self.entries.iter().rev().take_while(|e| e.sent);
        let mut texts: Vec<String> = own.map(|e| e.text.clone()).collect();
        texts.reverse();
        texts
    }

    /// The id.
    pub fn id(&self) -> NegotiationId {
        self.id
    }

    /// What this side is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// The other organization.
    pub fn peer(&self) -> OrgId {
        self.peer
    }

    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// What the consumer asked for last.
    pub fn requested(&self) -> &Proposal {
        &self.requested
    }

    /// What is on the table.
    pub fn proposal(&self) -> &Proposal {
        &self.proposal
    }

    /// What was on the table before, if anything was.
    pub fn previous(&self) -> Option<&Proposal> {
        self.previous.as_ref()
    }

    /// Until when what is on the table can be accepted.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Whether what is on the table can be accepted no more, by this node's
    /// clock (`spec/4-negotiation.md#N-92`). Nothing has to be said for it, and
    /// either side may still propose anew.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        match self.state {
            State::Requested | State::Offered => now >= self.until,
            // It was accepted in time; the answer may still be on its way.
            State::Accepted => now >= self.until.saturating_add(LEEWAY + LEEWAY),
            _ => false,
        }
    }

    /// The digest of the message that put on the table what is there.
    pub fn proposed_by(&self) -> Digest {
        self.proposed
    }

    /// The last note of either side. Hostile text.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// When the last message was said.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Every message, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The document, once both have signed it.
    pub fn document(&self) -> Option<&SignedDocument> {
        self.document.as_ref()
    }

    fn begin(sent: bool, first: &Message, text: String) -> Result<Self, NegotiationError> {
        let (speaker, state, proposal, note, until, supported) = match &first.body {
            Body::Request {
                proposal,
                supported,
                note,
                until,
            } => {
                let supported = supported.clone();
                let speaker = Side::Consumer;
                (speaker, State::Requested, proposal, note, until, supported)
            }
            // spec/4-negotiation.md#N-103: both speak it, or there were no
            // agreement to replace; a later request lists the consumer's own (A8).
            Body::Offer {
                proposal,
                note,
                until,
            } if proposal.replaces().is_some() => {
                let supported = SUPPORTED.to_vec();
                let speaker = Side::Provider;
                (speaker, State::Offered, proposal, note, until, supported)
            }
            _ => {
                return Err(NegotiationError::Rule(
                    "a negotiation begins with a request",
                ));
            }
        };
        let side = if sent { speaker } else { speaker.other() };
        // spec/4-negotiation.md#N-13
        if first.seq != 0 || first.prev.is_some() || first.from == first.to {
            return Err(NegotiationError::Rule(
                "a first request has number 0 and no predecessor",
            ));
        }
        let (own, peer) = match sent {
            true => (first.from, first.to),
            false => (first.to, first.from),
        };
        let digest = Digest::of(text.as_bytes());
        Ok(Self {
            id: first.negotiation,
            side,
            own,
            peer,
            state,
            requested: (**proposal).clone(),
            proposal: (**proposal).clone(),
            previous: None,
            until: until.unwrap_or(proposal.expires()),
            supported,
            note: note.clone(),
            at: first.at,
            entries: vec![Entry { sent, digest, text }],
            proposed: digest,
            document: None,
        })
    }

    /// Says `body`: checks that it is this side's turn, signs, folds.
    fn say(
        &mut self,
        body: Body,
        now: Timestamp,
        signer: &dyn Signer,
        document: Option<SignedDocument>,
    ) -> Result<String, NegotiationError> {
        let message = Message {
            v: 1,
            negotiation: self.id,
            from: self.own,
            to: self.peer,
            seq: self.entries.len() as u64,
            prev: Some(self.last()),
            at: now,
            body,
        };
        self.in_order(&message, self.side)?;
        let text = message.sign(signer)?;
        self.fold(&message, text.clone(), true, document);
        Ok(text)
    }

    fn last(&self) -> Digest {
        self.entries
            .last()
            .map_or_else(|| Digest::of(b""), |e| e.digest)
    }

    /// The one place where the state changes.
    fn fold(
        &mut self,
        message: &Message,
        text: String,
        sent: bool,
        document: Option<SignedDocument>,
    ) {
        let digest = Digest::of(text.as_bytes());
        let proposed = match &message.body {
            Body::Request {
                proposal, until, ..
            }
            | Body::Offer {
                proposal, until, ..
            } => Some((proposal, until)),
            _ => None,
        };
        if let Some((proposal, until)) = proposed {
            let before = core::mem::replace(&mut self.proposal, (**proposal).clone());
            self.previous = Some(before);
            self.until = until.unwrap_or(proposal.expires());
            self.proposed = digest;
        }
        match &message.body {
            Body::Request {
                proposal,
                note,
                supported,
                ..
            } => {
                self.state = State::Requested;
                self.requested = (**proposal).clone();
                self.supported.clone_from(supported);
                self.note.clone_from(note);
            }
            Body::Offer { note, .. } => {
                self.state = State::Offered;
                self.note.clone_from(note);
            }
            Body::Accept { .. } => self.state = State::Accepted,
            Body::Agree { .. } => self.state = State::Agreed,
            Body::Verify { .. } => {
                self.state = State::Verified;
                self.document = document;
            }
            Body::Finalize { .. } => self.state = State::Finalized,
            Body::Terminate { note } => {
                self.state = State::Terminated;
                self.note.clone_from(note);
            }
        }
        self.at = message.at;
        self.entries.push(Entry { sent, digest, text });
    }
}

//! Two organizations negotiate, honestly and otherwise.

mod bounds;
mod documents;
mod expiry;
mod network;
mod order;
mod replacing;
mod steps;

use super::Party as Signatory;
use super::*;
use crate::fixture::{DAY, Directory, NOW, Party, terms};
use comity_identity::envelope::General;
use comity_identity::{OrgId, Signer as _};

/// Weather Service has something, Port Authority wants it, and a stranger listens.
struct World {
    provider: Party,
    consumer: Party,
    stranger: Party,
    keys: Directory,
}

/// Both sides of one negotiation.
struct Pair {
    consumer: Negotiation,
    provider: Negotiation,
}

const HEADS: (Digest, Digest) = (Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
const NONCE: [u8; 16] = [9; 16];
const ID: NegotiationId = NegotiationId::from_bytes([7; 16]);

impl World {
    fn new() -> Self {
        let [provider, consumer, stranger] = [1, 2, 3].map(Party::new);
        let keys = Directory::of(&[&provider, &consumer, &stranger]);
        Self {
            provider,
            consumer,
            stranger,
            keys,
        }
    }

    /// After the first request has arrived.
    fn requested(&self) -> Pair {
        self.requested_as(access(&["temp", "wind"]))
    }

    fn requested_as(&self, proposal: Proposal) -> Pair {
        let (consumer, text) = Negotiation::request(
            ID,
            self.consumer.org,
            self.provider.org,
            proposing(proposal, "please"),
            NOW,
            &self.consumer.agree,
        )
        .unwrap();
        let provider = self.answer(&text).unwrap();
        Pair { consumer, provider }
    }

    fn answer(&self, text: &str) -> Result<Negotiation, NegotiationError> {
        let from = self.consumer.org;
        Negotiation::answer(self.provider.org, &from, text, &self.keys, NOW)
    }

    /// After an offer of fewer columns has arrived.
    fn offered(&self) -> Pair {
        let mut pair = self.requested();
        let text = self.offer(&mut pair.provider, &["temp"]);
        self.hear(&mut pair.consumer, &text).unwrap();
        pair
    }

    /// After the provider's signature has arrived.
    fn agreed(&self) -> Pair {
        let mut pair = self.requested();
        let text = self.agree(&mut pair.provider);
        self.hear(&mut pair.consumer, &text).unwrap();
        pair
    }

    /// After the consumer's signature has arrived.
    fn verified(&self) -> Pair {
        let mut pair = self.agreed();
        let text = self.verify(&mut pair.consumer);
        self.hear(&mut pair.provider, &text).unwrap();
        pair
    }

    /// After both know it.
    fn finalized(&self) -> Pair {
        let mut pair = self.verified();
        let text = pair.provider.finalize(NOW, &self.provider.agree).unwrap();
        self.hear(&mut pair.consumer, &text).unwrap();
        pair
    }

    fn hear(&self, side: &mut Negotiation, text: &str) -> Result<Received, NegotiationError> {
        side.receive(text, &self.keys, NOW)
    }

    fn offer(&self, provider: &mut Negotiation, columns: &[&str]) -> String {
        provider
            .offer(proposing(access(columns), ""), NOW, &self.provider.agree)
            .unwrap()
    }

    fn agree(&self, provider: &mut Negotiation) -> String {
        provider
            .agree(HEADS, NONCE, NOW, &self.provider.agree)
            .unwrap()
    }

    fn verify(&self, consumer: &mut Negotiation) -> String {
        consumer.verify(NOW, &self.consumer.agree).unwrap()
    }

    /// What `side` would say next, whatever its state, before it is signed.
    fn next(&self, side: &Negotiation, body: Body) -> Message {
        let (from, to) = match side.side() {
            Side::Consumer => (self.consumer.org, self.provider.org),
            Side::Provider => (self.provider.org, self.consumer.org),
        };
        let last = side.entries().last().unwrap();
        Message {
            v: 1,
            negotiation: side.id(),
            from,
            to,
            seq: side.entries().len() as u64,
            prev: Some(Digest::of(last.text.as_bytes())),
            at: NOW,
            body,
        }
    }

    /// An `agree` of the provider around `document`, changed by `change`.
    fn agree_otherwise(&self, pair: &Pair, change: impl FnOnce(&mut Document)) -> String {
        let mut document = self.document(pair);
        change(&mut document);
        let document = document.sign(&self.provider.agree).unwrap();
        let message = self.next(&pair.provider, Body::Agree { document });
        message.sign(&self.provider.agree).unwrap()
    }

    /// The document that an honest provider would sign now.
    fn document(&self, pair: &Pair) -> Document {
        let last = pair.provider.entries().last().unwrap();
        let party = |org: OrgId, history| Signatory { org, history };
        Document {
            v: 1,
            negotiation: ID,
            provider: party(self.provider.org, HEADS.0),
            consumer: party(self.consumer.org, HEADS.1),
            proposal: pair.provider.proposal().clone(),
            last: Digest::of(last.text.as_bytes()),
            supported: SUPPORTED.to_vec(),
            nonce: NegotiationId::from_bytes(NONCE).to_string(),
            at: NOW,
        }
    }
}

/// Until when every proposal of these tests is open.
const UNTIL: Timestamp = Timestamp::from_secs(NOW.as_secs() + 14 * 24 * 60 * 60);

fn proposing(proposal: Proposal, note: &str) -> Proposing {
    Proposing {
        proposal,
        note: note.to_owned(),
        until: UNTIL,
    }
}

fn access(columns: &[&str]) -> Proposal {
    Proposal::Access {
        product: "weather".parse().unwrap(),
        range: "^1.0".parse().unwrap(),
        descriptor: Digest::of(b"descriptor"),
        contract: Digest::of(b"contract"),
        terms: terms(columns),
        replaces: None,
    }
}

fn federation() -> Proposal {
    Proposal::Federation {
        invitation: Digest::of(b"invitation"),
        terms: FederationTerms {
            roles: vec!["analyst".to_owned()],
            assurance: vec!["local-token".to_owned()],
            expires: NOW.saturating_add(365 * DAY),
        },
    }
}

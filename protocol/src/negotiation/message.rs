//! What is said in a negotiation.

use comity_identity::envelope::{Compact, Typ};
use comity_identity::organization::Role;
use comity_identity::{Digest, LEEWAY, OrgId, Signer, Timestamp};
use serde::{Deserialize, Serialize};

use super::{MAX_NOTE_CHARS, MAX_OPEN, MAX_SUPPORTED, NegotiationError, NegotiationId, SUPPORTED};
use crate::address::{Address, Range};
use crate::keys::{IssuerKeys, StatementError, open};
use crate::names::Name;
use crate::terms::{MAX_INT, Terms};

/// The kind of a negotiation message: it may carry a document with its terms.
pub const MESSAGE: Typ = Typ::new("comity-negotiation+jwt", 160 * 1024);

/// The most roles, and the most ways to authenticate, of a federation.
pub const MAX_WORDS: usize = 32;

/// The most characters of each.
pub const MAX_WORD_CHARS: usize = 64;

/// The payload of a message (`spec/schemas/negotiation.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The payload's version: 1.
    pub v: u64,
    /// The negotiation.
    pub negotiation: NegotiationId,
    /// Who speaks.
    pub from: OrgId,
    /// To whom.
    pub to: OrgId,
    /// Counts the messages of both sides, from 0.
    pub seq: u64,
    /// The digest of the message before this one; absent in the first.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prev: Option<Digest>,
    /// When it was said.
    pub at: Timestamp,
    /// What is said.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Body {
    /// The consumer asks, at first or again.
    Request {
        /// For what, on which terms.
        proposal: Box<Proposal>,
        /// A sentence for the person who decides.
        note: String,
        /// Until when the provider can agree to it. Only messages of before
        /// proposals ended have none (`spec/4-negotiation.md#N-90`).
        #[serde(skip_serializing_if = "Option::is_none", default)]
        until: Option<Timestamp>,
        /// The protocol versions that the consumer speaks; the document echoes them (A8).
        supported: Vec<u64>,
    },
    /// The provider offers other terms.
    Offer {
        /// The same thing on other terms.
        proposal: Box<Proposal>,
        /// A sentence for the other side.
        note: String,
        /// Until when the consumer can accept it, as in a request.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        until: Option<Timestamp>,
    },
    /// The consumer accepts the offer on the table.
    Accept {
        /// The digest of the accepted proposal.
        proposal: Digest,
    },
    /// The provider signed.
    Agree {
        /// The document, a general envelope with the provider's signature.
        document: String,
    },
    /// The consumer signed too.
    Verify {
        /// The document, a general envelope with both signatures.
        document: String,
    },
    /// The provider has both signatures.
    Finalize {
        /// The document's id.
        document: Digest,
    },
    /// One side ends the negotiation.
    Terminate {
        /// A sentence for the other side.
        note: String,
    },
}

/// What a side proposes, with which words, and until when it is bound by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposing {
    /// For what, on which terms.
    pub proposal: Proposal,
    /// A sentence for the person who decides.
    pub note: String,
    /// Until when the other side can accept it (exclusive).
    pub until: Timestamp,
}

/// What a negotiation is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[expect(
    clippy::large_enum_variant,
    reason = "almost every proposal is for access, and none is kept in numbers"
)]
pub enum Proposal {
    /// Access to one product.
    Access {
        /// The product.
        product: Name,
        /// Its versions that are covered (`spec/4-negotiation.md#N-60`).
        range: Range,
        /// The descriptor that the consumer read.
        descriptor: Digest,
        /// The digest of the contract in it.
        contract: Digest,
        /// What is permitted.
        terms: Terms,
        /// The agreement of the same two about the same product that ends when
        /// both have signed this (`spec/4-negotiation.md#N-100`).
        #[serde(skip_serializing_if = "Option::is_none", default)]
        replaces: Option<Digest>,
    },
    /// Mutual recognition.
    Federation {
        /// The invitation that brought the two together.
        invitation: Digest,
        /// On which terms.
        terms: FederationTerms,
    },
}

/// What a federation says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederationTerms {
    /// Roles of the other's members that count here too.
    pub roles: Vec<String>,
    /// How the other's members are authenticated, such as `local-token`.
    pub assurance: Vec<String>,
    /// Until when the recognition holds.
    pub expires: Timestamp,
}

impl Proposal {
    /// The digest of the proposal's canonical JSON: what an acceptance names.
    pub fn digest(&self) -> Result<Digest, NegotiationError> {
        let bytes = serde_json_canonicalizer::to_vec(self)
            .map_err(|_| NegotiationError::Rule("the proposal has no canonical form"))?;
        Ok(Digest::of(&bytes))
    }

    /// Whether both are about the same thing, whatever the terms.
    pub(super) fn same_subject(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Access {
                    product,
                    range,
                    descriptor,
                    contract,
                    replaces,
                    ..
                },
                Self::Access {
                    product: p,
                    range: r,
                    descriptor: d,
                    contract: c,
                    replaces: old,
                    ..
                },
            ) => {
                let same = product == p && range == r && descriptor == d && contract == c;
                same && replaces == old
            }
            (Self::Federation { invitation, .. }, Self::Federation { invitation: i, .. }) => {
                invitation == i
            }
            _ => false,
        }
    }

    /// The major version that access is asked for.
    pub fn address(&self) -> Option<Address> {
        match self {
            Self::Access { product, range, .. } => Some(Address {
                product: product.clone(),
                major: range.major,
            }),
            Self::Federation { .. } => None,
        }
    }

    /// The agreement that ends when both have signed this one.
    pub fn replaces(&self) -> Option<Digest> {
        match self {
            Self::Access { replaces, .. } => *replaces,
            Self::Federation { .. } => None,
        }
    }

    /// What access is permitted, if it is about access.
    pub fn terms(&self) -> Option<&Terms> {
        match self {
            Self::Access { terms, .. } => Some(terms),
            Self::Federation { .. } => None,
        }
    }

    /// Until when the terms hold.
    pub fn expires(&self) -> Timestamp {
        match self {
            Self::Access { terms, .. } => terms.expires,
            Self::Federation { terms, .. } => terms.expires,
        }
    }

    pub(super) fn check(&self, now: Timestamp) -> Result<(), NegotiationError> {
        if self.expires().as_secs() > MAX_INT {
            return Err(NegotiationError::Rule("a number is above 2^53 - 1"));
        }
        if self.expires() <= now {
            return Err(NegotiationError::Rule("the terms have expired"));
        }
        match self {
            Self::Access { terms, .. } => terms
                .check()
                .map_err(|_| NegotiationError::Rule("the terms are not well formed")),
            Self::Federation { terms, .. } => {
                if are_words(&terms.roles) && are_words(&terms.assurance) {
                    return Ok(());
                }
                Err(NegotiationError::Rule(
                    "the federation's terms are not well formed",
                ))
            }
        }
    }
}

/// Whether these are few and short words, as roles and assurance are.
pub fn are_words(words: &[String]) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let word = |w: &String| (1..=MAX_WORD_CHARS).contains(&w.len()) && w.bytes().all(legal);
    words.len() <= MAX_WORDS && words.iter().all(word)
}

impl Body {
    /// The step's name, for messages to people.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Request { .. } => "request",
            Self::Offer { .. } => "offer",
            Self::Accept { .. } => "accept",
            Self::Agree { .. } => "agree",
            Self::Verify { .. } => "verify",
            Self::Finalize { .. } => "finalize",
            Self::Terminate { .. } => "terminate",
        }
    }
}

impl Message {
    /// Signs the message with a key that agrees.
    ///
    /// What the other side would refuse does not leave.
    pub fn sign(&self, signer: &dyn Signer) -> Result<String, NegotiationError> {
        self.check(self.at)?;
        Ok(Compact::sign(MESSAGE, self, signer).map_err(StatementError::from)?)
    }

    /// Who claims to speak, in which negotiation: hints for finding keys and state.
    pub fn claimed(text: &str) -> Result<(OrgId, NegotiationId), StatementError> {
        let message: Self = Compact::parse(MESSAGE, text)?.danger_unverified_payload()?;
        Ok((message.from, message.negotiation))
    }

    /// Checks that `from` signed `text` with an agreeing key and that the
    /// message is well formed.
    pub fn verify(
        text: &str,
        from: &OrgId,
        keys: &dyn IssuerKeys,
        now: Timestamp,
    ) -> Result<Self, NegotiationError> {
        // spec/4-negotiation.md#N-9
        let message: Self = open(MESSAGE, text, from, Role::Agree, keys, now)?
            .payload()
            .map_err(StatementError::from)?;
        if message.from != *from {
            return Err(StatementError::OtherOrganization.into());
        }
        message.check(now)?;
        Ok(message)
    }

    /// Reads a message that this node verified when it wrote it to its journal.
    pub(super) fn recall(text: &str) -> Result<Self, NegotiationError> {
        let envelope = Compact::parse(MESSAGE, text).map_err(StatementError::from)?;
        Ok(envelope
            .danger_unverified_payload()
            .map_err(StatementError::from)?)
    }

    /// spec/4-negotiation.md#N-10
    fn check(&self, now: Timestamp) -> Result<(), NegotiationError> {
        if self.v != 1 {
            return Err(NegotiationError::Rule("the message's version is not 1"));
        }
        if self.at.as_secs() > MAX_INT || self.seq > MAX_INT {
            return Err(NegotiationError::Rule("a number is above 2^53 - 1"));
        }
        let (note, proposal) = match &self.body {
            Body::Request {
                note,
                proposal,
                until,
                ..
            }
            | Body::Offer {
                note,
                proposal,
                until,
            } => {
                self.check_until(*until, now)?;
                (Some(note), Some(proposal))
            }
            Body::Terminate { note } => (Some(note), None),
            _ => (None, None),
        };
        if note.is_some_and(|n| n.chars().count() > MAX_NOTE_CHARS) {
            return Err(NegotiationError::Rule("a note has at most 1000 characters"));
        }
        if let Body::Request { supported, .. } = &self.body {
            let speaks = supported.iter().any(|v| SUPPORTED.contains(v));
            let numbers = supported.iter().all(|v| *v <= MAX_INT);
            if supported.len() > MAX_SUPPORTED || !speaks || !numbers {
                return Err(NegotiationError::Rule(
                    "no protocol version is common to both sides",
                ));
            }
        }
        proposal.map_or(Ok(()), |p| p.check(now))
    }

    /// spec/4-negotiation.md#N-90: an end in the past is no mistake of a message
    /// that was long on its way; the proposal is then over, not malformed.
    fn check_until(
        &self,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), NegotiationError> {
        let rule = |text| Err(NegotiationError::Rule(text));
        match until {
            None => rule("a proposal says until when it can be accepted"),
            Some(until) if until <= self.at => rule("a proposal ends after it is made"),
            Some(until) if until > now.saturating_add(MAX_OPEN + LEEWAY) => {
                rule("a proposal is open for at most 90 days")
            }
            Some(_) => Ok(()),
        }
    }
}

//! How two organizations come to sign one document (`spec/4-negotiation.md`).
//!
//! The states are the Dataspace Protocol's:
//!
//! ```text
//! consumer                                provider
//!    │ request ───────────────────────────>│ REQUESTED
//!    │<────────────────────────────── offer │ OFFERED     (any number of times,
//!    │ request (counter) ─────────────────>│ REQUESTED    until somebody is content)
//!    │ accept ────────────────────────────>│ ACCEPTED
//!    │<─── agree: document, one signature ──│ AGREED      (from REQUESTED too)
//!    │ verify: document, two signatures ──>│ VERIFIED
//!    │<─────────────────────────── finalize │ FINALIZED
//!                 terminate by either side: TERMINATED
//! ```
//!
//! Every message is signed, counted and names the digest of the one before it,
//! so that no term can be exchanged on the way (A48). The document that both
//! sign holds the digest of the last message; nobody enforces anything else.
//!
//! [`Negotiation`] is a pure fold over message texts: a node that has the
//! messages has the state. Duplicates change nothing and are answered as the
//! first time; that, and sending again until an answer comes, is all that a
//! lossy network needs.

mod document;
mod machine;
mod message;

#[cfg(test)]
mod tests;

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use comity_identity::{Digest, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use document::signer_of;
pub use document::{AGREEMENT, Document, DocumentError, FEDERATION, Party, SignedDocument};
pub use machine::{Due, Entry, Negotiation, Received};
pub use message::{
    Body, FederationTerms, MAX_WORD_CHARS, MAX_WORDS, MESSAGE, Message, Proposal, Proposing,
    are_words,
};

use crate::keys::StatementError;

/// The protocol versions that this crate speaks.
pub const SUPPORTED: &[u64] = &[1];

/// The most messages of one negotiation: nobody haggles longer.
pub const MAX_MESSAGES: usize = 64;

/// The messages that are kept free for an end: accept, agree, verify, finalize.
/// A side that haggles up to the limit cannot leave the other one without a way out.
pub const CLOSING_MESSAGES: usize = 4;

/// The most protocol versions that a request lists.
pub const MAX_SUPPORTED: usize = 16;

/// The longest that a proposal is open, from when it is read
/// (`spec/4-negotiation.md#N-90`): whoever proposes is bound for as long.
pub const MAX_OPEN: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The most characters of a note.
pub const MAX_NOTE_CHARS: usize = 1000;

/// A negotiation's id: 16 random bytes as 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NegotiationId([u8; 16]);

impl NegotiationId {
    /// The id of 16 random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// A text that is not a negotiation's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a negotiation's id: expected 32 lower-case hex digits")]
pub struct NotAnId;

impl FromStr for NegotiationId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let mut bytes = [0; 16];
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(is_hex) {
            return Err(NotAnId);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = core::str::from_utf8(pair).map_err(|_| NotAnId)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NotAnId)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for NegotiationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for NegotiationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NegotiationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What an organization is in a negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Has what is asked for; signs first.
    Provider,
    /// Asks.
    Consumer,
}

impl Side {
    /// The other side.
    pub const fn other(self) -> Self {
        match self {
            Self::Provider => Self::Consumer,
            Self::Consumer => Self::Provider,
        }
    }
}

/// The Dataspace Protocol's states of a contract negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// The consumer asked; the provider decides.
    Requested,
    /// The provider offered other terms; the consumer decides.
    Offered,
    /// The consumer accepted an offer; the provider signs.
    Accepted,
    /// The provider signed.
    Agreed,
    /// Both signed.
    Verified,
    /// Both signed, and both know it.
    Finalized,
    /// Ended without a document.
    Terminated,
}

impl State {
    /// The state's name as the Dataspace Protocol writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requested => "REQUESTED",
            Self::Offered => "OFFERED",
            Self::Accepted => "ACCEPTED",
            Self::Agreed => "AGREED",
            Self::Verified => "VERIFIED",
            Self::Finalized => "FINALIZED",
            Self::Terminated => "TERMINATED",
        }
    }

    /// Whether nothing follows.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Finalized | Self::Terminated)
    }
}

/// Why a message or a step is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// The message is not believed: the sender's fault.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The document inside the message is not what it must be: the sender's fault (A48).
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The message belongs to another negotiation or to other parties.
    #[error("the message does not belong to this negotiation")]
    Stranger,
    /// The message does not follow the one before it.
    #[error("the message does not follow the one before it (expected {expected})")]
    Broken {
        /// The digest that `prev` must have.
        expected: Digest,
    },
    /// The step does not fit the state.
    #[error("'{step}' does not fit the state {}", state.name())]
    OutOfOrder {
        /// What was tried.
        step: &'static str,
        /// The state.
        state: State,
    },
    /// The proposal on the table was open until then, and no longer.
    #[error("the proposal could be accepted until {until}")]
    Expired {
        /// When it ended.
        until: Timestamp,
    },
    /// Accepted terms are not those on the table (A48).
    #[error("the terms accepted are not those that were offered")]
    OtherTerms,
    /// The content breaks a rule of the specification.
    #[error("{0}")]
    Rule(&'static str),
}

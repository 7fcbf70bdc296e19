//! The key history: an organization's signed, hash-chained log of key events
//! (`spec/2-identity.md`, section 2).
//!
//! The first event, the inception, gives the organization its id. Every event
//! names the root keys in force, commits to the hashes of the *next* root keys,
//! and lists the keys that may sign organization documents (the doc keys).
//!
//! A rotation is signed by the current keys **and** by the keys that the
//! previous event committed to. A thief of the current root keys alone can
//! therefore change nothing, and the owner takes the organization back with a
//! recovery, which only the pre-committed keys sign (A13).
//!
//! Digests of events are taken over the payload bytes and not over the list of
//! signatures (`spec/2-identity.md#I-12`): with a threshold above one, the same event exists with different
//! sets of signatures, and an honest re-signing must not look like a fork.

mod event;
mod fork;
mod rules;

#[cfg(test)]
pub(crate) mod tests;

pub use event::{EventKind, KeyEvent, KeySet, MAX_KEYS, MAX_REASON_CHARS};
pub use fork::{Comparison, Fork, ForkProof, NotAFork};

use crate::envelope::{EnvelopeError, General, Typ};
use crate::{Digest, OrgId, PublicKey, Timestamp};

/// The kind of a key event; 8 KiB each in envelope form.
pub const KEY_EVENT: Typ = Typ::new("comity-kel+jwt", 8 * 1024);

/// The most events of one history. Rotating weekly fills it in five years;
/// 256 events of 8 KiB bound a history at 2 MiB.
pub const MAX_EVENTS: usize = 256;

/// A verified key history. [`History::verify`] is its one way in.
#[derive(Clone, Debug)]
pub struct History {
    org: OrgId,
    /// The events' envelopes exactly as received, oldest first. Never empty.
    texts: Vec<String>,
    /// The digests of the events' payload bytes, in the same order.
    digests: Vec<Digest>,
    /// The newest event, and its digest.
    current: KeyEvent,
    head: Digest,
}

impl History {
    /// Verifies a whole history, oldest event first (`spec/2-identity.md#I-13`).
    pub fn verify(events: &[String]) -> Result<Self, HistoryError> {
        // spec/2-identity.md#I-9: the bound comes before any parsing.
        if events.len() > MAX_EVENTS {
            return Err(HistoryError::TooLong);
        }
        let (first, rest) = events.split_first().ok_or(HistoryError::Empty)?;
        let mut history = Self::begin(first)?;
        for text in rest {
            history.push(text)?;
        }
        Ok(history)
    }

    /// This history followed by one more event.
    pub fn extend(&self, event: &str) -> Result<Self, HistoryError> {
        let mut longer = self.clone();
        longer.push(event)?;
        Ok(longer)
    }

    /// The organization whose history this is.
    pub fn org(&self) -> OrgId {
        self.org
    }

    /// The sequence number of the newest event; the inception has 0.
    pub fn seq(&self) -> u64 {
        self.current.seq
    }

    /// The digest of the newest event's payload bytes.
    pub fn head(&self) -> Digest {
        self.head
    }

    /// The digest of the event with sequence number `seq`.
    pub fn digest_at(&self, seq: u64) -> Option<Digest> {
        let index = usize::try_from(seq).ok()?;
        self.digests.get(index).copied()
    }

    /// The newest event.
    pub fn current(&self) -> &KeyEvent {
        &self.current
    }

    /// The keys that may sign organization documents now.
    pub fn doc_keys(&self) -> &[PublicKey] {
        &self.current.doc
    }

    /// The root keys in force.
    pub fn root_keys(&self) -> &[PublicKey] {
        &self.current.keys
    }

    /// The events' envelopes exactly as received, oldest first: what is stored
    /// and passed on.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// The rotation that would follow: `keys` must be the ones this history has
    /// committed to. Sign it with [`KeyEvent::sign`] by the threshold of `keys`
    /// and by the threshold of the current keys.
    pub fn rotation(&self, keys: KeySet, at: Timestamp, reason: &str) -> KeyEvent {
        self.successor(EventKind::Rotation, keys, at, reason)
    }

    /// The recovery that would follow, for when current keys are lost or
    /// stolen. Only the pre-committed `keys` sign it.
    pub fn recovery(&self, keys: KeySet, at: Timestamp, reason: &str) -> KeyEvent {
        self.successor(EventKind::Recovery, keys, at, reason)
    }

    /// How `other` relates to this history.
    pub fn compare(&self, other: &Self) -> Comparison {
        fork::compare(self, other)
    }

    fn successor(&self, kind: EventKind, keys: KeySet, at: Timestamp, reason: &str) -> KeyEvent {
        KeyEvent::build(
            kind,
            Some(self.org),
            self.seq() + 1,
            Some(self.head()),
            keys,
            at,
            reason,
        )
    }

    fn begin(text: &str) -> Result<Self, HistoryError> {
        let envelope = open(text, 0)?;
        let event = rules::inception(&envelope)?;
        let digest = envelope.digest();
        Ok(Self {
            org: OrgId::from_inception(digest),
            texts: vec![text.to_owned()],
            digests: vec![digest],
            current: event,
            head: digest,
        })
    }

    fn push(&mut self, text: &str) -> Result<(), HistoryError> {
        if self.texts.len() >= MAX_EVENTS {
            return Err(HistoryError::TooLong);
        }
        let envelope = open(text, self.seq() + 1)?;
        let event = rules::successor(&envelope, self)?;
        self.texts.push(text.to_owned());
        self.head = envelope.digest();
        self.digests.push(self.head);
        self.current = event;
        Ok(())
    }
}

fn open(text: &str, seq: u64) -> Result<General, HistoryError> {
    General::parse(KEY_EVENT, text).map_err(|source| HistoryError::Envelope { seq, source })
}

/// Why a key history is refused. Every case is the sender's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// There is no event at all.
    #[error("the key history is empty")]
    Empty,
    /// More than [`MAX_EVENTS`] events.
    #[error("the key history has more than {MAX_EVENTS} events")]
    TooLong,
    /// An event's envelope is refused.
    #[error("key event {seq}: {source}")]
    Envelope {
        /// The position in the history.
        seq: u64,
        /// What is wrong with the envelope.
        source: EnvelopeError,
    },
    /// An event breaks a rule of its content.
    #[error("key event {seq}: {rule}")]
    Rule {
        /// The position in the history.
        seq: u64,
        /// The rule that is broken.
        rule: &'static str,
    },
    /// The event does not name its predecessor: an event is missing, or the history was forked.
    #[error("key event {seq} does not follow the event before it")]
    Broken {
        /// The position in the history.
        seq: u64,
    },
    /// The keys are not the ones that the previous event committed to (A13).
    #[error("key event {seq} reveals keys that the event before it did not commit to")]
    NotCommitted {
        /// The position in the history.
        seq: u64,
    },
    /// Fewer signatures than a threshold demands.
    #[error("key event {seq} lacks signatures of its {whose} keys")]
    Threshold {
        /// The position in the history.
        seq: u64,
        /// Which keys: `revealed` or `current`.
        whose: &'static str,
    },
    /// A signature by a key that has no say.
    #[error("key event {seq} is signed by a key that has no say in it")]
    Stranger {
        /// The position in the history.
        seq: u64,
    },
}

//! One key event: what is signed.

use serde::{Deserialize, Serialize};

use super::KEY_EVENT;
use crate::envelope::{EnvelopeError, General};
use crate::{Digest, OrgId, PublicKey, Signer, Timestamp};

/// The most keys in each list of an event. Two full lists of root keys can
/// then sign one rotation within the envelope's limit of signatures.
pub const MAX_KEYS: usize = 8;

/// The most characters of an event's reason.
pub const MAX_REASON_CHARS: usize = 200;

/// The version of the payload.
pub(super) const VERSION: u64 = 1;

/// The payload of a key event (`spec/schemas/key-event.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEvent {
    /// The payload's version: 1.
    pub v: u64,
    /// The organization; absent in the inception, whose digest *is* the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<OrgId>,
    /// 0 for the inception, then one more for each event.
    pub seq: u64,
    /// The digest of the previous event's payload bytes; absent in the inception.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<Digest>,
    /// When the organization says it made the event.
    pub at: Timestamp,
    /// What kind of event it is.
    pub kind: EventKind,
    /// The root keys in force from this event on.
    pub keys: Vec<PublicKey>,
    /// How many of `keys` must sign for the organization.
    pub threshold: u64,
    /// Digests of the root keys that the next event will reveal.
    pub next: Vec<Digest>,
    /// The threshold that will hold for the `next` keys.
    pub next_threshold: u64,
    /// Keys with the doc role: they sign organization documents.
    pub doc: Vec<PublicKey>,
    /// Why the event was made, for people; may be empty.
    pub reason: String,
}

/// What an event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// The first event.
    Inception,
    /// New keys, with the consent of the current ones.
    Rotation,
    /// New keys without the current ones, which are lost or stolen.
    Recovery,
}

/// The keys that an event puts in force and commits to.
#[derive(Clone, Debug)]
pub struct KeySet {
    /// Root keys in force.
    pub keys: Vec<PublicKey>,
    /// How many of them must sign.
    pub threshold: u64,
    /// The next root keys. Only their digests are published.
    pub next: Vec<Digest>,
    /// How many of the next keys will have to sign.
    pub next_threshold: u64,
    /// Keys that sign organization documents.
    pub doc: Vec<PublicKey>,
}

impl KeySet {
    /// One root key, one next key, one doc key: what `comity init` makes.
    pub fn single(root: PublicKey, next: &PublicKey, doc: PublicKey) -> Self {
        Self {
            keys: vec![root],
            threshold: 1,
            next: vec![commitment(next)],
            next_threshold: 1,
            doc: vec![doc],
        }
    }
}

/// The digest by which an event commits to `key` without showing it.
pub(super) fn commitment(key: &PublicKey) -> Digest {
    Digest::of(key.as_bytes())
}

impl KeyEvent {
    /// The first event of a new organization. Sign it with the threshold of `keys.keys`.
    pub fn inception(keys: KeySet, at: Timestamp, reason: &str) -> Self {
        Self::build(EventKind::Inception, None, 0, None, keys, at, reason)
    }

    /// The event's envelope, signed by each of `signers`.
    ///
    /// Whether the signatures suffice is judged when the event is verified, so
    /// that an event can be signed in several places.
    pub fn sign(&self, signers: &[&dyn Signer]) -> Result<String, EnvelopeError> {
        let mut envelope = General::new(KEY_EVENT, self)?;
        for signer in signers {
            envelope = envelope.sign(*signer);
        }
        let text = envelope.to_text();
        // Parse what is about to be published: it must pass the limits that a receiver sets.
        General::parse(KEY_EVENT, &text)?;
        Ok(text)
    }

    pub(super) fn build(
        kind: EventKind,
        org: Option<OrgId>,
        seq: u64,
        prev: Option<Digest>,
        keys: KeySet,
        at: Timestamp,
        reason: &str,
    ) -> Self {
        Self {
            v: VERSION,
            org,
            seq,
            prev,
            at,
            kind,
            keys: keys.keys,
            threshold: keys.threshold,
            next: keys.next,
            next_threshold: keys.next_threshold,
            doc: keys.doc,
            reason: reason.to_owned(),
        }
    }
}

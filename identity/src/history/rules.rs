//! The rules that make an event follow another (`spec/2-identity.md`, section 2).

use std::collections::BTreeSet;

use super::event::{MAX_KEYS, MAX_REASON_CHARS, VERSION, commitment};
use super::{EventKind, History, HistoryError, KeyEvent};
use crate::envelope::{EnvelopeError, General};
use crate::{KeyId, PublicKey};

/// Checks the first event and returns it.
pub(super) fn inception(envelope: &General) -> Result<KeyEvent, HistoryError> {
    let event = read(envelope, 0)?;
    let names_itself = event.org.is_some() || event.prev.is_some();
    // spec/2-identity.md#I-3
    if event.kind != EventKind::Inception || event.seq != 0 || names_itself {
        return Err(rule(
            0,
            "the first event is an inception with seq 0, without org and prev",
        ));
    }
    content(&event, 0)?;
    signatures(envelope, 0, &event, &event.keys, None)?;
    Ok(event)
}

/// Checks that the envelope's event follows `history` and returns it.
pub(super) fn successor(envelope: &General, history: &History) -> Result<KeyEvent, HistoryError> {
    let seq = history.seq() + 1;
    let before = history.current();
    let event = read(envelope, seq)?;
    // spec/2-identity.md#I-4
    if event.org != Some(history.org())
        || event.seq != seq
        || event.prev != Some(history.head())
        || event.at < before.at
    {
        return Err(HistoryError::Broken { seq });
    }
    content(&event, seq)?;
    // spec/2-identity.md#I-5 (A13): the pre-committed keys, all of them and no others.
    let revealed: BTreeSet<_> = event.keys.iter().map(commitment).collect();
    let committed: BTreeSet<_> = before.next.iter().copied().collect();
    if revealed != committed || event.threshold != before.next_threshold {
        return Err(HistoryError::NotCommitted { seq });
    }
    match event.kind {
        // spec/2-identity.md#I-6
        EventKind::Rotation => signatures(envelope, seq, &event, &event.keys, Some(before))?,
        // spec/2-identity.md#I-7
        EventKind::Recovery => signatures(envelope, seq, &event, &event.keys, None)?,
        EventKind::Inception => return Err(rule(seq, "an inception is the first event")),
    }
    Ok(event)
}

/// Reads the payload before its signatures are checked: a key event is the one
/// statement that carries its own keys. They count for nothing until the rules
/// above have tied them to the previous event, or to the organization's id.
fn read(envelope: &General, seq: u64) -> Result<KeyEvent, HistoryError> {
    envelope
        .danger_unverified_payload()
        .map_err(|source| HistoryError::Envelope { seq, source })
}

/// spec/2-identity.md#I-8: what an event may say, whatever came before it.
fn content(event: &KeyEvent, seq: u64) -> Result<(), HistoryError> {
    if event.v != VERSION {
        return Err(rule(seq, "unknown version of the payload"));
    }
    if event.reason.chars().count() > MAX_REASON_CHARS {
        return Err(rule(seq, "the reason is too long"));
    }
    let lists = [event.keys.len(), event.next.len(), event.doc.len()];
    if lists.iter().any(|n| *n == 0 || *n > MAX_KEYS) {
        return Err(rule(seq, "keys, next and doc each have 1 to 8 entries"));
    }
    let roots: BTreeSet<_> = event.keys.iter().map(PublicKey::id).collect();
    let docs: BTreeSet<_> = event.doc.iter().map(PublicKey::id).collect();
    let next: BTreeSet<_> = event.next.iter().copied().collect();
    if roots.len() != event.keys.len()
        || docs.len() != event.doc.len()
        || next.len() != event.next.len()
    {
        return Err(rule(seq, "a key is listed twice"));
    }
    // A root key that works every day would be as exposed as the doc key.
    if !roots.is_disjoint(&docs) {
        return Err(rule(seq, "a root key cannot be a doc key"));
    }
    // A commitment to a key that is already public protects nothing.
    if event
        .keys
        .iter()
        .chain(&event.doc)
        .any(|k| next.contains(&commitment(k)))
    {
        return Err(rule(seq, "a next key is already in use"));
    }
    let within = |threshold: u64, n: usize| threshold >= 1 && threshold <= n as u64;
    if !within(event.threshold, lists[0]) || !within(event.next_threshold, lists[1]) {
        return Err(rule(seq, "a threshold is not between 1 and its keys"));
    }
    Ok(())
}

/// Requires the threshold of `revealed` and, if given, of the keys `before`;
/// every signature present must be one of theirs and must verify.
fn signatures(
    envelope: &General,
    seq: u64,
    event: &KeyEvent,
    revealed: &[PublicKey],
    before: Option<&KeyEvent>,
) -> Result<(), HistoryError> {
    let current: &[PublicKey] = before.map_or(&[], |b| &b.keys);
    let with_say: BTreeSet<KeyId> = revealed.iter().chain(current).map(PublicKey::id).collect();
    // spec/2-identity.md#I-10
    let strangers = envelope
        .signatories()
        .iter()
        .any(|s| !with_say.contains(&s.claimed_kid()));
    if strangers {
        return Err(HistoryError::Stranger { seq });
    }
    if count(envelope, revealed, seq)? < event.threshold {
        return Err(HistoryError::Threshold {
            seq,
            whose: "revealed",
        });
    }
    if let Some(before) = before
        && count(envelope, current, seq)? < before.threshold
    {
        return Err(HistoryError::Threshold {
            seq,
            whose: "current",
        });
    }
    Ok(())
}

/// How many of `keys` signed. A signature that is present and wrong is an error.
fn count(envelope: &General, keys: &[PublicKey], seq: u64) -> Result<u64, HistoryError> {
    let mut signed = 0;
    for key in keys {
        match envelope.is_signed_by(key) {
            Ok(()) => signed += 1,
            Err(EnvelopeError::Signatories) => {}
            Err(source) => return Err(HistoryError::Envelope { seq, source }),
        }
    }
    Ok(signed)
}

fn rule(seq: u64, rule: &'static str) -> HistoryError {
    HistoryError::Rule { seq, rule }
}

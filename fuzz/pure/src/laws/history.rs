//! Key histories (A12, A13, `spec/2-identity.md`, section 2). After `r` each line
//! is an event as it arrives; after `s` each line is a hex digit, which says who
//! of root, next, later and thief signs, and an event's payload.

use std::collections::BTreeSet;

use comity_identity::envelope::General;
use comity_identity::history::{Comparison, EventKind, History, KEY_EVENT, KeyEvent, MAX_EVENTS};
use comity_identity::{Digest, KeyId, Signer};
use serde_json::Value;

use super::world::{self, LONE, is_published};

/// Who may sign, in the order of the digit's bits.
const SIGNERS: [&str; 4] = ["root", "next", "later", "thief"];

/// More events than the rules need, and fewer than make a run slow.
const MAX_LINES: usize = 5;

pub(crate) fn law(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    if let Some(lines) = text.strip_prefix('r') {
        let events: Vec<_> = lines.lines().map(str::to_owned).collect();
        if let Ok(history) = History::verify(&events) {
            holds(&history, &events);
            if history.org() == LONE.org() {
                assert!(events.iter().all(|e| is_published(e)), "a forged event");
            }
        }
    } else if let Some(lines) = text.strip_prefix('s') {
        signed(lines, data);
    }
}

fn signed(lines: &str, data: &[u8]) {
    let mut events: Vec<String> = Vec::new();
    for line in lines.lines().take(MAX_LINES) {
        let mut chars = line.chars();
        let Some(digit) = chars.next().and_then(|c| c.to_digit(16)) else {
            return;
        };
        let signers = (0..).zip(SIGNERS).filter(|(bit, _)| digit >> bit & 1 == 1);
        let keys: Vec<_> = signers.map(|(_, name)| LONE.key(name)).collect();
        let payload = following(chars.as_str(), &events);
        events.push(world::general(KEY_EVENT, payload.as_bytes(), &keys));
    }
    let Ok(history) = History::verify(&events) else {
        return;
    };
    holds(&history, &events);
    let (last, before) = events.split_last().expect("a history has an event");
    for changed in world::tampered(last, data) {
        let mut other = before.to_vec();
        other.push(changed);
        if let Ok(other) = History::verify(&other) {
            assert_eq!(
                other.head(),
                history.head(),
                "other content under the signatures"
            );
        }
    }
}

/// The payload with `org`, `seq` and `prev` of a successor, or the fuzzer never
/// gets to the second event. A payload that is no object stays as it is.
fn following(payload: &str, before: &[String]) -> String {
    let history = History::verify(before);
    let (Ok(history), Ok(Value::Object(mut event))) = (history, serde_json::from_str(payload))
    else {
        return payload.to_owned();
    };
    event.insert("org".to_owned(), history.org().to_string().into());
    event.insert("seq".to_owned(), (history.seq() + 1).into());
    event.insert("prev".to_owned(), history.head().to_string().into());
    Value::Object(event).to_string()
}

/// What every verified history is.
fn holds(history: &History, events: &[String]) {
    assert!((1..=MAX_EVENTS).contains(&events.len()));
    assert_eq!(history.texts(), events);
    assert_eq!(history.seq() + 1, events.len() as u64);
    assert!(matches!(history.compare(history), Comparison::Same));
    let read = |text: &String| -> (KeyEvent, General) {
        let envelope = General::parse(KEY_EVENT, text).expect("it was verified");
        let event = envelope
            .danger_unverified_payload()
            .expect("it was verified");
        (event, envelope)
    };
    let (first, rest) = events.split_first().expect("a history has an event");
    let (mut before, envelope) = read(first);
    assert_eq!(history.org().as_bytes(), envelope.digest().as_bytes());
    let mut shorter = History::verify(core::slice::from_ref(first)).expect("a beginning");
    for text in rest {
        let (event, envelope) = read(text);
        // A13: nobody follows without the keys that were committed to before.
        let committed: BTreeSet<_> = before.next.iter().copied().collect();
        let signed_by = |key: &&comity_identity::PublicKey| envelope.is_signed_by(key).is_ok();
        let revealed = event.keys.iter().filter(signed_by);
        let revealed = revealed.filter(|k| committed.contains(&Digest::of(k.as_bytes())));
        assert!(revealed.count() as u64 >= before.next_threshold);
        let current = before.keys.iter().filter(signed_by).count() as u64;
        assert!(event.kind == EventKind::Recovery || current >= before.threshold);
        let thief: KeyId = LONE.key("thief").public().id();
        let listed = event
            .keys
            .iter()
            .chain(&before.keys)
            .any(|k| k.id() == thief);
        let signs = envelope
            .signatories()
            .iter()
            .any(|s| s.claimed_kid() == thief);
        assert!(listed || !signs, "a stranger has signed");

        assert!(matches!(shorter.compare(history), Comparison::Ahead));
        assert!(matches!(history.compare(&shorter), Comparison::Behind));
        shorter = shorter.extend(text).expect("it was verified");
        before = event;
    }
    assert_eq!(shorter.head(), history.head());
}

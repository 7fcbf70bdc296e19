//! Envelopes (A5, A6, `spec/1-envelope.md`). The first byte says what the rest is:
//! `c` and `g` a text as it arrives, compact or general; `s` and `m` a payload
//! under an honest signature, or two.

use comity_identity::Signer;
use comity_identity::envelope::{Compact, General};
use comity_identity::grant::GRANT;
use comity_identity::history::KEY_EVENT;
use comity_identity::organization::ORGANIZATION_DOCUMENT;
use serde_json::Value;

use super::world::{self, LONE, is_published};

pub(crate) fn law(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    match kind {
        b'c' => arrived_compact(body),
        b'g' => arrived_general(body),
        b's' => signed_compact(body),
        b'm' => signed_general(body),
        _ => {}
    }
}

/// Only what the vectors' keys signed verifies, and it stays what it was.
fn arrived_compact(body: &[u8]) {
    let Ok(text) = core::str::from_utf8(body) else {
        return;
    };
    for typ in [ORGANIZATION_DOCUMENT, GRANT] {
        let Ok(envelope) = Compact::parse(typ, text) else {
            continue;
        };
        assert!(text.len() <= typ.limit());
        for key in LONE.keys.values() {
            if let Ok(verified) = envelope.clone().verify(&key.public()) {
                assert!(is_published(text), "a forged signature");
                assert_eq!(verified.text(), text);
                assert_eq!(verified.kid(), key.public().id());
            }
        }
    }
}

fn arrived_general(body: &[u8]) {
    let Ok(text) = core::str::from_utf8(body) else {
        return;
    };
    let Ok(envelope) = General::parse(KEY_EVENT, text) else {
        return;
    };
    assert!(text.len() <= KEY_EVENT.limit());
    // Its own text is read as the same statement.
    let own = General::parse(KEY_EVENT, &envelope.to_text());
    if let Ok(again) = own {
        assert_eq!(again.payload_bytes(), envelope.payload_bytes());
        assert_eq!(again.signatories(), envelope.signatories());
    }
}

/// Any bytes under an honest signature are exactly those bytes again, for that
/// key and that kind alone.
fn signed_compact(body: &[u8]) {
    let typ = GRANT;
    let (key, other) = (LONE.key("issuer"), LONE.key("doc"));
    let text = world::compact(typ, body, key);
    let Ok(envelope) = Compact::parse(typ, &text) else {
        assert!(text.len() > typ.limit(), "an honest envelope is refused");
        return;
    };
    assert!(text.len() <= typ.limit());
    assert!(
        Compact::parse(ORGANIZATION_DOCUMENT, &text).is_err(),
        "another kind"
    );
    assert!(
        envelope.clone().verify(&other.public()).is_err(),
        "another key"
    );
    let verified = envelope.verify(&key.public()).expect("honest");
    assert_eq!((verified.payload_bytes(), verified.text()), (body, &*text));
    for changed in world::tampered(&text, body) {
        let read = Compact::parse(typ, &changed).and_then(|e| e.verify(&key.public()));
        assert!(read.is_err(), "one bit changed and it verifies");
    }
    let Ok(value) = verified.payload::<Value>() else {
        return;
    };
    // What is signed from a parsed payload has one form, whoever wrote it before.
    let Ok(canonical) = Compact::sign(typ, &value, key) else {
        return;
    };
    let read = Compact::parse(typ, &canonical).and_then(|e| e.verify(&key.public()));
    let read: Value = read.and_then(|v| v.payload()).expect("honest");
    let again = Compact::sign(typ, &read, key).expect("it fits");
    assert_eq!(again, canonical);
}

fn signed_general(body: &[u8]) {
    let typ = KEY_EVENT;
    let (a, b, c) = (LONE.key("root"), LONE.key("next"), LONE.key("thief"));
    let text = world::general(typ, body, &[a, b]);
    let Ok(envelope) = General::parse(typ, &text) else {
        assert!(text.len() > typ.limit(), "an honest envelope is refused");
        return;
    };
    assert_eq!(envelope.payload_bytes(), body);
    assert_eq!(envelope.to_text(), text);
    let [a, b, c] = [a, b, c].map(Signer::public);
    assert!(envelope.is_signed_by(&a).is_ok() && envelope.is_signed_by(&b).is_ok());
    assert!(envelope.is_signed_by(&c).is_err());
    let plain = serde_json::from_slice::<Value>(body).ok();
    assert_eq!(envelope.verify_exactly::<Value>(&[a, b]).ok(), plain);
    assert_eq!(envelope.verify_exactly::<Value>(&[b, a]).ok(), plain);
    for others in [&[a][..], &[b], &[a, c], &[a, a], &[a, b, c], &[]] {
        assert!(envelope.verify_exactly::<Value>(others).is_err());
    }
    for changed in world::tampered(&text, body) {
        let Ok(read) = General::parse(typ, &changed) else {
            continue;
        };
        if read.verify_exactly::<Value>(&[a, b]).is_ok() {
            assert_eq!(
                read.payload_bytes(),
                body,
                "other content under the signatures"
            );
        }
    }
}

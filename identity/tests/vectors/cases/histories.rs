//! Key histories (`spec/2-identity.md`, section 2.2).

use comity_identity::Signer;
use comity_identity::history::{KEY_EVENT, KeyEvent};
use serde_json::json;

use super::{Book, canonical};
use crate::world::{NOW, at, general, history, inception, key, next_keys};

pub(super) fn histories(book: &mut Book) {
    let rotation = history().rotation(next_keys(), at(NOW + 60), "yearly");
    let recovery = history().recovery(next_keys(), at(NOW + 60), "root key stolen");
    let sign = |event: &KeyEvent, names: &[&str]| {
        let keys: Vec<_> = names.iter().map(|n| key(n)).collect();
        let signers: Vec<&dyn Signer> = keys.iter().map(|k| k as _).collect();
        event.sign(&signers).unwrap()
    };
    let mut uncommitted = rotation.clone();
    uncommitted.keys = vec![key("thief").public()];
    let mut gap = rotation.clone();
    gap.seq = 2;
    let payload = canonical(&inception());
    book.text("inception", sign(&inception(), &["root"]));
    book.text("rotation", sign(&rotation, &["root", "next"]));
    book.text("rotation-other-order", sign(&rotation, &["next", "root"]));
    book.text("recovery", sign(&recovery, &["next"]));
    book.text("rotation-by-root", sign(&rotation, &["root"]));
    book.text("rotation-by-next", sign(&rotation, &["next"]));
    book.text(
        "rotation-uncommitted",
        sign(&uncommitted, &["root", "thief"]),
    );
    book.text("recovery-by-root", sign(&recovery, &["root"]));
    book.text("recovery-with-root", sign(&recovery, &["root", "next"]));
    book.text("rotation-gap", sign(&gap, &["root", "next"]));
    book.text("inception-unsigned", sign(&inception(), &[]));
    book.text("inception-by-thief", sign(&inception(), &["thief"]));
    book.text(
        "inception-other-typ",
        general("comity-agreement+jwt", &payload, &["root"]),
    );
    let doc = key("doc").public().to_string();
    let kel = |payload: &str| general(KEY_EVENT.name(), payload, &["root"]);
    book.text(
        "inception-weak-key",
        kel(&payload.replace(&doc, &"A".repeat(43))),
    );
    book.text(
        "inception-unknown-member",
        kel(&payload.replacen('{', r#"{"admin":true,"#, 1)),
    );
    book.text(
        "inception-textual-time",
        kel(&payload.replace(r#""at":1795000000"#, r#""at":"1795000000""#)),
    );
    for (name, rule, refused_by, events) in [
        ("one event", "I-3", "nobody", json!(["inception"])),
        (
            "rotation",
            "I-6",
            "nobody",
            json!(["inception", "rotation"]),
        ),
        (
            "rotation, signatures in another order",
            "I-12",
            "nobody",
            json!(["inception", "rotation-other-order"]),
        ),
        (
            "recovery",
            "I-7",
            "nobody",
            json!(["inception", "recovery"]),
        ),
        ("no event", "I-3", "history", json!([])),
        (
            "without the inception",
            "I-3",
            "history",
            json!(["rotation"]),
        ),
        (
            "inception twice",
            "I-4",
            "history",
            json!(["inception", "inception"]),
        ),
        (
            "sequence number left out",
            "I-4",
            "history",
            json!(["inception", "rotation-gap"]),
        ),
        (
            "keys that were not committed to (A13)",
            "I-5",
            "history",
            json!(["inception", "rotation-uncommitted"]),
        ),
        (
            "rotation by the current key only (A13)",
            "I-6",
            "history",
            json!(["inception", "rotation-by-root"]),
        ),
        (
            "rotation by the next key only",
            "I-6",
            "history",
            json!(["inception", "rotation-by-next"]),
        ),
        (
            "recovery by the stolen key (A13)",
            "I-7",
            "history",
            json!(["inception", "recovery-by-root"]),
        ),
        (
            "recovery with the stolen key beside",
            "I-10",
            "history",
            json!(["inception", "recovery-with-root"]),
        ),
        (
            "no signature",
            "I-3",
            "history",
            json!(["inception-unsigned"]),
        ),
        (
            "signed by a stranger",
            "I-10",
            "history",
            json!(["inception-by-thief"]),
        ),
        (
            "another kind of statement (A6)",
            "E-8",
            "history",
            json!(["inception-other-typ"]),
        ),
        (
            "key of small order (A7)",
            "E-12",
            "history",
            json!(["inception-weak-key"]),
        ),
        (
            "unknown member",
            "E-15",
            "history",
            json!(["inception-unknown-member"]),
        ),
        (
            "time as text (A6)",
            "E-16",
            "history",
            json!(["inception-textual-time"]),
        ),
    ] {
        book.case(name, rule, refused_by, json!({"history": events}));
    }
}

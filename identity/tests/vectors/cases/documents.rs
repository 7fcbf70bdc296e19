//! Compact envelopes and organization documents (`spec/1-envelope.md`;
//! `spec/2-identity.md`, section 2.3).

use comity_identity::Signer;
use comity_identity::organization::{
    Document, ORGANIZATION_DOCUMENT, Revocation, Revoked, peer_id,
};
use serde_json::json;

use super::{Book, canonical};
use crate::world::{DAY, NOW, at, audience, compact, document, header, key};

pub(super) fn envelopes(book: &mut Book) {
    let typ = ORGANIZATION_DOCUMENT.name();
    let payload = canonical(&document());
    let honest = header(typ, "doc");
    let good = compact(&honest, &payload, "doc");
    let (signed, _) = good.rsplit_once('.').unwrap();
    let swap = |from: &str, to: &str| compact(&honest.replace(from, to), &payload, "doc");
    let head = |extra: &str| honest.replacen('{', &format!("{{{extra},"), 1);
    let texts = [
        ("unsigned", "E-3", signed.to_owned()),
        ("empty signature", "E-3", format!("{signed}.")),
        ("padding", "E-4", format!("{good}=")),
        ("trailing newline", "E-4", format!("{good}\n")),
        ("alg none (A5)", "E-7", swap("Ed25519", "none")),
        ("alg EdDSA", "E-7", swap("Ed25519", "EdDSA")),
        (
            "jwk in the header (A5)",
            "E-6",
            compact(&head(r#""jwk":{}"#), &payload, "doc"),
        ),
        (
            "crit in the header (A5)",
            "E-6",
            compact(&head(r#""crit":["b64"],"b64":false"#), &payload, "doc"),
        ),
        ("another typ (A6)", "E-8", swap(typ, "comity-head+jwt")),
        (
            "another kid",
            "E-9",
            compact(&header(typ, "issuer"), &payload, "doc"),
        ),
        (
            "wrong signature",
            "E-11",
            compact(&honest, &payload, "thief"),
        ),
        (
            "member twice",
            "E-15",
            compact(&honest, &payload.replacen('{', r#"{"v":1,"#, 1), "doc"),
        ),
    ];
    book.text("document", good.clone());
    for (name, rule, text) in texts {
        let key: &'static str = Box::leak(format!("document-{}", name.replace(' ', "-")).into());
        book.text(key, text);
        book.case(
            name,
            rule,
            "document",
            json!({"history": ["inception"], "document": key}),
        );
    }
}

pub(super) fn documents(book: &mut Book) {
    let sign = |d: &Document, by: &str| {
        compact(&header(ORGANIZATION_DOCUMENT.name(), by), &canonical(d), by)
    };
    let mut changed = |name: &'static str, change: fn(&mut Document)| {
        let mut document = document();
        change(&mut document);
        book.text(name, sign(&document, "doc"));
    };
    changed("document-eight-days", |d| d.expires_at = at(NOW + 8 * DAY));
    changed("document-other-org", |d| d.org = audience());
    changed("document-other-peer-id", |d| {
        d.nodes[0].peer_id = peer_id(&key("thief").public())
    });
    changed("document-revoking", |d| {
        d.version = 2;
        let (what, id) = (Revoked::Grant, "g-0".to_owned());
        d.revoked = vec![Revocation {
            what,
            id,
            since: at(NOW),
        }];
    });
    book.text("document-by-root", sign(&document(), "root"));
    let week = 7 * DAY;
    for (name, rule, refused_by, events, text, now) in [
        (
            "fresh",
            "I-14",
            "nobody",
            json!(["inception"]),
            "document",
            NOW,
        ),
        (
            "a minute early",
            "I-18",
            "nobody",
            json!(["inception"]),
            "document",
            NOW - 60,
        ),
        (
            "more than a minute early (A29)",
            "I-18",
            "document",
            json!(["inception"]),
            "document",
            NOW - 61,
        ),
        (
            "last stale second",
            "I-18",
            "nobody",
            json!(["inception"]),
            "document",
            NOW + 2 * week - 1,
        ),
        (
            "past twice its lifetime (A11)",
            "I-18",
            "document",
            json!(["inception"]),
            "document",
            NOW + 2 * week,
        ),
        (
            "signed by a root key",
            "I-14",
            "document",
            json!(["inception"]),
            "document-by-root",
            NOW,
        ),
        (
            "made before the rotation",
            "I-15",
            "document",
            json!(["inception", "rotation"]),
            "document",
            NOW,
        ),
        (
            "another organization",
            "I-15",
            "document",
            json!(["inception"]),
            "document-other-org",
            NOW,
        ),
        (
            "lives for eight days",
            "I-17",
            "document",
            json!(["inception"]),
            "document-eight-days",
            NOW,
        ),
        (
            "peer id of another key",
            "I-30",
            "document",
            json!(["inception"]),
            "document-other-peer-id",
            NOW,
        ),
    ] {
        book.case(
            name,
            rule,
            refused_by,
            json!({"history": events, "document": text, "now": now}),
        );
    }
}

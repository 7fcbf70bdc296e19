//! Grant chains (`spec/2-identity.md`, section 2.5).

use comity_identity::Digest;
use comity_identity::envelope::Compact;
use comity_identity::grant::{Chain, GRANT, Grant};
use serde_json::json;

use super::Book;
use crate::world::{DAY, NOW, at, audience, child, grant, key};

pub(super) fn grants(book: &mut Book) {
    let chain = Chain::issue(&grant(), &key("issuer")).unwrap();
    let parent = chain.links()[0].clone();
    let link = |g: &Grant, by: &str| Compact::sign(GRANT, g, &key(by)).unwrap();
    let under = |change: fn(&mut Grant), by: &str| {
        let mut child = child();
        child.prt = Some(Digest::of(parent.as_bytes()));
        change(&mut child);
        link(&child, by)
    };
    let first = |change: fn(&mut Grant), by: &str| {
        let mut grant = grant();
        change(&mut grant);
        link(&grant, by)
    };
    book.text("grant", parent.clone());
    book.text("child", under(|_| {}, "node"));
    book.text("child-by-thief", under(|_| {}, "thief"));
    book.text(
        "child-other-parent",
        under(|g| g.prt = Some(Digest::of(b"")), "node"),
    );
    book.text("child-wider-rows", under(|g| g.max_rows = None, "node"));
    book.text("child-wider-columns", under(|g| g.cols = None, "node"));
    book.text("child-longer", under(|g| g.exp = at(NOW + 601), "node"));
    book.text("grant-by-doc", first(|_| {}, "doc"));
    book.text(
        "grant-901-seconds",
        first(|g| g.exp = at(NOW + 901), "issuer"),
    );
    book.text("grant-other-audience", first(|g| g.aud = g.iss, "issuer"));
    let first = "document";
    for (name, rule, refused_by, links, document, now) in [
        ("one link", "I-32", "nobody", json!(["grant"]), first, NOW),
        (
            "two links",
            "I-33",
            "nobody",
            json!(["grant", "child"]),
            first,
            NOW,
        ),
        ("no link", "I-31", "grant", json!([]), first, NOW),
        (
            "five links",
            "I-31",
            "grant",
            json!(["grant", "child", "child", "child", "child"]),
            first,
            NOW,
        ),
        (
            "signed by a doc key",
            "I-32",
            "grant",
            json!(["grant-by-doc"]),
            first,
            NOW,
        ),
        (
            "meant for another organization (A3)",
            "I-39",
            "grant",
            json!(["grant-other-audience"]),
            first,
            NOW,
        ),
        (
            "second link without the first",
            "I-32",
            "grant",
            json!(["child"]),
            first,
            NOW,
        ),
        (
            "second link by a stranger",
            "I-33",
            "grant",
            json!(["grant", "child-by-thief"]),
            first,
            NOW,
        ),
        (
            "second link names another first",
            "I-33",
            "grant",
            json!(["grant", "child-other-parent"]),
            first,
            NOW,
        ),
        (
            "lives for 901 seconds",
            "I-34",
            "grant",
            json!(["grant-901-seconds"]),
            first,
            NOW,
        ),
        (
            "more rows (A4)",
            "I-35",
            "grant",
            json!(["grant", "child-wider-rows"]),
            first,
            NOW,
        ),
        (
            "more columns (A4)",
            "I-35",
            "grant",
            json!(["grant", "child-wider-columns"]),
            first,
            NOW,
        ),
        (
            "longer life (A4)",
            "I-35",
            "grant",
            json!(["grant", "child-longer"]),
            first,
            NOW,
        ),
        (
            "stale document (A11)",
            "I-36",
            "grant",
            json!(["grant"]),
            first,
            NOW + 7 * DAY,
        ),
        (
            "last second with leeway",
            "I-37",
            "nobody",
            json!(["grant"]),
            first,
            NOW + 659,
        ),
        (
            "expired",
            "I-37",
            "grant",
            json!(["grant"]),
            first,
            NOW + 660,
        ),
        (
            "parent revoked",
            "I-38",
            "grant",
            json!(["grant", "child"]),
            "document-revoking",
            NOW,
        ),
    ] {
        book.case(
            name,
            rule,
            refused_by,
            json!({
                "history": ["inception"], "document": document, "grant": links,
                "audience": audience(), "now": now,
            }),
        );
    }
}

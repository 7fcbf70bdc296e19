//! Organization documents (`spec/2-identity.md`, section 3). After `r` a text as it
//! arrives; after `s` a payload that the document key signs.

use comity_identity::organization::{
    Document, Freshness, MAX_LIFETIME, ORGANIZATION_DOCUMENT, Role, VerifiedDocument,
};

use super::world::{self, LONE, NOW, is_published};

pub(crate) fn law(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    match kind {
        b'r' => {
            let Ok(text) = core::str::from_utf8(body) else {
                return;
            };
            if let Ok(document) = VerifiedDocument::verify(text, &LONE.history, NOW) {
                assert!(is_published(text), "a forged document");
                holds(&document);
            }
        }
        b's' => signed(body),
        _ => {}
    }
}

fn signed(body: &[u8]) {
    let key = LONE.key("doc");
    let text = world::compact(ORGANIZATION_DOCUMENT, body, key);
    let by_root = world::compact(ORGANIZATION_DOCUMENT, body, LONE.key("root"));
    assert!(VerifiedDocument::verify_recorded(&by_root, &LONE.history).is_err());
    let Ok(document) = VerifiedDocument::verify(&text, &LONE.history, NOW) else {
        return;
    };
    assert_eq!(document.text(), text);
    holds(&document);
    for changed in world::tampered(&text, body) {
        assert!(VerifiedDocument::verify(&changed, &LONE.history, NOW).is_err());
    }
    // What its own organization would sign says the same.
    let own = document.document().sign(key).expect("it was verified");
    let own = VerifiedDocument::verify(&own, &LONE.history, NOW).expect("it says the same");
    assert_eq!(own.document(), document.document());
}

/// What every verified document is.
fn holds(document: &VerifiedDocument) {
    let content: &Document = document.document();
    assert_eq!(document.org(), LONE.org());
    assert!(content.expires_at.since(content.issued_at) <= MAX_LIFETIME);
    assert_ne!(document.freshness(NOW), Freshness::Expired);
    assert!(document.text().len() <= ORGANIZATION_DOCUMENT.limit());
    for issuer in &content.issuers {
        let kid = issuer.key.id();
        for role in [Role::Issue, Role::Agree, Role::Announce] {
            if let Some(key) = document.issuer(&kid, role, NOW) {
                assert!(*key == issuer.key && issuer.roles.contains(&role));
                assert!(NOW < issuer.until && !document.is_key_revoked(&kid, NOW));
            }
        }
    }
    for node in document.nodes(NOW) {
        assert_eq!(document.node(&node.node, NOW), Some(node));
        assert_eq!(document.node_by_peer_id(&node.peer_id, NOW), Some(node));
    }
    let written = serde_json::to_string(content).expect("JSON");
    let read: Document = serde_json::from_str(&written).expect("its own JSON");
    assert_eq!(read, *content);
}

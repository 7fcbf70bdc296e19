use core::time::Duration;

use super::*;
use crate::fixture::{DAY, NOW, Party, node};
use crate::{Der, SecretKey};

const SECOND: Duration = Duration::from_secs(1);

fn verify(party: &Party, document: &Document) -> Result<VerifiedDocument, DocumentError> {
    // Past the checks of `Document::sign`, as a hostile organization would.
    let text = Compact::sign(ORGANIZATION_DOCUMENT, document, &party.doc)?;
    VerifiedDocument::verify(&text, &party.history, NOW)
}

#[test]
fn an_honest_document_is_read_back() {
    let party = Party::new(1);
    let document = party.document(3);
    let verified = party.verified(&document);
    assert_eq!(verified.document(), &document);
    assert_eq!(verified.org(), party.history.org());
    assert_eq!(verified.version(), 3);
    assert_eq!(verified.tls_ca(), b"authority");
    assert_eq!(verified.digest(), Digest::of(verified.text().as_bytes()));
}

#[test]
fn only_a_current_doc_key_of_the_same_history_signs() {
    let (party, other) = (Party::new(1), Party::new(2));
    let document = party.document(1);
    for signer in [&party.root, &party.issuer, &party.node, &other.doc] {
        let text = document.sign(signer).unwrap();
        assert_eq!(
            VerifiedDocument::verify(&text, &party.history, NOW).unwrap_err(),
            DocumentError::NotADocKey
        );
    }
    // Our doc key must not speak for another organization.
    let foreign = other.document(1).sign(&party.doc).unwrap();
    assert_eq!(
        VerifiedDocument::verify(&foreign, &party.history, NOW).unwrap_err(),
        DocumentError::OtherOrganization
    );
    // After a rotation the old document no longer counts.
    let text = document.sign(&party.doc).unwrap();
    assert_eq!(
        VerifiedDocument::verify(&text, &party.rotated(), NOW).unwrap_err(),
        DocumentError::OtherHistory
    );
}

#[test]
fn a_changed_signature_or_kind_is_refused() {
    let party = Party::new(1);
    let text = party.document(1).sign(&party.doc).unwrap();
    let mut forged = text;
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'Q' } else { 'A' });
    assert!(VerifiedDocument::verify(&forged, &party.history, NOW).is_err());
    let other = Typ::new("comity-grant+jwt", 8192);
    let text = Compact::sign(other, &party.document(1), &party.doc).unwrap();
    assert!(matches!(
        VerifiedDocument::verify(&text, &party.history, NOW),
        Err(DocumentError::Envelope(EnvelopeError::WrongTyp { .. }))
    ));
    let huge = "x".repeat(ORGANIZATION_DOCUMENT.limit() + 1);
    assert!(matches!(
        VerifiedDocument::verify(&huge, &party.history, NOW),
        Err(DocumentError::Envelope(EnvelopeError::TooLarge { .. }))
    ));
}

#[test]
fn content_rules_hold() {
    let party = Party::new(1);
    assert!(verify(&party, &party.document(1)).is_ok());
    type Change = (&'static str, fn(&mut Document));
    let cases: [Change; 18] = [
        ("payload version", |d| d.v = 2),
        ("version 0", |d| d.version = 0),
        ("protocol 0", |d| d.min_version = 0),
        ("newer protocol", |d| d.min_version = PROTOCOL_VERSION + 1),
        ("lifetime", |d| {
            d.expires_at = d.issued_at.saturating_add(MAX_LIFETIME + SECOND);
        }),
        ("no lifetime", |d| d.expires_at = d.issued_at),
        ("no name", |d| d.name = " ".to_owned()),
        ("long name", |d| d.name = "n".repeat(101)),
        ("bidi name", |d| d.name = "a\u{202e}b".to_owned()),
        ("zero-width name", |d| d.name = "a\u{200b}b".to_owned()),
        ("escape name", |d| d.name = "a\u{1b}[2Jb".to_owned()),
        ("no ca", |d| d.tls_ca = Der::new(Vec::new())),
        ("issuer twice", |d| d.issuers.push(d.issuers[0].clone())),
        ("no role", |d| d.issuers[0].roles.clear()),
        ("node twice", |d| d.nodes.push(d.nodes[0].clone())),
        ("foreign peer id", |d| {
            d.nodes[0].peer_id = peer_id(&d.issuers[0].key);
        }),
        ("address", |d| d.nodes[0].flight = vec!["a b".to_owned()]),
        ("revocation", |d| {
            d.revoked = vec![Revocation {
                what: Revoked::Key,
                id: String::new(),
                since: NOW,
            }];
        }),
    ];
    for (name, change) in cases {
        let mut document = party.document(1);
        change(&mut document);
        assert!(
            matches!(verify(&party, &document), Err(DocumentError::Rule(_))),
            "{name}"
        );
        assert!(
            matches!(document.sign(&party.doc), Err(DocumentError::Rule(_))),
            "{name}"
        );
    }
}

#[test]
fn counts_are_two_sided() {
    let party = Party::new(1);
    let with_nodes = |n: u8| {
        let mut document = party.document(1);
        document.nodes = (0..n)
            .map(|i| {
                let mut seed = [8; 32];
                seed[0] = i;
                let mut node = node(&format!("n{i}"), SecretKey::from_seed(&seed).public());
                node.addresses.clear();
                node
            })
            .collect();
        verify(&party, &document)
    };
    assert!(with_nodes(64).is_ok());
    assert!(matches!(with_nodes(65), Err(DocumentError::Rule(_))));
    let with_revocations = |n: usize| {
        let mut document = party.document(1);
        let revocation = |i: usize| Revocation {
            what: Revoked::Grant,
            id: format!("g{i}"),
            since: NOW,
        };
        document.revoked = (0..n).map(revocation).collect();
        verify(&party, &document)
    };
    assert!(with_revocations(512).is_ok());
    assert!(matches!(with_revocations(513), Err(DocumentError::Rule(_))));
}

#[test]
fn a11_freshness_is_two_sided() {
    let party = Party::new(1);
    let document = party.verified(&party.document(1));
    let at = |days: u32| NOW.saturating_add(days * DAY);
    assert_eq!(document.freshness(NOW), Freshness::Fresh);
    assert_eq!(
        document.freshness(at(7).saturating_sub(SECOND)),
        Freshness::Fresh
    );
    assert_eq!(document.freshness(at(7)), Freshness::Stale);
    assert_eq!(
        document.freshness(at(14).saturating_sub(SECOND)),
        Freshness::Stale
    );
    assert_eq!(document.freshness(at(14)), Freshness::Expired);
    let verify = |now| VerifiedDocument::verify(document.text(), &party.history, now);
    assert!(verify(at(14).saturating_sub(SECOND)).is_ok());
    assert_eq!(verify(at(14)).unwrap_err(), DocumentError::Expired);
    assert!(VerifiedDocument::verify_recorded(document.text(), &party.history).is_ok());
    // A29: one minute of leeway, no more.
    assert!(verify(NOW.saturating_sub(LEEWAY)).is_ok());
    assert_eq!(
        verify(NOW.saturating_sub(LEEWAY + SECOND)).unwrap_err(),
        DocumentError::NotYetIssued
    );
}

#[test]
fn an_issuer_key_counts_for_its_roles_and_its_time() {
    let party = Party::new(1);
    let mut document = party.document(1);
    document.issuers[0].roles = [Role::Announce].into();
    document.issuers[0].until = NOW.saturating_add(DAY);
    let kid = party.issuer.public().id();
    let verified = party.verified(&document);
    assert!(verified.issuer(&kid, Role::Announce, NOW).is_some());
    assert!(verified.issuer(&kid, Role::Agree, NOW).is_none());
    assert!(verified.issuer(&kid, Role::Issue, NOW).is_none());
    let unknown = party.node.public().id();
    assert!(verified.issuer(&unknown, Role::Announce, NOW).is_none());
    let end = NOW.saturating_add(DAY);
    let before_end = end.saturating_sub(SECOND);
    assert!(verified.issuer(&kid, Role::Announce, before_end).is_some());
    assert!(verified.issuer(&kid, Role::Announce, end).is_none());
    let too_early = NOW.saturating_sub(LEEWAY + SECOND);
    assert!(verified.issuer(&kid, Role::Announce, too_early).is_none());
    document.revoked = vec![Revocation {
        what: Revoked::Key,
        id: kid.to_string(),
        since: NOW,
    }];
    let verified = party.verified(&document);
    assert!(verified.issuer(&kid, Role::Announce, NOW).is_none());
}

#[test]
fn a_node_counts_until_it_expires_or_is_revoked() {
    let party = Party::new(1);
    let mut document = party.document(1);
    let spki = Digest::of(b"tls key");
    document.nodes[0].tls_spki = vec![spki];
    document.nodes[0].not_after = NOW.saturating_add(DAY);
    let peer = document.nodes[0].peer_id.clone();
    let name = document.nodes[0].node.clone();
    let kid = party.node.public().id();
    let found = |verified: &VerifiedDocument, now| {
        let by = [
            verified.node_by_peer_id(&peer, now).is_some(),
            verified.node_by_spki(&spki, now).is_some(),
            verified.node(&name, now).is_some(),
            verified.nodes(now).next().is_some(),
        ];
        assert!(by.iter().all(|b| *b == by[0]), "lookups disagree: {by:?}");
        by[0]
    };
    let verified = party.verified(&document);
    assert!(found(&verified, NOW));
    assert!(!found(&verified, NOW.saturating_add(DAY)));
    assert!(verified.node_by_spki(&Digest::of(b"x"), NOW).is_none());
    assert!(!verified.is_key_revoked(&kid, NOW));
    for (what, id) in [
        (Revoked::Node, name.to_string()),
        (Revoked::Key, kid.to_string()),
    ] {
        let since = NOW.saturating_add(DAY / 2);
        document.revoked = vec![Revocation { what, id, since }];
        let verified = party.verified(&document);
        assert!(found(&verified, NOW), "not yet revoked");
        assert!(!found(&verified, since), "revoked");
        assert!(verified.is_key_revoked(&kid, since));
    }
}

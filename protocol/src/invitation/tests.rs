use super::*;

use std::collections::BTreeSet;

use comity_identity::history::{KeyEvent, KeySet};
use comity_identity::organization::{Document, Issuer, Node, peer_id};
use comity_identity::{Der, SecretKey};

use crate::fixture::{DAY, NOW};

struct Inviter {
    history: History,
    document: String,
    agree: SecretKey,
    announce: SecretKey,
    node: SecretKey,
}

impl Inviter {
    fn new(seed: u8) -> Self {
        let key = |n: u8| SecretKey::from_seed(&[seed * 16 + n; 32]);
        let (root, next, doc, agree, announce, node) =
            (key(0), key(1), key(2), key(3), key(4), key(5));
        let keys = KeySet::single(root.public(), &next.public(), doc.public());
        let inception = KeyEvent::inception(keys, NOW, "").sign(&[&root]).unwrap();
        let history = History::verify(&[inception]).unwrap();
        let issuer = |key: &SecretKey, role| Issuer {
            key: key.public(),
            roles: BTreeSet::from([role]),
            since: NOW,
            until: NOW.saturating_add(30 * DAY),
        };
        let document = Document {
            v: 1,
            org: history.org(),
            version: 1,
            kel_head: history.head(),
            kel_seq: history.seq(),
            issued_at: NOW,
            expires_at: NOW.saturating_add(7 * DAY),
            name: "Weather Service".to_owned(),
            tls_ca: Der::new(b"authority".to_vec()),
            issuers: vec![
                issuer(&agree, Role::Agree),
                issuer(&announce, Role::Announce),
            ],
            nodes: vec![Node {
                node: "node-1".parse().unwrap(),
                peer_id: peer_id(&node.public()),
                key: node.public(),
                tls_spki: Vec::new(),
                addresses: Vec::new(),
                flight: Vec::new(),
                not_after: NOW.saturating_add(30 * DAY),
            }],
            revoked: Vec::new(),
            min_version: 1,
        };
        Self {
            document: document.sign(&doc).unwrap(),
            history,
            agree,
            announce,
            node,
        }
    }

    fn invitation(&self) -> Invitation {
        Invitation {
            v: 1,
            org: self.history.org(),
            alias: "weather-service".to_owned(),
            history: self.history.texts().to_vec(),
            document: self.document.clone(),
            peer_id: peer_id(&self.node.public()),
            addresses: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
            secret: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            expires_at: NOW.saturating_add(DAY),
            roles: Vec::new(),
        }
    }

    /// Signs without the checks of [`Invitation::sign`], as an adversary would.
    fn forge(&self, invitation: &Invitation) -> String {
        let text = Compact::sign(INVITATION, invitation, &self.agree).unwrap();
        format!("{PREFIX}{text}")
    }
}

#[test]
fn an_invitation_is_believed_by_its_own_evidence() {
    let inviter = Inviter::new(1);
    let text = inviter.invitation().sign(&inviter.agree).unwrap();
    let read = Invitation::open(&text, NOW).unwrap();
    assert_eq!(read, inviter.invitation());
    assert_eq!(read.evidence().document, inviter.document);
    assert_eq!(Invitation::id(&text), Invitation::id(&text[PREFIX.len()..]));
}

#[test]
fn a_changed_invitation_is_damaged() {
    let inviter = Inviter::new(1);
    let text = inviter.invitation().sign(&inviter.agree).unwrap();
    assert_eq!(
        Invitation::open(&text[1..], NOW),
        Err(InvitationError::NotOne)
    );
    for at in [PREFIX.len() + 3, text.len() / 2, text.len() - 20] {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(Invitation::open(&changed, NOW).is_err(), "byte {at}");
    }
    assert!(Invitation::open(&format!("{text}\n"), NOW).is_err());
}

#[test]
fn only_an_agreeing_key_of_the_named_organization_invites() {
    let (inviter, other) = (Inviter::new(1), Inviter::new(2));
    for key in [&inviter.announce, &inviter.node, &other.agree] {
        let text = inviter.invitation().sign(key).unwrap();
        assert_eq!(Invitation::open(&text, NOW), Err(InvitationError::Signer));
    }
    let mut mixed = inviter.invitation();
    mixed.org = other.history.org();
    assert_eq!(
        Invitation::open(&inviter.forge(&mixed), NOW),
        Err(InvitationError::Signer)
    );
    mixed = inviter.invitation();
    mixed.document.clone_from(&other.document);
    let refused = Invitation::open(&inviter.forge(&mixed), NOW);
    assert!(matches!(refused, Err(InvitationError::Document(_))));
    mixed = inviter.invitation();
    mixed.history.clear();
    let refused = Invitation::open(&inviter.forge(&mixed), NOW);
    assert!(matches!(refused, Err(InvitationError::History(_))));
}

#[test]
fn an_invitation_works_until_it_expires() {
    let inviter = Inviter::new(1);
    let mut invitation = inviter.invitation();
    let second = core::time::Duration::from_secs(1);
    for (life, works) in [
        (core::time::Duration::ZERO, false),
        (second, true),
        (MAX_INVITATION_LIFETIME, true),
        (MAX_INVITATION_LIFETIME + second, false),
    ] {
        invitation.expires_at = NOW.saturating_add(life);
        let text = invitation.sign(&inviter.agree).unwrap();
        let opened = Invitation::open(&text, NOW);
        assert_eq!(opened.is_ok(), works, "{life:?}");
        if !works {
            assert_eq!(opened, Err(InvitationError::Expired));
        }
    }
}

#[test]
fn what_an_invitation_says_is_bounded() {
    let inviter = Inviter::new(1);
    type Change = fn(&mut Invitation);
    let cases: [(bool, Change); 14] = [
        (false, |i| i.v = 2),
        (true, |i| i.alias = "a".repeat(MAX_ALIAS_CHARS)),
        (false, |i| i.alias = "a".repeat(MAX_ALIAS_CHARS + 1)),
        (false, |i| i.alias.clear()),
        (false, |i| i.alias = "Weather".to_owned()),
        (false, |i| i.alias = "-a".to_owned()),
        (true, |i| i.addresses = vec![String::new(); MAX_ADDRESSES]),
        (false, |i| {
            i.addresses = vec![String::new(); MAX_ADDRESSES + 1]
        }),
        (true, |i| i.addresses = vec!["a".repeat(MAX_ADDRESS_BYTES)]),
        (false, |i| {
            i.addresses = vec!["a".repeat(MAX_ADDRESS_BYTES + 1)]
        }),
        (false, |i| i.secret = "A".repeat(21)),
        (false, |i| i.secret = "A".repeat(23)),
        (false, |i| i.secret = format!("{}B", "A".repeat(21))),
        (true, |i| i.secret = format!("{}w", "_".repeat(21))),
    ];
    for (n, (fits, change)) in cases.into_iter().enumerate() {
        let mut invitation = inviter.invitation();
        change(&mut invitation);
        assert_eq!(invitation.sign(&inviter.agree).is_ok(), fits, "case {n}");
        let opened = Invitation::open(&inviter.forge(&invitation), NOW);
        assert_eq!(opened.is_ok(), fits, "case {n}");
    }
    let mut elsewhere = inviter.invitation();
    elsewhere.peer_id = peer_id(&Inviter::new(2).node.public());
    let refused = Invitation::open(&inviter.forge(&elsewhere), NOW);
    assert!(matches!(refused, Err(InvitationError::Content(_))));
}

//! A48: what is signed is what was negotiated, and nothing else.

use super::*;

fn other(result: &Result<Received, NegotiationError>) -> bool {
    matches!(
        result,
        Err(NegotiationError::Document(DocumentError::Other(_)))
    )
}

#[test]
fn a48_an_acceptance_of_other_terms_is_refused() {
    let world = World::new();
    let mut pair = world.offered();
    let body = Body::Accept {
        proposal: access(&["temp", "wind"]).digest().unwrap(),
    };
    let text = world.next(&pair.consumer, body).sign(&world.consumer.agree);
    let refused = world.hear(&mut pair.provider, &text.unwrap());
    assert_eq!(refused, Err(NegotiationError::OtherTerms));
    assert_eq!(pair.provider.state(), State::Offered);
}

#[test]
fn a_proposal_for_another_thing_is_refused() {
    let world = World::new();
    let mut another = access(&["temp"]);
    if let Proposal::Access { descriptor, .. } = &mut another {
        *descriptor = Digest::of(b"another descriptor");
    }
    for proposal in [another, federation()] {
        let mut pair = world.requested();
        let own = pair
            .provider
            .offer(proposing(proposal.clone(), ""), NOW, &world.provider.agree);
        assert!(matches!(own, Err(NegotiationError::Rule(_))));
        let body = Body::Offer {
            proposal: Box::new(proposal.clone()),
            note: String::new(),
            until: Some(UNTIL),
        };
        let text = world.next(&pair.provider, body).sign(&world.provider.agree);
        let refused = world.hear(&mut pair.consumer, &text.unwrap());
        assert!(matches!(refused, Err(NegotiationError::Rule(_))));

        let mut pair = world.offered();
        let own = pair
            .consumer
            .counter(proposing(proposal, ""), NOW, &world.consumer.agree);
        assert!(matches!(own, Err(NegotiationError::Rule(_))));
    }
}

#[test]
fn a_consumer_signs_only_what_was_negotiated() {
    let world = World::new();
    let changes: [fn(&mut Document); 9] = [
        |d| d.v = 2,
        |d| d.negotiation = NegotiationId::from_bytes([8; 16]),
        |d| d.proposal = access(&["temp"]),
        |d| d.last = Digest::of(b"another request"),
        |d| d.supported = vec![1, 2],
        |d| d.nonce = "short".to_owned(),
        |d| core::mem::swap(&mut d.provider, &mut d.consumer),
        |d| d.consumer.org = d.provider.org,
        |d| d.provider.org = d.consumer.org,
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut pair = world.requested();
        let text = world.agree_otherwise(&pair, change);
        let refused = world.hear(&mut pair.consumer, &text);
        assert!(other(&refused), "change {i}: {refused:?}");
        assert_eq!(pair.consumer.state(), State::Requested);
    }
    let mut pair = world.requested();
    let text = world.agree_otherwise(&pair, |_| ());
    world.hear(&mut pair.consumer, &text).unwrap();
}

#[test]
fn a_document_signed_by_a_stranger_is_refused() {
    let world = World::new();
    let mut pair = world.requested();
    let envelope = || General::new(AGREEMENT, &world.document(&pair)).unwrap();
    let documents = [
        envelope(),
        envelope().sign(&world.stranger.agree),
        envelope().sign(&world.provider.announce),
        envelope().sign(&world.consumer.agree),
        envelope()
            .sign(&world.provider.agree)
            .sign(&world.stranger.agree),
    ]
    .map(|e| e.to_text());
    for document in documents {
        let message = world.next(&pair.provider, Body::Agree { document });
        let text = message.sign(&world.provider.agree).unwrap();
        let refused = world.hear(&mut pair.consumer, &text);
        assert!(
            matches!(refused, Err(NegotiationError::Document(_))),
            "{refused:?}"
        );
    }
}

#[test]
fn a_countersigned_document_is_the_one_that_was_agreed() {
    let world = World::new();
    let mut pair = world.agreed();
    let mut another = world.document(&pair);
    another.proposal = access(&["temp", "wind", "pressure"]);
    let honest = Message::recall(&pair.provider.entries()[1].text).unwrap();
    let Body::Agree { document: honest } = honest.body else {
        panic!("the second message is an agree");
    };
    let honest = General::parse(AGREEMENT, &honest).unwrap();
    // Even with both signatures: the provider did not agree to that in this negotiation.
    let replaced = General::new(AGREEMENT, &another)
        .unwrap()
        .sign(&world.provider.agree)
        .sign(&world.consumer.agree);
    let half = General::new(AGREEMENT, &another)
        .unwrap()
        .sign(&world.consumer.agree);
    let stranger = honest.clone().sign(&world.stranger.agree);
    for envelope in [replaced, half, stranger, honest] {
        let document = envelope.to_text();
        let message = world.next(&pair.consumer, Body::Verify { document });
        let text = message.sign(&world.consumer.agree).unwrap();
        let refused = world.hear(&mut pair.provider, &text);
        assert!(matches!(refused, Err(NegotiationError::Document(_))));
        assert_eq!(pair.provider.state(), State::Agreed);
        assert!(pair.provider.document().is_none());
    }
}

#[test]
fn a48_another_document_is_not_finalized() {
    let world = World::new();
    let mut pair = world.verified();
    let body = Body::Finalize {
        document: Digest::of(b"another"),
    };
    let text = world.next(&pair.provider, body).sign(&world.provider.agree);
    assert!(other(&world.hear(&mut pair.consumer, &text.unwrap())));
    assert_eq!(pair.consumer.state(), State::Verified);
}

#[test]
fn a_signed_document_needs_both_sides_and_nobody_else() {
    let world = World::new();
    let pair = world.requested();
    let document = world.document(&pair);
    let by = |keys: &[&comity_identity::SecretKey], typ, document: &Document| {
        let envelope = General::new(typ, document).unwrap();
        let signed = keys.iter().fold(envelope, |e, key| e.sign(*key));
        SignedDocument::verify(AGREEMENT, &signed.to_text(), &world.keys, NOW)
    };
    let (provider, consumer) = (&world.provider.agree, &world.consumer.agree);
    by(&[provider, consumer], AGREEMENT, &document).unwrap();
    by(&[consumer, provider], AGREEMENT, &document).unwrap();
    by(&[provider], AGREEMENT, &document).unwrap_err();
    by(&[consumer], AGREEMENT, &document).unwrap_err();
    by(&[provider, provider], AGREEMENT, &document).unwrap_err();
    by(&[provider, &world.stranger.agree], AGREEMENT, &document).unwrap_err();
    by(
        &[provider, consumer, &world.stranger.agree],
        AGREEMENT,
        &document,
    )
    .unwrap_err();
    by(&[provider, consumer], FEDERATION, &document).unwrap_err();
    let mut bad = document.clone();
    bad.v = 2;
    by(&[provider, consumer], AGREEMENT, &bad).unwrap_err();
    bad = document;
    bad.proposal = federation();
    by(&[provider, consumer], AGREEMENT, &bad).unwrap_err();
}

#[test]
fn one_key_of_two_organizations_is_not_two_signatures() {
    let mut world = World::new();
    let shared = world.provider.agree.public();
    let role = comity_identity::organization::Role::Agree;
    world.keys.insert(world.consumer.org, shared, role);
    let pair = world.requested();
    let envelope = General::new(AGREEMENT, &world.document(&pair)).unwrap();
    let text = envelope.sign(&world.provider.agree).to_text();
    SignedDocument::verify(AGREEMENT, &text, &world.keys, NOW).unwrap_err();
}

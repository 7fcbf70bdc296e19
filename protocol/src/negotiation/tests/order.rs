//! Messages of strangers and out of order.

use super::*;

fn out_of_order(result: &Result<impl core::fmt::Debug, NegotiationError>) -> bool {
    matches!(result, Err(NegotiationError::OutOfOrder { .. }))
}

#[test]
fn every_step_waits_for_its_state() {
    let world = World::new();
    let by_provider = &world.provider.agree;
    let by_consumer = &world.consumer.agree;
    let mut requested = world.requested();
    assert!(out_of_order(&requested.consumer.accept(NOW, by_consumer)));
    assert!(out_of_order(&requested.consumer.verify(NOW, by_consumer)));
    assert!(out_of_order(&requested.provider.finalize(NOW, by_provider)));
    let mut offered = world.offered();
    assert!(out_of_order(&offered.provider.agree(
        HEADS,
        NONCE,
        NOW,
        by_provider
    )));
    let mut agreed = world.agreed();
    assert!(out_of_order(&agreed.provider.agree(
        HEADS,
        NONCE,
        NOW,
        by_provider
    )));
    assert!(out_of_order(&agreed.consumer.accept(NOW, by_consumer)));
    assert!(out_of_order(&agreed.provider.finalize(NOW, by_provider)));
}

#[test]
fn nobody_speaks_for_the_other_side() {
    let world = World::new();
    let proposal = access(&["temp"]).digest().unwrap();
    // The provider accepts its own offer: a well signed message of the wrong side.
    let mut pair = world.offered();
    let body = Body::Accept { proposal };
    let text = world.next(&pair.provider, body).sign(&world.provider.agree);
    assert!(out_of_order(
        &world.hear(&mut pair.consumer, &text.unwrap())
    ));
    // The consumer offers.
    let mut pair = world.requested();
    let body = Body::Offer {
        proposal: Box::new(access(&["temp"])),
        note: String::new(),
        until: Some(UNTIL),
    };
    let text = world.next(&pair.consumer, body).sign(&world.consumer.agree);
    assert!(out_of_order(
        &world.hear(&mut pair.provider, &text.unwrap())
    ));
}

#[test]
fn a_message_must_follow_the_one_before_it() {
    let world = World::new();
    let pair = world.offered();
    let accept = Body::Accept {
        proposal: pair.provider.proposal().digest().unwrap(),
    };
    let good = world.next(&pair.consumer, accept);
    let changes: [fn(&mut Message); 4] = [
        |m| m.prev = Some(Digest::of(b"another offer")),
        |m| m.prev = None,
        |m| m.seq += 1,
        |m| m.seq -= 1,
    ];
    let mut provider = pair.provider;
    for change in changes {
        let mut message = good.clone();
        change(&mut message);
        let text = message.sign(&world.consumer.agree).unwrap();
        let refused = world.hear(&mut provider, &text).unwrap_err();
        assert!(matches!(refused, NegotiationError::Broken { .. }));
        assert_eq!(provider.state(), State::Offered);
    }
    let text = good.sign(&world.consumer.agree).unwrap();
    world.hear(&mut provider, &text).unwrap();
}

#[test]
fn an_overtaken_message_waits_for_a_retry() {
    let world = World::new();
    let mut pair = world.requested();
    let offer = world.offer(&mut pair.provider, &["temp"]);
    let end = pair
        .provider
        .terminate(String::new(), NOW, &world.provider.agree)
        .unwrap();
    // Both are sent again together; the end may also come first.
    assert_eq!(pair.provider.unanswered(), [offer.clone(), end.clone()]);
    world.hear(&mut pair.consumer, &end).unwrap();
    assert!(out_of_order(&world.hear(&mut pair.consumer, &offer)));
    assert_eq!(pair.consumer.state(), State::Terminated);
}

#[test]
fn other_negotiations_parties_and_signers_are_strangers() {
    let world = World::new();
    let mut pair = world.requested();
    let end = Body::Terminate {
        note: String::new(),
    };
    let good = world.next(&pair.consumer, end);

    let mut other = good.clone();
    other.negotiation = NegotiationId::from_bytes([8; 16]);
    let text = other.sign(&world.consumer.agree).unwrap();
    let refused = world.hear(&mut pair.provider, &text).unwrap_err();
    assert_eq!(refused, NegotiationError::Stranger);

    let mut other = good.clone();
    other.to = world.stranger.org;
    let text = other.sign(&world.consumer.agree).unwrap();
    let refused = world.hear(&mut pair.provider, &text).unwrap_err();
    assert_eq!(refused, NegotiationError::Stranger);

    let mut other = good.clone();
    other.from = world.stranger.org;
    let text = other.sign(&world.consumer.agree).unwrap();
    let refused = world.hear(&mut pair.provider, &text).unwrap_err();
    assert_eq!(
        refused,
        NegotiationError::Statement(StatementError::OtherOrganization)
    );

    for key in [
        &world.stranger.agree,
        &world.consumer.announce,
        &world.consumer.none,
    ] {
        let text = good.sign(key).unwrap();
        let refused = world.hear(&mut pair.provider, &text).unwrap_err();
        assert_eq!(
            refused,
            NegotiationError::Statement(StatementError::NotAnIssuer)
        );
    }
    assert_eq!(pair.provider.state(), State::Requested);
}

#[test]
fn a_first_message_is_a_request_to_us_of_another() {
    let world = World::new();
    let pair = world.requested();
    let first = Message::recall(&pair.consumer.entries()[0].text).unwrap();
    let mut for_another = first.clone();
    for_another.to = world.stranger.org;
    let text = for_another.sign(&world.consumer.agree).unwrap();
    assert_eq!(world.answer(&text).unwrap_err(), NegotiationError::Stranger);

    let changes: [fn(&mut Message); 3] = [
        |m| m.seq = 1,
        |m| m.prev = Some(Digest::of(b"")),
        |m| {
            m.body = Body::Terminate {
                note: String::new(),
            };
        },
    ];
    for change in changes {
        let mut message = first.clone();
        change(&mut message);
        let text = message.sign(&world.consumer.agree).unwrap();
        assert!(matches!(
            world.answer(&text),
            Err(NegotiationError::Rule(_))
        ));
    }
    let own = Negotiation::request(
        ID,
        world.consumer.org,
        world.consumer.org,
        proposing(access(&["temp"]), ""),
        NOW,
        &world.consumer.agree,
    );
    assert!(matches!(own, Err(NegotiationError::Rule(_))));
}

/// A8: an old version is agreed on only when the newer is not in the signed list.
#[test]
fn versions_that_do_not_meet_are_refused() {
    let world = World::new();
    let pair = world.requested();
    let first = Message::recall(&pair.consumer.entries()[0].text).unwrap();
    let with = |list: Vec<u64>| {
        let mut message = first.clone();
        if let Body::Request { supported, .. } = &mut message.body {
            *supported = list;
        }
        let sender = &world.consumer.agree;
        let envelope = comity_identity::envelope::Compact::sign(MESSAGE, &message, sender).unwrap();
        world.answer(&envelope)
    };
    with(vec![1]).unwrap();
    with(vec![3, 2, 1]).unwrap();
    assert!(matches!(with(vec![]), Err(NegotiationError::Rule(_))));
    assert!(matches!(with(vec![2]), Err(NegotiationError::Rule(_))));
    with(vec![1; MAX_SUPPORTED]).unwrap();
    assert!(matches!(
        with(vec![1; MAX_SUPPORTED + 1]),
        Err(NegotiationError::Rule(_))
    ));

    // Nor does the list change on the way.
    let mut pair = world.offered();
    let body = Body::Request {
        proposal: Box::new(access(&["temp"])),
        note: String::new(),
        until: Some(UNTIL),
        supported: vec![1, 2],
    };
    let text = world.next(&pair.consumer, body).sign(&world.consumer.agree);
    let refused = world.hear(&mut pair.provider, &text.unwrap());
    assert!(matches!(refused, Err(NegotiationError::Rule(_))));
}

#[test]
fn a_provider_is_bound_by_its_signature() {
    let world = World::new();
    let mut pair = world.agreed();
    let end = pair
        .provider
        .terminate(String::new(), NOW, &world.provider.agree);
    assert!(out_of_order(&end));
    let body = Body::Terminate {
        note: String::new(),
    };
    let text = world.next(&pair.provider, body).sign(&world.provider.agree);
    assert!(out_of_order(
        &world.hear(&mut pair.consumer, &text.unwrap())
    ));
    // The consumer has not signed and may leave.
    let text = pair
        .consumer
        .terminate(String::new(), NOW, &world.consumer.agree)
        .unwrap();
    world.hear(&mut pair.provider, &text).unwrap();
    assert_eq!(pair.provider.state(), State::Terminated);
    // Once both signed, neither leaves.
    let mut pair = world.verified();
    let by_provider = &world.provider.agree;
    let by_consumer = &world.consumer.agree;
    let end = |side: &mut Negotiation, key| side.terminate(String::new(), NOW, key);
    assert!(out_of_order(&end(&mut pair.provider, by_provider)));
    assert!(out_of_order(&end(&mut pair.consumer, by_consumer)));
}

#[test]
fn nothing_follows_the_end() {
    let world = World::new();
    let end = || Body::Terminate {
        note: String::new(),
    };
    let mut pair = world.finalized();
    let text = world
        .next(&pair.consumer, end())
        .sign(&world.consumer.agree);
    assert!(out_of_order(
        &world.hear(&mut pair.provider, &text.unwrap())
    ));
    assert_eq!(pair.provider.state(), State::Finalized);

    let mut pair = world.requested();
    pair.consumer
        .terminate(String::new(), NOW, &world.consumer.agree)
        .unwrap();
    let agree = world.agree(&mut pair.provider);
    assert!(out_of_order(&world.hear(&mut pair.consumer, &agree)));
    assert_eq!(pair.consumer.state(), State::Terminated);
}

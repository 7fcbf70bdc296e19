//! Honest negotiations, step by step.

use super::*;

#[test]
fn a_request_that_a_rule_permits_ends_in_one_document() {
    let world = World::new();
    let mut pair = world.requested();
    assert!(pair.provider.waits_for_us() && !pair.consumer.waits_for_us());

    let agree = world.agree(&mut pair.provider);
    assert_eq!(pair.provider.state(), State::Agreed);
    assert_eq!(
        world.hear(&mut pair.consumer, &agree).unwrap(),
        Received::New
    );
    assert_eq!(pair.consumer.due(), Some(Due::Verify));
    assert!(pair.consumer.document().is_none());

    let verify = world.verify(&mut pair.consumer);
    world.hear(&mut pair.provider, &verify).unwrap();
    assert_eq!(pair.provider.due(), Some(Due::Finalize));

    let finalize = pair.provider.finalize(NOW, &world.provider.agree).unwrap();
    world.hear(&mut pair.consumer, &finalize).unwrap();
    for side in [&pair.consumer, &pair.provider] {
        assert_eq!(side.state(), State::Finalized);
        assert_eq!(side.due(), None);
        assert!(side.unanswered().is_empty());
    }
    let signed = pair.provider.document().unwrap();
    assert_eq!(signed.text(), pair.consumer.document().unwrap().text());
    let read = SignedDocument::verify(AGREEMENT, signed.text(), &world.keys, NOW).unwrap();
    assert_eq!(read.document().proposal, access(&["temp", "wind"]));
    assert_eq!(read.document().supported, SUPPORTED);
    assert_eq!(
        read.document().side_of(&world.consumer.org),
        Some(Side::Consumer)
    );
    assert_eq!(read.document().side_of(&world.stranger.org), None);
}

#[test]
fn a_federation_is_another_kind_of_document() {
    let world = World::new();
    let mut pair = world.requested_as(federation());
    let agree = world.agree(&mut pair.provider);
    world.hear(&mut pair.consumer, &agree).unwrap();
    let verify = world.verify(&mut pair.consumer);
    world.hear(&mut pair.provider, &verify).unwrap();
    let text = pair.provider.document().unwrap().text();
    SignedDocument::verify(FEDERATION, text, &world.keys, NOW).unwrap();
    SignedDocument::verify(AGREEMENT, text, &world.keys, NOW).unwrap_err();
}

#[test]
fn an_accepted_offer_is_what_both_sign() {
    let world = World::new();
    let mut pair = world.offered();
    assert!(pair.consumer.waits_for_us() && !pair.provider.waits_for_us());
    assert_eq!(*pair.consumer.requested(), access(&["temp", "wind"]));

    let accept = pair.consumer.accept(NOW, &world.consumer.agree).unwrap();
    world.hear(&mut pair.provider, &accept).unwrap();
    assert_eq!(pair.provider.due(), Some(Due::Agree));
    let agree = world.agree(&mut pair.provider);
    world.hear(&mut pair.consumer, &agree).unwrap();
    let verify = world.verify(&mut pair.consumer);
    world.hear(&mut pair.provider, &verify).unwrap();
    let document = pair.provider.document().unwrap().document();
    assert_eq!(document.proposal, access(&["temp"]));
}

#[test]
fn a_counter_request_is_on_the_table() {
    let world = World::new();
    let mut pair = world.offered();
    let text = pair
        .consumer
        .counter(
            proposing(access(&["wind"]), "or this"),
            NOW,
            &world.consumer.agree,
        )
        .unwrap();
    world.hear(&mut pair.provider, &text).unwrap();
    assert_eq!(pair.provider.state(), State::Requested);
    assert_eq!(*pair.provider.proposal(), access(&["wind"]));
    assert_eq!(pair.provider.note(), "or this");
}

#[test]
fn a_decline_ends_it() {
    let world = World::new();
    let mut pair = world.requested();
    let text = pair
        .provider
        .terminate("not now".to_owned(), NOW, &world.provider.agree)
        .unwrap();
    world.hear(&mut pair.consumer, &text).unwrap();
    for side in [&pair.consumer, &pair.provider] {
        assert_eq!(side.state(), State::Terminated);
        assert_eq!(side.note(), "not now");
        assert!(side.document().is_none());
    }
    assert_eq!(pair.provider.unanswered(), [text]);
    assert!(pair.consumer.unanswered().is_empty());
}

#[test]
fn a_duplicate_changes_nothing_and_is_answered_as_the_first_time() {
    let world = World::new();
    let mut pair = world.requested();
    let request = pair.consumer.unanswered();
    let again = world.hear(&mut pair.provider, &request[0]).unwrap();
    assert_eq!(again, Received::Again(Vec::new()));

    let agree = world.agree(&mut pair.provider);
    let again = world.hear(&mut pair.provider, &request[0]).unwrap();
    assert_eq!(again, Received::Again(vec![agree.clone()]));
    assert_eq!(pair.provider.entries().len(), 2);

    world.hear(&mut pair.consumer, &agree).unwrap();
    let verify = world.verify(&mut pair.consumer);
    let again = world.hear(&mut pair.consumer, &agree).unwrap();
    assert_eq!(again, Received::Again(vec![verify.clone()]));

    world.hear(&mut pair.provider, &verify).unwrap();
    let finalize = pair.provider.finalize(NOW, &world.provider.agree).unwrap();
    let again = world.hear(&mut pair.provider, &verify).unwrap();
    assert_eq!(again, Received::Again(vec![finalize]));
}

#[test]
fn two_ends_that_cross_meet_in_the_same_state() {
    let world = World::new();
    let mut pair = world.requested();
    let ours = pair
        .consumer
        .terminate(String::new(), NOW, &world.consumer.agree)
        .unwrap();
    let theirs = pair
        .provider
        .terminate("no".to_owned(), NOW, &world.provider.agree)
        .unwrap();
    let nothing = Received::Again(Vec::new());
    assert_eq!(world.hear(&mut pair.consumer, &theirs).unwrap(), nothing);
    assert_eq!(world.hear(&mut pair.provider, &ours).unwrap(), nothing);
    assert_eq!(pair.consumer.state(), State::Terminated);
    assert_eq!(pair.provider.state(), State::Terminated);
}

#[test]
fn a_journal_gives_the_same_negotiation_back() {
    let world = World::new();
    for pair in [
        world.requested(),
        world.offered(),
        world.agreed(),
        world.finalized(),
    ] {
        for (own, side) in [
            (world.consumer.org, &pair.consumer),
            (world.provider.org, &pair.provider),
        ] {
            assert_same(side, &replayed(own, side));
        }
    }
    Negotiation::replay(world.consumer.org, []).unwrap_err();
    let pair = world.requested();
    let entries = pair.consumer.entries().iter();
    Negotiation::replay(
        world.stranger.org,
        entries.map(|e| (e.sent, e.text.as_str())),
    )
    .unwrap_err();
}

/// What `own` gets from its journal after a restart.
pub(super) fn replayed(own: OrgId, side: &Negotiation) -> Negotiation {
    let entries = side.entries().iter();
    Negotiation::replay(own, entries.map(|e| (e.sent, e.text.as_str()))).unwrap()
}

pub(super) fn assert_same(a: &Negotiation, b: &Negotiation) {
    assert_eq!((a.id(), a.side(), a.peer()), (b.id(), b.side(), b.peer()));
    assert_eq!((a.state(), a.note(), a.at()), (b.state(), b.note(), b.at()));
    assert_eq!(a.requested(), b.requested());
    assert_eq!(a.proposal(), b.proposal());
    assert_eq!(a.entries(), b.entries());
    let text = |n: &Negotiation| n.document().map(|d| d.text().to_owned());
    assert_eq!(text(a), text(b));
    assert_eq!((a.due(), a.unanswered()), (b.due(), b.unanswered()));
}

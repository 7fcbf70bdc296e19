//! A proposal that replaces an agreement, and who may begin with one.

use super::*;

fn replacing(old: Option<Digest>) -> Proposal {
    let mut proposal = access(&["temp"]);
    if let Proposal::Access { replaces, .. } = &mut proposal {
        *replaces = old;
    }
    proposal
}

const OLD: Digest = Digest::from_bytes([4; 32]);

/// N-103: the provider begins, the consumer accepts, both sign what names the
/// agreement that ends.
#[test]
fn a_provider_begins_with_an_offer_that_replaces_an_agreement() {
    let world = World::new();
    let (mut provider, text) = Negotiation::propose(
        ID,
        world.provider.org,
        world.consumer.org,
        proposing(replacing(Some(OLD)), "fewer columns"),
        NOW,
        &world.provider.agree,
    )
    .unwrap();
    let from = world.provider.org;
    let mut consumer =
        Negotiation::answer(world.consumer.org, &from, &text, &world.keys, NOW).unwrap();
    assert_eq!(
        (provider.side(), provider.state()),
        (Side::Provider, State::Offered)
    );
    assert_eq!(
        (consumer.side(), consumer.state()),
        (Side::Consumer, State::Offered)
    );
    assert!(consumer.waits_for_us() && !provider.waits_for_us());

    let accept = consumer.accept(NOW, &world.consumer.agree).unwrap();
    world.hear(&mut provider, &accept).unwrap();
    let agree = world.agree(&mut provider);
    world.hear(&mut consumer, &agree).unwrap();
    let verify = world.verify(&mut consumer);
    world.hear(&mut provider, &verify).unwrap();
    let finalize = provider.finalize(NOW, &world.provider.agree).unwrap();
    world.hear(&mut consumer, &finalize).unwrap();
    for side in [&provider, &consumer] {
        let document = side.document().unwrap().document();
        assert_eq!(document.proposal.replaces(), Some(OLD));
        let entries = side.entries().iter().map(|e| (e.sent, &*e.text));
        let own = document.provider.org;
        let own = if side.side() == Side::Provider {
            own
        } else {
            document.consumer.org
        };
        let again = Negotiation::replay(own, entries).unwrap();
        assert_eq!(
            (again.side(), again.state()),
            (side.side(), State::Finalized)
        );
    }
}

/// Without an agreement only the consumer asks: nobody is offered what nobody asked for.
#[test]
fn an_offer_that_replaces_nothing_begins_no_negotiation() {
    let world = World::new();
    let begun = Negotiation::propose(
        ID,
        world.provider.org,
        world.consumer.org,
        proposing(replacing(None), ""),
        NOW,
        &world.provider.agree,
    );
    assert!(matches!(begun, Err(NegotiationError::Rule(_))));
}

/// A48: what a negotiation replaces does not change on the way.
#[test]
fn another_agreement_to_replace_is_another_thing() {
    let world = World::new();
    for (first, then) in [
        (None, Some(OLD)),
        (Some(OLD), None),
        (Some(OLD), Some(Digest::from_bytes([5; 32]))),
    ] {
        let mut pair = world.requested_as(replacing(first));
        let offers = proposing(replacing(then), "");
        let said = pair.provider.offer(offers, NOW, &world.provider.agree);
        assert!(matches!(said, Err(NegotiationError::Rule(_))));
        let body = Body::Offer {
            proposal: Box::new(replacing(then)),
            note: String::new(),
            until: Some(UNTIL),
        };
        let text = world.next(&pair.provider, body).sign(&world.provider.agree);
        let heard = world.hear(&mut pair.consumer, &text.unwrap());
        assert!(matches!(heard, Err(NegotiationError::Rule(_))));
    }
}

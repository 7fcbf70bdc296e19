//! A proposal can be accepted in its time, and not later (A29).

use core::time::Duration;

use super::*;
use comity_identity::LEEWAY;
use comity_identity::envelope::Compact;

const SECOND: Duration = Duration::from_secs(1);
const LAST: Timestamp = Timestamp::from_secs(UNTIL.as_secs() - 1);

fn expired<T: core::fmt::Debug>(result: Result<T, NegotiationError>) -> bool {
    matches!(result, Err(NegotiationError::Expired { until: UNTIL }))
}

#[test]
fn an_offer_is_accepted_in_its_time_only() {
    let world = World::new();
    for (now, fits) in [(LAST, true), (UNTIL, false)] {
        let mut pair = world.offered();
        let said = pair.consumer.accept(now, &world.consumer.agree);
        assert_eq!(said.is_ok(), fits);
        assert!(fits || expired(said));
        assert_eq!(pair.consumer.state() == State::Accepted, fits);
    }
}

/// Whoever accepts too late and says otherwise meets the other side's clock.
#[test]
fn a_late_acceptance_is_refused_where_it_arrives() {
    let world = World::new();
    let mut offered = world.offered();
    let accept = offered
        .consumer
        .accept(LAST, &world.consumer.agree)
        .unwrap();
    let mut requested = world.requested();
    let agree = requested
        .provider
        .agree(HEADS, NONCE, LAST, &world.provider.agree)
        .unwrap();
    let end = UNTIL.saturating_add(LEEWAY);
    for (now, fits) in [(end.saturating_sub(SECOND), true), (end, false)] {
        for (side, text) in [(&offered.provider, &accept), (&requested.consumer, &agree)] {
            let mut side = side.clone();
            let before = side.state();
            let heard = side.receive(text, &world.keys, now);
            assert_eq!(heard.is_ok(), fits, "{before:?}");
            assert!(fits || expired(heard) && side.state() == before);
        }
    }
}

#[test]
fn a_request_is_agreed_to_in_its_time_only() {
    let world = World::new();
    let mut pair = world.requested();
    let late = pair
        .provider
        .agree(HEADS, NONCE, UNTIL, &world.provider.agree);
    assert!(expired(late));
    assert_eq!(pair.provider.state(), State::Requested);
}

/// What arrived in the leeway is signed in it, and that is read on the other side.
#[test]
fn an_acceptance_in_the_leeway_still_leads_to_a_document() {
    let world = World::new();
    let mut pair = world.offered();
    let accept = pair.consumer.accept(LAST, &world.consumer.agree).unwrap();
    let now = UNTIL.saturating_add(LEEWAY).saturating_sub(SECOND);
    pair.provider.receive(&accept, &world.keys, now).unwrap();
    let mut late = pair.provider.clone();
    let agree = pair
        .provider
        .agree(HEADS, NONCE, now, &world.provider.agree)
        .unwrap();
    let then = now.saturating_add(LEEWAY);
    pair.consumer.receive(&agree, &world.keys, then).unwrap();
    assert_eq!(pair.consumer.state(), State::Agreed);

    // But an acceptance is no signature for ever.
    let end = now.saturating_add(SECOND);
    assert!(expired(late.agree(
        HEADS,
        NONCE,
        end,
        &world.provider.agree
    )));
}

/// N-92: nothing need be cleaned up, and a new proposal is open again.
#[test]
fn an_expired_negotiation_says_so_and_goes_on_with_a_new_proposal() {
    let world = World::new();
    let mut pair = world.requested();
    assert!(!pair.provider.is_expired(LAST));
    assert!(pair.provider.is_expired(UNTIL) && pair.consumer.is_expired(UNTIL));
    let again = Negotiation::replay(
        world.provider.org,
        pair.provider.entries().iter().map(|e| (e.sent, &*e.text)),
    );
    assert!(again.unwrap().is_expired(UNTIL));

    let until = UNTIL.saturating_add(DAY);
    let offers = Proposing {
        until,
        ..proposing(access(&["temp"]), "still interested?")
    };
    let offer = pair.provider.offer(offers, UNTIL, &world.provider.agree);
    let heard = pair.consumer.receive(&offer.unwrap(), &world.keys, UNTIL);
    assert_eq!(heard, Ok(Received::New));
    assert_eq!(pair.consumer.until(), until);
    assert!(!pair.consumer.is_expired(UNTIL));
    pair.consumer.accept(UNTIL, &world.consumer.agree).unwrap();
}

#[test]
fn a_proposal_with_an_absurd_end_is_refused_on_both_sides() {
    let world = World::new();
    let longest = NOW.saturating_add(MAX_OPEN);
    for (until, says, hears) in [
        (Some(NOW), false, false),
        (Some(NOW.saturating_add(SECOND)), true, true),
        (Some(longest.saturating_add(LEEWAY)), true, true),
        (Some(longest.saturating_add(LEEWAY + SECOND)), false, false),
        (Some(Timestamp::from_secs(u64::MAX)), false, false),
        (None, false, false),
    ] {
        let mut pair = world.requested();
        if let Some(until) = until {
            let offers = Proposing {
                until,
                ..proposing(access(&["temp"]), "")
            };
            let said = pair
                .provider
                .clone()
                .offer(offers, NOW, &world.provider.agree);
            assert_eq!(said.is_ok(), says, "{until:?}");
        }
        let body = Body::Offer {
            proposal: Box::new(access(&["temp"])),
            note: String::new(),
            until,
        };
        let message = world.next(&pair.provider, body);
        let text = Compact::sign(MESSAGE, &message, &world.provider.agree).unwrap();
        let heard = world.hear(&mut pair.consumer, &text);
        assert_eq!(heard.is_ok(), hears, "{until:?}");
    }
}

/// Journals of before proposals ended are read: what they propose is open as
/// long as its terms.
#[test]
fn a_message_of_before_is_still_recalled() {
    let world = World::new();
    let pair = world.requested();
    let mut first = Message::recall(&pair.consumer.entries()[0].text).unwrap();
    if let Body::Request { until, .. } = &mut first.body {
        *until = None;
    }
    let text = Compact::sign(MESSAGE, &first, &world.consumer.agree).unwrap();
    let old = Negotiation::replay(world.consumer.org, [(true, text.as_str())]).unwrap();
    assert_eq!(old.until(), old.proposal().expires());
}

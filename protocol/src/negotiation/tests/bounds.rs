//! How many, how large, how long.

use super::*;
use comity_identity::Timestamp;

#[test]
fn a_note_has_at_most_its_limit() {
    let world = World::new();
    for (chars, fits) in [(MAX_NOTE_CHARS, true), (MAX_NOTE_CHARS + 1, false)] {
        let note = "ü".repeat(chars);
        let mut pair = world.requested();
        let said = pair
            .provider
            .terminate(note.clone(), NOW, &world.provider.agree);
        assert_eq!(said.is_ok(), fits);

        let mut pair = world.requested();
        let message = world.next(&pair.consumer, Body::Terminate { note });
        let sender = &world.consumer.agree;
        let text = comity_identity::envelope::Compact::sign(MESSAGE, &message, sender).unwrap();
        assert_eq!(world.hear(&mut pair.provider, &text).is_ok(), fits);
    }
}

/// Haggling has an end, and an end always has room.
#[test]
fn the_last_messages_are_kept_for_an_end() {
    let world = World::new();
    let Pair {
        mut consumer,
        mut provider,
    } = world.requested();
    while provider.entries().len() < MAX_MESSAGES - CLOSING_MESSAGES - 1 {
        let offer = world.offer(&mut provider, &["temp"]);
        world.hear(&mut consumer, &offer).unwrap();
        let counter =
            consumer.counter(proposing(access(&["wind"]), ""), NOW, &world.consumer.agree);
        world.hear(&mut provider, &counter.unwrap()).unwrap();
    }
    let offer = world.offer(&mut provider, &["temp"]);
    world.hear(&mut consumer, &offer).unwrap();
    let refused = consumer.counter(proposing(access(&["wind"]), ""), NOW, &world.consumer.agree);
    assert!(matches!(refused, Err(NegotiationError::Rule(_))));

    let accept = consumer.accept(NOW, &world.consumer.agree).unwrap();
    world.hear(&mut provider, &accept).unwrap();
    let agree = world.agree(&mut provider);
    world.hear(&mut consumer, &agree).unwrap();
    let verify = world.verify(&mut consumer);
    world.hear(&mut provider, &verify).unwrap();
    let finalize = provider.finalize(NOW, &world.provider.agree).unwrap();
    world.hear(&mut consumer, &finalize).unwrap();
    assert_eq!(consumer.entries().len(), MAX_MESSAGES);
}

#[test]
fn expired_terms_are_not_talked_about() {
    let world = World::new();
    let pair = world.requested();
    let text = &pair.consumer.entries()[0].text;
    let expires = pair.consumer.proposal().expires();
    let answer = |now| {
        let from = world.consumer.org;
        Negotiation::answer(world.provider.org, &from, text, &world.keys, now)
    };
    answer(Timestamp::from_secs(expires.as_secs() - 1)).unwrap();
    assert!(matches!(answer(expires), Err(NegotiationError::Rule(_))));
}

#[test]
fn a_member_that_is_unknown_or_repeated_is_refused() {
    let world = World::new();
    let mut pair = world.requested();
    let end = Body::Terminate {
        note: String::new(),
    };
    let mut value = serde_json::to_value(world.next(&pair.consumer, end)).unwrap();
    value["body"]["force"] = true.into();
    let sender = &world.consumer.agree;
    let text = comity_identity::envelope::Compact::sign(MESSAGE, &value, sender).unwrap();
    world.hear(&mut pair.provider, &text).unwrap_err();

    let good = serde_json::to_string(&access(&["temp"])).unwrap();
    serde_json::from_str::<Proposal>(&good).unwrap();
    for (from, to) in [
        (r#"["temp"]"#, r#"["temp","temp"]"#),
        (
            r#""masks":{}"#,
            r#""masks":{"temp":"sha-256-global","temp":"replace-with-null"}"#,
        ),
        (r#""kind":"#, r#""force":true,"kind":"#),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        serde_json::from_str::<Proposal>(&bad).unwrap_err();
    }
}

#[test]
fn an_id_has_one_spelling() {
    let id: NegotiationId = "00ff00ff00ff00ff00ff00ff00ff00ff".parse().unwrap();
    assert_eq!(id.to_string().parse(), Ok(id));
    for bad in [
        "",
        "00FF00ff00ff00ff00ff00ff00ff00ff",
        "00ff00ff00ff00ff00ff00ff00ff00f",
        "00ff00ff00ff00ff00ff00ff00ff00ff0",
        "+0ff00ff00ff00ff00ff00ff00ff00ff",
        "éééééééééééééééé",
    ] {
        assert_eq!(bad.parse::<NegotiationId>(), Err(NotAnId), "{bad}");
    }
}

#[test]
fn numbers_end_where_json_stops_being_exact() {
    let world = World::new();
    let end = Body::Terminate {
        note: String::new(),
    };
    for (at, fits) in [
        (crate::terms::MAX_INT, true),
        (crate::terms::MAX_INT + 1, false),
    ] {
        let mut pair = world.requested();
        let mut message = world.next(&pair.consumer, end.clone());
        message.at = Timestamp::from_secs(at);
        let sender = &world.consumer.agree;
        assert_eq!(message.sign(sender).is_ok(), fits);
        let text = comity_identity::envelope::Compact::sign(MESSAGE, &message, sender).unwrap();
        assert_eq!(world.hear(&mut pair.provider, &text).is_ok(), fits);
    }
    let mut federation = federation();
    if let Proposal::Federation { terms, .. } = &mut federation {
        terms.expires = Timestamp::from_secs(crate::terms::MAX_INT + 1);
    }
    assert!(federation.check(NOW).is_err());
}

#[test]
fn the_words_of_a_federation_are_bounded() {
    let with = |roles: Vec<String>| {
        let mut federation = federation();
        if let Proposal::Federation { terms, .. } = &mut federation {
            terms.roles = roles;
        }
        federation.check(NOW).is_ok()
    };
    assert!(with(vec!["r".to_owned(); MAX_WORDS]));
    assert!(!with(vec!["r".to_owned(); MAX_WORDS + 1]));
    assert!(with(vec!["r".repeat(MAX_WORD_CHARS)]));
    assert!(!with(vec!["r".repeat(MAX_WORD_CHARS + 1)]));
    assert!(!with(vec![String::new()]) && !with(vec!["a b".to_owned()]));
}

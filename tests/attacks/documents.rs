//! A9 and A10: what an organization says of itself and of its products. (A11
//! to A13 are in `scenarios/key_runbooks.rs` and beside the keyring.)

use std::time::Duration;

use comity::clock;
use comity::network::{Event, RequestError};
use comity_identity::Digest;
use comity_protocol::catalog::{Head, MAX_HEAD_LIFETIME};
use comity_protocol::wire::{RefusalCode, Request, Response};
use comity_tests::rogue::Rogue;
use comity_tests::rogue_host::{RogueHost, head, hello};
use comity_tests::{Outcome, Three};

/// The longest that this waits for one thing.
const WAIT: Duration = Duration::from_secs(20);

fn refusal(answer: Result<Response, RequestError>) -> Option<RefusalCode> {
    match answer {
        Ok(Response::Hello(_)) => None,
        Err(RequestError::Refused { code, .. }) => Some(code),
        other => panic!("neither taken nor refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a9_a_head_that_the_announcer_did_not_sign_is_not_followed() -> Outcome {
    let mut three = Three::meet().await?;
    let rogue = Rogue::of(&mut three.registry).await?;
    let victim = three.port.status().await?.org;
    let mut host = RogueHost::start(&rogue, &victim).await?;
    let now = clock::now();
    let list = Digest::of(b"what nobody announced");
    let announced = |org| Head {
        v: 1,
        org,
        seq: 2_000,
        issued_at: now,
        expires_at: now.saturating_add(MAX_HEAD_LIFETIME),
        count: 1,
        list,
        results: None,
    };
    let keys = rogue.own().keys();
    // A key of the organization without the role, and another organization's name.
    let stolen = announced(rogue.own().org()).sign(&*keys.node)?;
    let document = announced(rogue.own().org()).sign(&*keys.doc)?;
    let foreign = announced(three.weather.status().await?.org).sign(&*keys.issuer)?;
    // And one with the signature of another head.
    let signed = announced(rogue.own().org()).sign(&*keys.issuer)?;
    let other = head(&rogue, 999, Digest::of(b"another"))?;
    let (front, _) = signed.rsplit_once('.').ok_or("no signature")?;
    let (_, signature) = other.rsplit_once('.').ok_or("no signature")?;
    let spliced = format!("{front}.{signature}");
    for forged in [stolen, document, foreign, spliced] {
        let _ = host.ask(hello(&rogue, Some(forged))).await;
    }
    // One that counts: what is asked for is its list. After any of those before
    // it, which are newer, it would be an old one.
    let honest = Digest::of(b"what was announced");
    host.ask(hello(&rogue, Some(head(&rogue, 1_001, honest)?)))
        .await?;
    loop {
        // It says Hello as well, and fetches what was true before.
        match tokio::time::timeout(WAIT, host.events.recv()).await? {
            Some(Event::Inbound(inbound)) => match inbound.request {
                Request::Fetch(wanted) if wanted.contains(&honest) => break,
                Request::Fetch(wanted) => assert!(!wanted.contains(&list), "a forged head"),
                _ => {}
            },
            Some(_) => {}
            None => return Err("the host ended".into()),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_an_older_document_is_refused_even_after_a_restart() -> Outcome {
    let mut three = Three::meet().await?;
    let rogue = Rogue::of(&mut three.registry).await?;
    let victim = three.port.status().await?.org;
    let old = hello(&rogue, None);
    let Request::Hello(mut newer) = old.clone() else {
        return Err("not a Hello".into());
    };
    let mut document = rogue.own().current().document.document().clone();
    document.version += 1;
    newer.document = document.sign(&*rogue.own().keys().doc)?;
    let newer = Request::Hello(newer);

    let host = RogueHost::start(&rogue, &victim).await?;
    assert_eq!(refusal(host.ask(old.clone()).await), None);
    assert_eq!(refusal(host.ask(newer.clone()).await), None);
    let before = refusal(host.ask(old.clone()).await);
    assert!(before.is_some(), "the older one was taken");
    drop(host);

    three.port.stop().await?;
    three.port.start().await?;
    let host = RogueHost::start(&rogue, &victim).await?;
    let after = refusal(host.ask(old).await);
    assert!(after.is_some(), "it was forgotten in the restart");
    assert_eq!(refusal(host.ask(newer).await), None);
    Ok(())
}

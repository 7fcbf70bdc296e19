//! A partner's control plane in the hands of an attacker.

use std::time::Duration;

use comity::network::{Event, RequestError};
use comity_identity::organization::peer_id;
use comity_identity::{Digest, SecretKey, Signer as _};
use comity_protocol::wire::{RefusalCode, Request, Response};
use comity_tests::rogue::Rogue;
use comity_tests::rogue_host::{RogueHost, head, hello};
use comity_tests::{Outcome, Three, ask, waits_for};

/// More than the requests that a node works on at one time.
const HEADS: u64 = 70;

/// The longest that this waits for one thing.
const WAIT: Duration = Duration::from_secs(20);

/// Regression: whoever answered a Hello fetched the catalog that its head
/// announced, and waited for it. A partner that announced and never answered
/// took all places, and nobody's request was worked on.
#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_never_answers_keeps_nobody_waiting() -> Outcome {
    let mut three = Three::meet().await?;
    let rogue = Rogue::of(&mut three.registry).await?;
    let victim = three.port.status().await?.org;
    let mut host = RogueHost::start(&rogue, &victim).await?;

    for seq in 100..100 + HEADS {
        let list = Digest::of(&seq.to_be_bytes());
        let answer = host
            .ask(hello(&rogue, Some(head(&rogue, seq, list)?)))
            .await;
        assert!(matches!(answer, Ok(Response::Hello(_))), "{answer:?}");
    }
    // Others are served meanwhile.
    let n = ask(&three.weather, "port-authority", "flights").await?;
    waits_for(&three.port, &n.id).await?;

    // Of everything that this node wants of the partner it asks one thing at a time.
    let mut unanswered = Vec::new();
    while unanswered.is_empty() || !host.events.is_empty() {
        let event = tokio::time::timeout(WAIT, host.events.recv()).await?;
        if let Some(Event::Inbound(inbound)) = event {
            unanswered.push(inbound);
        }
    }
    assert_eq!(unanswered.len(), 1, "{unanswered:?}");
    Ok(())
}

/// Regression: nodes were let in and never out again. One that was stolen, and
/// taken out of the document, went on hearing every head.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_its_organization_no_longer_lists_is_cut_off() -> Outcome {
    let mut three = Three::meet().await?;
    let rogue = Rogue::of(&mut three.registry).await?;
    let victim = three.port.status().await?.org;
    let mut host = RogueHost::start(&rogue, &victim).await?;
    let answer = host.ask(hello(&rogue, None)).await;
    assert!(matches!(answer, Ok(Response::Hello(_))), "{answer:?}");

    let mut document = rogue.own().current().document.document().clone();
    let successor = SecretKey::from_seed(&[9; 32]).public();
    document.version += 1;
    for node in &mut document.nodes {
        node.key = successor;
        node.peer_id = peer_id(&successor);
    }
    let Request::Hello(mut last) = hello(&rogue, None) else {
        return Err("not a Hello".into());
    };
    last.document = document.sign(&*rogue.own().keys().doc)?;
    // The connection ends with the answer, or before it.
    let _ = host.ask(Request::Hello(last)).await;
    loop {
        let event = tokio::time::timeout(WAIT, host.events.recv()).await?;
        if matches!(event, None | Some(Event::Disconnected(_))) {
            break;
        }
    }
    // As any stranger it may say who it is, in vain: the node that counts has
    // another key now (I-56).
    for request in [hello(&rogue, None), Request::Fetch(Vec::new())] {
        let again = host.ask(request).await;
        let in_vain = match &again {
            Err(RequestError::Unreachable(_)) => true,
            Err(RequestError::Refused { code, .. }) => *code == RefusalCode::NotFederated,
            _ => false,
        };
        assert!(in_vain, "{again:?}");
    }
    Ok(())
}

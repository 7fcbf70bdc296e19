use std::sync::Arc;

use comity_protocol::wire::MAX_REQUEST_BYTES;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::*;
use crate::network::QUEUE;
use crate::network::codec::tests::request_of;
use crate::network::limits::MAX_CONCURRENT;

#[tokio::test]
async fn a_request_is_answered_over_tcp_and_over_quic() {
    for tcp in [true, false] {
        let (a, mut b) = partners().await;
        let (at, peer) = (b.over(tcp), b.id());
        assert_eq!(at.len(), 1);
        let ask = a
            .handle
            .request(peer, at, Request::Negotiate("offer".to_owned()));
        let serve = async {
            let inbound = b.inbound().await;
            assert_eq!(inbound.peer, a.id());
            assert!(inbound.known);
            assert_eq!(inbound.request, Request::Negotiate("offer".to_owned()));
            inbound.answer(Response::Negotiate(vec!["agreement".to_owned()]));
        };
        let (answer, ()) = within(async { tokio::join!(ask, serve) }).await;
        assert_eq!(
            answer,
            Ok(Response::Negotiate(vec!["agreement".to_owned()]))
        );
        assert_eq!(
            (a.handle.stats().asked, a.handle.stats().asked_failed),
            (1, 0)
        );
        assert_eq!(b.handle.stats().requests, 1);
    }
}

#[tokio::test]
async fn the_largest_request_passes_and_one_byte_more_is_too_large() {
    let (a, b) = partners().await;
    let (peer, at) = (b.id(), b.addresses());
    let _b = b.answer_all();
    let largest = request_of(MAX_REQUEST_BYTES);
    let answer = within(a.handle.request(peer, at.clone(), largest)).await;
    assert!(matches!(answer, Ok(Response::Negotiate(_))), "{answer:?}");
    let more = request_of(MAX_REQUEST_BYTES + 1);
    let refused = within(a.handle.request(peer, at.clone(), more)).await;
    assert_eq!(refused, Err(RequestError::TooLarge));
    let next = within(a.handle.request(peer, at, fetch())).await;
    assert!(next.is_ok(), "the connection survives: {next:?}");
}

#[tokio::test]
async fn a_request_that_nobody_answers_is_refused_as_busy() {
    let (a, mut b) = partners().await;
    let ask = a.handle.request(b.id(), b.addresses(), fetch());
    let (peer_answer, ()) = tokio::join!(within(ask), async { drop(b.inbound().await) });
    let Err(RequestError::Refused { code, trace }) = peer_answer else {
        panic!("expected a refusal, got {peer_answer:?}");
    };
    assert_eq!(code, RefusalCode::Busy);
    assert_eq!(
        trace.len(),
        16,
        "a trace that the refusing node's log has too"
    );
}

#[tokio::test]
async fn a_node_that_takes_no_events_refuses_requests_and_forgets_no_connection() {
    let mut b = Site::new(100).await;
    let (peer, at) = (b.id(), b.over(true));
    let (mut sites, mut asks) = (Vec::new(), FuturesUnordered::new());
    // More than the queue holds; one peer alone may not have so many under way.
    for seed in 0..=(QUEUE / MAX_CONCURRENT) as u8 {
        let site = Site::new(seed).await;
        site.handle.allow(peer, Vec::new()).await;
        b.handle.allow(site.id(), Vec::new()).await;
        for _ in 0..MAX_CONCURRENT {
            let (handle, at) = (site.handle.clone(), at.clone());
            asks.push(async move { handle.request(peer, at, fetch()).await });
        }
        sites.push(site);
    }
    // What is in the queue waits; the first answer is therefore a refusal.
    let first = within(asks.next()).await.unwrap();
    assert_eq!(refusal(first), RefusalCode::Busy);

    let late = Site::new(200).await;
    late.handle.allow(peer, Vec::new()).await;
    b.handle.allow(late.id(), Vec::new()).await;
    let refused = within(late.handle.request(peer, at, fetch())).await;
    assert_eq!(refusal(refused), RefusalCode::Busy);
    b.connected(late.id()).await;
}

#[tokio::test]
async fn a_stalled_peer_times_out_and_holds_up_nobody() {
    let patience = Patience {
        request: Duration::from_secs(2),
        ..Patience::default()
    };
    let a = Site::with(1, &[QUIC, TCP], patience).await;
    let (mut stalled, lively) = (Site::new(2).await, Site::new(3).await);
    for site in [&stalled, &lively] {
        a.handle.allow(site.id(), Vec::new()).await;
        site.handle.allow(a.id(), Vec::new()).await;
    }
    let ask = {
        let (handle, peer, at) = (a.handle.clone(), stalled.id(), stalled.addresses());
        tokio::spawn(async move { handle.request(peer, at, fetch()).await })
    };
    let held = stalled.inbound().await;
    let (peer, at) = (lively.id(), lively.addresses());
    let _lively = lively.answer_all();
    for _ in 0..20 {
        let answer = within(a.handle.request(peer, at.clone(), fetch())).await;
        assert_eq!(answer, Ok(Response::Fetch(Vec::new())));
    }
    assert!(!ask.is_finished(), "the stalled request still waits");
    assert_eq!(within(ask).await.unwrap(), Err(RequestError::Timeout));
    drop(held);
}

#[tokio::test]
async fn an_unreachable_node_is_said_to_be_so_with_its_address() {
    let (a, b) = partners().await;
    let (peer, at) = (b.id(), b.over(true));
    b.handle.stop().await;
    let failed = within(a.handle.request(peer, at.clone(), fetch())).await;
    let Err(RequestError::Unreachable(why)) = failed else {
        panic!("expected unreachable, got {failed:?}");
    };
    assert!(
        why.contains("127.0.0.1") && why.contains("refused"),
        "{why}"
    );

    let nowhere = within(a.handle.request(peer, Vec::new(), fetch())).await;
    let text = nowhere.unwrap_err().to_string();
    assert!(text.contains("no address of it is known"), "{text}");

    // Another node at the expected address.
    let c = Site::new(9).await;
    let mut at = c.over(true);
    at.iter_mut().for_each(|a| drop(a.pop()));
    let wrong = within(a.handle.request(peer, at, fetch())).await;
    let text = wrong.unwrap_err().to_string();
    assert!(
        text.contains("another node") && text.contains(&c.id().to_string()),
        "{text}"
    );
}

#[tokio::test]
async fn concurrent_requests_share_one_dial() {
    let (a, b) = partners().await;
    let (peer, at) = (b.id(), b.addresses());
    let b = b.answer_all();
    let handle = Arc::new(a.handle.clone());
    let asks = (0..8).map(|_| {
        let (handle, at) = (Arc::clone(&handle), at.clone());
        async move { handle.request(peer, at, fetch()).await }
    });
    for answer in within(futures::future::join_all(asks)).await {
        assert_eq!(answer, Ok(Response::Fetch(Vec::new())));
    }
    assert!(b.stats().connections <= 2, "{:?}", b.stats());
}

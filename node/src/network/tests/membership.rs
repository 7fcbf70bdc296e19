use super::*;
use crate::network::MAX_STRANGERS;

fn hello() -> Request {
    let org = serde_json::from_value(serde_json::Value::String("a".repeat(52))).unwrap();
    Request::Hello(Box::new(comity_protocol::wire::Hello {
        version: 1,
        org,
        alias: "stranger".to_owned(),
        history: Vec::new(),
        document: String::new(),
        head: None,
        invitation: None,
    }))
}

#[tokio::test]
async fn a_stranger_is_refused_while_no_invitation_is_open() {
    for tcp in [true, false] {
        let (a, b) = (Site::new(1).await, Site::new(2).await);
        a.handle.allow(b.id(), Vec::new()).await;
        let failed = within(a.handle.request(b.id(), b.over(tcp), hello())).await;
        assert!(matches!(failed, Err(RequestError::Closed)), "{failed:?}");
        assert_eq!(within(b.handle.connected()).await, []);
        assert_eq!(b.handle.stats().requests, 0);
    }
}

#[tokio::test]
async fn this_node_dials_nobody_that_it_does_not_allow() {
    let (a, b) = (Site::new(1).await, Site::new(2).await);
    b.handle.allow(a.id(), Vec::new()).await;
    let failed = within(a.handle.request(b.id(), b.addresses(), hello())).await;
    let text = failed.unwrap_err().to_string();
    assert!(text.contains("not an allowed peer"), "{text}");
}

#[tokio::test]
async fn a_stranger_may_say_hello_while_an_invitation_is_open_and_nothing_else() {
    let (a, mut b) = (Site::new(1).await, Site::new(2).await);
    a.handle.allow(b.id(), Vec::new()).await;
    b.handle.set_open(true).await;
    let (peer, at) = (b.id(), b.addresses());

    let fetched = within(a.handle.request(peer, at.clone(), fetch())).await;
    assert_eq!(refusal(fetched), RefusalCode::NotFederated);
    let ask = a.handle.request(peer, at.clone(), hello());
    let serve = async {
        let inbound = b.inbound().await;
        assert!(!inbound.known);
        let Request::Hello(ours) = inbound.request.clone() else {
            panic!("only Hello may arrive");
        };
        b.handle.allow(inbound.peer, Vec::new()).await;
        inbound.answer(Response::Hello(ours));
    };
    let (answer, ()) = tokio::join!(within(ask), serve);
    assert!(answer.is_ok(), "{answer:?}");
    // From now on it is known, over the same connection.
    let ask = a.handle.request(peer, at, fetch());
    let (answer, ()) = tokio::join!(within(ask), async {
        let inbound = b.inbound().await;
        assert!(inbound.known);
        inbound.answer(Response::Fetch(Vec::new()));
    });
    assert!(answer.is_ok(), "{answer:?}");
}

#[tokio::test]
async fn strangers_are_few_and_do_not_keep_partners_out() {
    let b = Site::new(100).await;
    b.handle.set_open(true).await;
    let (peer, at) = (b.id(), b.addresses());
    let mut strangers = Vec::new();
    for seed in 0..MAX_STRANGERS as u8 {
        let stranger = Site::new(seed).await;
        stranger.handle.allow(peer, Vec::new()).await;
        let heard = within(stranger.handle.request(peer, at.clone(), fetch())).await;
        assert_eq!(refusal(heard), RefusalCode::NotFederated);
        strangers.push(stranger);
    }
    let one_more = Site::new(50).await;
    one_more.handle.allow(peer, Vec::new()).await;
    let failed = within(one_more.handle.request(peer, at.clone(), fetch())).await;
    assert!(matches!(failed, Err(RequestError::Closed)), "{failed:?}");

    let friend = Site::new(51).await;
    friend.handle.allow(peer, Vec::new()).await;
    b.handle.allow(friend.id(), Vec::new()).await;
    let _b = b.answer_all();
    let heard = within(friend.handle.request(peer, at, fetch())).await;
    assert_eq!(heard, Ok(Response::Fetch(Vec::new())));
}

#[tokio::test]
async fn a_stranger_that_is_not_allowed_in_time_is_ended() {
    let patience = Patience {
        stranger: Duration::from_millis(200),
        ..Patience::default()
    };
    let a = Site::new(1).await;
    let mut b = Site::with(2, &[TCP], patience).await;
    a.handle.allow(b.id(), Vec::new()).await;
    b.handle.set_open(true).await;
    let heard = within(a.handle.request(b.id(), b.addresses(), fetch())).await;
    assert_eq!(refusal(heard), RefusalCode::NotFederated);
    b.connected(a.id()).await;
    b.disconnected(a.id()).await;
}

#[tokio::test]
async fn disallowing_a_peer_cuts_its_connection_and_its_requests() {
    for tcp in [true, false] {
        let (a, mut b) = partners().await;
        let (peer, at) = (b.id(), b.over(tcp));
        let ask = {
            let (handle, at) = (a.handle.clone(), at.clone());
            tokio::spawn(async move { handle.request(peer, at, fetch()).await })
        };
        let under_way = b.inbound().await;
        b.handle.disallow(a.id()).await;
        let failed = within(ask).await.unwrap();
        assert!(matches!(failed, Err(RequestError::Closed)), "{failed:?}");
        b.disconnected(a.id()).await;
        drop(under_way);
        let again = within(a.handle.request(peer, at, fetch())).await;
        assert!(matches!(again, Err(RequestError::Closed)), "{again:?}");
    }
}

#[tokio::test]
async fn partners_find_one_another_again_after_a_restart() {
    let (mut a, b) = (
        Site::new(1).await,
        Site::with(2, &[TCP], Patience::default()).await,
    );
    let (peer, at) = (b.id(), b.addresses());
    b.handle.allow(a.id(), Vec::new()).await;
    a.handle.allow(peer, at.clone()).await;
    a.connected(peer).await;
    b.handle.stop().await;
    a.disconnected(peer).await;

    let mut same = at[0].clone();
    same.pop();
    let b = Site::with(2, &[&same.to_string()], Patience::default()).await;
    b.handle.allow(a.id(), Vec::new()).await;
    a.connected(peer).await;
}

#[tokio::test]
async fn a_peer_that_was_killed_is_reached_again_without_waiting_for_the_dead_connection() {
    // QUIC: nothing tells this side that the other is gone.
    let mut b = Site::new(2).await;
    let first = Site::with(1, &[QUIC], Patience::default()).await;
    let id = first.id();
    b.handle.allow(id, Vec::new()).await;
    // It does not dial by itself: killed nodes do not come back to their connections.
    first.handle.allow(b.id(), Vec::new()).await;
    let ask = first.handle.request(b.id(), b.over(false), fetch());
    let (answer, ()) = tokio::join!(within(ask), async {
        b.inbound().await.answer(Response::Fetch(Vec::new()));
    });
    assert!(answer.is_ok(), "{answer:?}");
    let connected = std::time::Instant::now();
    while connected.elapsed() <= crate::network::limits::CROSSING_TIME {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The same node starts again while the old one, which b knows, says nothing more.
    let mut second = Site::with(1, &[QUIC], Patience::default()).await;
    second.handle.allow(b.id(), b.over(false)).await;
    let b_id = b.id();
    second.connected(b_id).await;
    b.connected(id).await;
    // b has closed the old connection, and every request reaches the new node.
    for _ in 0..4 {
        let ask = b.handle.request(id, Vec::new(), fetch());
        let (answer, ()) = tokio::join!(within(ask), async {
            second.inbound().await.answer(Response::Fetch(Vec::new()));
        });
        assert_eq!(answer, Ok(Response::Fetch(Vec::new())));
    }
    drop(first);
}

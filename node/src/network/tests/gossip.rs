use comity_protocol::wire::MAX_GOSSIP_BYTES;

use super::*;
use crate::network::Verdict;

async fn gossiped(site: &mut Site) -> (Vec<u8>, crate::network::Judged) {
    site.until(|event| match event {
        Event::Gossip { bytes, judged } => Some((bytes, judged)),
        _ => None,
    })
    .await
}

/// Publishes different heads until one is on its way: a partner's subscription
/// arrives a moment after its connection, and nothing reports it.
async fn publish_until_heard(from: &Handle, to: &mut Site) {
    within(async {
        for n in 0_u32.. {
            from.publish(format!("probe {n}").into_bytes()).await;
            let next = tokio::time::timeout(Duration::from_millis(100), gossiped(to));
            if let Ok((_, judged)) = next.await {
                judged.as_(Verdict::Accept);
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_largest_head_reaches_a_partner_and_one_byte_more_is_not_sent() {
    let (a, mut b) = partners().await;
    a.handle.allow(b.id(), b.addresses()).await;
    publish_until_heard(&a.handle, &mut b).await;

    a.handle.publish(vec![1; MAX_GOSSIP_BYTES + 1]).await;
    a.handle.publish(vec![2; MAX_GOSSIP_BYTES]).await;
    let heard = b.until(|event| match event {
        Event::Gossip { bytes, .. } if !bytes.starts_with(b"probe") => Some(bytes),
        _ => None,
    });
    assert_eq!(heard.await, vec![2; MAX_GOSSIP_BYTES]);
}

#[tokio::test]
async fn a_head_travels_on_only_when_it_was_accepted() {
    // a - b - c: c hears of a by b alone.
    let (a, mut b, mut c) = (Site::new(1).await, Site::new(2).await, Site::new(3).await);
    for (from, to) in [(&a, &b), (&b, &a), (&b, &c), (&c, &b)] {
        from.handle.allow(to.id(), Vec::new()).await;
    }
    a.handle.allow(b.id(), b.addresses()).await;
    c.handle.allow(b.id(), b.addresses()).await;
    publish_until_heard(&a.handle, &mut b).await;
    publish_until_heard(&b.handle, &mut c).await;

    for (head, verdict) in [
        ("rejected", Verdict::Reject),
        ("ignored", Verdict::Ignore),
        ("accepted", Verdict::Accept),
    ] {
        a.handle.publish(head.as_bytes().to_vec()).await;
        let (bytes, judged) = loop {
            let heard = gossiped(&mut b).await;
            if !heard.0.starts_with(b"probe") {
                break heard;
            }
        };
        assert_eq!(bytes, head.as_bytes());
        judged.as_(verdict);
    }
    let heard = c.until(|event| match event {
        Event::Gossip { bytes, .. } if !bytes.starts_with(b"probe") => Some(bytes),
        _ => None,
    });
    assert_eq!(heard.await, b"accepted");
}

#[tokio::test]
async fn publishing_to_nobody_and_twice_is_normal() {
    let (a, mut b) = partners().await;
    a.handle.publish(b"head".to_vec()).await;
    a.handle.allow(b.id(), b.addresses()).await;
    publish_until_heard(&a.handle, &mut b).await;
    a.handle.publish(b"head".to_vec()).await;
    a.handle.publish(b"head".to_vec()).await;
    a.handle.publish(b"last".to_vec()).await;
    let mut heard = Vec::new();
    while heard.last().is_none_or(|h| h != b"last") {
        let (bytes, judged) = gossiped(&mut b).await;
        judged.as_(Verdict::Accept);
        if !bytes.starts_with(b"probe") {
            heard.push(bytes);
        }
    }
    assert_eq!(heard, [b"head", b"last"]);
}

/// Regression: while an invitation was open, strangers were flooded with heads.
#[tokio::test]
async fn a_stranger_that_subscribes_hears_nothing() {
    let (a, mut b, mut stranger) = (Site::new(1).await, Site::new(2).await, Site::new(3).await);
    for (from, to) in [(&a, &b), (&b, &a), (&stranger, &a)] {
        from.handle.allow(to.id(), Vec::new()).await;
    }
    a.handle.set_open(true).await;
    // To the stranger a is an explicit peer: it subscribes there and says so.
    let asked = stranger
        .handle
        .request(a.id(), a.addresses(), fetch())
        .await;
    assert_eq!(refusal(asked), RefusalCode::NotFederated);
    stranger.connected(a.id()).await;
    a.handle.allow(b.id(), b.addresses()).await;
    publish_until_heard(&a.handle, &mut b).await;

    for n in 0..32_u32 {
        a.handle.publish(format!("head {n}").into_bytes()).await;
        let (bytes, judged) = gossiped(&mut b).await;
        assert_eq!(bytes, format!("head {n}").into_bytes());
        judged.as_(Verdict::Accept);
    }
    // Whatever was sent to it has arrived before the answer to a question.
    let asked = stranger
        .handle
        .request(a.id(), a.addresses(), fetch())
        .await;
    assert_eq!(refusal(asked), RefusalCode::NotFederated);
    while let Ok(event) = stranger.events.try_recv() {
        assert!(!matches!(event, Event::Gossip { .. }), "{event:?}");
    }
    assert_eq!(stranger.handle.stats().gossip, 0);
}

use comity_identity::Signer as _;

use super::*;
use crate::network::{peer_id_of, start};

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_the_address() {
    for listen in [TCP, QUIC] {
        let first = Site::with(1, &[listen], Patience::default()).await;
        let mut taken = first.addresses()[0].clone();
        taken.pop();
        let key = SecretKey::from_seed(&[2; 32]);
        let failed = within(start(&key, &settings(&[&taken.to_string()]))).await;
        let Err(NetworkError::Listen { address, reason }) = failed else {
            panic!("expected a listen error, got {failed:?}");
        };
        assert_eq!(address, taken.to_string());
        assert!(reason.contains("in use"), "{reason}");
    }
}

#[tokio::test]
async fn stopping_frees_the_ports_and_ends_requests_under_way() {
    let (a, mut b) = partners().await;
    let listening = b.addresses();
    let ask = {
        let (handle, peer, at) = (a.handle.clone(), b.id(), b.addresses());
        tokio::spawn(async move { handle.request(peer, at, fetch()).await })
    };
    let under_way = b.inbound().await;
    within(a.handle.stop()).await;
    assert_eq!(within(ask).await.unwrap(), Err(RequestError::Stopping));
    let peer = b.id();
    let later = within(a.handle.request(peer, Vec::new(), fetch())).await;
    assert_eq!(later, Err(RequestError::Stopping));
    drop(under_way);

    within(b.handle.stop()).await;
    let listening: Vec<String> = listening
        .into_iter()
        .map(|mut a| {
            a.pop();
            a.to_string()
        })
        .collect();
    let listening: Vec<&str> = listening.iter().map(String::as_str).collect();
    let again = Site::with(2, &listening, Patience::default()).await;
    assert_eq!(again.addresses().len(), 2);
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_host() {
    let Site { handle, mut events } = Site::new(1).await;
    drop(handle);
    assert!(within(events.recv()).await.is_none());
}

#[tokio::test]
async fn the_peer_id_is_the_node_keys() {
    let site = Site::new(7).await;
    let key = SecretKey::from_seed(&[7; 32]).public();
    assert_eq!(peer_id_of(&key), Some(site.id()));
}

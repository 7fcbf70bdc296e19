use super::*;
use crate::network::start;

/// A host with settings of its own.
async fn site(seed: u8, change: impl FnOnce(&mut Settings)) -> Site {
    let mut settings = settings(&[TCP]);
    change(&mut settings);
    let started = start(&SecretKey::from_seed(&[seed; 32]), &settings).await;
    let (handle, events) = started.unwrap();
    Site { handle, events }
}

#[tokio::test]
async fn a_process_over_its_memory_budget_takes_no_new_connection() {
    for (budget, takes) in [(1, false), (usize::MAX, true)] {
        let (asks, full) = (
            Site::new(1).await,
            site(2, |s| s.memory_bytes = budget).await,
        );
        asks.handle.allow(full.id(), Vec::new()).await;
        full.handle.allow(asks.id(), Vec::new()).await;
        let (peer, at) = (full.id(), full.addresses());
        let _full = full.answer_all();
        let answer = within(asks.handle.request(peer, at, fetch())).await;
        assert_eq!(answer.is_ok(), takes, "{answer:?}");
    }
}

#[tokio::test]
async fn a_node_over_its_own_memory_budget_says_so_when_it_cannot_dial() {
    let (full, other) = (site(1, |s| s.memory_bytes = 1).await, Site::new(2).await);
    full.handle.allow(other.id(), Vec::new()).await;
    let (peer, at) = (other.id(), other.addresses());
    let error = within(full.handle.request(peer, at, fetch()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("memory_budget_bytes"), "{error}");
}

/// Listens and multicasts on every interface, so it runs by hand, in a network of
/// its own:
///
/// ```text
/// unshare -n sh -c 'ip link set lo up; ip link add lan type veth peer name far; ip link set far up;
///   ip addr add 192.168.77.1/24 dev lan; ip link set lan up; ip route add 224.0.0.0/4 dev lan;
///   cargo test -p comity --lib local_network -- --ignored'
/// ```
#[tokio::test]
#[ignore = "multicasts on the local network"]
async fn on_the_local_network_partners_find_one_another_without_an_address() {
    let on_lan = |settings: &mut Settings| {
        settings.listen = vec!["/ip4/0.0.0.0/tcp/0".parse().unwrap()];
        settings.dial = DialPolicy::only(&[Area::Private]);
        settings.lan = true;
    };
    let (mut a, b) = (site(1, on_lan).await, site(2, on_lan).await);
    let _stranger = site(3, on_lan).await;
    a.handle.allow(b.id(), Vec::new()).await;
    b.handle.allow(a.id(), Vec::new()).await;
    a.connected(b.id()).await;
}

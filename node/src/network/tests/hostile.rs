//! Peers that keep to libp2p and to nothing above it.

use futures::StreamExt as _;
use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::{Swarm, SwarmEvent};
use libp2p::{StreamProtocol, SwarmBuilder, tcp, yamux};

use super::*;
use crate::network::codec::Kind;
use crate::network::limits::MAX_GARBAGE;
use crate::network::quota::{BURST, MAX_REFUSALS};

/// Sends and receives bytes as they are.
#[derive(Clone, Default)]
struct Raw;

impl request_response::Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> std::io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read_response(&Kind::Fetch.protocol(), io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> std::io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> std::io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> std::io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }
}

type Peer = Swarm<request_response::Behaviour<Raw>>;

fn hostile() -> Peer {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            libp2p::tls::Config::new,
            yamux::Config::default,
        )
        .unwrap()
        .with_behaviour(|_| {
            let protocol = (Kind::Fetch.protocol(), ProtocolSupport::Full);
            let config = request_response::Config::default();
            request_response::Behaviour::with_codec(Raw, [protocol], config)
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE * 2))
        .build();
    swarm.listen_on(TCP.parse().unwrap()).unwrap();
    swarm
}

/// Sends `bytes` as a request and waits for what comes back, if anything does.
async fn ask(swarm: &mut Peer, peer: PeerId, at: &[Multiaddr], bytes: Vec<u8>) -> Option<Vec<u8>> {
    use request_response::{Event, Message};
    let behaviour = swarm.behaviour_mut();
    behaviour.send_request_with_addresses(&peer, bytes, at.to_vec());
    within(async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::Behaviour(Event::Message {
                    message: Message::Response { response, .. },
                    ..
                }) => return Some(response),
                SwarmEvent::Behaviour(Event::OutboundFailure { .. }) => return None,
                _ => {}
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_peer_that_sends_garbage_is_cut_off_and_others_are_not() {
    let (a, mut b) = partners().await;
    let mut garbler = hostile();
    let garbler_id = *garbler.local_peer_id();
    b.handle.allow(garbler_id, Vec::new()).await;
    let (peer, at) = (b.id(), b.over(true));
    for n in 0..MAX_GARBAGE {
        let garbage = match n % 4 {
            0 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            1 => Vec::new(),
            // An array that announces 2^63 entries.
            2 => [0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff].to_vec(),
            _ => vec![0x9f; 300 * 1024],
        };
        // The answer to one that is too long may be lost with its stream.
        if let Some(answer) = ask(&mut garbler, peer, &at, garbage).await {
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.contains("malformed"), "garbage {n}: {answer}");
        }
    }
    b.disconnected(garbler_id).await;
    assert_eq!(b.handle.stats().peers_cut_off, 1);
    assert_eq!(b.handle.stats().requests, 0, "none of it reached the node");

    let b = b.answer_all();
    let heard = within(a.handle.request(peer, at.clone(), fetch())).await;
    assert_eq!(heard, Ok(Response::Fetch(Vec::new())));
    assert_eq!(
        ask(&mut garbler, peer, &at, vec![0]).await,
        None,
        "it may not come back at once"
    );
    assert!(b.stats().connections_refused > 0);
}

#[tokio::test]
async fn an_answer_that_is_garbage_is_not_one() {
    let a = Site::new(1).await;
    let mut garbler = hostile();
    let peer = *garbler.local_peer_id();
    let at = within(async {
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = garbler.select_next_some().await {
                return address;
            }
        }
    })
    .await;
    a.handle.allow(peer, Vec::new()).await;
    let serve = async {
        use request_response::{Event, Message};
        loop {
            if let SwarmEvent::Behaviour(Event::Message {
                message: Message::Request { channel, .. },
                ..
            }) = garbler.select_next_some().await
            {
                let answer = b"no answer".to_vec();
                garbler
                    .behaviour_mut()
                    .send_response(channel, answer)
                    .unwrap();
            }
        }
    };
    let ask = a.handle.request(peer, vec![at], fetch());
    let answer = within(async {
        tokio::select! {
            answer = ask => answer,
            () = serve => unreachable!("it serves for ever"),
        }
    });
    assert_eq!(answer.await, Err(RequestError::Unexpected));
}

#[tokio::test]
async fn a_flood_is_refused_then_cut_off_and_others_are_served() {
    let (a, mut b) = partners().await;
    let flooder = Site::new(3).await;
    flooder.handle.allow(b.id(), Vec::new()).await;
    b.handle.allow(flooder.id(), Vec::new()).await;
    let (peer, at, flooder_id) = (b.id(), b.over(true), flooder.id());

    // The bucket fills up again meanwhile, so the bound is generous.
    let (mut granted, mut refused, mut cut_off) = (0_u32, 0_u32, false);
    for _ in 0..20 * (BURST as u32 + MAX_REFUSALS) {
        let ask = flooder.handle.request(peer, at.clone(), fetch());
        let serve = async {
            b.inbound().await.answer(Response::Fetch(Vec::new()));
            std::future::pending::<()>().await;
        };
        let answer = tokio::select! {
            answer = ask => answer,
            () = serve => unreachable!("it serves for ever"),
        };
        match answer {
            Ok(_) => granted += 1,
            Err(RequestError::Refused {
                code: RefusalCode::Busy,
                ..
            }) => refused += 1,
            Err(RequestError::Closed) => {
                cut_off = true;
                break;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(cut_off, "{granted} granted, {refused} refused");
    assert!(granted >= BURST as u32 && refused >= MAX_REFUSALS);
    assert_eq!(b.handle.stats().peers_cut_off, 1);
    let again = within(flooder.handle.request(peer, at.clone(), fetch())).await;
    assert!(matches!(again, Err(RequestError::Closed)), "{again:?}");
    assert!(!within(b.handle.connected()).await.contains(&flooder_id));

    let _b = b.answer_all();
    let heard = within(a.handle.request(peer, at, fetch())).await;
    assert_eq!(heard, Ok(Response::Fetch(Vec::new())));
}

#[tokio::test]
async fn peers_that_open_connections_and_say_nothing_hold_up_nobody() {
    let (a, b) = partners().await;
    let (peer, at) = (b.id(), b.over(true));
    let port = at[0].iter().find_map(|p| match p {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    let mut silent = Vec::new();
    for _ in 0..8 {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port.unwrap())).await;
        silent.push(stream.unwrap());
    }
    let _b = b.answer_all();
    let heard = within(a.handle.request(peer, at, fetch())).await;
    assert_eq!(heard, Ok(Response::Fetch(Vec::new())));
}

//! Accepting connections: TLS first, a bounded number of handshakes at a time.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use comity_identity::binding::{EXPORTER_BYTES, EXPORTER_LABEL};
use comity_identity::tls::{HolderCertificate, LeafName};
use comity_identity::{Digest, OrgId};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::gathered::Gathered;

/// Handshakes that may be under way: a slow client takes one place, not the listener (A25).
const MAX_HANDSHAKES: usize = 64;

/// Handshakes that may be under way from one address: a machine that opens
/// connections and says nothing takes its own places, not everybody's.
const MAX_HANDSHAKES_OF_ONE: usize = 16;

/// Connections that may be open. Each costs a file descriptor, of which a
/// process has 1,024 by default on common systems, and some buffers.
const MAX_CONNECTIONS: usize = 512;

/// Connections of holders of grants who come by themselves that may be open, of
/// all connections. Anybody can make such a certificate: strangers must not take
/// the places of partners' nodes (A25).
const MAX_HOLDERS: usize = 64;

/// Connections of holders that may be open from one address.
const MAX_HOLDERS_OF_ONE: usize = 8;

/// Connections of one organization's nodes that may be open: a partner that
/// opens as many as it can leaves the others theirs (A25). A node needs one.
const MAX_CONNECTIONS_OF_ORG: usize = 64;

/// How long a handshake may take (`spec/5-data-plane.md#D-106`).
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// Accepted connections that wait for the server.
const QUEUE: usize = 64;

/// One accepted connection; it holds its place until it is dropped.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    caller: Option<Caller>,
    _place: (OwnedSemaphorePermit, OwnPlace),
}

/// What a connection takes of the share of whoever it is.
#[derive(Debug)]
enum OwnPlace {
    /// The workbench has no shares.
    None,
    Node(#[expect(dead_code, reason = "held until the connection ends")] Share<OrgId>),
    Holder(#[expect(dead_code, reason = "held until the connection ends")] HolderPlace),
}

#[derive(Debug)]
enum Stream {
    /// Without TLS: a workbench on loopback that is configured so.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<Gathered<TlsStream<TcpStream>>>),
}

/// What kind of client is at the other end of a mutual TLS connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A partner's node.
    Node(PeerConnection),
    /// Somebody with a certificate that names no node: nobody, until a call
    /// brings a grant that names the certificate (`spec/5-data-plane.md#D-132`).
    Holder(HolderConnection),
}

/// A connection with a certificate that names no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HolderConnection {
    /// The SHA-256 of the certificate whose key the handshake proved.
    pub certificate: Digest,
}

/// Who is at the other end of a mutual TLS connection. The verifier has
/// checked all of it; the proof of possession is checked against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConnection {
    /// The organization in the certificate.
    pub org: OrgId,
    /// The node in the certificate.
    pub node: String,
    /// This connection's TLS exporter.
    pub exporter: [u8; EXPORTER_BYTES],
    /// The certificate, DER.
    pub leaf: Vec<u8>,
    /// The SHA-256 of the certificate's public key.
    pub spki: Digest,
}

/// The connections of `listener`, after their TLS handshake, until `stop`.
pub(super) fn accept(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, connections) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        let open = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let shares = Arc::new(Shares::new(MAX_HANDSHAKES_OF_ONE));
        let callers = Callers {
            orgs: Arc::new(Shares::new(MAX_CONNECTIONS_OF_ORG)),
            holders: Holders {
                places: Arc::new(Semaphore::new(MAX_HOLDERS)),
                shares: Arc::new(Shares::new(MAX_HOLDERS_OF_ONE)),
            },
        };
        let acceptor = tls.map(TlsAcceptor::from);
        loop {
            let Ok(handshake) = Arc::clone(&handshakes).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: let some be closed first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            // Closed at once, not queued: whoever waits holds a descriptor too.
            let Some(share) = shares.take(from.ip()) else {
                tracing::info!(%from, "too many handshakes of one address");
                continue;
            };
            let Ok(place) = Arc::clone(&open).try_acquire_owned() else {
                tracing::warn!(%from, "too many open connections");
                continue;
            };
            let (acceptor, ready) = (acceptor.clone(), ready.clone());
            let callers = callers.clone();
            tokio::spawn(async move {
                let _handshake = (handshake, share);
                let secured = secure(stream, acceptor, place, (callers, from.ip()));
                match tokio::time::timeout(HANDSHAKE_TIME, secured).await {
                    Ok(Ok(connection)) => drop(ready.send(Ok(connection)).await),
                    Ok(Err(error)) => tracing::info!(%error, "a handshake failed"),
                    Err(_) => tracing::info!("a handshake took too long"),
                }
            });
        }
    });
    ReceiverStream::new(connections)
}

/// The shares of those who are known after the handshake.
#[derive(Clone, Debug)]
struct Callers {
    orgs: Arc<Shares<OrgId>>,
    holders: Holders,
}

impl Callers {
    fn take(&self, caller: Option<&Caller>, from: IpAddr) -> io::Result<OwnPlace> {
        match caller {
            None => Ok(OwnPlace::None),
            Some(Caller::Holder(_)) => self.holders.take(from).map(OwnPlace::Holder),
            Some(Caller::Node(peer)) => {
                let share = self.orgs.take(peer.org).map(OwnPlace::Node);
                share.ok_or_else(|| {
                    io::Error::other("too many connections of one organization are open")
                })
            }
        }
    }
}

/// The places of holders who come by themselves.
#[derive(Clone, Debug)]
struct Holders {
    places: Arc<Semaphore>,
    shares: Arc<Shares<IpAddr>>,
}

/// One holder's place.
#[derive(Debug)]
struct HolderPlace {
    _place: OwnedSemaphorePermit,
    _share: Share<IpAddr>,
}

impl Holders {
    fn take(&self, from: IpAddr) -> io::Result<HolderPlace> {
        let full = || io::Error::other("too many holders of grants are connected");
        Ok(HolderPlace {
            _share: self.shares.take(from).ok_or_else(full)?,
            _place: Arc::clone(&self.places)
                .try_acquire_owned()
                .map_err(|_| full())?,
        })
    }
}

/// How much of something each address or organization has, and the most that it may have.
#[derive(Debug)]
struct Shares<K: Copy + Eq + Hash> {
    most: usize,
    taken: Mutex<HashMap<K, usize>>,
}

/// One part of the share of `whose`.
#[derive(Debug)]
struct Share<K: Copy + Eq + Hash> {
    of: Arc<Shares<K>>,
    whose: K,
}

impl<K: Copy + Eq + Hash> Shares<K> {
    fn new(most: usize) -> Self {
        Self {
            most,
            taken: Mutex::default(),
        }
    }

    fn take(self: &Arc<Self>, whose: K) -> Option<Share<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(whose).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share {
            of: Arc::clone(self),
            whose,
        })
    }
}

impl<K: Copy + Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.whose);
            }
        }
    }
}

async fn secure(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    place: OwnedSemaphorePermit,
    (callers, from): (Callers, IpAddr),
) -> io::Result<Connection> {
    // Without it small answers wait 40 ms for a delayed acknowledgement.
    stream.set_nodelay(true)?;
    let Some(acceptor) = acceptor else {
        return Ok(Connection {
            stream: Stream::Plain(stream),
            caller: None,
            _place: (place, OwnPlace::None),
        });
    };
    let stream = acceptor.accept(stream).await?;
    let caller = caller_of(&stream);
    let own = callers.take(caller.as_ref(), from)?;
    Ok(Connection {
        caller,
        stream: Stream::Tls(Box::new(Gathered::new(stream))),
        _place: (place, own),
    })
}

fn caller_of(stream: &TlsStream<TcpStream>) -> Option<Caller> {
    let (_, tls) = stream.get_ref();
    let leaf = tls.peer_certificates()?.first()?.to_vec();
    // The verifier asked the same, in the same order.
    if let Ok(holder) = HolderCertificate::parse(&leaf, crate::clock::now()) {
        return Some(Caller::Holder(HolderConnection {
            certificate: holder.digest(),
        }));
    }
    let name = LeafName::parse(&leaf).ok()?;
    let exporter = tls
        .export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, None)
        .ok()?;
    Some(Caller::Node(PeerConnection {
        org: name.peer.org,
        node: name.peer.node.as_str().to_owned(),
        exporter,
        leaf,
        spki: name.spki,
    }))
}

impl Connected for Connection {
    type ConnectInfo = Option<Caller>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use comity_identity::Digest;
    use comity_identity::tls::{
        Authority, CurrentLeaf, LeafRequest, PeerName, TlsKey, workbench_server_config,
    };
    use futures::StreamExt as _;

    use super::*;

    /// A server's TLS that no handshake of these tests ends.
    fn tls() -> Arc<ServerConfig> {
        let key = TlsKey::generate().unwrap();
        let now = crate::clock::now();
        let org = OrgId::from_inception(Digest::of(b"org"));
        let authority = Authority::create(org, key, now).unwrap();
        let key = TlsKey::generate().unwrap();
        let request = LeafRequest {
            peer: PeerName {
                org,
                node: "node-1".parse().unwrap(),
            },
            spki: key.spki(),
            dns: Vec::new(),
            ips: Vec::new(),
            at: now,
        };
        let leaf = authority.issue(&request).unwrap();
        let leaf = CurrentLeaf::new(&leaf, &key).unwrap();
        let clock = Arc::new(rustls::time_provider::DefaultTimeProvider);
        let config = workbench_server_config(Arc::new(leaf), clock);
        Arc::new(config.unwrap())
    }

    /// Whether the listener closed `stream`.
    async fn is_closed(stream: &TcpStream) -> bool {
        let readable = tokio::time::timeout(Duration::from_millis(300), stream.readable());
        matches!(readable.await, Ok(Ok(()))) && matches!(stream.try_read(&mut [0]), Ok(0) | Err(_))
    }

    #[tokio::test]
    async fn a25_silent_connections_of_one_address_leave_room_for_others() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let _accepted = accept(listener, Some(tls()), stop.clone());
        let mut silent = Vec::new();
        for _ in 0..=MAX_HANDSHAKES_OF_ONE {
            silent.push(TcpStream::connect(to).await.unwrap());
        }
        let last = silent.pop().unwrap();
        assert!(is_closed(&last).await, "one more than its share");
        assert!(!is_closed(&silent[0]).await, "its share");
        drop(silent);
        stop.cancel();
    }

    #[test]
    fn a25_connections_of_one_organization_leave_room_for_others() {
        let shares = Arc::new(Shares::new(MAX_CONNECTIONS_OF_ORG));
        let [one, other] =
            [b"one".as_slice(), b"other"].map(|n| OrgId::from_inception(Digest::of(n)));
        let all: Vec<_> = (0..MAX_CONNECTIONS_OF_ORG)
            .map(|_| shares.take(one).unwrap())
            .collect();
        assert!(shares.take(one).is_none(), "its share");
        assert!(shares.take(other).is_some());
        drop(all);
        assert!(shares.take(one).is_some(), "places that were given back");
    }

    #[test]
    fn a25_holders_of_one_address_leave_room_for_others() {
        let holders = Holders {
            places: Arc::new(Semaphore::new(MAX_HOLDERS_OF_ONE + 1)),
            shares: Arc::new(Shares::new(MAX_HOLDERS_OF_ONE)),
        };
        let (one, other) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let mut held: Vec<_> = (0..MAX_HOLDERS_OF_ONE)
            .map(|_| holders.take(one).unwrap())
            .collect();
        assert!(holders.take(one).is_err(), "its share");
        let last = holders.take(other).unwrap();
        assert!(holders.take(other).is_err(), "all places");
        held.pop();
        assert!(holders.take(one).is_ok(), "a place that was given back");
        drop(last);
    }

    #[tokio::test]
    async fn a_connection_keeps_its_place_until_it_ends() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let mut accepted = accept(listener, None, stop.clone());
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..MAX_CONNECTIONS {
            theirs.push(TcpStream::connect(to).await.unwrap());
            ours.push(accepted.next().await.unwrap().unwrap());
        }
        let more = TcpStream::connect(to).await.unwrap();
        assert!(is_closed(&more).await, "one too many");
        ours.pop();
        let _again = TcpStream::connect(to).await.unwrap();
        assert!(accepted.next().await.unwrap().is_ok());
        stop.cancel();
    }
}

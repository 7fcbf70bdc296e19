//! Accepting connections: TLS first, a bounded number of handshakes at a time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
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
use super::shares::{Callers, OwnPlace, Shares};
use super::workers::{Seat, Worker, Workers};

/// Handshakes that may be under way: a slow client takes one place, not the listener (A25).
const MAX_HANDSHAKES: usize = 64;

/// Handshakes that may be under way from one address: a machine that opens
/// connections and says nothing takes its own places, not everybody's.
const MAX_HANDSHAKES_OF_ONE: usize = 16;

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
    _seat: Seat,
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

/// The connections of `listener`, after their TLS handshake, until `stop`: of
/// each of `workers` those that live on it.
pub(super) fn accept(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    workers: &Arc<Workers>,
    stop: CancellationToken,
) -> Vec<(Arc<Worker>, ReceiverStream<io::Result<Connection>>)> {
    let (ready, connections): (Vec<_>, Vec<_>) = workers
        .each()
        .map(|worker| {
            let (ready, connections) = mpsc::channel(QUEUE);
            (
                ready,
                (Arc::clone(worker), ReceiverStream::new(connections)),
            )
        })
        .unzip();
    let door = Door {
        handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
        shares: Arc::new(Shares::new(MAX_HANDSHAKES_OF_ONE)),
        callers: Callers::new(),
        acceptor: tls.map(TlsAcceptor::from),
        workers: Arc::clone(workers),
        ready,
    };
    tokio::spawn(door.keep(listener, stop));
    connections
}

/// Where connections come in.
struct Door {
    handshakes: Arc<Semaphore>,
    /// The handshakes of each address.
    shares: Arc<Shares<IpAddr>>,
    callers: Callers,
    acceptor: Option<TlsAcceptor>,
    workers: Arc<Workers>,
    /// The servers, by the numbers of their threads.
    ready: Vec<mpsc::Sender<io::Result<Connection>>>,
}

impl Door {
    async fn keep(self, listener: TcpListener, stop: CancellationToken) {
        loop {
            let Ok(handshake) = Arc::clone(&self.handshakes).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, from)) => self.enter(stream, from, handshake),
                Err(error) => {
                    // Out of file descriptors, most likely: let some be closed first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Shakes hands on the thread on which the connection will live.
    fn enter(&self, stream: TcpStream, from: SocketAddr, handshake: OwnedSemaphorePermit) {
        // Closed at once, not queued: whoever waits holds a descriptor too.
        let Some(share) = self.shares.take(from.ip()) else {
            return tracing::info!(%from, "too many handshakes of one address");
        };
        let Some(place) = self.callers.place() else {
            return tracing::warn!(%from, "too many open connections");
        };
        let seat = self.workers.seat();
        let Some(ready) = self.ready.get(seat.worker().number()).cloned() else {
            return;
        };
        // It leaves the thread that waits for connections.
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => return tracing::warn!(%error, "a connection could not be taken over"),
        };
        let (acceptor, callers) = (self.acceptor.clone(), self.callers.clone());
        let worker = Arc::clone(seat.worker());
        worker.spawn(async move {
            let _handshake = (handshake, share);
            let secured = secure(stream, acceptor, (place, seat), (callers, from.ip()));
            match tokio::time::timeout(HANDSHAKE_TIME, secured).await {
                Ok(Ok(connection)) => drop(ready.send(Ok(connection)).await),
                Ok(Err(error)) => tracing::info!(%error, "a handshake failed"),
                Err(_) => tracing::info!("a handshake took too long"),
            }
        });
    }
}

async fn secure(
    stream: std::net::TcpStream,
    acceptor: Option<TlsAcceptor>,
    (place, seat): (OwnedSemaphorePermit, Seat),
    (callers, from): (Callers, IpAddr),
) -> io::Result<Connection> {
    let stream = TcpStream::from_std(stream)?;
    // Without it small answers wait 40 ms for a delayed acknowledgement.
    stream.set_nodelay(true)?;
    let Some(acceptor) = acceptor else {
        return Ok(Connection {
            stream: Stream::Plain(stream),
            caller: None,
            _place: (place, OwnPlace::None),
            _seat: seat,
        });
    };
    let stream = acceptor.accept(stream).await?;
    let caller = caller_of(&stream);
    let own = callers.take(caller.as_ref(), from)?;
    Ok(Connection {
        caller,
        stream: Stream::Tls(Box::new(Gathered::new(stream))),
        _place: (place, own),
        _seat: seat,
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

    use super::super::shares::MAX_CONNECTIONS;
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
        let workers = Arc::new(Workers::start().unwrap());
        let _accepted = accept(listener, Some(tls()), &workers, stop.clone());
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

    #[tokio::test]
    async fn a_connection_keeps_its_place_until_it_ends() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let workers = Arc::new(Workers::start().unwrap());
        let accepted = accept(listener, None, &workers, stop.clone());
        let accepted = accepted.into_iter().map(|(_, connections)| connections);
        let mut accepted = futures::stream::select_all(accepted);
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

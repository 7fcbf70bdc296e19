//! Accepting connections: TLS first, a bounded number of handshakes at a time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use comity_identity::OrgId;
use comity_identity::binding::{EXPORTER_BYTES, EXPORTER_LABEL};
use comity_identity::tls::LeafName;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// Handshakes that may be under way: a slow client takes one place, not the listener (A25).
const MAX_HANDSHAKES: usize = 64;

/// How long a handshake may take (`spec/5-data-plane.md#D-106`).
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// Accepted connections that wait for the server.
const QUEUE: usize = 64;

/// One accepted connection.
#[derive(Debug)]
pub enum Connection {
    /// Without TLS: a workbench on loopback that is configured so.
    Plain(TcpStream),
    /// With TLS, and with the peer's certificate on the peer listener.
    Tls(Box<TlsStream<TcpStream>>, Option<PeerConnection>),
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
}

/// The connections of `listener`, after their TLS handshake, until `stop`.
pub(super) fn accept(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, connections) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        let acceptor = tls.map(TlsAcceptor::from);
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: let some be closed first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (acceptor, ready) = (acceptor.clone(), ready.clone());
            tokio::spawn(async move {
                let _place = place;
                match tokio::time::timeout(HANDSHAKE_TIME, secure(stream, acceptor)).await {
                    Ok(Ok(connection)) => drop(ready.send(Ok(connection)).await),
                    Ok(Err(error)) => tracing::info!(%error, "a handshake failed"),
                    Err(_) => tracing::info!("a handshake took too long"),
                }
            });
        }
    });
    ReceiverStream::new(connections)
}

async fn secure(stream: TcpStream, acceptor: Option<TlsAcceptor>) -> io::Result<Connection> {
    // Without it small answers wait 40 ms for a delayed acknowledgement.
    stream.set_nodelay(true)?;
    let Some(acceptor) = acceptor else {
        return Ok(Connection::Plain(stream));
    };
    let stream = acceptor.accept(stream).await?;
    let peer = peer_of(&stream);
    Ok(Connection::Tls(Box::new(stream), peer))
}

fn peer_of(stream: &TlsStream<TcpStream>) -> Option<PeerConnection> {
    let (_, tls) = stream.get_ref();
    let leaf = tls.peer_certificates()?.first()?.to_vec();
    let name = LeafName::parse(&leaf).ok()?;
    let exporter = tls
        .export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, None)
        .ok()?;
    Some(PeerConnection {
        org: name.peer.org,
        node: name.peer.node.as_str().to_owned(),
        exporter,
        leaf,
    })
}

impl Connected for Connection {
    type ConnectInfo = Option<PeerConnection>;

    fn connect_info(&self) -> Self::ConnectInfo {
        match self {
            Self::Plain(_) => None,
            Self::Tls(_, peer) => peer.clone(),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream, _) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream, _) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream, _) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream, _) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

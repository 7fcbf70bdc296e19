//! One connection to a partner's peer listener, and calls that are bound to it.

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::Ticket;
use arrow_flight::flight_service_client::FlightServiceClient;
use comity_identity::binding::{Channel as Bound, EXPORTER_BYTES, EXPORTER_LABEL};
use comity_identity::{Digest, Signer};
use http::header::CONTENT_TYPE;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tower::{Service as _, ServiceExt as _};

use super::answer::{DO_GET, GRPC};
use super::receive::{self, Received};
use super::workers::{Seat, Worker, Workers};
use super::{AGREEMENT, BINDING, GRANT, MAX_MESSAGE_BYTES, PARTITION, PURPOSE, TRACE};
use crate::network::DialPolicy;
use crate::query::Partition;

/// How long a connection may take, TLS included.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Receive windows: the download window belongs to the client, and the
/// defaults hold a stream across a continent to 20 MB/s. All answers of one
/// partner share its connection: its window has room for sixteen that nobody
/// reads, so that they do not hold up the others.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 16 * STREAM_WINDOW;

/// The largest part of a message that comes at once. By default these are 16 KiB,
/// and each is a step of its own at both ends.
const FRAME_BYTES: u32 = 256 << 10;

const TRAILERS: http::HeaderValue = http::HeaderValue::from_static("trailers");

/// A connection, with what a proof of possession on it is bound to.
#[derive(Clone, Debug)]
pub struct PeerChannel {
    seat: Arc<Seat>,
    service: FlightServiceClient<Channel>,
    channel: Channel,
    exporter: [u8; EXPORTER_BYTES],
    leaf: Vec<u8>,
    address: String,
}

/// One question to a partner.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The agreement that permits it.
    pub agreement: Digest,
    /// The grant chain of whoever asks.
    pub grant: Vec<String>,
    /// The purpose.
    pub purpose: Option<String>,
    /// The trace id.
    pub trace: String,
    /// The statement.
    pub sql: String,
    /// The partition of its answer that is wanted; without, all of it.
    pub partition: Option<Partition>,
}

impl PeerChannel {
    /// Connects to `address` (`host:port`) where `policy` permits it (A26),
    /// presenting `leaf` (DER), which is the certificate that `tls` holds.
    ///
    /// The connection lives on one of `workers`.
    ///
    /// # Errors
    /// Why there is none, for a person.
    pub async fn dial(
        workers: &Workers,
        tls: &Arc<ClientConfig>,
        leaf: Vec<u8>,
        address: &str,
        policy: DialPolicy,
    ) -> Result<Self, String> {
        let seat = Arc::new(workers.seat());
        let (tls, address, worker) = (
            Arc::clone(tls),
            address.to_owned(),
            Arc::clone(seat.worker()),
        );
        let made =
            worker.spawn(async move { Self::make(seat, &tls, leaf, &address, policy).await });
        // Whoever does not wait any longer needs no connection.
        let made = AbortOnDropHandle::new(made).await;
        made.map_err(|_| "the node is stopping".to_owned())?
    }

    /// TLS is made here and handed to tonic whole, because the proof needs the
    /// exporter of exactly this connection.
    async fn make(
        seat: Arc<Seat>,
        tls: &Arc<ClientConfig>,
        leaf: Vec<u8>,
        address: &str,
        policy: DialPolicy,
    ) -> Result<Self, String> {
        let connect = async {
            let tcp = policy.connect(address).await.map_err(|e| e.to_string())?;
            tcp.set_nodelay(true).map_err(|e| e.to_string())?;
            // The name is not checked: the verifier looks at the organization instead.
            let name = ServerName::try_from("comity.invalid").map_err(|e| e.to_string())?;
            let connector = TlsConnector::from(Arc::clone(tls));
            connector
                .connect(name, tcp)
                .await
                .map_err(|e| e.to_string())
        };
        let tls = tokio::time::timeout(CONNECT_TIME, connect)
            .await
            .map_err(|_| "no connection in time".to_owned())??;
        let (_, session) = tls.get_ref();
        let exporter = session
            .export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, None)
            .map_err(|e| e.to_string())?;
        let once = Arc::new(std::sync::Mutex::new(Some(tls)));
        let connector = tower::service_fn(move |_| {
            let taken = once.lock().ok().and_then(|mut slot| slot.take());
            async move {
                taken.map(TokioIo::new).ok_or_else(|| {
                    // A second connection would have another exporter.
                    std::io::Error::other("the connection has ended")
                })
            }
        });
        let channel = Endpoint::from_static("http://comity.invalid")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_BYTES)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_while_idle(true)
            .connect_with_connector(connector)
            .await
            .map_err(|e| e.to_string())?;
        let service = FlightServiceClient::new(channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES + 1024 * 1024);
        Ok(Self {
            seat,
            service,
            channel,
            exporter,
            leaf,
            address: address.to_owned(),
        })
    }

    /// Where it leads, as it was dialled.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The Flight service at the other end.
    pub fn service(&self) -> FlightServiceClient<Channel> {
        self.service.clone()
    }

    /// The thread of the connection.
    pub(super) fn worker(&self) -> &Worker {
        self.seat.worker()
    }

    /// The headers and the messages of an answer.
    pub(super) async fn get(
        &self,
        request: Request<Ticket>,
    ) -> Result<(MetadataMap, Received), Status> {
        let (metadata, _, ticket) = request.into_parts();
        let mut request = http::Request::new(receive::request_body(&ticket));
        *request.method_mut() = http::Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = http::Uri::from_static(DO_GET);
        *request.headers_mut() = metadata.into_headers();
        request.headers_mut().insert(http::header::TE, TRAILERS);
        request.headers_mut().insert(CONTENT_TYPE, GRPC);
        let mut channel = self.channel.clone();
        let called = async { channel.ready().await?.call(request).await };
        let response = called.await.map_err(|e| Status::from_error(Box::new(e)))?;
        let headers = MetadataMap::from_headers(response.headers().clone());
        Ok((headers, Received::of(response)?))
    }

    /// A call with the claims of `asked` and the proof by `holder`, good on
    /// this connection only (`spec/5-data-plane.md`, section 2).
    pub fn request<T>(
        &self,
        message: T,
        asked: &Asked,
        holder: &dyn Signer,
    ) -> Result<Request<T>, Status> {
        let last = asked
            .grant
            .last()
            .ok_or_else(|| Status::internal("no grant"))?;
        let bound = Bound {
            exporter: &self.exporter,
            leaf: &self.leaf,
            grant: Digest::of(last.as_bytes()),
        };
        let proof = bound.prove(holder);
        let mut request = Request::new(message);
        let headers = request.metadata_mut();
        for (name, value) in [
            (AGREEMENT, Some(asked.agreement.to_string())),
            (GRANT, Some(asked.grant.join(" "))),
            (PURPOSE, asked.purpose.clone()),
            (TRACE, Some(asked.trace.clone())),
            (PARTITION, asked.partition.map(|p| p.to_string())),
        ] {
            let Some(value) = value else { continue };
            let value = value
                .parse()
                .map_err(|_| Status::internal("a claim is not a header"))?;
            headers.insert(name, value);
        }
        headers.insert_bin(BINDING, MetadataValue::from_bytes(&proof));
        Ok(request)
    }
}

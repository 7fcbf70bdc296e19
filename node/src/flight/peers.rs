//! The peer listener: partners' nodes, over mutual TLS.

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use comity_identity::Digest;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;

use super::accept::accept;
use super::answer::Answers;
use super::face::Face;
use super::service::SqlService;
use super::workbench::judge;
use super::{
    AGREEMENT, BINDING, Caller, GRANT, Gate, MAX_MESSAGE_BYTES, MAX_REQUEST_BYTES, PURPOSE, TRACE,
};
use crate::query::Engine;

/// Calls that may run on one connection at a time.
const MAX_CALLS: u32 = 256;

/// The most bytes of headers: a grant chain of four links is the largest.
const MAX_HEADER_BYTES: u32 = 64 * 1024;

/// The longest life of a connection; then it is renewed with a fresh handshake.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// How long answers may go on over a connection that is to be renewed. Without
/// an end a reader that has stopped reading would keep it for ever.
const MAX_AGE_GRACE: Duration = Duration::from_secs(60 * 60);

/// Serves partners on `listener` until `stop`. `tls` is TLS 1.3 with a client
/// certificate and without resumption (`spec/5-data-plane.md#D-102`).
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    gate: Arc<dyn Gate>,
    engine: Arc<Engine>,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let service = Arc::new(SqlService::new(engine));
    let all = FlightServiceServer::new(Face(Arc::clone(&service)))
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES + 64 * 1024);
    let answers = Answers::new(service, all);
    let judged = tonic::service::interceptor::InterceptedService::new(
        answers,
        move |request: Request<()>| judge(&*gate, request),
    );
    let connections = accept(listener, Some(tls), stop.clone());
    server()
        .add_service(judged)
        .serve_with_incoming_shutdown(connections, async move { stop.cancelled().await })
        .await
}

/// The HTTP/2 limits of both listeners (A25).
pub(super) fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(MAX_CALLS)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_max_pending_accept_reset_streams(Some(32))
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .max_connection_age(MAX_AGE)
        .max_connection_age_grace(MAX_AGE_GRACE)
}

/// What a partner's call says of itself, unverified.
#[derive(Clone, Debug)]
pub struct Claims {
    /// The agreement.
    pub agreement: Digest,
    /// The grant chain, first link first.
    pub grant: Vec<String>,
    /// The proof of possession. A node's call has one; of a holder who comes by
    /// itself the handshake is the proof.
    pub binding: Option<Vec<u8>>,
    /// The purpose stated.
    pub purpose: Option<String>,
    /// The trace id, if it is one.
    pub trace: Option<String>,
}

impl Claims {
    /// Reads the claims from a call's headers; nothing when one is missing or malformed.
    pub fn read(metadata: &MetadataMap) -> Option<Self> {
        let text = |name: &str| metadata.get(name)?.to_str().ok().map(str::to_owned);
        let trace = text(TRACE).filter(|t| is_trace(t));
        Some(Self {
            agreement: text(AGREEMENT)?.parse().ok()?,
            // One more than allowed, so that the verifier can say that it is too long.
            grant: text(GRANT)?.split(' ').take(5).map(str::to_owned).collect(),
            binding: match metadata.get_bin(BINDING) {
                None => None,
                Some(proof) => Some(proof.to_bytes().ok()?.to_vec()),
            },
            // One that cannot be read must not pass for "no purpose stated"
            // (spec/5-data-plane.md#D-120).
            purpose: match metadata.get(PURPOSE) {
                None => None,
                Some(stated) => Some(stated.to_str().ok()?.to_owned()),
            },
            trace,
        })
    }
}

/// Who a call on this listener comes from, as far as the handshake tells.
pub fn connection(request: &Request<()>) -> Option<Caller> {
    request.extensions().get::<Option<Caller>>()?.clone()
}

/// Sixteen hex digits.
pub(super) fn is_trace(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

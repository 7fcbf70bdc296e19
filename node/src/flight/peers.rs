//! The peer listener: partners' nodes, over mutual TLS.

use std::sync::Arc;

use comity_identity::Digest;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;

use super::accept::accept;
use super::serving::{judged, serve_on};
use super::{AGREEMENT, BINDING, Caller, GRANT, Gate, PURPOSE, TRACE, Workers};
use crate::query::Engine;

/// Serves partners on `listener` until `stop`, on the threads of `workers`. `tls` is TLS 1.3 with a client
/// certificate and without resumption (`spec/5-data-plane.md#D-102`).
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    gate: Arc<dyn Gate>,
    engine: Arc<Engine>,
    workers: Arc<Workers>,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let routes = Routes::new(judged(gate, engine));
    let accepted = accept(listener, Some(tls), &workers, stop.clone());
    serve_on(accepted, routes, stop).await
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

//! One service on both listeners, on every thread for connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use futures::future::try_join_all;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::{Request, Status};

use super::accept::Connection;
use super::answer::Answers;
use super::face::Face;
use super::service::SqlService;
use super::workers::Worker;
use super::{Gate, MAX_MESSAGE_BYTES, MAX_REQUEST_BYTES};
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

/// Serves the connections of each worker on it, until `stop`.
pub(super) async fn serve_on(
    accepted: Vec<(Arc<Worker>, ReceiverStream<io::Result<Connection>>)>,
    routes: Routes,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let serving = accepted.into_iter().map(|(worker, connections)| {
        let serving = server()
            .add_routes(routes.clone())
            .serve_with_incoming_shutdown(connections, stop.clone().cancelled_owned());
        let serving = AbortOnDropHandle::new(worker.spawn(serving));
        // The first that fails ends all: connections would still be sent there.
        async move { serving.await.map_err(|_| None)?.map_err(Some) }
    });
    match try_join_all(serving).await {
        Err(Some(error)) => Err(error),
        Err(None) if !stop.is_cancelled() => {
            tracing::error!("a listener ended on one of its threads");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The HTTP/2 limits of both listeners (A25).
fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(MAX_CALLS)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_max_pending_accept_reset_streams(Some(32))
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .max_connection_age(MAX_AGE)
        .max_connection_age_grace(MAX_AGE_GRACE)
}

/// Every call over `engine`, each of which `gate` has judged.
pub(super) fn judged(
    gate: Arc<dyn Gate>,
    engine: Arc<Engine>,
) -> InterceptedService<Answers, impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone> {
    let service = Arc::new(SqlService::new(engine));
    let all = FlightServiceServer::new(Face(Arc::clone(&service)))
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES + 64 * 1024);
    InterceptedService::new(Answers::new(service, all), move |request| {
        judge(&*gate, request)
    })
}

/// Lets the gate judge a call, and puts the session into it (`spec/5-data-plane.md#D-103`).
fn judge(gate: &dyn Gate, mut request: Request<()>) -> Result<Request<()>, Status> {
    let session = gate.admit(&request)?;
    request.extensions_mut().insert(session);
    Ok(request)
}

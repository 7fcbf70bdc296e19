//! `POST /api/test-results`: where a pipeline publishes what
//! `datacontract test` found, without a tool of ours.
//!
//! On the admin API's loopback port, with a token of its own that opens
//! nothing else. The command sends no header to hosts that it does not know, so
//! the token may stand in the path; a pipeline that sets `ENTROPY_DATA_HOST`
//! and its key to this node sends it as `x-api-key`. A pipeline on another
//! machine comes through a tunnel, as for the rest of the port: there is no
//! TLS here that could keep the token.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::server::{host_is_loopback, refuse};
use crate::measure::MAX_RUN_BYTES;
use crate::node::Node;

/// The paths of this door; they answer to the results token alone.
pub(super) fn routes(node: Arc<Node>) -> Router {
    Router::new()
        .route("/api/test-results", post(with_header))
        .route("/api/test-results/{token}", post(with_path))
        .layer(DefaultBodyLimit::max(MAX_RUN_BYTES))
        .with_state(node)
}

async fn with_header(State(node): State<Arc<Node>>, headers: HeaderMap, body: Bytes) -> Response {
    let token = headers.get("x-api-key").and_then(|v| v.to_str().ok());
    take(node, token.map(str::to_owned), headers, body).await
}

async fn with_path(
    State(node): State<Arc<Node>>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    take(node, Some(token), headers, body).await
}

async fn take(node: Arc<Node>, token: Option<String>, headers: HeaderMap, body: Bytes) -> Response {
    // A35: as for the rest of the port, no browser page comes in.
    if headers.contains_key(header::ORIGIN) || !host_is_loopback(&headers) {
        return refuse(
            StatusCode::FORBIDDEN,
            "foreign-origin",
            "this API is not for browsers",
        );
    }
    if !token.is_some_and(|token| node.takes_results(&token)) {
        return refuse(
            StatusCode::UNAUTHORIZED,
            "no-token",
            "publish to the URL that 'comity product results-url' prints",
        );
    }
    // Begun is finished, though the pipeline hangs up.
    let taken = tokio::spawn(async move { node.take_run(&body).await });
    match taken.await {
        // Anything but 200 fails the pipeline.
        Ok(Ok(taken)) => axum::Json(taken).into_response(),
        Ok(Err(failure)) => failure.into_response(),
        Err(_) => refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the call failed; the node's log says why",
        ),
    }
}

//! What the owner's policies say of a call of the admin API.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use super::server::refuse;
use crate::access::policy::CODE;
use crate::node::Node;

/// Whoever opened the Unix socket: this user, and so the owner.
pub(super) const OWNER: &str = "owner";

/// Whoever has the token, over TCP.
pub(super) const TOKEN: &str = "token";

/// Refuses a call that policy does not permit (`spec/7-policy.md#R-13`). The
/// health check tells nothing and must answer whatever policies say: what
/// restarts nodes relies on it.
pub(super) async fn judge(
    State((node, role)): State<(Arc<Node>, &'static str)>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("unknown", MatchedPath::as_str);
    if path != "/healthz" {
        let call = format!("{} {path}", request.method());
        if let Err(why) = node.permit_call(role, &call) {
            tracing::warn!(call, role, reason = why.reason, "refused by policy");
            let message =
                "a policy of this node does not permit the call; the node's log says which one";
            return refuse(StatusCode::FORBIDDEN, CODE, message);
        }
    }
    next.run(request).await
}

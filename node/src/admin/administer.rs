//! What the owner's policies say of a call of the admin API.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::server::refuse;
use crate::access::policy::CODE;
use crate::clock;
use crate::ledger::{OPERATOR, TokenScope};
use crate::node::Node;

/// Whoever opened the Unix socket: this user, and so the owner.
pub(super) const OWNER: &str = "owner";

/// Whoever has the token, over TCP.
pub(super) const TOKEN: &str = "token";

/// A member who calls over TCP, by a token that is for it.
#[derive(Clone, Debug)]
pub(super) struct ByMember {
    /// The role that policies see: the token's scope.
    role: &'static str,
    /// The token's id, as the journal names who acted.
    token: String,
}

/// Who calls, as the journal names whoever acted: the operator, or a member's token.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) String);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let by = parts.extensions.get::<ByMember>();
        Ok(Self(by.map_or_else(
            || OPERATOR.to_owned(),
            |by| format!("token {}", by.token),
        )))
    }
}

/// As what the caller comes, for policies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Role(pub(super) &'static str);

impl<S: Sync> FromRequestParts<S> for Role {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Put there by the judge of every call; without one it is nobody's.
        let role = parts.extensions.get::<Self>().copied();
        Ok(role.unwrap_or(Self("unknown")))
    }
}

/// The member whose token this is, or the refusal (`spec/5-data-plane.md#D-201`):
/// a token for observing makes no call that could change something, and one for
/// queries none at all.
pub(super) fn member(node: &Node, token: &str, method: &Method) -> Result<ByMember, Box<Response>> {
    use TokenScope::{Administer, Observe};
    let refused = |status, code, message| Err(Box::new(refuse(status, code, message)));
    let (scopes, role): (&[_], _) = match (node.members().scope(token), method) {
        (Some(Administer), _) => (&[Administer], "administer"),
        (Some(Observe), &Method::GET) => (&[Observe], "observe"),
        (Some(Observe), _) => {
            let message =
                "the token only reads; a member's token with '--scope administer' does more";
            return refused(StatusCode::FORBIDDEN, "read-only", message);
        }
        _ => (&[], ""),
    };
    match node.members().local(token, scopes, clock::now()) {
        Ok(member) => Ok(ByMember {
            role,
            token: member.token_id().unwrap_or_default().to_owned(),
        }),
        Err(why) => {
            tracing::info!(%why, "no call of the admin API");
            refused(
                StatusCode::UNAUTHORIZED,
                "no-token",
                "send the token of HOME/admin.token, or a member's for this, as 'Authorization: Bearer …'",
            )
        }
    }
}

/// Refuses a call that policy does not permit (`spec/7-policy.md#R-13`). The
/// health check tells nothing and must answer whatever policies say: what
/// restarts nodes relies on it.
pub(super) async fn judge(
    State((node, role)): State<(Arc<Node>, &'static str)>,
    mut request: Request,
    next: Next,
) -> Response {
    let by = request.extensions().get::<ByMember>().cloned();
    let role = by.as_ref().map_or(role, |by| by.role);
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
        // Whose act it was: the records that follow do not say
        // (`spec/5-data-plane.md#D-204`).
        if let Some(by) = by.filter(|_| request.method() != Method::GET)
            && let Err(failure) = node.called_by_token(&by.token, &call).await
        {
            return failure.into_response();
        }
    }
    request.extensions_mut().insert(Role(role));
    next.run(request).await
}

//! The admin API's server: a Unix socket for this user, loopback TCP with a token.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path as UrlPath, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use comity_identity::Digest;
use comity_protocol::product::Descriptor;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use super::administer::{Caller, Role};
use super::{administer, api, results};
use crate::access::Wanted;
use crate::access::policy::Explanation;
use crate::audit::Bundle;
use crate::failure::{Failure, Fault};
use crate::ledger::OPERATOR;
use crate::node::Node;

/// The most bytes of a request: an invitation's text or a filter file.
const MAX_BODY_BYTES: usize = 512 * 1024;

type Answer<T> = Result<Json<T>, Failure>;

/// Binds the Unix socket. A socket left by a dead node is replaced; the
/// journal's lock already proves that no other node runs on this home.
pub fn bind_socket(path: &Path) -> Result<UnixListener, Failure> {
    // Linux's room for a socket's path, with its closing zero byte.
    const MAX_PATH: usize = 107;
    let refused =
        |e: std::io::Error| Failure::own("admin-socket", format!("{}: {e}", path.display()));
    if path.as_os_str().len() > MAX_PATH {
        let message = format!(
            "{}: a socket's path has at most {MAX_PATH} bytes",
            path.display()
        );
        return Err(Failure::own("admin-socket", message).next(
            "name a folder with a shorter path with --home, or a shorter 'socket' under [admin]",
        ));
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(refused(e)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(refused)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(refused)?;
    Ok(listener)
}

/// Serves the Unix socket until `stop`: whoever may open the socket is the owner.
pub async fn serve_socket(listener: UnixListener, node: Arc<Node>, stop: CancellationToken) {
    let served = axum::serve(listener, routes(node, administer::OWNER))
        .with_graceful_shutdown(async move { stop.cancelled().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the admin socket ended");
    }
}

/// Serves loopback TCP until `stop`: every call but the health check needs the token.
pub async fn serve_tcp(
    listener: TcpListener,
    node: Arc<Node>,
    token: String,
    stop: CancellationToken,
) {
    let guard = Arc::new(Guard {
        token: Digest::of(token.as_bytes()),
        node: Arc::clone(&node),
    });
    let app = routes(Arc::clone(&node), administer::TOKEN)
        .layer(middleware::from_fn_with_state(guard, authorize))
        .merge(results::routes(node));
    let served =
        axum::serve(listener, app).with_graceful_shutdown(async move { stop.cancelled().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the admin listener ended");
    }
}

/// Every call of the API but the results', for whoever has `role`.
fn routes(node: Arc<Node>, role: &'static str) -> Router {
    let judged = (Arc::clone(&node), role);
    Router::new()
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .route("/v1/invitations", post(invite))
        .route("/v1/join", post(join))
        .route("/v1/products", get(products).post(publish))
        .route("/v1/products/{partner}/{product}", get(show))
        .route(
            "/v1/products/{partner}/{product}/descriptor",
            get(descriptor),
        )
        .route(
            "/v1/products/{partner}/{product}/measurements",
            get(measurements),
        )
        .route("/v1/measurements", post(measure))
        .route("/v1/results-url", get(results_url))
        .route("/v1/deprecations", post(deprecate))
        .route("/v1/retirements", post(retire))
        .route("/v1/search", post(search))
        .route("/v1/requests", get(requests).post(request))
        .route("/v1/requests/{id}/approve", post(approve))
        .route("/v1/requests/{id}/counter", post(counter))
        .route("/v1/requests/{id}/decline", post(decline))
        .route("/v1/agreements", get(agreements))
        .route("/v1/agreements/{id}/evidence", get(evidence))
        .route("/v1/receipts", get(receipts))
        .route("/v1/receipts/accept", post(accept_dispute))
        .route("/v1/agreements/{id}/revoke", post(revoke))
        .route("/v1/agreements/{id}/amend", post(amend))
        .route("/v1/agreements/{id}/end", post(end))
        .route("/v1/revocations", post(take_back))
        .route("/v1/grants", get(live_grants).post(issue_grant))
        .route("/v1/grants/{jti}/renew", post(renew_grant))
        .route("/v1/members", get(members).post(add_member))
        .route("/v1/members/remove", post(remove_member))
        .route("/v1/members/tokens", post(give_token))
        .route("/v1/members/tokens/end", post(end_token))
        .route("/v1/members/resolve", post(resolve_member))
        .route("/v1/policy", get(policy))
        .route("/v1/policy/explain", post(explain_policy))
        .fallback(nothing_here)
        .layer(middleware::from_fn_with_state(judged, administer::judge))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(to_the_end))
        .with_state(node)
}

/// A step that was begun is finished though its caller hangs up (Ctrl-C, a time
/// limit): one that stopped between the journal and the memory that follows it
/// would leave the node saying something else than it wrote down.
async fn to_the_end(request: Request, next: Next) -> Response {
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "a call of the admin API panicked");
            let message = "the call failed; the node's log says why";
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
        }
    }
}

struct Guard {
    token: Digest,
    node: Arc<Node>,
}

/// A35: a browser page on this machine must not drive the node. There are no
/// cookies, the token is a header that a foreign page cannot set without a
/// preflight, and a request with a foreign Host or any Origin is refused.
async fn authorize(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) || !host_is_loopback(headers) {
        return refuse(
            StatusCode::FORBIDDEN,
            "foreign-origin",
            "this API is not for browsers",
        );
    }
    if request.uri().path() != "/healthz" {
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.strip_prefix("Bearer "));
        // Equal hashes, not equal texts: the comparison's timing says nothing about the token.
        if token.map(|t| Digest::of(t.as_bytes())) != Some(guard.token) {
            match administer::member(&guard.node, token.unwrap_or_default(), request.method()) {
                Ok(by) => drop(request.extensions_mut().insert(by)),
                Err(refusal) => return *refusal,
            }
        }
    }
    next.run(request).await
}

pub(super) fn host_is_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|h| h.to_str().ok()) else {
        return false;
    };
    let name = match host.strip_suffix(']') {
        Some(_) => host, // an IPv6 address without a port
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

pub(super) fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    let failure = api::Failure {
        code: code.to_owned(),
        message: message.to_owned(),
        next: None,
    };
    (status, Json(failure)).into_response()
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.fault() {
            Fault::Caller => StatusCode::BAD_REQUEST,
            Fault::Unknown => StatusCode::NOT_FOUND,
            Fault::Conflict => StatusCode::CONFLICT,
            Fault::Partner => StatusCode::BAD_GATEWAY,
            Fault::Own => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(self.to_api())).into_response()
    }
}

async fn nothing_here() -> Response {
    refuse(
        StatusCode::NOT_FOUND,
        "unknown-path",
        "the admin API has no such path",
    )
}

async fn healthz(State(node): State<Arc<Node>>) -> Response {
    match node.health() {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics(State(node): State<Arc<Node>>) -> Response {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match node.metrics() {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(failure) => failure.into_response(),
    }
}

async fn status(State(node): State<Arc<Node>>) -> Answer<api::Status> {
    Ok(Json(node.status().await?))
}

async fn invite(
    State(node): State<Arc<Node>>,
    Json(ask): Json<api::Invite>,
) -> Answer<api::Invitation> {
    Ok(Json(node.invite(ask).await?))
}

async fn join(State(node): State<Arc<Node>>, Json(ask): Json<api::Join>) -> Answer<api::Joined> {
    Ok(Json(node.join(ask).await?))
}

async fn publish(
    State(node): State<Arc<Node>>,
    Json(ask): Json<api::Publish>,
) -> Answer<api::Published> {
    Ok(Json(node.publish(ask).await?))
}

async fn products(State(node): State<Arc<Node>>) -> Answer<Vec<api::Product>> {
    Ok(Json(node.own_products()))
}

async fn deprecate(
    State(node): State<Arc<Node>>,
    Json(ask): Json<api::Deprecate>,
) -> Answer<api::Product> {
    Ok(Json(node.deprecate(ask).await?))
}

async fn retire(
    State(node): State<Arc<Node>>,
    Json(ask): Json<api::Retire>,
) -> Answer<api::Product> {
    Ok(Json(node.retire(ask).await?))
}

async fn descriptor(
    State(node): State<Arc<Node>>,
    UrlPath((partner, product)): UrlPath<(String, String)>,
) -> Answer<Descriptor> {
    Ok(Json(node.descriptor(&partner, &product)?))
}

async fn show(
    State(node): State<Arc<Node>>,
    UrlPath((partner, product)): UrlPath<(String, String)>,
) -> Answer<api::Product> {
    Ok(Json(node.show(&partner, &product)?))
}

async fn measurements(
    State(node): State<Arc<Node>>,
    UrlPath((partner, product)): UrlPath<(String, String)>,
) -> Answer<Vec<api::Measurement>> {
    Ok(Json(node.measurements(&partner, &product)?))
}

async fn measure(
    State(node): State<Arc<Node>>,
    Json(ask): Json<api::Measure>,
) -> Answer<api::JustMeasured> {
    Ok(Json(node.measure(ask).await?))
}

async fn results_url(State(node): State<Arc<Node>>) -> Json<api::ResultsUrl> {
    Json(node.results_url())
}

async fn search(
    State(node): State<Arc<Node>>,
    Json(words): Json<String>,
) -> Answer<Vec<api::Product>> {
    Ok(Json(node.search(&words)))
}

async fn requests(State(node): State<Arc<Node>>) -> Answer<Vec<api::Negotiation>> {
    Ok(Json(node.negotiations().list().await))
}

async fn request(
    State(node): State<Arc<Node>>,
    Json(ask): Json<api::Ask>,
) -> Answer<api::Negotiation> {
    Ok(Json(node.negotiations().ask(ask).await?))
}

async fn approve(
    State(node): State<Arc<Node>>,
    Caller(by): Caller,
    UrlPath(id): UrlPath<String>,
    Json(approve): Json<api::Approve>,
) -> Answer<api::Negotiation> {
    let negotiations = node.negotiations();
    Ok(Json(negotiations.approve(&id, &approve, &by).await?))
}

async fn counter(
    State(node): State<Arc<Node>>,
    Caller(by): Caller,
    UrlPath(id): UrlPath<String>,
    Json(counter): Json<api::Counter>,
) -> Answer<api::Negotiation> {
    Ok(Json(node.negotiations().counter(&id, counter, &by).await?))
}

async fn decline(
    State(node): State<Arc<Node>>,
    UrlPath(id): UrlPath<String>,
    Json(decline): Json<api::Decline>,
) -> Answer<api::Negotiation> {
    Ok(Json(node.negotiations().decline(&id, &decline.note).await?))
}

async fn agreements(State(node): State<Arc<Node>>) -> Answer<Vec<api::Agreement>> {
    Ok(Json(node.agreements().list()))
}

async fn receipts(State(node): State<Arc<Node>>) -> Answer<Vec<api::Receipts>> {
    Ok(Json(node.receipts()))
}

async fn accept_dispute(
    State(node): State<Arc<Node>>,
    Caller(by): Caller,
    Json(ask): Json<api::AcceptDispute>,
) -> Answer<api::Receipts> {
    Ok(Json(node.accept_dispute(ask, by).await?))
}

async fn evidence(
    State(node): State<Arc<Node>>,
    Role(role): Role,
    Caller(by): Caller,
    UrlPath(id): UrlPath<String>,
) -> Answer<Bundle> {
    Ok(Json(node.export_evidence(&id, role, by).await?))
}

async fn revoke(
    State(node): State<Arc<Node>>,
    UrlPath(id): UrlPath<String>,
) -> Answer<api::Agreement> {
    Ok(Json(node.revoke(&id).await?))
}

async fn amend(
    State(node): State<Arc<Node>>,
    Caller(by): Caller,
    UrlPath(id): UrlPath<String>,
    Json(amend): Json<api::Amend>,
) -> Answer<api::Negotiation> {
    Ok(Json(node.negotiations().amend(&id, amend, &by).await?))
}

async fn end(
    State(node): State<Arc<Node>>,
    Caller(by): Caller,
    UrlPath(id): UrlPath<String>,
    Json(end): Json<api::End>,
) -> Answer<api::Negotiation> {
    let negotiations = node.negotiations();
    Ok(Json(negotiations.end_by_consent(&id, end, &by).await?))
}

async fn policy(State(node): State<Arc<Node>>) -> Json<api::PolicyStatus> {
    Json(node.policies().status())
}

async fn explain_policy(
    State(node): State<Arc<Node>>,
    Json(ask): Json<api::ExplainPolicy>,
) -> Answer<Explanation> {
    Ok(Json(node.explain_policy(ask)?))
}

async fn members(State(node): State<Arc<Node>>) -> Json<Vec<api::Member>> {
    Json(node.list_members())
}

async fn add_member(
    State(node): State<Arc<Node>>,
    Caller(by): Caller,
    Json(ask): Json<api::AddMember>,
) -> Answer<api::MemberToken> {
    let (name, wanted) = wanted(ask, by);
    let (held, token) = node.members().add(&name, wanted).await?;
    Ok(Json(api::MemberToken::of(held, token)))
}

async fn give_token(
    State(node): State<Arc<Node>>,
    Caller(by): Caller,
    Json(ask): Json<api::AddMember>,
) -> Answer<api::MemberToken> {
    let (name, wanted) = wanted(ask, by);
    let (held, token) = node.members().give_token(&name, wanted).await?;
    Ok(Json(api::MemberToken::of(held, token)))
}

fn wanted(ask: api::AddMember, by: String) -> (String, Wanted) {
    let wanted = Wanted {
        scope: ask.scope,
        roles: ask.roles,
        expires: ask.expires,
        by: Some(by).filter(|by| by != OPERATOR),
    };
    (ask.name, wanted)
}

async fn end_token(
    State(node): State<Arc<Node>>,
    Json(ask): Json<api::EndToken>,
) -> Answer<serde_json::Value> {
    node.members().end_token(&ask.name, &ask.token).await?;
    Ok(Json(serde_json::json!({})))
}

async fn resolve_member(
    State(node): State<Arc<Node>>,
    Json(ask): Json<api::ResolveMember>,
) -> Answer<Vec<api::ResolvedMember>> {
    Ok(Json(node.resolve_member(ask).await?))
}

async fn remove_member(
    State(node): State<Arc<Node>>,
    Json(ask): Json<api::RemoveMember>,
) -> Answer<serde_json::Value> {
    let id = ask.name;
    let what = api::Revocable::Member;
    node.take_back(api::TakeBack { what, id }).await?;
    Ok(Json(serde_json::json!({})))
}

async fn take_back(
    State(node): State<Arc<Node>>,
    Json(ask): Json<api::TakeBack>,
) -> Answer<api::TakenBack> {
    Ok(Json(node.take_back(ask).await?))
}

async fn live_grants(State(node): State<Arc<Node>>) -> Json<Vec<api::LiveGrant>> {
    Json(node.live_grants())
}

async fn issue_grant(
    State(node): State<Arc<Node>>,
    Json(ask): Json<api::IssueGrant>,
) -> Answer<api::GrantFile> {
    Ok(Json(node.issue_grant(ask).await?))
}

async fn renew_grant(
    State(node): State<Arc<Node>>,
    UrlPath(jti): UrlPath<String>,
) -> Answer<api::GrantFile> {
    Ok(Json(node.renew_grant(&jti).await?))
}

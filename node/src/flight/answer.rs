//! Answers to `DoGet` that go from the arrays to the connection without copies:
//! gRPC's own codec would put each message together in a buffer first.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow_flight::Ticket;
use arrow_flight::flight_service_server::FlightServiceServer;
use arrow_flight::sql::{Any, Command};
use bytes::{Buf as _, Bytes};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _};
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::Frame;
use prost::Message as _;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::{Code, Request, Status};
use tower::Service;

use super::face::Face;
use super::message::{Message, PREFIX};
use super::service::{Late, Outgoing, SqlService};
use super::session::{Session, status};
use super::{MISSING, SNAPSHOT};

/// The path of the call.
pub(super) const DO_GET: &str = "/arrow.flight.protocol.FlightService/DoGet";

/// The most bytes of a ticket: ours are handles, metadata commands are short, and
/// a statement that is its own ticket has a bound of its own.
const MAX_TICKET_BYTES: usize = crate::query::MAX_BYTES + 4 * 1024;

const MISSING_NAME: http::HeaderName = http::HeaderName::from_static(MISSING);
const SNAPSHOT_NAME: http::HeaderName = http::HeaderName::from_static(SNAPSHOT);

/// What kind of body a call and an answer have.
pub(super) const GRPC: http::HeaderValue = http::HeaderValue::from_static("application/grpc");

/// In front of the service that knows every call. It has to stand behind what
/// judges calls (`spec/5-data-plane.md#D-103`): a call has its session already.
///
/// Whatever is not plainly a statement's ticket goes on to `all`, which answers
/// it, or says what is wrong with it.
#[derive(Clone)]
pub(super) struct Answers {
    all: FlightServiceServer<Face>,
    service: Arc<SqlService>,
}

impl Answers {
    pub(super) fn new(service: Arc<SqlService>, all: FlightServiceServer<Face>) -> Self {
        Self { all, service }
    }
}

impl NamedService for Answers {
    const NAME: &'static str = <FlightServiceServer<Face> as NamedService>::NAME;
}

impl Service<http::Request<Body>> for Answers {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Self { mut all, service } = self.clone();
        async move {
            if request.uri().path() != DO_GET {
                return all.call(request).await;
            }
            let (parts, body) = request.into_parts();
            let body = match Limited::new(body, MAX_TICKET_BYTES).collect().await {
                Ok(body) => body.to_bytes(),
                Err(_) => return Ok(too_long(&parts.extensions).into_http()),
            };
            match wanted(&body) {
                Some(wanted) => {
                    let metadata = MetadataMap::from_headers(parts.headers);
                    let request = Request::from_parts(metadata, parts.extensions, ());
                    let answer = service.answer(&request, wanted).await;
                    Ok(answer.map_or_else(Status::into_http, written))
                }
                None => {
                    let body = Body::new(Full::new(body));
                    all.call(http::Request::from_parts(parts, body)).await
                }
            }
        }
        .boxed()
    }
}

/// A ticket that is longer than any statement, or that broke off.
fn too_long(extensions: &http::Extensions) -> Status {
    const WHY: &str = "the ticket cannot be read whole";
    let session = extensions.get::<Session>();
    if let Some(session) = session {
        session.recorder.refused("too-large", WHY);
    }
    let trace = session.map_or("", |session| session.trace.as_str());
    status(Code::ResourceExhausted, "too-large", WHY, trace)
}

/// What a ticket asks for.
pub(super) enum Wanted {
    /// What the statement gives that this handle stands for.
    Ticket(Bytes),
    /// The same of a prepared statement.
    Prepared(Bytes),
    /// What this statement gives (`spec/5-data-plane.md#D-231`).
    Statement(String),
}

/// The statement that is asked for, if that is all that `body` says.
fn wanted(body: &Bytes) -> Option<Wanted> {
    let mut message = body.clone();
    if message.len() < PREFIX || message.get_u8() != 0 {
        return None;
    }
    let len = message.get_u32();
    if message.len() != len as usize {
        return None;
    }
    let ticket = Ticket::decode(message).ok()?;
    let any = Any::decode(ticket.ticket).ok()?;
    match Command::try_from(any).ok()? {
        Command::TicketStatementQuery(query) => Some(Wanted::Ticket(query.statement_handle)),
        Command::CommandPreparedStatementQuery(query) => {
            Some(Wanted::Prepared(query.prepared_statement_handle))
        }
        // A transaction is refused by who knows all calls.
        Command::CommandStatementQuery(query) if query.transaction_id.is_none() => {
            Some(Wanted::Statement(query.query))
        }
        _ => None,
    }
}

fn written(outgoing: Outgoing) -> http::Response<Body> {
    let Outgoing {
        headers,
        messages,
        late,
    } = outgoing;
    let frames = Frames {
        messages,
        late,
        parts: VecDeque::new(),
        ended: false,
    };
    let mut response = http::Response::new(Body::new(StreamBody::new(frames)));
    *response.headers_mut() = headers.into_headers();
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, GRPC);
    response
}

/// What goes over the connection: the parts of the messages, and how it ended.
struct Frames {
    messages: BoxStream<'static, Result<Message, Status>>,
    /// What is known at the end.
    late: Option<Late>,
    parts: VecDeque<Bytes>,
    ended: bool,
}

impl Stream for Frames {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(part) = self.parts.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(self.messages.poll_next_unpin(cx)) {
                Some(Ok(message)) => self.parts = message.into_frames(),
                end => {
                    self.ended = true;
                    let status = end.and_then(Result::err);
                    let status = status.unwrap_or_else(|| Status::ok(""));
                    let mut trailers = trailers(status);
                    trailers.extend(self.late.iter().flat_map(told));
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
            }
        }
    }
}

/// What is known at the end, as headers.
fn told(late: &Late) -> impl Iterator<Item = (http::HeaderName, http::HeaderValue)> {
    // Aliases and codes are of letters, digits and dashes.
    let missing = late.missing().map(|missing| {
        let all = missing.all();
        let all = all.iter().map(|m| format!("{} {}", m.partner, m.code));
        all.collect::<Vec<_>>().join(",")
    });
    let missing = missing.filter(|all| !all.is_empty());
    [(MISSING_NAME, missing), (SNAPSHOT_NAME, late.snapshot())]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?.parse().ok()?)))
}

fn trailers(status: Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // What cannot stand in a header is left out; the code always can.
    if let Err(unwritten) = status.add_header(&mut trailers) {
        trailers.clear();
        let code = http::HeaderValue::from(unwritten.code() as i32);
        trailers.insert("grpc-status", code);
    }
    trailers
}

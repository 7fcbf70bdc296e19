//! What one call may see, and who is told of it.

use std::sync::Arc;

use async_trait::async_trait;
use comity_identity::{Digest, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Status};

use super::tally::Moved;
use super::{CODE, RETRY_AFTER, TRACE};
use crate::ledger::Reserved;
use crate::query::{Prepared, QueryError, Snapshots, View};

/// Judges every call of a listener.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Gets ready to judge a call with these headers, where that takes time:
    /// fetches keys, writes down who is new. Decides nothing.
    async fn prepare(&self, _: &MetadataMap) {}

    /// What the call may see. It looks at the headers and at the connection,
    /// never at the message.
    fn admit(&self, request: &Request<()>) -> Result<Session, Denied>;
}

/// What one call may see. Only a [`Gate`] makes one.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who calls under what: a ticket is good for the same key only (A16).
    pub key: String,
    /// Every table that exists for this call.
    pub view: Arc<View>,
    /// Fires when the right to read is taken back: running streams wake and are cut (A30).
    pub stop: CancellationToken,
    /// Whether the right to read still stands; asked before every batch leaves.
    pub right: Arc<dyn Right>,
    /// Whether a member of this organization calls, and no partner.
    pub member: bool,
    /// How much may be read.
    pub allowance: Arc<dyn Allowance>,
    /// The trace id that stands in the logs of both nodes.
    pub trace: String,
    /// Who writes down what is served.
    pub recorder: Arc<dyn Recorder>,
    /// The token to hand back at a handshake; workbench only.
    pub token: Option<String>,
}

impl Session {
    /// What this caller may be told of why a statement is not computed at its sources.
    pub(super) fn computed_here<'a>(&self, prepared: &'a Prepared) -> &'a [String] {
        match self.member {
            true => prepared.kept(),
            false => &[],
        }
    }
}

/// The right to go on reading. A call is judged once, and its answer may stream
/// for an hour: what the judgement rested on may end before it does.
pub trait Right: Send + Sync + std::fmt::Debug {
    /// Gives the stable code when the right has ended. Called for every batch,
    /// so it must be cheap when nothing changed.
    fn check(&self) -> Result<(), &'static str>;

    /// Changes whenever [`Right::check`] may begin to answer otherwise: an answer
    /// that waits for a slow source or a slow reader is woken by it
    /// (`spec/5-data-plane.md#D-126`).
    fn changes(&self) -> Vec<watch::Receiver<u64>>;

    /// When [`Right::check`] begins to answer otherwise by itself, if it does:
    /// an answer that waits is woken then (`spec/5-data-plane.md#D-203`).
    fn until(&self) -> Option<Timestamp> {
        None
    }
}

/// How much may be read. What is taken is shared by all who read under the same
/// agreement (`spec/5-data-plane.md#D-130`).
pub trait Allowance: Send + Sync + std::fmt::Debug {
    /// One more answer begins; whoever was allowed calls [`Allowance::end`] once.
    fn begin(&self) -> Result<(), OverLimit>;
    /// Up to how many rows and bytes of an answer are to be written down before
    /// it has so many; nothing where no quota counts them.
    fn reserve(&self, _rows: u64, _bytes: u64) -> Option<Reserved> {
        None
    }
    /// Whether one answer alone may have so much and no more: then it is not given
    /// in parts, each of which would have as much (`spec/5-data-plane.md#D-232`).
    fn limits_each(&self) -> bool {
        false
    }
    /// Takes rows and bytes before they leave, beyond those `before` of the same answer.
    fn take(&self, before: (u64, u64), rows: u64, bytes: u64) -> Result<(), OverLimit>;
    /// The answer has ended.
    fn end(&self);
}

/// More would be read than may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// The stable code.
    pub code: &'static str,
    /// After how many seconds it may be tried again; nothing when the same
    /// query will never be allowed.
    pub retry_after: Option<u64>,
}

/// No limit: an organization's own members read their own data.
#[derive(Clone, Copy, Debug)]
pub struct Unlimited;

impl Allowance for Unlimited {
    fn begin(&self) -> Result<(), OverLimit> {
        Ok(())
    }

    fn take(&self, _: (u64, u64), _: u64, _: u64) -> Result<(), OverLimit> {
        Ok(())
    }

    fn end(&self) {}
}

/// An answer that was allowed to begin.
#[derive(Debug)]
pub(super) struct Running(Arc<dyn Allowance>);

impl Running {
    /// Begins an answer.
    pub(super) fn begin(session: &Session) -> Result<Self, Status> {
        let allowance = Arc::clone(&session.allowance);
        match allowance.begin() {
            Ok(()) => Ok(Self(allowance)),
            Err(over) => {
                session
                    .recorder
                    .refused(over.code, "more than the agreement permits");
                Err(over_limit(over, &session.trace))
            }
        }
    }

    /// See [`Allowance::reserve`].
    pub(super) fn reserve(&self, rows: u64, bytes: u64) -> Option<Reserved> {
        self.0.reserve(rows, bytes)
    }

    /// See [`Allowance::limits_each`].
    pub(super) fn limits_each(&self) -> bool {
        self.0.limits_each()
    }

    /// See [`Allowance::take`].
    pub(super) fn take(&self, before: (u64, u64), rows: u64, bytes: u64) -> Result<(), OverLimit> {
        self.0.take(before, rows, bytes)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A refusal over a limit, with the seconds after which it may be tried again.
pub(super) fn over_limit(over: OverLimit, trace: &str) -> Status {
    let message = match over.code {
        "too-many-rows" => "the agreement permits fewer rows in one query",
        "too-many-bytes" => "the agreement permits fewer bytes in one query",
        "closed" => "the agreement permits no reading at this hour",
        _ => "what the agreement permits is used up for now",
    };
    let text = match over.retry_after {
        Some(seconds) => format!("{message}; try again in {seconds} s"),
        None => message.to_owned(),
    };
    let code = match over.retry_after {
        Some(_) => Code::ResourceExhausted,
        None => Code::PermissionDenied,
    };
    let mut status = status(code, over.code, &text, trace);
    if let Some(Ok(value)) = over.retry_after.map(|s| s.to_string().parse()) {
        status.metadata_mut().insert(RETRY_AFTER, value);
    }
    status
}

/// What is served.
#[derive(Clone, Debug)]
pub struct Served {
    /// The digest of the statement's text and values.
    pub query: Digest,
    /// The digest of its plan.
    pub plan: Digest,
    /// The states of the sources that are read, once that is known.
    pub snapshots: Arc<Snapshots>,
}

/// Writes down what is served. The first byte leaves only after `started` returned.
#[async_trait]
pub trait Recorder: Send + Sync + std::fmt::Debug {
    /// A query is about to be served, and so much of its answer may leave before
    /// more is written down; again, when more is to.
    async fn started(&self, served: &Served, reserved: Option<Reserved>) -> Result<(), Denied>;
    /// A query was refused before it was served, with this stable code, and why.
    fn refused(&self, code: &'static str, why: &str);
    /// What whoever reads it may call the states of the sources that it reads
    /// (`spec/5-data-plane.md#D-233`).
    fn snapshot(&self, _: &Served) -> Option<String> {
        None
    }
    /// Its stream ended after this had `moved`; `code` says why when it ended early.
    fn ended(&self, served: &Served, moved: Moved, code: Option<&'static str>);
}

/// A refusal: a stable code and a trace id. The reason is in the owner's log
/// (`spec/5-data-plane.md#D-118`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The stable code.
    pub code: &'static str,
    /// What the caller may read.
    pub message: String,
    /// The trace id.
    pub trace: String,
}

impl Denied {
    /// A refusal with a stable code.
    pub fn new(code: &'static str, message: impl Into<String>, trace: &str) -> Self {
        Self {
            code,
            message: message.into(),
            trace: trace.to_owned(),
        }
    }
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        let code = match denied.code {
            "unauthenticated" => Code::Unauthenticated,
            "unavailable" => Code::Unavailable,
            "expired-ticket" => Code::NotFound,
            _ => Code::PermissionDenied,
        };
        status(code, denied.code, &denied.message, &denied.trace)
    }
}

/// The status of a failed query: the closed vocabulary of [`QueryError`].
pub(super) fn query_status(error: &QueryError, trace: &str) -> Status {
    if let Some(detail) = error.owner_detail() {
        tracing::info!(trace, code = error.code(), detail, "a query failed");
    }
    let code = match error.code() {
        "bad-sql" => Code::InvalidArgument,
        "not-permitted" | "partner-refused" | "policy" => Code::PermissionDenied,
        "too-large" | "budget" | "busy" => Code::ResourceExhausted,
        "source-unavailable" | "partner-unavailable" => Code::Unavailable,
        "terms-mismatch" => Code::FailedPrecondition,
        _ => Code::Internal,
    };
    let mut status = status(code, error.code(), &error.to_string(), trace);
    if error.code() == "busy" {
        let after = MetadataValue::from_static(BUSY_RETRY_SECONDS);
        status.metadata_mut().insert(RETRY_AFTER, after);
    }
    status
}

/// After how many seconds a busy node is asked again: it has waited itself.
const BUSY_RETRY_SECONDS: &str = "5";

/// Error texts stay short (`spec/5-data-plane.md#D-117`): old drivers have a small inbound header limit.
const MAX_STATUS_CHARS: usize = 600;

pub(super) fn status(code: Code, stable: &str, message: &str, trace: &str) -> Status {
    let text: String = format!("{stable}: {message}")
        .chars()
        .take(MAX_STATUS_CHARS)
        .collect();
    let text = if trace.is_empty() {
        text
    } else {
        format!("{text} (trace {trace})")
    };
    let mut status = Status::new(code, text);
    for (name, value) in [(CODE, stable), (TRACE, trace)] {
        if let Ok(value) = value.parse() {
            status.metadata_mut().insert(name, value);
        }
    }
    status
}

/// The session that the gate put into the request.
pub(super) fn session<T>(request: &Request<T>) -> Result<Session, Status> {
    request
        .extensions()
        .get::<Session>()
        .cloned()
        .ok_or_else(|| {
            status(
                Code::Unauthenticated,
                "unauthenticated",
                "the call was not judged",
                "",
            )
        })
}

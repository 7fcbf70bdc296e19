//! One question over a connection to a partner: from the statement to rows.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt as _};
use arrow_flight::{FlightData, Ticket};
use comity_identity::Signer;
use comity_protocol::receipt::TRACE_CHARS;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::tally::{Tallied, Tally};
use super::workers::Worker;
use super::{Asked, End, Moved, PeerChannel, SNAPSHOT, TRACE, incoming};

/// How long a partner may take to begin: to let the statement wait for its turn to
/// be planned and to be run, each of which may be a minute, and to plan it.
const BEGIN_TIME: Duration = Duration::from_secs(150);

/// Messages of an answer that are read before they are asked for. With the one
/// that waits for room each may have [`super::MAX_MESSAGE_BYTES`].
const AHEAD: usize = 2;

/// The most bytes of a name of states; ours is a digest.
const MAX_SNAPSHOT: usize = 256;

/// Told what came of one partner's answer.
pub trait Taker: Send + Sync + std::fmt::Debug {
    /// The answer with this trace ended. Called once at most, perhaps while a
    /// stream is dropped, where nothing can be awaited.
    fn took(&self, trace: String, moved: Moved, end: End);
}

/// An answer that has begun.
pub struct Answered {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub rows: BoxStream<'static, Result<RecordBatch, Status>>,
    /// What the partner calls the states of its sources, if it says so.
    pub snapshot: Option<String>,
}

impl PeerChannel {
    /// Asks, and gives the beginning of the answer; `holder` is the key
    /// that the grant names, and `taker` is told what came.
    ///
    /// # Errors
    /// The partner's refusal, or what is wrong with its answer.
    pub async fn ask(
        &self,
        asked: &Asked,
        holder: &dyn Signer,
        taker: &Arc<dyn Taker>,
    ) -> Result<Answered, Status> {
        let command = CommandStatementQuery {
            query: asked.sql.clone(),
            transaction_id: None,
        };
        // In one call: a schema beforehand is of no use to a node that planned with
        // the contract's, and the partner would plan twice (spec/5-data-plane.md#D-231).
        let ticket = Ticket::new(command.as_any().encode_to_vec());
        let get = self.request(ticket, asked, holder)?;
        let (headers, messages) = tokio::time::timeout(BEGIN_TIME, self.get(get))
            .await
            .map_err(|_| Status::deadline_exceeded("the partner did not begin in time"))??;
        let trace = trace_of(&headers, asked)?;
        let snapshot = snapshot_of(&headers)?;
        let taker = Arc::clone(taker);
        // Before anything is decoded: what counts is what is on the wire.
        let messages = Tallied::new(messages, Tally::hashing(), move |moved, end| {
            taker.took(trace, moved, end);
        });
        let checked = messages.map(|message| {
            let message = message.map_err(|status| FlightError::Tonic(Box::new(status)))?;
            let sound = incoming::check(&message).map(|()| message);
            sound.map_err(|why| FlightError::DecodeError(why.to_owned()))
        });
        let checked = ahead(self.worker(), checked);
        let mut rows = FlightRecordBatchStream::new_from_flight_data(checked);
        // The schema is the first message; the batch that may come with it is kept.
        let first = rows.next().await.transpose().map_err(from_flight)?;
        let schema = rows.schema().cloned();
        let schema = schema.ok_or_else(|| Status::internal("the partner sent no schema"))?;
        let rest = futures::stream::iter(first.map(Ok)).chain(rows);
        Ok(Answered {
            schema,
            rows: rest.map_err(from_flight).boxed(),
            snapshot,
        })
    }
}

/// What is read of `messages` on the thread of their connection, before somebody
/// asks for it: [`AHEAD`] messages at most.
fn ahead(
    worker: &Worker,
    mut messages: impl Stream<Item = Message> + Send + Unpin + 'static,
) -> impl Stream<Item = Message> + Send + Unpin + 'static {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let reading = worker.spawn(async move {
        while let Some(message) = messages.next().await {
            if sender.send(Some(message)).await.is_err() {
                return;
            }
        }
        // Said, and not seen in that the channel closes: that it does too when
        // the thread ends, and a part of an answer must not look like all of it.
        let _ = sender.send(None).await;
    });
    Ahead {
        receiver,
        _reading: AbortOnDropHandle::new(reading),
    }
}

type Message = Result<FlightData, FlightError>;

struct Ahead {
    receiver: mpsc::Receiver<Option<Message>>,
    /// Dropping it ends the call.
    _reading: AbortOnDropHandle<()>,
}

impl Stream for Ahead {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.receiver.poll_recv(cx).map(|message| {
            message.unwrap_or_else(|| {
                let stopped = Status::unavailable("the connection has ended");
                Some(Err(FlightError::Tonic(Box::new(stopped))))
            })
        })
    }
}

/// The trace of an answer: the sixteen digits that were asked with, and
/// sixteen of the provider's. Without it no receipt could be compared with what
/// came (`spec/5-data-plane.md#D-122`).
fn trace_of(headers: &MetadataMap, asked: &Asked) -> Result<String, Status> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let trace = headers.get(TRACE).and_then(|t| t.to_str().ok());
    let named = |t: &&str| {
        let own = asked.trace.to_ascii_lowercase();
        t.len() == TRACE_CHARS && t.bytes().all(lower) && t.starts_with(&own)
    };
    let trace = trace.filter(named).map(str::to_owned);
    trace.ok_or_else(|| Status::data_loss("the answer does not name its trace"))
}

/// What the partner calls the states of its sources.
fn snapshot_of(headers: &MetadataMap) -> Result<Option<String>, Status> {
    let Some(snapshot) = headers.get(SNAPSHOT) else {
        return Ok(None);
    };
    let snapshot = snapshot.to_str().ok().filter(|s| s.len() <= MAX_SNAPSHOT);
    let snapshot = snapshot.ok_or_else(|| Status::data_loss("the name of a state is none"))?;
    Ok(Some(snapshot.to_owned()))
}

fn from_flight(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        error => Status::internal(error.to_string()),
    }
}

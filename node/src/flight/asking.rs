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
use arrow_flight::{FlightData, FlightDescriptor, FlightInfo};
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
use super::{Asked, End, Moved, PeerChannel, TRACE, incoming};

/// How long a partner may take to plan.
const PLAN_TIME: Duration = Duration::from_secs(30);

/// Messages of an answer that are read before they are asked for. With the one
/// that waits for room each may have [`super::MAX_MESSAGE_BYTES`].
const AHEAD: usize = 2;

/// Told what came of one partner's answer.
pub trait Taker: Send + Sync + std::fmt::Debug {
    /// The answer with this trace ended. Called once at most, perhaps while a
    /// stream is dropped, where nothing can be awaited.
    fn took(&self, trace: String, moved: Moved, end: End);
}

impl PeerChannel {
    /// Asks, and gives the schema and the rows of the answer; `holder` is the key
    /// that the grant names, and `taker` is told what came.
    ///
    /// # Errors
    /// The partner's refusal, or what is wrong with its answer.
    pub async fn ask(
        &self,
        asked: &Asked,
        holder: &dyn Signer,
        taker: &Arc<dyn Taker>,
    ) -> Result<(SchemaRef, BoxStream<'static, Result<RecordBatch, Status>>), Status> {
        let command = CommandStatementQuery {
            query: asked.sql.clone(),
            transaction_id: None,
        };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let mut plan = self.request(descriptor, asked, holder)?;
        plan.set_timeout(PLAN_TIME);
        let info: FlightInfo = self.service().get_flight_info(plan).await?.into_inner();
        let ticket = info.endpoint.into_iter().next().and_then(|e| e.ticket);
        let ticket = ticket.ok_or_else(|| Status::internal("the partner gave no ticket"))?;
        let get = self.request(ticket, asked, holder)?;
        let (headers, messages) = self.get(get).await?;
        let trace = trace_of(&headers, asked)?;
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
        Ok((schema, rest.map_err(from_flight).boxed()))
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

fn from_flight(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        error => Status::internal(error.to_string()),
    }
}

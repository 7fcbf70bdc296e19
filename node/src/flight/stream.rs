//! From record batches to Flight messages: cut when rights end, counted as they leave.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Status};

use super::MAX_MESSAGE_BYTES;
use super::encode;
use super::leash::Leash;
use super::message::Message;
use super::session::{
    Denied, Recorder, Right, Running, Served, Session, over_limit, query_status, status,
};
use super::tally::{End, Tallied, Tally};
use super::tickets::Ticket;
use crate::ledger::Reserved;
use crate::query::{QueryError, row_bytes};

/// The size that messages are cut to. Larger ones are a little faster and
/// break clients with stock limits.
const TARGET_BYTES: usize = 2 * 1024 * 1024;

/// The Flight messages of `rows`, whose schema is `schema`.
pub(super) fn answer(
    session: &Session,
    (running, reserved): (Running, Option<Reserved>),
    (ticket, served): (&Ticket, Served),
    schema: SchemaRef,
    rows: SendableRecordBatchStream,
) -> BoxStream<'static, Result<Message, Status>> {
    let code = Arc::new(OnceLock::new());
    let recorder = Arc::clone(&session.recorder);
    let metered = Metered {
        rows: Leash::of(session, rows),
        pieces: VecDeque::new(),
        cancelled: Box::pin(ticket.ended.clone().cancelled_owned()),
        right: Arc::clone(&session.right),
        trace: session.trace.clone(),
        delivered: (0, 0),
        running,
        reserved,
        reserving: None,
        served: served.clone(),
        recorder: Arc::clone(&recorder),
        code: Arc::clone(&code),
        done: false,
    };
    // A partner counts what it receives; a member of ours needs no proof of it.
    let tally = match session.member {
        true => Tally::counting(),
        false => Tally::hashing(),
    };
    let messages = encode::messages(schema, metered);
    Tallied::new(messages, tally, move |moved, end| {
        let code = match end {
            End::Whole => None,
            End::Failed => Some(code.get().copied().unwrap_or("internal")),
            End::Dropped => Some("cancelled"),
        };
        recorder.ended(&served, moved, code);
    })
    .boxed()
}

type Reserving = BoxFuture<'static, Result<(), Denied>>;

/// Keeps within what may be read, and ends when rights end (`spec/5-data-plane.md#D-111`).
struct Metered {
    rows: Leash,
    /// What is left of the last batch. Every piece is judged when it leaves: a
    /// reader that is slow may take them long after they were computed (A30).
    pieces: VecDeque<RecordBatch>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    right: Arc<dyn Right>,
    trace: String,
    /// Rows and bytes so far.
    delivered: (u64, u64),
    running: Running,
    /// How much the journal says may leave.
    reserved: Option<Reserved>,
    /// More that is being written down.
    reserving: Option<(Reserved, Reserving)>,
    served: Served,
    recorder: Arc<dyn Recorder>,
    /// Why it ended early, for whoever counts behind the encoder.
    code: Arc<OnceLock<&'static str>>,
    done: bool,
}

impl Stream for Metered {
    type Item = Result<RecordBatch, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        if let Poll::Ready(code) = self.rows.poll_ended(cx) {
            let denied = Code::PermissionDenied;
            return self.cut(denied, code, "the right to read this has ended");
        }
        if self.cancelled.as_mut().poll(cx).is_ready() {
            return self.cut(Code::Cancelled, "cancelled", "the caller ended the query");
        }
        if let Some((more, reserving)) = &mut self.reserving {
            let more = *more;
            match reserving.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                // Fails closed: what cannot be charged after a crash does not leave.
                Poll::Ready(Err(denied)) => return self.end(denied.code, denied.into()),
                Poll::Ready(Ok(())) => {
                    (self.reserved, self.reserving) = (Some(more), None);
                }
            }
        }
        if let Some(piece) = self.pieces.pop_front() {
            return self.pass(piece, cx);
        }
        match self.rows.poll_batch(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.done = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(batch))) => {
                self.pieces = pieces(batch).into();
                match self.pieces.pop_front() {
                    Some(piece) => self.pass(piece, cx),
                    None => Poll::Ready(None),
                }
            }
            Poll::Ready(Some(Err(error))) => {
                let error = QueryError::of(&error);
                let status = query_status(&error, &self.trace);
                self.end(error.code(), status)
            }
        }
    }
}

/// What [`Metered`] gives.
type Next = Poll<Option<Result<RecordBatch, Status>>>;

impl Metered {
    /// Gives one message's rows away, if that is still permitted.
    fn pass(&mut self, piece: RecordBatch, cx: &mut Context<'_>) -> Next {
        if let Err(code) = self.right.check() {
            let denied = Code::PermissionDenied;
            return self.cut(denied, code, "the right to read this has ended");
        }
        let (rows, bytes) = (piece.num_rows() as u64, row_bytes(&piece) as u64);
        // A single row that is larger than any client takes.
        if rows == 1 && bytes > MAX_MESSAGE_BYTES as u64 {
            let message =
                "one row has more bytes than a message may have; select fewer or shorter columns";
            return self.cut(Code::ResourceExhausted, "too-large", message);
        }
        let (all_rows, all_bytes) = (self.delivered.0 + rows, self.delivered.1 + bytes);
        if self
            .reserved
            .is_some_and(|r| !r.covers(all_rows, all_bytes))
            && let Some(more) = self.running.reserve(all_rows, all_bytes)
        {
            let (recorder, served) = (Arc::clone(&self.recorder), self.served.clone());
            let reserving = async move { recorder.started(&served, Some(more)).await };
            self.reserving = Some((more, reserving.boxed()));
            self.pieces.push_front(piece);
            // It is polled at once; the piece leaves when it is written down.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Err(over) = self.running.take(self.delivered, rows, bytes) {
            let status = over_limit(over, &self.trace);
            return self.end(over.code, status);
        }
        self.delivered = (all_rows, all_bytes);
        Poll::Ready(Some(Ok(piece)))
    }

    fn cut(&mut self, grpc: Code, code: &'static str, message: &str) -> Next {
        let status = status(grpc, code, message, &self.trace);
        self.end(code, status)
    }

    fn end(&mut self, code: &'static str, status: Status) -> Next {
        self.done = true;
        self.pieces.clear();
        let _ = self.code.set(code);
        Poll::Ready(Some(Err(status)))
    }
}

/// `batch` in pieces of about [`TARGET_BYTES`], or of one row.
fn pieces(batch: RecordBatch) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    if rows <= 1 || row_bytes(&batch) <= TARGET_BYTES {
        return vec![batch];
    }
    // Halving meets rows of very different sizes better than an even cut.
    let half = rows / 2;
    let mut list = pieces(batch.slice(0, half));
    list.extend(pieces(batch.slice(half, rows - half)));
    list
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use arrow::array::StringArray;
    use comity_identity::Digest;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

    use super::super::leash::tests::session;
    use super::*;

    fn batch(texts: Vec<String>) -> RecordBatch {
        RecordBatch::try_from_iter([("t", Arc::new(StringArray::from(texts)) as _)]).unwrap()
    }

    #[test]
    fn long_rows_are_cut_apart() {
        let rows = vec!["x".repeat(TARGET_BYTES); 4];
        let cut = pieces(batch(rows));
        assert_eq!(cut.len(), 4);
        assert!(cut.into_iter().all(|p| p.num_rows() == 1));
    }

    /// Regression: all messages of a batch left, though the right ended after the first.
    #[tokio::test]
    async fn a30_every_message_is_judged_when_it_leaves() {
        let (session, right) = session();
        let long = batch(vec!["x".repeat(TARGET_BYTES); 4]);
        let rows = futures::stream::iter([Ok(long.clone())]);
        let rows = RecordBatchStreamAdapter::new(long.schema(), rows);
        let mut metered = Metered {
            rows: Leash::of(&session, Box::pin(rows)),
            pieces: VecDeque::new(),
            cancelled: Box::pin(session.stop.clone().cancelled_owned()),
            right: Arc::clone(&session.right),
            trace: String::new(),
            delivered: (0, 0),
            running: Running::begin(&session).unwrap(),
            reserved: None,
            reserving: None,
            served: Served {
                query: Digest::of(b"query"),
                plan: Digest::of(b"plan"),
                snapshots: Arc::default(),
            },
            recorder: Arc::clone(&session.recorder),
            code: Arc::default(),
            done: false,
        };
        let first = metered.next().await.unwrap().unwrap();
        assert_eq!((first.num_rows(), metered.delivered.0), (1, 1));
        right.stands.store(false, Ordering::Release);
        let cut = metered.next().await.unwrap().unwrap_err();
        assert_eq!(cut.code(), Code::PermissionDenied);
        assert!(metered.next().await.is_none() && metered.pieces.is_empty());
        assert_eq!(metered.code.get(), Some(&"grant-invalid"));
    }

    #[test]
    fn a_small_slice_of_a_large_buffer_stays_whole() {
        let whole = batch(vec!["x".repeat(1024); 8192]);
        assert_eq!(pieces(whole.slice(0, 10)).len(), 1);
    }
}

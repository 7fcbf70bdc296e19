//! From record batches to Flight messages: cut when rights end, counted as they leave.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use arrow::array::{Array as _, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use datafusion::execution::SendableRecordBatchStream;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Status};

use super::MAX_MESSAGE_BYTES;
use super::leash::Leash;
use super::session::{Right, Running, Session, over_limit, query_status, status};
use super::tally::{End, Tallied, Tally};
use super::tickets::Ticket;
use crate::query::QueryError;

/// The size that messages are cut to. Larger ones are a little faster and
/// break clients with stock limits.
const TARGET_BYTES: usize = 2 * 1024 * 1024;

/// The Flight messages of `rows`, whose schema is `schema`.
pub(super) fn encode(
    session: &Session,
    running: Running,
    ticket: &Ticket,
    schema: SchemaRef,
    rows: SendableRecordBatchStream,
) -> BoxStream<'static, Result<FlightData, Status>> {
    let code = Arc::new(OnceLock::new());
    let metered = Metered {
        rows: Leash::of(session, rows),
        cancelled: Box::pin(ticket.ended.clone().cancelled_owned()),
        right: Arc::clone(&session.right),
        trace: session.trace.clone(),
        delivered: (0, 0),
        running,
        code: Arc::clone(&code),
        done: false,
    };
    let pieces = metered
        .map_ok(|batch| futures::stream::iter(pieces(batch)))
        .try_flatten();
    let (query, recorder) = (ticket.statement.digest(), Arc::clone(&session.recorder));
    // A partner counts what it receives; a member of ours needs no proof of it.
    let tally = match session.member {
        true => Tally::counting(),
        false => Tally::hashing(),
    };
    let messages = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        // Batches are cut here by their real size; the encoder would count
        // whole buffers behind small slices and shatter them.
        .with_max_flight_data_size(usize::MAX / 2)
        .build(pieces.map_err(|e| FlightError::Tonic(Box::new(e))))
        .map_err(|error| match error {
            FlightError::Tonic(status) => *status,
            error => {
                tracing::warn!(%error, "a batch could not be encoded");
                status(
                    Code::Internal,
                    "internal",
                    "the answer could not be encoded",
                    "",
                )
            }
        });
    Tallied::new(messages, tally, move |moved, end| {
        let code = match end {
            End::Whole => None,
            End::Failed => Some(code.get().copied().unwrap_or("internal")),
            End::Dropped => Some("cancelled"),
        };
        recorder.ended(query, moved, code);
    })
    .boxed()
}

/// Keeps within what may be read, and ends when rights end (`spec/5-data-plane.md#D-111`).
struct Metered {
    rows: Leash,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    right: Arc<dyn Right>,
    trace: String,
    /// Rows and bytes so far.
    delivered: (u64, u64),
    running: Running,
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
        match self.rows.poll_batch(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.done = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(batch))) => {
                if let Err(code) = self.right.check() {
                    let denied = Code::PermissionDenied;
                    return self.cut(denied, code, "the right to read this has ended");
                }
                let (rows, bytes) = (batch.num_rows() as u64, size(&batch) as u64);
                if let Err(over) = self.running.take(self.delivered, rows, bytes) {
                    self.done = true;
                    let _ = self.code.set(over.code);
                    let status = over_limit(over, &self.trace);
                    return Poll::Ready(Some(Err(status)));
                }
                self.delivered = (self.delivered.0 + rows, self.delivered.1 + bytes);
                Poll::Ready(Some(Ok(batch)))
            }
            Poll::Ready(Some(Err(error))) => {
                let error = QueryError::of(&error);
                self.done = true;
                let _ = self.code.set(error.code());
                let status = query_status(&error, &self.trace);
                Poll::Ready(Some(Err(status)))
            }
        }
    }
}

impl Metered {
    fn cut(
        &mut self,
        grpc: Code,
        code: &'static str,
        message: &str,
    ) -> Poll<Option<Result<RecordBatch, Status>>> {
        self.done = true;
        let _ = self.code.set(code);
        let status = status(grpc, code, message, &self.trace);
        Poll::Ready(Some(Err(status)))
    }
}

/// `batch` in pieces of about [`TARGET_BYTES`]; a single row that is larger
/// than any client takes is refused.
fn pieces(batch: RecordBatch) -> Vec<Result<RecordBatch, Status>> {
    let bytes = size(&batch);
    let rows = batch.num_rows();
    if bytes <= TARGET_BYTES || rows == 0 {
        return vec![Ok(batch)];
    }
    if rows == 1 {
        if bytes <= MAX_MESSAGE_BYTES {
            return vec![Ok(batch)];
        }
        let message =
            "one row has more bytes than a message may have; select fewer or shorter columns";
        return vec![Err(status(
            Code::ResourceExhausted,
            "too-large",
            message,
            "",
        ))];
    }
    // Halving meets rows of very different sizes better than an even cut.
    let half = rows / 2;
    let mut list = pieces(batch.slice(0, half));
    list.extend(pieces(batch.slice(half, rows - half)));
    list
}

/// The bytes that a batch's rows really take, without what its buffers hold besides.
fn size(batch: &RecordBatch) -> usize {
    let column = |c: &Arc<dyn arrow::array::Array>| {
        c.to_data()
            .get_slice_memory_size()
            .unwrap_or_else(|_| c.get_array_memory_size())
    };
    batch.columns().iter().map(column).sum()
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    fn batch(texts: Vec<String>) -> RecordBatch {
        RecordBatch::try_from_iter([("t", Arc::new(StringArray::from(texts)) as _)]).unwrap()
    }

    #[test]
    fn long_rows_are_cut_apart_and_too_long_ones_refused() {
        let rows = vec!["x".repeat(TARGET_BYTES); 4];
        let cut = pieces(batch(rows));
        assert_eq!(cut.len(), 4);
        assert!(cut.into_iter().all(|p| p.unwrap().num_rows() == 1));
        let fits = pieces(batch(vec!["x".repeat(MAX_MESSAGE_BYTES - 64)]));
        assert!(fits[0].is_ok());
        let refused = pieces(batch(vec!["x".repeat(MAX_MESSAGE_BYTES + 1)]));
        assert_eq!(
            refused[0].as_ref().unwrap_err().code(),
            Code::ResourceExhausted
        );
    }

    #[test]
    fn a_small_slice_of_a_large_buffer_stays_whole() {
        let whole = batch(vec!["x".repeat(1024); 8192]);
        assert_eq!(pieces(whole.slice(0, 10)).len(), 1);
    }
}

//! From record batches to messages, without copies where that is possible.

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::{IpcWriteOptions, StreamEncoder};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, SchemaAsIpc};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tonic::{Code, Status};

use super::message::Message;
use super::session::status;

/// What stands in front of an IPC message: a marker, and the length of the
/// header with what pads it, both 4 bytes.
const CONTINUATION: usize = 8;

/// The messages of `rows`, whose schema is `schema`; the schema is the first.
pub(super) fn messages(
    schema: SchemaRef,
    rows: impl Stream<Item = Result<RecordBatch, Status>> + Send + Unpin + 'static,
) -> BoxStream<'static, Result<Message, Status>> {
    match is_shared(&schema) {
        true => match Shared::new(&schema, rows) {
            Ok(shared) => shared.boxed(),
            Err(error) => futures::stream::iter([Err(failed(&error))]).boxed(),
        },
        false => stock(schema, rows).map_ok(Message::from).boxed(),
    }
}

/// As arrow-flight does it: with every byte copied, and dictionaries unfolded.
fn stock(
    schema: SchemaRef,
    rows: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static,
) -> impl Stream<Item = Result<FlightData, Status>> + Send {
    FlightDataEncoderBuilder::new()
        .with_schema(schema)
        // Batches are cut before by their real size; the encoder would count
        // whole buffers behind small slices and shatter them.
        .with_max_flight_data_size(usize::MAX / 2)
        .build(rows.map_err(|e| FlightError::Tonic(Box::new(e))))
        .map_err(|error| match error {
            FlightError::Tonic(status) => *status,
            error => failed(&error),
        })
}

/// Whether batches of this schema are encoded here: of types that are laid out
/// the same in memory and in a message.
fn is_shared(schema: &Schema) -> bool {
    schema.fields().iter().all(|f| is_plain(f.data_type()))
}

fn is_plain(kind: &DataType) -> bool {
    match kind {
        DataType::Struct(fields) => fields.iter().all(|f| is_plain(f.data_type())),
        DataType::List(inner)
        | DataType::LargeList(inner)
        | DataType::FixedSizeList(inner, _)
        | DataType::Map(inner, _) => is_plain(inner.data_type()),
        // Views are never announced; dictionaries are unfolded for clients that
        // do not know them, and unions and runs are rare.
        DataType::Dictionary(..)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..)
        | DataType::Utf8View
        | DataType::BinaryView
        | DataType::ListView(_)
        | DataType::LargeListView(_) => false,
        _ => true,
    }
}

/// Messages that share the buffers of their arrays.
struct Shared<S> {
    rows: S,
    encoder: StreamEncoder,
    /// The schema, until it is sent.
    schema: Option<Message>,
    /// Whether the encoder has written the schema, which it does by itself.
    begun: bool,
}

impl<S> Shared<S> {
    fn new(schema: &Schema, rows: S) -> Result<Self, ArrowError> {
        let data = FlightData::from(SchemaAsIpc::new(schema, &IpcWriteOptions::default()));
        Ok(Self {
            rows,
            encoder: StreamEncoder::try_new(schema)?,
            schema: Some(data.into()),
            begun: false,
        })
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<Message, ArrowError> {
        let mut buffers = self.encoder.encode(batch)?.into_iter();
        if !std::mem::replace(&mut self.begun, true) {
            // Sent already, before there was a batch. It has no body.
            header(&mut buffers)?;
        }
        let header = header(&mut buffers)?;
        Ok(Message::new(header, buffers))
    }
}

/// Takes the header of an IPC message off; its body is what is left.
fn header(buffers: &mut impl Iterator<Item = Buffer>) -> Result<Bytes, ArrowError> {
    let malformed = || ArrowError::IpcError("an encoded message has another form".to_owned());
    let prefix = buffers.next().ok_or_else(malformed)?;
    let len = prefix
        .split_last_chunk::<4>()
        .filter(|_| prefix.len() == CONTINUATION)
        .map(|(_, len)| u32::from_le_bytes(*len) as usize)
        .ok_or_else(malformed)?;
    let header = buffers.next().ok_or_else(malformed)?;
    let mut padding = len.checked_sub(header.len()).ok_or_else(malformed)?;
    while padding > 0 {
        let pad = buffers.next().ok_or_else(malformed)?;
        padding = padding.checked_sub(pad.len()).ok_or_else(malformed)?;
    }
    Ok(Bytes::copy_from_slice(&header))
}

impl<S: Stream<Item = Result<RecordBatch, Status>> + Unpin> Stream for Shared<S> {
    type Item = Result<Message, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(schema) = self.schema.take() {
            return Poll::Ready(Some(Ok(schema)));
        }
        loop {
            let next = ready!(self.rows.poll_next_unpin(cx));
            // A batch without rows is no message, here as there.
            if matches!(&next, Some(Ok(batch)) if batch.num_rows() == 0) {
                continue;
            }
            return Poll::Ready(next.map(|batch| {
                let encoded = self.encode(&batch?);
                encoded.map_err(|error| failed(&error))
            }));
        }
    }
}

fn failed(error: &dyn std::error::Error) -> Status {
    tracing::warn!(%error, "a batch could not be encoded");
    let message = "the answer could not be encoded";
    status(Code::Internal, "internal", message, "")
}

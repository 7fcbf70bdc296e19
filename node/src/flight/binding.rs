//! Values for the places of a prepared statement (`spec/5-data-plane.md#D-121`).

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use datafusion::scalar::ScalarValue;
use futures::{FutureExt as _, Stream, StreamExt as _};
use tonic::Status;

use super::incoming;

/// The most messages that values come in: a schema, dictionaries, one row.
const MAX_MESSAGES: usize = 64;

/// The most bytes of the values of one statement, as the statement itself.
const MAX_VALUE_BYTES: usize = 64 * 1024;

/// The most bytes of these messages together: the values, and what Arrow puts
/// around them. Without it a caller could make the node hold as many large ones.
const MAX_BYTES: usize = 4 * MAX_VALUE_BYTES;

/// The longest that the messages may take to come: an open call holds a place.
const READ_TIME: Duration = Duration::from_secs(10);

/// Reads one row of values, one column for each of `places`, and casts each to
/// what its place takes. Names do not count: drivers invent them.
///
/// More than one row would be a statement for each; no query has that meaning.
///
/// The decoder is made for files of one's own and panics over some hostile ones
/// (A24). That would end the caller's connection with every stream on it.
pub(super) async fn read(
    messages: impl Stream<Item = Result<FlightData, Status>> + Send + Unpin + 'static,
    places: &SchemaRef,
) -> Result<Vec<ScalarValue>, String> {
    let decoded = AssertUnwindSafe(decode(messages, places)).catch_unwind();
    let contained = |_| Err("the values cannot be read".to_owned());
    match tokio::time::timeout(READ_TIME, decoded).await {
        Ok(decoded) => decoded.unwrap_or_else(contained),
        Err(_) => Err("the values did not come in time".to_owned()),
    }
}

async fn decode(
    messages: impl Stream<Item = Result<FlightData, Status>> + Send + Unpin + 'static,
    places: &SchemaRef,
) -> Result<Vec<ScalarValue>, String> {
    let mut bytes = 0;
    let checked = messages.take(MAX_MESSAGES).map(move |message| {
        let message = message.map_err(|status| FlightError::Tonic(Box::new(status)))?;
        bytes += message.data_header.len() + message.data_body.len();
        if bytes > MAX_BYTES {
            let why = format!("values may come in {MAX_BYTES} bytes of messages");
            return Err(FlightError::DecodeError(why));
        }
        let sound = incoming::check(&message).map(|()| message);
        sound.map_err(|why| FlightError::DecodeError(why.to_owned()))
    });
    let mut batches = FlightRecordBatchStream::new_from_flight_data(checked);
    let several = || Err("bind one row of values; there were several".to_owned());
    let mut row = None;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|e| format!("the values cannot be read: {e}"))?;
        match batch.num_rows() {
            0 => {}
            1 if row.is_none() => row = Some(batch),
            _ => return several(),
        }
    }
    let row = match row {
        Some(row) => row,
        None if places.fields().is_empty() => return Ok(Vec::new()),
        None => return Err("bind one row of values; there was none".to_owned()),
    };
    let (wanted, given) = (places.fields().len(), row.num_columns());
    if wanted != given {
        return Err(format!(
            "the statement has {wanted} places for values, {given} came"
        ));
    }
    let mut bytes = 0;
    let mut values = Vec::with_capacity(wanted);
    for (place, column) in places.fields().iter().zip(row.columns()) {
        let value = ScalarValue::try_from_array(column, 0)
            .and_then(|value| value.cast_to(place.data_type()))
            // The engine's own message would print the value.
            .map_err(|_| {
                format!(
                    "the value of {} is not a {}",
                    place.name(),
                    place.data_type()
                )
            })?;
        bytes += value.size();
        values.push(value);
    }
    if bytes > MAX_VALUE_BYTES {
        return Err(format!("values may have {MAX_VALUE_BYTES} bytes together"));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::record_batch::RecordBatch;
    use arrow_flight::encode::FlightDataEncoderBuilder;
    use futures::TryStreamExt as _;

    use super::*;

    fn places(kinds: &[DataType]) -> SchemaRef {
        let field = |(i, kind): (usize, &DataType)| Field::new(format!("${i}"), kind.clone(), true);
        Arc::new(Schema::new(
            kinds.iter().enumerate().map(field).collect::<Vec<_>>(),
        ))
    }

    async fn bound(columns: Vec<ArrayRef>, kinds: &[DataType]) -> Result<Vec<ScalarValue>, String> {
        let named = columns
            .into_iter()
            .enumerate()
            .map(|(i, c)| (i.to_string(), c));
        let batch = RecordBatch::try_from_iter(named).unwrap();
        let messages = FlightDataEncoderBuilder::new()
            .build(futures::stream::iter([Ok(batch)]))
            .map_err(Status::from);
        read(messages.boxed(), &places(kinds)).await
    }

    fn numbers(n: impl IntoIterator<Item = i64>) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(n))
    }

    fn text(t: &str) -> ArrayRef {
        Arc::new(StringArray::from(vec![t]))
    }

    #[tokio::test]
    async fn values_are_cast_to_what_their_places_take() {
        let kinds = [DataType::Int32, DataType::Float64];
        let values = bound(vec![numbers([7]), text("1.5")], &kinds)
            .await
            .unwrap();
        assert_eq!(
            values,
            [ScalarValue::Int32(Some(7)), ScalarValue::Float64(Some(1.5))]
        );
    }

    #[tokio::test]
    async fn other_numbers_of_rows_or_values_are_refused() {
        let kind = [DataType::Int64];
        assert!(bound(vec![numbers([1])], &kind).await.is_ok());
        assert!(
            bound(vec![numbers([1, 2])], &kind)
                .await
                .unwrap_err()
                .contains("several")
        );
        assert!(
            bound(vec![numbers([])], &kind)
                .await
                .unwrap_err()
                .contains("none")
        );
        let two = bound(vec![numbers([1]), numbers([2])], &kind).await;
        assert!(two.unwrap_err().contains("1 places for values, 2 came"));
    }

    #[tokio::test]
    async fn a_value_that_does_not_fit_is_not_repeated() {
        let why = bound(vec![text("secret")], &[DataType::Int64])
            .await
            .unwrap_err();
        assert!(why.contains("Int64") && !why.contains("secret"), "{why}");
    }

    #[tokio::test]
    async fn values_have_a_limit_in_bytes() {
        let kind = [DataType::Utf8];
        assert!(
            bound(vec![text(&"x".repeat(MAX_VALUE_BYTES - 100))], &kind)
                .await
                .is_ok()
        );
        assert!(
            bound(vec![text(&"x".repeat(MAX_VALUE_BYTES))], &kind)
                .await
                .is_err()
        );
    }

    /// Regression: as many messages as could come were held before the first was looked at.
    #[tokio::test]
    async fn messages_without_end_are_not_waited_for() {
        let batch = RecordBatch::try_from_iter([("0", numbers([1]))]).unwrap();
        let batch = futures::stream::iter([Ok(batch)]);
        let one = FlightDataEncoderBuilder::new().build(batch);
        let one: Vec<FlightData> = one.try_collect().await.unwrap();
        let mut large = one[1].clone();
        large.data_body = vec![0; MAX_BYTES].into();
        for (more, why) in [(one[1].clone(), "several"), (large, "bytes of messages")] {
            let taken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let count = Arc::clone(&taken);
            let first = futures::stream::iter([one[0].clone()]);
            let messages = first
                .chain(futures::stream::repeat(more))
                .map(move |message| {
                    count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    Ok(message)
                });
            let said = read(messages.boxed(), &places(&[DataType::Int64])).await;
            assert!(
                said.as_ref().is_err_and(|said| said.contains(why)),
                "{said:?}"
            );
            assert!(taken.load(std::sync::atomic::Ordering::Relaxed) < 10);
        }
    }
}

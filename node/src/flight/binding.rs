//! Values for the places of a prepared statement (`spec/5-data-plane.md#D-121`).

use std::panic::AssertUnwindSafe;

use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use datafusion::scalar::ScalarValue;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _};
use tonic::Status;

use super::incoming;

/// The most messages that values come in: a schema, dictionaries, one row.
const MAX_MESSAGES: usize = 64;

/// The most bytes of the values of one statement, as the statement itself.
const MAX_VALUE_BYTES: usize = 64 * 1024;

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
    decoded.await.unwrap_or_else(contained)
}

async fn decode(
    messages: impl Stream<Item = Result<FlightData, Status>> + Send + Unpin + 'static,
    places: &SchemaRef,
) -> Result<Vec<ScalarValue>, String> {
    let checked = messages.take(MAX_MESSAGES).map(|message| {
        let message = message.map_err(|status| FlightError::Tonic(Box::new(status)))?;
        let sound = incoming::check(&message).map(|()| message);
        sound.map_err(|why| FlightError::DecodeError(why.to_owned()))
    });
    let rows = FlightRecordBatchStream::new_from_flight_data(checked);
    let unreadable = |e: FlightError| format!("the values cannot be read: {e}");
    let batches: Vec<_> = rows.try_collect().await.map_err(unreadable)?;
    let mut batches = batches.into_iter().filter(|batch| batch.num_rows() > 0);
    let row = match (batches.next(), batches.next()) {
        (Some(row), None) if row.num_rows() == 1 => row,
        (None, _) if places.fields().is_empty() => return Ok(Vec::new()),
        (None, _) => return Err("bind one row of values; there was none".to_owned()),
        _ => return Err("bind one row of values; there were several".to_owned()),
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
}

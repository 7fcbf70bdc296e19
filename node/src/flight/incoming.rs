//! Arrow messages that somebody else sends, looked at before they are decoded.

use arrow::ipc::{Buffer, CompressionType, root_as_message};
use arrow_flight::FlightData;

/// Refuses a message whose body is compressed, one whose header cannot be read,
/// and one whose header points outside of its body (A23, A24,
/// `spec/5-data-plane.md#D-119`): the decoder panics over that.
///
/// The decoder allocates what the *sender* says a buffer holds when it is
/// unpacked. A few bytes that claim 2^62 abort the process, which nothing can
/// contain; smaller lies fill the memory outside of every budget.
pub(crate) fn check(message: &FlightData) -> Result<(), &'static str> {
    if message.data_header.is_empty() {
        // A descriptor or metadata alone: nothing is decoded.
        return match message.data_body.is_empty() {
            true => Ok(()),
            false => Err("a body without a header"),
        };
    }
    let header = root_as_message(&message.data_header).map_err(|_| "the header is malformed")?;
    let dictionary = header.header_as_dictionary_batch();
    if dictionary.is_some_and(|dictionary| dictionary.data().is_none()) {
        return Err("a dictionary without values");
    }
    let batch = header.header_as_record_batch();
    let Some(batch) = batch.or_else(|| dictionary?.data()) else {
        return Ok(());
    };
    match batch.compression() {
        None => {}
        Some(compressed) if compressed.codec() == CompressionType::LZ4_FRAME => {
            return Err("the body is compressed (lz4)");
        }
        Some(_) => return Err("the body is compressed"),
    }
    let size = message.data_body.len();
    let mut buffers = batch.buffers().into_iter().flatten();
    match buffers.all(|buffer| lies_within(buffer, size)) {
        true => Ok(()),
        false => Err("a buffer lies outside of the body"),
    }
}

/// Whether a body of `size` bytes has all of `buffer`.
fn lies_within(buffer: &Buffer, size: usize) -> bool {
    let part = usize::try_from(buffer.offset())
        .ok()
        .zip(usize::try_from(buffer.length()).ok());
    let end = part.and_then(|(offset, length)| offset.checked_add(length));
    end.is_some_and(|end| end <= size)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, Int64Array};
    use arrow::datatypes::Int32Type;
    use arrow::ipc::writer::IpcWriteOptions;
    use arrow::record_batch::RecordBatch;
    use arrow_flight::utils::batches_to_flight_data;
    use proptest::prelude::*;

    use super::*;

    fn messages(compression: Option<CompressionType>) -> Vec<FlightData> {
        let words: DictionaryArray<Int32Type> = ["a", "b"].into_iter().cycle().take(600).collect();
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..600));
        let batch =
            RecordBatch::try_from_iter([("n", numbers), ("w", Arc::new(words) as _)]).unwrap();
        let options = IpcWriteOptions::default();
        let options = options.try_with_compression(compression).unwrap();
        let generator = arrow::ipc::writer::IpcDataGenerator::default();
        let mut tracker = arrow::ipc::writer::DictionaryTracker::new(false);
        let mut context = arrow::ipc::writer::IpcWriteContext::default();
        // It gives the dictionary its id.
        generator.schema_to_bytes_with_dictionary_tracker(&batch.schema(), &mut tracker, &options);
        let (dictionaries, rows) = generator
            .encode(&batch, &mut tracker, &options, &mut context)
            .unwrap();
        let encoded = dictionaries.into_iter().chain([rows]);
        encoded.map(FlightData::from).collect()
    }

    #[test]
    fn a23_compressed_rows_and_dictionaries_are_refused_before_they_are_decoded() {
        let plain = messages(None);
        assert_eq!(plain.len(), 2);
        assert!(plain.iter().all(|m| check(m).is_ok()));
        for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
            for message in messages(Some(codec)) {
                assert!(check(&message).is_err(), "{codec:?}");
            }
        }
    }

    #[test]
    fn a24_buffers_outside_of_the_body_are_refused() {
        for message in messages(None) {
            let mut shorter = message.clone();
            // All that the last buffers point at, beyond what only pads them.
            shorter.data_body = message.data_body.slice(..message.data_body.len() - 64);
            assert_eq!(check(&shorter), Err("a buffer lies outside of the body"));
        }
    }

    #[test]
    fn schemas_and_bare_descriptors_pass_and_headless_bodies_do_not() {
        let batch = RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()));
        let schema = batches_to_flight_data(&batch.schema(), Vec::new()).unwrap();
        assert!(schema.iter().all(|m| check(m).is_ok()));
        assert!(check(&FlightData::default()).is_ok());
        let headless = FlightData::default().with_data_body(vec![1u8, 2]);
        assert!(check(&headless).is_err());
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(header in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&FlightData::default().with_data_header(header));
        }
    }
}

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array,
    Decimal256Array, DictionaryArray, DurationNanosecondArray, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray,
    LargeBinaryArray, LargeStringArray, ListArray, NullArray, RecordBatchOptions, StringArray,
    StringViewArray, StructArray, Time32SecondArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{Field, Fields, Int16Type, IntervalMonthDayNano, i256};
use arrow_flight::decode::FlightRecordBatchStream;
use futures::executor::block_on;
use proptest::prelude::*;

use super::*;

/// A column of each type, `rows` long, every `gap`-th value null.
fn columns(rows: usize, gap: usize) -> Vec<ArrayRef> {
    let is_null = |i: usize| i % gap == gap - 1;
    macro_rules! of {
        ($array:ty, |$i:ident| $value:expr) => {
            Arc::new(<$array>::from_iter(
                (0..rows).map(|$i| (!is_null($i)).then(|| $value)),
            )) as ArrayRef
        };
    }
    let texts = of!(StringArray, |i| "é".repeat(i % 7));
    let numbers = of!(Int64Array, |i| i as i64 * 3);
    let nulls = NullBuffer::from_iter((0..rows).map(|i| !is_null(i + 1)));
    let fields = Fields::from(vec![
        Field::new("t", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
    ]);
    let pair = [Arc::clone(&texts), Arc::clone(&numbers)].to_vec();
    let records: ArrayRef = Arc::new(StructArray::new(fields, pair, Some(nulls.clone())));
    let list = |inner: &ArrayRef| -> ArrayRef {
        // Lists of no, one and two values, of what is there.
        let lengths = (0..rows).map(|i| usize::from(i % 3 == 0 && 2 * i < rows) * 2);
        let offsets = OffsetBuffer::from_lengths(lengths);
        let field = Arc::new(Field::new_list_field(inner.data_type().clone(), true));
        Arc::new(ListArray::new(
            field,
            offsets,
            Arc::clone(inner),
            Some(nulls.clone()),
        ))
    };
    let long = |inner: &ArrayRef| -> ArrayRef {
        let field = Field::new_list_field(inner.data_type().clone(), true);
        cast(&list(inner), &DataType::LargeList(Arc::new(field))).unwrap()
    };
    let fixed = (0..rows).map(|i| (!is_null(i)).then(|| (i as u32).to_le_bytes()));
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed, 4).unwrap();
    let timestamps = TimestampMicrosecondArray::from_iter((0..rows as i64).map(Some));
    let lists = list(&texts);
    vec![
        Arc::new(NullArray::new(rows)),
        of!(BooleanArray, |i| i % 3 == 0),
        of!(Int8Array, |i| i as i8),
        of!(Int16Array, |i| i as i16),
        of!(Int32Array, |i| i as i32),
        of!(UInt8Array, |i| i as u8),
        of!(UInt16Array, |i| i as u16),
        of!(UInt32Array, |i| i as u32),
        of!(UInt64Array, |i| i as u64),
        of!(Float32Array, |i| i as f32 / 3.0),
        of!(Float64Array, |i| i as f64 / 7.0),
        of!(Date32Array, |i| i as i32),
        of!(Date64Array, |i| i as i64),
        of!(Time32SecondArray, |i| i as i32),
        of!(Time64MicrosecondArray, |i| i as i64),
        of!(DurationNanosecondArray, |i| i as i64),
        of!(IntervalMonthDayNanoArray, |i| IntervalMonthDayNano::new(
            i as i32, 1, 2
        )),
        of!(Decimal128Array, |i| i as i128),
        of!(Decimal256Array, |i| i256::from_i128(i as i128)),
        of!(LargeStringArray, |i| "x".repeat(i % 5)),
        of!(BinaryArray, |i| vec![i as u8; i % 4]),
        of!(LargeBinaryArray, |i| vec![i as u8; i % 4]),
        Arc::new(fixed),
        Arc::new(timestamps.with_timezone("Europe/Paris")),
        long(&numbers),
        list(&records),
        list(&lists),
        lists,
        records,
        texts,
        numbers,
    ]
}

fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
    let named = columns.into_iter().enumerate();
    let named = named.map(|(i, column)| (format!("c{i}"), column, true));
    RecordBatch::try_from_iter_with_nullable(named).unwrap()
}

fn rows_of(batches: &[RecordBatch]) -> impl Stream<Item = Result<RecordBatch, Status>> + use<> {
    let batches: Vec<_> = batches.iter().cloned().map(Ok).collect();
    futures::stream::iter(batches)
}

fn decoded(messages: Vec<FlightData>) -> Vec<RecordBatch> {
    let messages = futures::stream::iter(messages.into_iter().map(Ok));
    let rows = FlightRecordBatchStream::new_from_flight_data(messages);
    block_on(rows.try_collect()).unwrap()
}

/// What both ways make of `batches`, decoded.
fn both(batches: &[RecordBatch]) -> [Vec<RecordBatch>; 2] {
    let schema = batches[0].schema();
    let shared = messages(Arc::clone(&schema), rows_of(batches));
    let shared = shared.map_ok(FlightData::from);
    let shared: Vec<FlightData> = block_on(shared.try_collect()).unwrap();
    let stock = stock(schema, rows_of(batches));
    let stock: Vec<FlightData> = block_on(stock.try_collect()).unwrap();
    assert_eq!(shared.len(), stock.len());
    [decoded(shared), decoded(stock)]
}

#[test]
fn every_plain_type_is_encoded_here_and_the_others_as_arrow_flight_does() {
    let plain = batch(columns(3, 2));
    assert!(is_shared(&plain.schema()));
    let words: DictionaryArray<Int16Type> = ["a", "b", "a"].into_iter().collect();
    let views = StringViewArray::from(vec!["a text that is longer than a view holds"; 3]);
    for other in [Arc::new(words) as ArrayRef, Arc::new(views)] {
        let field = Arc::new(Field::new_list_field(other.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths([1, 1, 1]);
        let inside = ListArray::new(field, offsets, Arc::clone(&other), None);
        for column in [other, Arc::new(inside)] {
            let batch = batch(vec![column]);
            assert!(!is_shared(&batch.schema()));
            let [shared, stock] = both(&[batch]);
            assert_eq!(shared, stock);
        }
    }
}

#[test]
fn parts_are_the_arrays_own_and_not_copies() {
    let numbers = Int64Array::from_iter_values(0..8192);
    let at = numbers.values().inner().as_ptr();
    let batch = batch(vec![Arc::new(numbers)]);
    let sent: Vec<Message> =
        block_on(messages(batch.schema(), rows_of(&[batch])).try_collect()).unwrap();
    let frames = sent[1].clone().into_frames();
    assert!(frames.iter().any(|part| part.as_ptr() == at));
}

#[test]
fn answers_without_rows_or_columns_arrive_as_such() {
    let none = batch(columns(0, 2));
    let [shared, stock] = both(std::slice::from_ref(&none));
    assert_eq!((shared, stock), (vec![], vec![]));
    let options = RecordBatchOptions::new().with_row_count(Some(7));
    let bare = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options);
    let [shared, _] = both(&[bare.unwrap()]);
    assert_eq!(shared[0].num_rows(), 7);
    let schema = none.schema();
    let empty = messages(Arc::clone(&schema), rows_of(&[]));
    let empty: Vec<_> = block_on(empty.map_ok(FlightData::from).try_collect()).unwrap();
    assert_eq!(empty.len(), 1, "the schema alone");
}

proptest! {
    /// Any rows of any columns, in several batches.
    #[test]
    fn both_ways_give_the_rows_that_were_sent(
        gap in 2usize..9,
        cuts in proptest::collection::vec((0usize..300, 0usize..300), 1..4),
        which in proptest::collection::vec(any::<bool>(), 31),
    ) {
        let all = batch(columns(300, gap));
        let wanted: Vec<usize> = (0..all.num_columns()).filter(|i| which[*i]).collect();
        let all = all.project(&wanted).unwrap();
        prop_assume!(all.num_columns() > 0);
        let batches: Vec<_> = cuts
            .iter()
            .map(|(from, len)| all.slice(*from, (*len).min(300 - from)))
            .collect();
        let [shared, stock] = both(&batches);
        // arrow-flight announces long lists as short ones, and then misreads them.
        let long = |f: &Arc<Field>| matches!(f.data_type(), DataType::LargeList(_));
        if !all.schema().fields().iter().any(long) {
            prop_assert_eq!(&shared, &stock);
        }
        let some = batches.iter().filter(|b| b.num_rows() > 0);
        prop_assert_eq!(some.clone().count(), shared.len());
        for (sent, received) in some.zip(&shared) {
            prop_assert_eq!(sent, received);
        }
    }
}

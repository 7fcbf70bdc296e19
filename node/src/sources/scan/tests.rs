//! Columns of every type that files have, as they leave.

use std::fs::File;
use std::path::Path;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::*;
use comity_protocol::terms::RowFilter;
use datafusion::catalog::TableProvider;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::physical_plan::displayable;
use proptest::prelude::*;

use super::*;
use crate::products::FileSpec;
use crate::query::advertised;
use crate::sources::files;
use crate::sources::fixture::{rows, view};
use crate::sources::wire::exactly;

/// A file of one column `t` in groups of `group` rows, as a table.
async fn table(format: Format, column: ArrayRef, group: usize) -> (tempfile::TempDir, Source) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t");
    let batch = RecordBatch::try_from_iter_with_nullable([("t", column, true)]).unwrap();
    let file = File::create(&path).unwrap();
    if format == Format::Parquet {
        let groups = WriterProperties::builder().set_max_row_group_row_count(Some(group));
        let properties = Some(groups.build());
        let mut writer = ArrowWriter::try_new(file, batch.schema(), properties).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    } else {
        let mut writer = arrow::ipc::writer::FileWriter::try_new(file, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
    }
    let source = open(&path, format, &Schema::empty()).await;
    (folder, source)
}

type Source = Arc<dyn TableProvider>;

async fn open(path: &Path, format: Format, declared: &Schema) -> Source {
    let spec = FileSpec {
        format,
        path: path.to_owned(),
    };
    files::open(&spec, Path::new("/"), declared).await.unwrap()
}

async fn asked(source: &Source, sql: &str) -> std::result::Result<Vec<String>, String> {
    let view = view(source, RowFilter::default());
    let code = |e: crate::query::QueryError| format!("{}: {:?}", e.code(), e.owner_detail());
    rows(&view, sql).await.map_err(code)
}

fn nanos(values: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from(values))
}

/// Every type that is read as another one, with values at its ends.
fn stored() -> Vec<(ArrayRef, DataType, Vec<&'static str>)> {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let local = DataType::Timestamp(TimeUnit::Microsecond, None);
    let time = DataType::Time64(TimeUnit::Microsecond);
    let list = |item| DataType::List(Field::new("item", item, true).into());
    let two_lists = |item: &str| {
        let field = Field::new(item, DataType::LargeUtf8, false).into();
        let values = Arc::new(LargeStringArray::from(vec!["a", "b", "c"]));
        let offsets = OffsetBuffer::new(vec![0_i64, 2, 3].into());
        Arc::new(LargeListArray::new(field, offsets, values, None)) as ArrayRef
    };
    let categories: DictionaryArray<Int8Type> = vec![Some("x"), None].into_iter().collect();
    let bytes = FixedSizeBinaryArray::try_from_iter([[1_u8, 2], [255, 0]].iter()).unwrap();
    let berlin = TimestampSecondArray::from(vec![0, 1]).with_timezone("Europe/Berlin");
    let half = Float32Array::from(vec![0.5, f32::NEG_INFINITY]);
    let half = arrow::compute::cast(&half, &DataType::Float16).unwrap();
    let decimal = Decimal256Array::from(vec![i256::from(12_345), i256::from(-1)]);
    let decimal = decimal.with_precision_and_scale(38, 2).unwrap();
    let small = Decimal32Array::from(vec![7, -7]);
    let small = small.with_precision_and_scale(9, 1).unwrap();
    vec![
        (
            nanos(vec![-1_000, i64::MAX / 1_000 * 1_000]),
            local.clone(),
            vec!["1969-12-31T23:59:59.999999", "2262-04-11T23:47:16.854775"],
        ),
        (
            Arc::new(berlin),
            utc,
            vec!["1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z"],
        ),
        (
            Arc::new(TimestampMillisecondArray::from(vec![
                -1,
                253_402_300_799_999,
            ])),
            local,
            vec!["1969-12-31T23:59:59.999", "9999-12-31T23:59:59.999"],
        ),
        (
            Arc::new(Time32SecondArray::from(vec![0, 86_399])),
            time.clone(),
            vec!["00:00:00", "23:59:59"],
        ),
        (
            Arc::new(Time64NanosecondArray::from(vec![1_000, 2_000])),
            time,
            vec!["00:00:00.000001", "00:00:00.000002"],
        ),
        (
            Arc::new(Date64Array::from(vec![-86_400_000, 0])),
            DataType::Date32,
            vec!["1969-12-31", "1970-01-01"],
        ),
        (
            Arc::new(LargeStringArray::from(vec!["ä", ""])),
            DataType::Utf8,
            vec!["ä", ""],
        ),
        (
            Arc::new(StringViewArray::from(vec![
                "a text of more than twelve bytes",
                "b",
            ])),
            DataType::Utf8,
            vec!["a text of more than twelve bytes", "b"],
        ),
        (Arc::new(categories), DataType::Utf8, vec!["x", ""]),
        (Arc::new(bytes), DataType::Binary, vec!["0102", "ff00"]),
        (half, DataType::Float32, vec!["0.5", "-inf"]),
        (
            Arc::new(decimal),
            DataType::Decimal128(38, 2),
            vec!["123.45", "-0.01"],
        ),
        (
            Arc::new(small),
            DataType::Decimal128(9, 1),
            vec!["0.7", "-0.7"],
        ),
        (
            two_lists("element"),
            list(DataType::Utf8),
            vec!["[a, b]", "[c]"],
        ),
        (
            Arc::new(UInt64Array::from(vec![0, u64::MAX])),
            DataType::UInt64,
            vec!["0", "18446744073709551615"],
        ),
    ]
}

#[tokio::test]
async fn what_a_file_holds_is_what_comes_out() {
    for (column, wire, expected) in stored() {
        let kind = column.data_type().clone();
        for format in [Format::Parquet, Format::Arrow] {
            // Parquet has no such types, and its writer no way to say them.
            if format == Format::Parquet && kind == DataType::Date64 {
                continue;
            }
            let (_folder, source) = table(format, Arc::clone(&column), 100).await;
            assert_eq!(
                *advertised(&source.schema()).field(0).data_type(),
                wire,
                "{kind} {format:?}"
            );
            let found = asked(&source, "SELECT t FROM t").await;
            assert_eq!(found.unwrap(), expected, "{kind} {format:?}");
        }
    }
}

#[test]
fn a_value_without_an_exact_place_is_an_error() {
    let local = DataType::Timestamp(TimeUnit::Microsecond, None);
    let time = DataType::Time64(TimeUnit::Microsecond);
    let wide = |digits: &str| {
        let value = i256::from_string(digits).unwrap();
        let wide = Decimal256Array::from(vec![value]);
        Arc::new(wide.with_precision_and_scale(38, 0).unwrap()) as ArrayRef
    };
    let seconds = |v: i64| Arc::new(TimestampSecondArray::from(vec![v])) as ArrayRef;
    let texts = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let last = i64::MAX / 1_000_000;
    for (to, passes, fails) in [
        (&local, nanos(vec![1_000]), nanos(vec![1_001])),
        (&local, nanos(vec![-1_000]), nanos(vec![-1])),
        (&local, seconds(last), seconds(last + 1)),
        (
            &local,
            texts("2013-06-01 12:00:00.1234560"),
            texts("2013-06-01 12:00:00.1234561"),
        ),
        (
            &local,
            texts("2013-06-01T12:00:00"),
            texts("2013-06-01T12:00:00+01:00"),
        ),
        (
            &utc,
            texts("2013-06-01T12:00:00-01:30"),
            texts("2013-06-31T12:00:00Z"),
        ),
        (
            &time,
            Arc::new(Time64NanosecondArray::from(vec![5_000])),
            Arc::new(Time64NanosecondArray::from(vec![5_500])),
        ),
        (
            &DataType::Date32,
            Arc::new(Date64Array::from(vec![86_400_000])),
            Arc::new(Date64Array::from(vec![86_400_001])),
        ),
        (
            &DataType::Decimal128(38, 0),
            wide(&"9".repeat(38)),
            wide(&format!("1{}", "0".repeat(38))),
        ),
        // Conversions that nobody decided on.
        (
            &DataType::Int64,
            Arc::new(Int64Array::from(vec![1])),
            Arc::new(Float64Array::from(vec![1.0])),
        ),
    ] {
        assert_eq!(exactly(&passes, to).unwrap().data_type(), to);
        assert!(exactly(&fails, to).is_err(), "{fails:?}");
    }
}

#[tokio::test]
async fn a_row_that_would_lose_digits_is_never_left_out_as_if_it_were_not_there() {
    // Half a microsecond after noon, alone in its group.
    let noon = 1_370_088_000_000_000_000;
    let column = nanos(vec![noon, noon + 500, noon + 1_000]);
    let (_folder, source) = table(Format::Parquet, column, 1).await;
    let asked = |filter: &str| {
        let sql = format!("SELECT t FROM t WHERE t {filter}");
        let source = Arc::clone(&source);
        async move { asked(&source, &sql).await }
    };
    let lost = asked("> TIMESTAMP '2013-06-01 12:00:00'")
        .await
        .unwrap_err();
    assert!(lost.starts_with("source-unavailable"), "{lost}");
    assert!(lost.contains("column t"), "{lost}");
    assert!(asked("IS NOT NULL").await.is_err());
    // Groups that cannot have such rows are not read.
    let later = asked(">= TIMESTAMP '2013-06-01 12:00:00.000001'").await;
    assert_eq!(later.unwrap(), ["2013-06-01T12:00:00.000001"]);
    let same = asked("= TIMESTAMP '2013-06-01 12:00:00'").await;
    assert_eq!(same.unwrap(), ["2013-06-01T12:00:00"]);
}

#[tokio::test]
async fn moments_in_texts_are_read_to_their_last_digit() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t");
    let read = |text: String, format, declared: Option<DataType>| {
        std::fs::write(&file, text).unwrap();
        let declared = declared.map(|kind| Field::new("t", kind, true));
        let declared = Schema::new(declared.into_iter().collect::<Vec<_>>());
        let file = file.clone();
        async move {
            let source = open(&file, format, &declared).await;
            asked(&source, "SELECT t FROM t ORDER BY t").await
        }
    };
    let utc = Some(DataType::Timestamp(
        TimeUnit::Microsecond,
        Some("UTC".into()),
    ));
    // Guessed from the first thousand rows, which have no fraction.
    let whole = "2013-06-01 12:00:00\n".repeat(1_000);
    let csv = |last: &str| format!("t,u\n{}", whole.replace('\n', ",1\n") + last + ",1\n");
    let fine = read(csv("2013-06-01 12:00:00.000001"), Format::Csv, None).await;
    assert_eq!(fine.unwrap()[1_000], "2013-06-01T12:00:00.000001");
    let lost = read(csv("2013-06-01 12:00:00.0000001"), Format::Csv, None).await;
    assert!(lost.unwrap_err().starts_with("source-unavailable"));
    let none = read(csv(""), Format::Csv, utc.clone()).await.unwrap();
    assert_eq!(
        (none[0].as_str(), none[1_000].as_str()),
        ("2013-06-01T12:00:00Z", "")
    );
    let json = "{\"t\": \"2013-06-01T12:00:00+02:00\"}\n{\"t\": null}\n".to_owned();
    let json = read(json, Format::Json, utc.clone()).await.unwrap();
    assert_eq!(json, ["2013-06-01T10:00:00Z", ""]);
    let other = read("{\"t\": \"noon\"}\n".to_owned(), Format::Json, utc).await;
    let other = other.unwrap_err();
    assert!(
        other.starts_with("source-unavailable") && !other.contains("noon"),
        "{other}"
    );
}

#[tokio::test]
async fn a_number_of_a_csv_file_is_the_decimal_that_the_contract_says_or_an_error() {
    let money = DataType::Decimal128(20, 2);
    let read = async |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        let declared = Schema::new(vec![Field::new("t", money.clone(), true)]);
        let source = open(&path, Format::Csv, &declared).await;
        assert_eq!(*source.schema().field(0).data_type(), money);
        asked(&source, "SELECT t FROM t").await
    };
    // As a float the first is 123456789012345680.
    let exact = read("t,u\n123456789012345678.91,1\n,2\n-0.5,3\n").await;
    assert_eq!(exact.unwrap(), ["123456789012345678.91", "", "-0.50"]);
    let error = read("t,u\n0.005,1\n").await.unwrap_err();
    assert!(
        error.starts_with("source-unavailable") && !error.contains("0.005"),
        "{error}"
    );
}

#[tokio::test]
async fn an_arrow_file_is_read_whole_and_a_parquet_file_in_parts() {
    for (format, parts) in [(Format::Arrow, 1), (Format::Parquet, 2)] {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..2_000_000));
        let (_folder, source) = table(format, values, 100_000).await;
        let config = SessionConfig::new().with_target_partitions(2);
        let context = SessionContext::new_with_config(config);
        context.register_table("t", source).unwrap();
        let statement = context
            .sql("SELECT max(t) FROM t WHERE t <> 3")
            .await
            .unwrap();
        let plan = statement.create_physical_plan().await.unwrap();
        let shown = displayable(plan.as_ref()).indent(false).to_string();
        let groups = format!("{{{parts} group");
        assert!(shown.contains(&groups), "{format:?}: {shown}");
    }
}

#[tokio::test]
async fn a_column_of_nothing_but_nulls_is_of_the_contracts_type() {
    let (folder, source) = table(Format::Parquet, Arc::new(NullArray::new(2)), 100).await;
    assert_eq!(*source.schema().field(0).data_type(), DataType::Null);
    let declared = Schema::new(vec![Field::new("t", DataType::Float64, true)]);
    let source = open(&folder.path().join("t"), Format::Parquet, &declared).await;
    assert_eq!(*source.schema().field(0).data_type(), DataType::Float64);
    assert_eq!(asked(&source, "SELECT t FROM t").await.unwrap(), ["", ""]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Filters over a column that is stored finer than it is shown find what they
    /// find in the values themselves, whatever the groups' statistics are.
    #[test]
    fn filters_find_what_the_values_say(
        mut micros in prop::collection::vec(prop_oneof![0_i64..6, -3_i64..3, Just(9_223_372_036_854_775)], 1..12),
        literal in -3_i64..7,
        op in prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]),
        sorted: bool,
    ) {
        if sorted {
            micros.sort_unstable();
        }
        let holds = |v: i64| match op {
            "=" => v == literal,
            "<>" => v != literal,
            "<" => v < literal,
            "<=" => v <= literal,
            ">" => v > literal,
            _ => v >= literal,
        };
        let mut expected: Vec<_> = micros.iter().copied().filter(|v| holds(*v)).collect();
        expected.sort_unstable();
        let stored = nanos(micros.iter().map(|v| v * 1_000).collect());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let found = runtime.block_on(async {
            let (_folder, source) = table(Format::Parquet, stored, 2).await;
            let sql = format!("SELECT CAST(t AS BIGINT) AS n FROM t WHERE t {op} to_timestamp_micros({literal}) ORDER BY n");
            asked(&source, &sql).await
        });
        let expected: Vec<_> = expected.iter().map(i64::to_string).collect();
        prop_assert_eq!(found.unwrap(), expected);
    }

    /// Exactly those with more digits than a microsecond are refused.
    #[test]
    fn digits_are_kept_or_refused(values in prop::collection::vec(prop::option::of(any::<i64>()), 0..6), cut: bool) {
        let values: Vec<_> = values.iter().map(|v| v.map(|v| if cut { v / 1_000 * 1_000 } else { v })).collect();
        let stored: ArrayRef = Arc::new(TimestampNanosecondArray::from(values.clone()));
        let read = exactly(&stored, &DataType::Timestamp(TimeUnit::Microsecond, None));
        match values.iter().flatten().all(|v| v % 1_000 == 0) {
            true => {
                let read = read.unwrap();
                let back = read.as_primitive::<TimestampMicrosecondType>().iter();
                prop_assert_eq!(back.map(|v| v.map(|v| v * 1_000)).collect::<Vec<_>>(), values);
            }
            false => prop_assert!(read.is_err()),
        }
    }
}

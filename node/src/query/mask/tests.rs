//! Each action on each type, and what holds for all of them.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    Float64Array, Int16Array, Int32Array, Int64Array, StringArray, StringViewArray,
    TimestampMicrosecondArray, new_empty_array,
};
use arrow::datatypes::{Date32Type, Int32Type, Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;

use super::*;

const ALL: [Mask; 10] = [
    Mask::MaskAlphanum,
    Mask::MaskToFixedValue,
    Mask::ReplaceWithNull,
    Mask::ShowFirst4,
    Mask::ShowLast4,
    Mask::TruncateToYear,
    Mask::TruncateToMonth,
    Mask::Sha256Global,
    Mask::Sha256QueryLocal,
    Mask::Sha256AgreementLocal,
];

fn text(mask: Mask, text: &str) -> String {
    let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let masked = values::apply(mask, b"", &column).unwrap();
    masked.as_string::<i32>().value(0).to_owned()
}

#[test]
fn texts_are_covered_character_by_character() {
    let covered = |t: &str| text(Mask::MaskAlphanum, t);
    assert_eq!(covered("(030) 12-34, a.b@c.de"), "(nnn)xnn-nn,xx.x@x.xx");
    // Only ASCII digits are digits; a code point is one character.
    assert_eq!(covered("\u{663}é😀\n"), "xxxx");
    assert_eq!(text(Mask::ShowFirst4, "ab12 34é"), "ab12xnnx");
    assert_eq!(text(Mask::ShowLast4, "DE89 3704é0"), "xxnnxnn04é0");
    assert_eq!(text(Mask::ShowLast4, "éa12😀"), "xa12😀");
    for short in ["", "ab", "é12😀"] {
        assert_eq!(text(Mask::ShowFirst4, short), short);
        assert_eq!(text(Mask::ShowLast4, short), short);
    }
}

#[test]
fn hashes_are_those_of_iceberg() {
    // The digest of "abc" of FIPS 180-4.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(text(Mask::Sha256Global, "abc"), abc);
    let binary: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"abc"]));
    let raw = values::apply(Mask::Sha256Global, b"", &binary).unwrap();
    let raw = raw.as_binary::<i32>().value(0).to_vec();
    assert_eq!(data_encoding::HEXLOWER.encode(&raw), abc);
    // Little-endian in, the first bytes out, little-endian.
    let bytes = Digest::of(&7i64.to_le_bytes());
    let first: [u8; 8] = bytes.as_bytes()[..8].try_into().unwrap();
    let long: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let long = values::apply(Mask::Sha256Global, b"", &long).unwrap();
    assert_eq!(
        long.as_primitive::<Int64Type>().value(0),
        i64::from_le_bytes(first)
    );
    let bytes = Digest::of(&7i32.to_le_bytes());
    let first: [u8; 4] = bytes.as_bytes()[..4].try_into().unwrap();
    let int: ArrayRef = Arc::new(Int32Array::from(vec![7]));
    let int = values::apply(Mask::Sha256Global, b"", &int).unwrap();
    assert_eq!(
        int.as_primitive::<Int32Type>().value(0),
        i32::from_le_bytes(first)
    );
    // The salt is hashed first.
    let column: ArrayRef = Arc::new(StringArray::from(vec!["bc"]));
    let salted = values::apply(Mask::Sha256QueryLocal, b"a", &column).unwrap();
    assert_eq!(salted.as_string::<i32>().value(0), abc);
}

#[test]
fn salts_differ_between_queries_and_agreements_and_stay_within_one() {
    let of = |agreement: &[u8]| Salts::draw(b"key", Some(&Digest::of(agreement))).unwrap();
    let (one, same, other) = (of(b"1"), of(b"1"), of(b"2"));
    assert_ne!(one.query, same.query);
    assert_eq!(one.agreement, same.agreement);
    assert_ne!(one.agreement, other.agreement);
    assert_ne!(one.agreement, Salts::draw(b"key", None).unwrap().agreement);
    assert_ne!(
        one.agreement,
        Salts::draw(b"ke", Some(&Digest::of(b"1")))
            .unwrap()
            .agreement
    );
    assert!(one.of(Mask::Sha256Global).is_empty());
    assert!(one.of(Mask::Sha256QueryLocal).len() >= 16);
    assert_eq!(format!("{one:?}"), "Salts");
}

#[test]
fn moments_become_the_first_of_their_period() {
    let day = |text: &str| {
        let array = arrow::compute::cast(&StringArray::from(vec![text]), &DataType::Date32);
        array.unwrap().as_primitive::<Date32Type>().value(0)
    };
    for (from, month, year) in [
        ("2013-07-09", "2013-07-01", "2013-01-01"),
        ("2012-02-29", "2012-02-01", "2012-01-01"),
        ("2000-12-31", "2000-12-01", "2000-01-01"),
        ("1970-01-01", "1970-01-01", "1970-01-01"),
        ("1969-12-31", "1969-12-01", "1969-01-01"),
        ("1900-03-01", "1900-03-01", "1900-01-01"),
        ("0001-01-02", "0001-01-01", "0001-01-01"),
    ] {
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![Some(day(from)), None]));
        for (mask, to) in [(Mask::TruncateToMonth, month), (Mask::TruncateToYear, year)] {
            let masked = values::apply(mask, b"", &dates).unwrap();
            let masked = masked.as_primitive::<Date32Type>();
            assert_eq!(masked.value(0), day(to), "{from} {mask:?}");
            assert!(masked.is_null(1));
        }
    }
    // One microsecond before 1970-01-01, in a zone.
    let moments = TimestampMicrosecondArray::from(vec![-1, i64::MIN, i64::MAX]);
    let moments: ArrayRef = Arc::new(moments.with_timezone("UTC"));
    let masked = values::apply(Mask::TruncateToMonth, b"", &moments).unwrap();
    assert_eq!(masked.data_type(), moments.data_type());
    let masked = masked.as_primitive::<TimestampMicrosecondType>();
    assert_eq!(masked.value(0), -31 * 24 * 3_600 * 1_000_000);
    assert_eq!(masked.value(1), i64::MIN);
    assert!(masked.value(2) > 0);
}

#[test]
fn fixed_values_are_those_of_iceberg() {
    let fixed = |column: ArrayRef| values::apply(Mask::MaskToFixedValue, b"", &column).unwrap();
    assert_eq!(text(Mask::MaskToFixedValue, "secret"), "XXXXXXXX");
    let ints = fixed(Arc::new(Int16Array::from(vec![Some(7), None])));
    assert_eq!(
        ints.as_ref(),
        &Int16Array::from(vec![Some(0), None]) as &dyn Array
    );
    let flags = fixed(Arc::new(BooleanArray::from(vec![Some(true), None])));
    assert_eq!(
        flags.as_ref(),
        &BooleanArray::from(vec![Some(false), None]) as &dyn Array
    );
    let floats = fixed(Arc::new(Float64Array::from(vec![f64::NAN])));
    assert_eq!(
        floats.as_ref(),
        &Float64Array::from(vec![0.0]) as &dyn Array
    );
    let decimals = Decimal128Array::from(vec![5])
        .with_precision_and_scale(9, 2)
        .unwrap();
    assert_eq!(
        fixed(Arc::new(decimals)).data_type(),
        &DataType::Decimal128(9, 2)
    );
    let dates = fixed(Arc::new(Date32Array::from(vec![99])));
    assert_eq!(dates.as_ref(), &Date32Array::from(vec![0]) as &dyn Array);
    let binary = fixed(Arc::new(BinaryArray::from_vec(vec![b"x"])));
    assert_eq!(binary.as_binary::<i32>().value(0), b"");
    let list = arrow::array::ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some([Some(1), Some(2)]),
        None,
    ]);
    let lists = fixed(Arc::new(list));
    assert_eq!(lists.as_list::<i32>().value(0).len(), 0);
    assert!(!lists.is_null(0) && lists.is_null(1));
}

/// What `enforces` promises is what `apply` does, for every type that crosses.
#[test]
fn a_mask_is_for_the_types_that_it_names_and_keeps_them() {
    use DataType::*;
    let item = |kind| Arc::new(arrow::datatypes::Field::new("item", kind, true));
    let kinds = [
        Boolean,
        Int8,
        Int16,
        Int32,
        Int64,
        UInt8,
        UInt16,
        UInt32,
        UInt64,
        Float32,
        Float64,
        Utf8,
        LargeUtf8,
        Utf8View,
        Binary,
        LargeBinary,
        BinaryView,
        Date32,
        Time64(TimeUnit::Microsecond),
        Timestamp(TimeUnit::Microsecond, None),
        Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Decimal128(38, 10),
        List(item(Utf8)),
    ];
    let salts = Salts::draw(b"key", None).unwrap();
    for mask in ALL {
        for kind in &kinds {
            let applied = values::apply(mask, b"", &new_empty_array(kind));
            let name = format!("{mask:?} on {kind}");
            assert_eq!(enforces(mask, kind), applied.is_some(), "{name}");
            assert_eq!(
                masked("c", mask, kind, &salts).is_ok(),
                applied.is_some(),
                "{name}"
            );
            if let Some(applied) = applied {
                assert_eq!(applied.data_type(), kind, "{name}");
            }
            // Null stays null.
            if enforces(mask, kind) {
                let nulls = arrow::array::new_null_array(kind, 3);
                let applied = values::apply(mask, b"", &nulls).unwrap();
                assert_eq!(applied.null_count(), 3, "{name}");
            }
        }
    }
    let structure = Struct(vec![item(Int32)].into());
    assert!(!enforces(Mask::MaskToFixedValue, &structure));
}

proptest! {
    /// A mask is a function of the value alone: what stands beside it, and in
    /// which layout it is held, changes nothing.
    #[test]
    fn masked_texts_depend_on_the_text_alone(
        texts in proptest::collection::vec(proptest::option::of("\\PC{0,9}"), 1..9),
    ) {
        let column: ArrayRef = Arc::new(StringArray::from(texts.clone()));
        let views: ArrayRef = Arc::new(StringViewArray::from_iter(texts.iter().map(Option::as_deref)));
        for mask in ALL.into_iter().filter(|m| enforces(*m, &DataType::Utf8)) {
            let all = values::apply(mask, b"salt", &column).unwrap();
            let viewed = values::apply(mask, b"salt", &views).unwrap();
            let viewed = arrow::compute::cast(&viewed, &DataType::Utf8).unwrap();
            prop_assert_eq!(&all, &viewed);
            for i in 0..texts.len() {
                let alone = values::apply(mask, b"salt", &column.slice(i, 1)).unwrap();
                prop_assert_eq!(&all.slice(i, 1), &alone);
            }
        }
    }

    #[test]
    fn days_and_months_are_those_of_the_calendar(days in -800_000i32..800_000) {
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![days]));
        let shown = |array: &ArrayRef| {
            let texts = arrow::compute::cast(array, &DataType::Utf8).unwrap();
            texts.as_string::<i32>().value(0).to_owned()
        };
        let (of, month) = (shown(&dates), values::apply(Mask::TruncateToMonth, b"", &dates).unwrap());
        let year = values::apply(Mask::TruncateToYear, b"", &dates).unwrap();
        let (whole, _) = of.rsplit_once('-').unwrap();
        let (years, _) = whole.rsplit_once('-').unwrap();
        prop_assert_eq!(shown(&month), format!("{whole}-01"));
        prop_assert_eq!(shown(&year), format!("{years}-01-01"));
    }
}

//! What each mask makes of each type.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, LargeBinaryArray, LargeStringArray,
    PrimitiveArray, StringArray, StringViewArray,
};
use arrow::compute::{is_not_null, nullif};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use comity_protocol::terms::Mask;
use datafusion::scalar::ScalarValue;
use sha2::{Digest as _, Sha256};

/// Microseconds of a day.
const DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// Characters that `show-first-4` and `show-last-4` leave as they are.
const SHOWN: usize = 4;

/// `column` masked; `None` where the mask is not for its type.
pub(super) fn apply(mask: Mask, salt: &[u8], column: &ArrayRef) -> Option<ArrayRef> {
    match mask {
        Mask::ReplaceWithNull => Some(arrow::array::new_null_array(
            column.data_type(),
            column.len(),
        )),
        Mask::MaskToFixedValue => fixed_where_present(column),
        Mask::MaskAlphanum => texts(column, |text| text.chars().map(covered).collect()),
        Mask::ShowFirst4 => texts(column, |text| {
            let chars = text.chars().enumerate();
            chars.map(|(i, c)| cover_if(i >= SHOWN, c)).collect()
        }),
        Mask::ShowLast4 => texts(column, |text| {
            let hidden = text.chars().count().saturating_sub(SHOWN);
            let chars = text.chars().enumerate();
            chars.map(|(i, c)| cover_if(i < hidden, c)).collect()
        }),
        Mask::TruncateToYear => truncated(column, |(year, _)| (year, 1)),
        Mask::TruncateToMonth => truncated(column, |month| month),
        Mask::Sha256Global | Mask::Sha256QueryLocal | Mask::Sha256AgreementLocal => {
            hashed(column, salt)
        }
    }
}

/// The one value that every value of `kind` becomes; `None` for structures.
pub(super) fn fixed(kind: &DataType) -> Option<ScalarValue> {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let text = ScalarValue::from("XXXXXXXX");
            text.cast_to(kind).ok()
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            ScalarValue::Binary(Some(Vec::new())).cast_to(kind).ok()
        }
        DataType::Boolean => Some(ScalarValue::Boolean(Some(false))),
        DataType::List(item) => {
            let none = ScalarValue::new_list_nullable(&[], item.data_type());
            Some(ScalarValue::List(none))
        }
        // Zero, midnight and the first day of 1970 are all zero.
        kind if kind.is_numeric() || kind.is_temporal() => ScalarValue::new_zero(kind).ok(),
        _ => None,
    }
}

fn fixed_where_present(column: &ArrayRef) -> Option<ArrayRef> {
    let fixed = fixed(column.data_type())?;
    let all = fixed.to_array_of_size(column.len()).ok()?;
    let all = arrow::compute::cast(&all, column.data_type()).ok()?;
    let absent = arrow::compute::not(&is_not_null(column).ok()?).ok()?;
    nullif(&all, &absent).ok()
}

/// Iceberg's `mask-alphanum`, for one code point.
fn covered(c: char) -> char {
    match c {
        '0'..='9' => 'n',
        '(' | ')' | ',' | '.' | '-' | '@' => c,
        _ => 'x',
    }
}

fn cover_if(hidden: bool, c: char) -> char {
    if hidden { covered(c) } else { c }
}

fn texts(column: &ArrayRef, mask: impl Fn(&str) -> String) -> Option<ArrayRef> {
    let of = |text: Option<&str>| text.map(&mask);
    Some(match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>().iter().map(of);
            Arc::new(texts.collect::<StringArray>())
        }
        DataType::LargeUtf8 => {
            let texts = column.as_string::<i64>().iter().map(of);
            Arc::new(texts.collect::<LargeStringArray>())
        }
        DataType::Utf8View => {
            let texts = column.as_string_view().iter().map(of);
            Arc::new(texts.collect::<StringViewArray>())
        }
        _ => return None,
    })
}

/// The first instant of the year or month that `period` makes of (year, month).
fn truncated(column: &ArrayRef, period: impl Fn((i64, i64)) -> (i64, i64)) -> Option<ArrayRef> {
    let first_day = |days: i64| {
        let (year, month) = period(civil(days));
        days_of(year, month)
    };
    match column.data_type() {
        DataType::Date32 => Some(unary::<Date32Type>(column, |days| {
            i32::try_from(first_day(i64::from(days))).unwrap_or(i32::MIN)
        })),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let moments = column.as_primitive::<TimestampMicrosecondType>();
            let first = moments.unary::<_, TimestampMicrosecondType>(|micros| {
                // The first instant of the earliest years has no place in 64 bits.
                first_day(micros.div_euclid(DAY)).saturating_mul(DAY)
            });
            Some(Arc::new(first.with_timezone_opt(zone.clone())))
        }
        _ => None,
    }
}

fn unary<T: ArrowPrimitiveType>(
    column: &ArrayRef,
    make: impl Fn(T::Native) -> T::Native,
) -> ArrayRef {
    let made: PrimitiveArray<T> = column.as_primitive::<T>().unary(make);
    Arc::new(made)
}

/// Days of four hundred years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;
/// From 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// The year and month of a day since 1970 in the Gregorian calendar, which is
/// taken to have held always. Years begin in March within: the leap day is the last.
fn civil(days: i64) -> (i64, i64) {
    let days = days + EPOCH_DAYS;
    let era = days.div_euclid(ERA_DAYS);
    let day = days.rem_euclid(ERA_DAYS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month)
}

/// The first day of a month, in days since 1970.
fn days_of(year: i64, month: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let months = if month > 2 { month - 3 } else { month + 9 };
    let day = (153 * months + 2) / 5;
    era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + day - EPOCH_DAYS
}

/// Texts become lower-case hex, binaries the digest, whole numbers as many of
/// the digest's first bytes as they have themselves, little-endian in and out.
fn hashed(column: &ArrayRef, salt: &[u8]) -> Option<ArrayRef> {
    let digest = |value: &[u8]| -> [u8; 32] {
        let hash = Sha256::new_with_prefix(salt).chain_update(value);
        hash.finalize().into()
    };
    let hex = |text: &str| data_encoding::HEXLOWER.encode(&digest(text.as_bytes()));
    let raw = |value: Option<&[u8]>| value.map(|v| digest(v).to_vec());
    Some(match column.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => return texts(column, hex),
        DataType::Binary => {
            let values = column.as_binary::<i32>().iter().map(raw);
            Arc::new(values.collect::<BinaryArray>())
        }
        DataType::LargeBinary => {
            let values = column.as_binary::<i64>().iter().map(raw);
            Arc::new(values.collect::<LargeBinaryArray>())
        }
        DataType::BinaryView => {
            let values = column.as_binary_view().iter().map(raw);
            Arc::new(values.collect::<BinaryViewArray>())
        }
        DataType::Int32 => unary::<Int32Type>(column, |n| {
            let [a, b, c, d, ..] = digest(&n.to_le_bytes());
            i32::from_le_bytes([a, b, c, d])
        }),
        DataType::Int64 => unary::<Int64Type>(column, |n| {
            let [a, b, c, d, e, f, g, h, ..] = digest(&n.to_le_bytes());
            i64::from_le_bytes([a, b, c, d, e, f, g, h])
        }),
        _ => return None,
    })
}

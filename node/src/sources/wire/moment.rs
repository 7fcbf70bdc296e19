//! Moments that stand in texts.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, PrimitiveArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;

use super::lost;

/// How long `2013-06-01T` is: behind it stand the time and perhaps an offset.
const DATE_END: usize = 11;

/// How many digits a microsecond has.
const DIGITS: usize = 6;

/// Texts as timestamps. With a zone, a text without an offset is in UTC, as ODCS
/// has it; without one, a text with an offset is another moment in each zone and
/// is refused.
pub(super) fn timestamps(texts: &ArrayRef, zone: Option<Arc<str>>) -> Result<ArrayRef, ArrowError> {
    for text in texts.as_string::<i32>().iter().flatten() {
        if zone.is_none() && has_offset(text) {
            let message = "an offset from UTC in a column without a zone".to_owned();
            return Err(ArrowError::CastError(message));
        }
        if has_more_digits(text) {
            return Err(lost());
        }
    }
    // Without a zone: the parser then takes offsets off and nothing else.
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    // Not the parser's own message, which repeats the text.
    let wrong = |_| ArrowError::CastError("a text that is no timestamp".to_owned());
    let read = cast_with_options(texts, &micros, &strict()).map_err(wrong)?;
    let read: &PrimitiveArray<TimestampMicrosecondType> = read.as_primitive();
    Ok(Arc::new(read.clone().with_timezone_opt(zone)))
}

/// Texts such as `12:30:01.000005` as times of day.
pub(super) fn times(texts: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let wrong = || ArrowError::CastError("a text that is no time of day".to_owned());
    for text in texts.as_string::<i32>().iter().flatten() {
        // The parser takes a number for microseconds.
        if text.get(2..3) != Some(":") {
            return Err(wrong());
        }
        if has_more_digits(text) {
            return Err(lost());
        }
    }
    let micros = DataType::Time64(TimeUnit::Microsecond);
    cast_with_options(texts, &micros, &strict()).map_err(|_| wrong())
}

/// Not "safe": that one makes nulls of what is none.
fn strict() -> CastOptions<'static> {
    CastOptions {
        safe: false,
        ..CastOptions::default()
    }
}

fn has_offset(text: &str) -> bool {
    let mut time = text.bytes().skip(DATE_END);
    time.any(|b| !matches!(b, b'0'..=b'9' | b':' | b'.'))
}

fn has_more_digits(text: &str) -> bool {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit);
    digits.skip(DIGITS).any(|digit| digit != b'0')
}

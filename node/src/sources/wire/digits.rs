//! Decimals that stand in texts, to their last digit.

use std::sync::Arc;

use arrow::array::builder::Decimal128Builder;
use arrow::array::{ArrayRef, AsArray as _};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// Why a text is no decimal of a type.
const WRONG: &str = "a text that is no number, or has more digits";

/// A text such as `-12.5`, `.5` or `12` in units of the last digit.
pub(in crate::sources) fn decimal(
    text: &str,
    precision: u8,
    scale: i8,
) -> Result<i128, &'static str> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let scale = usize::try_from(scale).map_err(|_| WRONG)?;
    let kept = fraction.trim_end_matches('0');
    let none = whole.is_empty() && fraction.is_empty();
    if none || !all_digits(whole) || !all_digits(fraction) || kept.len() > scale {
        return Err(WRONG);
    }
    let unscaled = format!("{whole}{kept:0<scale$}");
    let unscaled = unscaled.trim_start_matches('0');
    if unscaled.len() > precision.into() {
        return Err(WRONG);
    }
    match unscaled {
        "" => Ok(0),
        digits => digits.parse::<i128>().map(|n| sign * n).map_err(|_| WRONG),
    }
}

/// Texts as decimals, each exactly.
pub(super) fn decimals(texts: &ArrayRef, precision: u8, scale: i8) -> Result<ArrayRef, ArrowError> {
    let kind = DataType::Decimal128(precision, scale);
    let mut read = Decimal128Builder::with_capacity(texts.len()).with_data_type(kind);
    for text in texts.as_string::<i32>() {
        let value = text.map(|text| decimal(text, precision, scale)).transpose();
        // Not the text, which is a value.
        read.append_option(value.map_err(|e| ArrowError::CastError(e.to_owned()))?);
    }
    Ok(Arc::new(read.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_decimal_to_its_last_digit_or_none() {
        for (text, expected) in [
            ("12.34", Some(1_234)),
            ("-0.5", Some(-50)),
            (".5", Some(50)),
            ("7.", Some(700)),
            ("00007.100", Some(710)),
            ("999.99", Some(99_999)),
            ("1000", None),
            ("0.005", None),
            ("", None),
            (".", None),
            ("-", None),
            ("1e2", None),
            ("+1", None),
            (" 1", None),
            ("1.2.3", None),
        ] {
            assert_eq!(decimal(text, 5, 2).ok(), expected, "{text:?}");
        }
    }
}

//! Which plain YAML scalars mean the same to every parser.
//!
//! Measured over PyYAML, `serde_yaml_ng` and `serde-saphyr`: 11 of 16 common
//! plain scalars have more than one reading (`NO` is `false`, `017` is 15,
//! `12:30:45` is 45045). A product whose meaning depends on the parser cannot be
//! signed, so a plain scalar may be a non-string only in the one form that all
//! of them read alike; everything else that any of them reads as a non-string
//! is refused with the quoted form.

use serde_json::{Number, Value};

/// The largest integer that every JSON reader holds exactly (RFC 8785, section 3.2.2.3).
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
/// The most significant digits that a double holds in every direction.
const MAX_DECIMAL_DIGITS: usize = 15;

/// A scalar with more than one reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ambiguous {
    /// Why it is refused.
    pub(super) message: String,
    /// What to write instead.
    pub(super) instead: String,
}

/// The one meaning of a plain scalar.
pub(super) fn resolve(text: &str) -> Result<Value, Ambiguous> {
    match text {
        "true" => return Ok(Value::Bool(true)),
        "false" => return Ok(Value::Bool(false)),
        "null" => return Ok(Value::Null),
        "" => {
            return Err(refuse(
                "there is no value here",
                "a value, or leave the key out as well".to_owned(),
            ));
        }
        "<<" | "=" => {
            return Err(refuse(
                "some parsers give this a meaning of its own",
                quoted(text),
            ));
        }
        _ => {}
    }
    let lower = text.to_ascii_lowercase();
    if let Some(meant) = word(&lower) {
        return Err(refuse(
            &format!("parsers disagree whether {text} is a word or {meant}"),
            format!("{} for the word, {meant} for the value", quoted(text)),
        ));
    }
    if is_date(text) {
        return Err(refuse(
            "parsers disagree whether this is text or a date",
            quoted(text),
        ));
    }
    let unsigned = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
    if matches!(unsigned, ".inf" | ".nan") {
        return Err(refuse("a number must be finite", quoted(text)));
    }
    if is_radix(unsigned) || is_sexagesimal(unsigned) {
        return Err(refuse(
            "parsers read this as different numbers",
            quoted(text),
        ));
    }
    let bare: String = unsigned.chars().filter(|c| *c != '_').collect();
    let starts_as_number = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !starts_as_number || !bare.contains(|c: char| c.is_ascii_digit()) {
        return Ok(Value::String(text.to_owned()));
    }
    match bare.parse::<f64>() {
        Ok(_) if bare.bytes().all(|b| b.is_ascii_digit()) => integer(text),
        Ok(magnitude) => decimal(text, magnitude),
        Err(_) => Ok(Value::String(text.to_owned())),
    }
}

/// A text as a double-quoted scalar.
pub(super) fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

fn integer(text: &str) -> Result<Value, Ambiguous> {
    let canonical: Option<i64> = text.parse().ok().filter(|n: &i64| n.to_string() == text);
    match canonical {
        Some(n) if n.unsigned_abs() <= MAX_SAFE_INTEGER => Ok(Value::from(n)),
        Some(_) => Err(refuse(
            "whole numbers beyond 2^53-1 lose digits",
            quoted(text),
        )),
        None if text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0') => Err(refuse(
            "whole numbers beyond 2^53-1 lose digits",
            quoted(text),
        )),
        None => Err(refuse(
            "parsers read a sign, a leading zero or an underscore differently",
            quoted(text),
        )),
    }
}

fn decimal(text: &str, magnitude: f64) -> Result<Value, Ambiguous> {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let number = if text.starts_with('-') {
        -magnitude
    } else {
        magnitude
    };
    let shortest = number.to_string();
    if digits > MAX_DECIMAL_DIGITS {
        return Err(refuse("more than 15 digits lose digits", quoted(text)));
    }
    match Number::from_f64(number) {
        // `1.0` is written `1` in canonical JSON, so the source must be as well.
        Some(exact) if shortest == text && text.contains('.') => Ok(Value::Number(exact)),
        _ => Err(refuse(
            "only the shortest decimal form reads alike everywhere",
            format!("{} for the text, {shortest} for the number", quoted(text)),
        )),
    }
}

fn word(lower: &str) -> Option<&'static str> {
    match lower {
        "y" | "yes" | "on" | "true" => Some("true"),
        "n" | "no" | "off" | "false" => Some("false"),
        "~" | "null" => Some("null"),
        _ => None,
    }
}

/// `2024-01-01`, with or without a time behind it.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let day: &str = rest
        .find(|c: char| !c.is_ascii_digit())
        .map_or(rest, |end| rest.get(..end).unwrap_or_default());
    let after = rest.get(day.len()..).unwrap_or_default();
    year.len() == 4
        && [year, month, day]
            .iter()
            .all(|p| p.bytes().all(|b| b.is_ascii_digit()))
        && matches!(month.len(), 1 | 2)
        && matches!(day.len(), 1 | 2)
        && (after.is_empty() || after.starts_with(['T', 't', ' ', '\t']))
}

/// `0x1F`, `0o17`, `0b1`, whatever the digits behind.
fn is_radix(unsigned: &str) -> bool {
    ["0x", "0o", "0b"].iter().any(|prefix| {
        unsigned
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit() || b == b'_'))
    })
}

/// `12:30:45`: base 60 to YAML 1.1.
fn is_sexagesimal(unsigned: &str) -> bool {
    unsigned.contains(':')
        && unsigned.starts_with(|c: char| c.is_ascii_digit())
        && unsigned
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'_'))
}

fn refuse(message: &str, instead: String) -> Ambiguous {
    Ambiguous {
        message: message.to_owned(),
        instead,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_every_parser_reads_alike_is_accepted() {
        for (text, value) in [
            ("true", json!(true)),
            ("false", json!(false)),
            ("null", json!(null)),
            ("0", json!(0)),
            ("-17", json!(-17)),
            ("9007199254740991", json!(9_007_199_254_740_991_i64)),
            ("99.5", json!(99.5)),
            ("-0.25", json!(-0.25)),
            ("3.1.0", json!("3.1.0")),
            ("v3.1.0", json!("v3.1.0")),
            (
                "8b0c2a52-6b7a-4c7e-9b4a-1f1a0c0a7d11",
                json!("8b0c2a52-6b7a-4c7e-9b4a-1f1a0c0a7d11"),
            ),
            ("no one", json!("no one")),
            ("inf", json!("inf")),
            ("orders.ordered_at", json!("orders.ordered_at")),
            ("P30D", json!("P30D")),
            ("-", json!("-")),
        ] {
            assert_eq!(resolve(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_two_parsers_read_differently_is_refused_with_the_quoted_form() {
        for text in [
            "y",
            "n",
            "yes",
            "NO",
            "on",
            "Off",
            "True",
            "TRUE",
            "~",
            "Null",
            "017",
            "0o17",
            "0x1F",
            "0b1",
            "1_000",
            "1e3",
            "1.10",
            "1.0",
            ".5",
            "5.",
            "+1",
            "-0",
            "12:30:45",
            "1:30",
            ".inf",
            "-.INF",
            ".nan",
            "2024-01-01",
            "2024-1-1T00:00:00Z",
            "2001-12-14 21:59:43",
            "9007199254740992",
            "123456789012345678901234567890",
            "0.1234567890123456",
            "<<",
            "=",
        ] {
            let refused = resolve(text).unwrap_err();
            assert!(
                refused.instead.starts_with(&quoted(text)),
                "{text}: {}",
                refused.instead
            );
        }
        assert!(resolve("").is_err());
    }

    proptest! {
        /// Whatever is accepted as a number is written back as the same text,
        /// and a second parser reads the same value.
        #[test]
        fn accepted_scalars_have_one_reading(text in "[-+0-9a-zA-Z_.:~]{1,12}") {
            if let Ok(value) = resolve(&text) {
                if !value.is_string() {
                    prop_assert_eq!(value.to_string(), text.clone());
                }
                let options = serde_saphyr::options! { strict_booleans: true };
                if let Ok(second) = serde_saphyr::from_str_with_options::<Value>(&format!("k: {text}"), options) {
                    prop_assert_eq!(&second["k"], &value, "{}", text);
                }
            }
        }
    }
}

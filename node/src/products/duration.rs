//! Durations of service levels, as the `datacontract` command reads them.
//!
//! The traps are its own: `m` is minutes of freshness and months of retention,
//! freshness knows no seconds, a number without a unit counts days, and a
//! fraction is cut off (`spec/3-catalog.md#C-102`). A pipeline and this node
//! must not judge one promise by two numbers.

use serde_json::Value;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const MONTH: u64 = 30 * DAY;
const YEAR: u64 = 365 * DAY;

/// The longest that a promise may reach, in seconds: longer ones are mistakes.
const MAX_SECONDS: u64 = 10_000 * YEAR;

/// A freshness in seconds; `None` when it cannot be read.
pub(crate) fn freshness(value: &Value, unit: Option<&str>) -> Option<u64> {
    let whole = match value {
        Value::String(text) => match text.trim().parse() {
            Ok(whole) => whole,
            Err(_) => return iso(text.trim()),
        },
        value => truncated(value)?,
    };
    let factor = match unit.unwrap_or("d").to_lowercase().as_str() {
        "d" | "day" | "days" => DAY,
        "h" | "hr" | "hour" | "hours" => HOUR,
        "m" | "min" | "minute" | "minutes" => MINUTE,
        _ => return None,
    };
    bounded(whole, factor)
}

/// A retention in seconds; `None` when it cannot be read.
pub(crate) fn retention(value: &Value, unit: Option<&str>) -> Option<u64> {
    if let Value::String(text) = value {
        return iso(text);
    }
    let factor = match unit.unwrap_or("d").to_lowercase().as_str() {
        "y" | "yr" | "year" | "years" => YEAR,
        "m" | "mo" | "month" | "months" => MONTH,
        "d" | "day" | "days" => DAY,
        "h" | "hr" | "hour" | "hours" => HOUR,
        "min" | "minute" | "minutes" => MINUTE,
        "s" | "sec" | "second" | "seconds" => 1,
        _ => return None,
    };
    bounded(truncated(value)?, factor)
}

fn truncated(value: &Value) -> Option<u64> {
    let number = value.as_f64().filter(|n| (0.0..1e15).contains(n))?;
    Some(number.trunc() as u64)
}

fn bounded(whole: u64, factor: u64) -> Option<u64> {
    whole.checked_mul(factor).filter(|s| *s <= MAX_SECONDS)
}

/// `P1DT12H` and the like, with whole numbers.
fn iso(text: &str) -> Option<u64> {
    let text = text.to_uppercase();
    let rest = text.strip_prefix('P')?;
    let (days, clock) = match rest.split_once('T') {
        Some((days, clock)) if !clock.is_empty() => (days, clock),
        Some(_) => return None,
        None => (rest, ""),
    };
    if days.is_empty() && clock.is_empty() {
        return None;
    }
    let days = parts(
        days,
        &[('Y', YEAR), ('M', MONTH), ('W', 7 * DAY), ('D', DAY)],
    )?;
    let clock = parts(clock, &[('H', HOUR), ('M', MINUTE), ('S', 1)])?;
    days.checked_add(clock).filter(|s| *s <= MAX_SECONDS)
}

/// Numbers with their letters, in this order, each at most once.
fn parts(mut text: &str, mut units: &[(char, u64)]) -> Option<u64> {
    let mut sum = 0u64;
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, letter) = (text.get(..end)?, text.get(end..)?.chars().next()?);
        let place = units.iter().position(|(unit, _)| *unit == letter)?;
        let factor = units.get(place)?.1;
        units = units.get(place + 1..)?;
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        text = text.get(end + letter.len_utf8()..)?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn units_are_those_of_the_datacontract_command() {
        let fresh = |value: Value, unit: &str| freshness(&value, Some(unit));
        assert_eq!(fresh(json!(25), "h"), Some(25 * HOUR));
        assert_eq!(fresh(json!(3), "m"), Some(3 * MINUTE), "minutes here");
        assert_eq!(freshness(&json!(2), None), Some(2 * DAY), "days by default");
        assert_eq!(fresh(json!(1.9), "h"), Some(HOUR), "a fraction is cut off");
        assert_eq!(fresh(json!("25"), "h"), Some(25 * HOUR));
        assert_eq!(fresh(json!("P1DT12H"), "h"), Some(36 * HOUR));
        assert_eq!(fresh(json!(30), "s"), None, "no seconds");
        assert_eq!(fresh(json!(-1), "h"), None);
        assert_eq!(fresh(json!(true), "h"), None);

        let kept = |value: Value, unit: &str| retention(&value, Some(unit));
        assert_eq!(kept(json!(3), "m"), Some(3 * MONTH), "months here");
        assert_eq!(kept(json!(3), "y"), Some(3 * YEAR));
        assert_eq!(kept(json!(90), "s"), Some(90));
        assert_eq!(retention(&json!("P2Y"), None), Some(2 * YEAR));
        assert_eq!(kept(json!(1), "fortnight"), None);
    }

    #[test]
    fn what_is_no_duration_is_none() {
        for wrong in [
            "", "P", "PT", "1D", "P1H", "PT1D", "P1D1Y", "P-1D", "P1.5D", "PD",
        ] {
            assert_eq!(iso(wrong), None, "{wrong}");
        }
        assert_eq!(
            iso("p1y2m3w4dt5h6m7s"),
            Some(YEAR + 2 * MONTH + 25 * DAY + 5 * HOUR + 6 * MINUTE + 7)
        );
        assert_eq!(iso("P99999999999999999999Y"), None);
        assert_eq!(freshness(&json!(1e14), Some("d")), None);
    }
}

//! What is promised of the values: constraints, quality, service levels, price.

use serde_json::Value;

use super::{Change, Grade, UNKNOWN, said};
use crate::compatibility::Kind;
use crate::product::DEFAULT_NOTICE;

/// The grade, if the difference is about a promise.
pub(super) fn grade(c: &Change<'_>) -> Option<Grade> {
    Some(match c.rule {
        "column/required" | "column/unique" | "column/primaryKey" => flag(c),
        "rule" => c.by_kind(KEPT, GONE, UNKNOWN),
        "rule/severity" => match c.new_text() {
            Some("error") => KEPT,
            _ => Grade::breaking("a failure of this check no longer counts as an error"),
        },
        "rule/type"
        | "rule/metric"
        | "rule/rule"
        | "rule/arguments"
        | "rule/unit"
        | "rule/comityThreshold/unit" => Grade::breaking("another thing is checked"),
        "sla" => service_level_entry(c),
        "sla/value" => service_level(c),
        "sla/element" | "sla/property" => Grade::breaking("it is promised of something else"),
        "price/priceAmount" => price(c),
        "price/priceCurrency" | "price/priceUnit" => Grade::breaking("the price is another one"),
        "link" | "link/url" | "link/type" => link(c),
        "description/limitations" => said(
            c,
            match c.kind {
                Kind::Add => Grade::breaking("there are limitations now"),
                Kind::Remove => Grade::wider("the limitations are gone"),
                Kind::Change => Grade::undetermined("what binds whoever uses the data changed"),
            },
        ),
        rule => {
            if let Some(option) = rule.strip_prefix("column/logicalTypeOptions/") {
                return Some(option_grade(c, option));
            }
            let operator = rule
                .strip_prefix("rule/comityThreshold/")
                .or_else(|| rule.strip_prefix("rule/"))?;
            if !operator.starts_with("must") {
                return None;
            }
            bound(c, operator)
        }
    })
}

const KEPT: Grade = Grade::additive("more is promised").checked();
const GONE: Grade = Grade::breaking("a promise is gone or weaker");
const OTHER: Grade = Grade::breaking("another promise; whether it is weaker cannot be said");

/// A flag that promises something while it is set.
fn flag(c: &Change<'_>) -> Grade {
    let set = |v: Option<&Value>| v.and_then(Value::as_bool).unwrap_or(false);
    match (set(c.old), set(c.new)) {
        (true, false) => GONE,
        (false, true) => KEPT,
        _ => Grade::text("written another way"),
    }
}

/// A bound on values or on a metric, by the name of its operator.
fn bound(c: &Change<'_>, operator: &str) -> Grade {
    match operator {
        "mustBeGreaterThan" | "mustBeGreaterOrEqualTo" => number(c, More::Stricter),
        "mustBeLessThan" | "mustBeLessOrEqualTo" => number(c, More::Looser),
        _ => c.by_kind(KEPT, GONE, OTHER),
    }
}

fn option_grade(c: &Change<'_>, option: &str) -> Grade {
    match option {
        "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties" => {
            number(c, More::Stricter)
        }
        "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties" => {
            number(c, More::Looser)
        }
        "timezone" | "defaultTimezone" => Grade::breaking("values have another type"),
        "uniqueItems" => flag(c),
        "pattern" | "format" | "multipleOf" | "enum" => c.by_kind(KEPT, GONE, OTHER),
        _ => UNKNOWN,
    }
}

/// What a larger number means.
#[derive(Clone, Copy, PartialEq)]
enum More {
    Stricter,
    Looser,
}

fn number(c: &Change<'_>, more: More) -> Grade {
    match (c.old, c.new) {
        (None, _) => KEPT,
        (_, None) => GONE,
        (Some(old), Some(new)) => match (old.as_f64(), new.as_f64()) {
            (Some(old), Some(new)) if old == new => Grade::text("written another way"),
            (Some(old), Some(new)) if (new > old) == (more == More::Stricter) => KEPT,
            (Some(_), Some(_)) => GONE,
            _ => OTHER,
        },
    }
}

/// What a larger value of a service level means.
enum Better {
    Larger,
    Smaller,
    Later,
}

/// The service levels that this release can compare.
fn better(property: &str) -> Option<Better> {
    Some(match property {
        "availability" | "throughput" | "retention" | "deprecationNotice" => Better::Larger,
        "freshness" | "latency" | "errorRate" | "frequency" | "timeToDetect" | "timeToNotify"
        | "timeToRepair" => Better::Smaller,
        "endOfSupport" | "endOfLife" => Better::Later,
        _ => return None,
    })
}

fn service_level_entry(c: &Change<'_>) -> Grade {
    let property = c.old.or(c.new).and_then(|v| v.get("property"));
    let ends = matches!(
        better(property.and_then(Value::as_str).unwrap_or_default()),
        Some(Better::Later)
    );
    if property == Some(&Value::from("deprecationNotice")) {
        return notice(c);
    }
    match c.kind {
        Kind::Add if ends => Grade::additive("its end is announced"),
        Kind::Remove if ends => Grade::additive("its end is taken back"),
        Kind::Add => KEPT,
        Kind::Remove => GONE,
        Kind::Change => UNKNOWN,
    }
}

/// A contract without a notice period promises the default one: stating a
/// shorter one takes something away.
fn notice(c: &Change<'_>) -> Grade {
    let default = DEFAULT_NOTICE.as_secs_f64();
    let seconds = |entry: Option<&Value>| match entry {
        None => Some(default),
        Some(entry) => quantity("deprecationNotice", entry)
            .filter(|(_, unit)| unit == "s")
            .map(|(value, _)| value),
    };
    match c.ranks(seconds) {
        Some((old, new)) if new < old => GONE,
        Some((old, new)) if new > old => KEPT,
        Some(_) => Grade::text("the period that it had is stated"),
        None => OTHER,
    }
}

/// `old` and `new` are the whole entries: a value means nothing without its unit.
fn service_level(c: &Change<'_>) -> Grade {
    let (Some(old), Some(new)) = (c.old, c.new) else {
        return UNKNOWN;
    };
    let property = |v: &Value| v.get("property").and_then(Value::as_str).map(str::to_owned);
    let (before, after) = (property(old), property(new));
    let (Some(name), true) = (&before, before == after) else {
        return OTHER;
    };
    if old.get("valueExt") != new.get("valueExt") {
        return OTHER;
    }
    let (worse, same) = match better(name) {
        None => return OTHER,
        Some(Better::Later) => {
            let date = |v: &Value| v.get("value").and_then(Value::as_str).and_then(instant);
            match (date(old), date(new)) {
                (Some(old), Some(new)) => (new < old, new == old),
                _ => return OTHER,
            }
        }
        Some(direction) => match (quantity(name, old), quantity(name, new)) {
            (Some((old, unit)), Some((new, other))) if unit == other => {
                let worse = match direction {
                    Better::Smaller => new > old,
                    Better::Larger | Better::Later => new < old,
                };
                (worse, new == old)
            }
            _ => return OTHER,
        },
    };
    match (same, worse) {
        (true, _) => Grade::text("the same promise, written another way"),
        (false, true) => GONE,
        (false, false) => KEPT,
    }
}

/// A value with its unit; times are in seconds.
///
/// `m` is minutes for freshness and months for retention: that is how the
/// common tool measures them, so it is not guessed for anything else.
fn quantity(property: &str, entry: &Value) -> Option<(f64, String)> {
    let value = entry.get("value").and_then(Value::as_f64)?;
    let unit = entry.get("unit").and_then(Value::as_str);
    let seconds = match (unit.unwrap_or("d"), property) {
        ("s" | "second" | "seconds", _) => 1.0,
        ("m", "freshness") | ("min" | "minute" | "minutes", _) => 60.0,
        ("h" | "hr" | "hour" | "hours", _) => 3600.0,
        ("d" | "day" | "days", _) => 86_400.0,
        ("w" | "week" | "weeks", _) => 7.0 * 86_400.0,
        ("m", "retention") | ("month" | "months", _) => 30.0 * 86_400.0,
        ("y" | "yr" | "year" | "years", _) => 365.0 * 86_400.0,
        (other, _) => return Some((value, other.to_owned())),
    };
    Some((value * seconds, "s".to_owned()))
}

/// A moment as text that sorts: RFC 3339 in UTC, or a date, which is its first instant.
fn instant(text: &str) -> Option<String> {
    let digits = |part: &str, form: &str| {
        part.len() == form.len()
            && part.bytes().zip(form.bytes()).all(|(b, f)| {
                if f == b'0' {
                    b.is_ascii_digit()
                } else {
                    b == f
                }
            })
    };
    if digits(text, "0000-00-00") {
        return Some(format!("{text}T00:00:00Z"));
    }
    digits(text, "0000-00-00T00:00:00Z").then(|| text.to_owned())
}

/// A service level in words.
pub(super) fn shown(entry: &Value) -> Value {
    let part = |key: &str| match entry.get(key) {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let (value, more, unit) = (part("value"), part("valueExt"), part("unit"));
    let range = if more.is_empty() {
        value
    } else {
        format!("{value} to {more}")
    };
    Value::String(format!("{range} {unit}").trim_end().to_owned())
}

fn price(c: &Change<'_>) -> Grade {
    let amount = |v: Option<&Value>| v.map_or(Some(0.0), Value::as_f64);
    match c.ranks(amount) {
        Some((old, new)) if new > old => Grade::breaking("it costs more"),
        Some((old, new)) if new < old => Grade::additive("it costs less"),
        Some(_) => Grade::text("the price is stated"),
        None => UNKNOWN,
    }
}

/// A link to what binds or to what explains.
fn link(c: &Change<'_>) -> Grade {
    // A changed field does not say of which kind its link is: then it may bind.
    let kind = |v: &Value| v.get("type").and_then(Value::as_str).map(str::to_owned);
    let kind = c.old.or(c.new).and_then(kind);
    let (binds, means) = match kind.as_deref() {
        Some("legalAgreement") => (true, false),
        Some("definition" | "semantics" | "businessDefinition") => (false, true),
        Some(_) => (false, false),
        None => (true, true),
    };
    match (c.kind, binds, means) {
        (Kind::Add, true, _) => Grade::breaking("a further document binds whoever uses the data"),
        (Kind::Remove, true, _) => Grade::wider("a document that binds is gone"),
        (Kind::Change, true, _) => Grade::undetermined("another document binds or explains"),
        (Kind::Remove | Kind::Change, false, true) => Grade::breaking("what it means is gone"),
        _ => Grade::text("a link"),
    }
}

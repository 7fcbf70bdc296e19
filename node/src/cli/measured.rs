//! Promised beside measured, as text.

use super::output::{printable, table};
use crate::admin::api;

/// The most broken promises that one line of the history names; `--json` has all.
const MAX_NAMED: usize = 5;

/// Every promise with its verdicts, how far the tables reach, and how old all
/// of it is.
pub(super) fn text(measured: &api::Measured) -> String {
    let mut rows = Vec::new();
    for promise in &measured.promises {
        let about = |verdict: &str, value: String, when: String| {
            vec![
                promise.id.clone(),
                promise.about.clone(),
                promised(promise),
                value,
                verdict.to_owned(),
                when,
            ]
        };
        if promise.verdicts.is_empty() {
            rows.push(about("not measured", "-".to_owned(), "-".to_owned()));
        }
        for verdict in &promise.verdicts {
            let value = verdict
                .value
                .map_or_else(|| "-".to_owned(), |v| amount(v, promise));
            let when = format!("{} by {}", verdict.at, verdict.by);
            rows.push(about(&verdict.status, value, when));
        }
    }
    let head = [
        "PROMISE", "ABOUT", "PROMISED", "MEASURED", "VERDICT", "WHEN",
    ];
    let mut text = match rows.is_empty() {
        true => "nothing that has a number is promised\n".to_owned(),
        false => table(&head, &rows),
    };
    for extent in &measured.tables {
        text.push_str(&format!("{} has {} rows", extent.table, extent.rows));
        for (column, span) in &extent.columns {
            let (from, to) = (moment(span.earliest), moment(span.latest));
            text.push_str(&format!("; {} from {from} to {to}", printable(column)));
        }
        text.push('\n');
    }
    if measured.statements.is_empty() {
        text.push_str("it was not measured yet\n");
    }
    for statement in &measured.statements {
        text.push_str(&remarks(statement));
    }
    text.push_str(&measured.observed.as_ref().map(seen).unwrap_or_default());
    if let Some(rewritten) = &measured.rewritten {
        text.push_str(&format!(
            "WARNING: its organization changed what it had stated: measurement {} was replaced, as seen on {}\n",
            rewritten.seq, rewritten.at
        ));
    }
    text
}

/// The chain of measurements, newest first.
pub(super) fn history(chain: &[api::Measurement]) -> String {
    if chain.is_empty() {
        return "it was not measured yet\n".to_owned();
    }
    let rows: Vec<Vec<String>> = chain
        .iter()
        .map(|m| {
            let mut failures: Vec<String> =
                m.failures.keys().take(MAX_NAMED).map(printable).collect();
            let more = m.failures.len().saturating_sub(MAX_NAMED);
            if more > 0 {
                failures.push(format!("and {more} more"));
            }
            if !m.unbroken {
                failures.push("(what was stated before it is not here)".to_owned());
            }
            vec![
                m.statement.seq.to_string(),
                m.statement.at.to_string(),
                format!("{} {}", m.statement.by, m.statement.by_version),
                m.statement.version.clone(),
                m.ok.to_string(),
                m.failed.to_string(),
                m.error.to_string(),
                failures.join(", "),
            ]
        })
        .collect();
    table(
        &[
            "NO", "MEASURED", "BY", "VERSION", "OK", "FAILED", "ERROR", "NOT KEPT",
        ],
        &rows,
    )
}

/// What this node's own queries saw.
fn seen(observed: &api::Observed) -> String {
    let mut said = vec![
        format!("{} queries", observed.queries),
        format!("{} rows", observed.rows),
    ];
    said.extend(
        observed
            .first_batch_ms
            .map(|ms| format!("first batch after {ms} ms")),
    );
    said.extend(observed.rows_per_second.map(|n| format!("{n} rows/s")));
    if let (Some(newest), Some(at)) = (observed.newest, observed.newest_at) {
        said.push(format!("newest row {} (came on {at})", moment(newest)));
    }
    let failed = observed.failed.iter();
    said.extend(failed.map(|(code, n)| format!("{n} failed: {}", printable(code))));
    format!("seen here: {}\n", said.join("; "))
}

/// What a reader should know of a statement beside its verdicts.
fn remarks(statement: &api::Statement) -> String {
    let mut text = String::new();
    let by = printable(&statement.by);
    if statement.late {
        let due = statement.due.map(|due| due.to_string()).unwrap_or_default();
        text.push_str(&format!(
            "LATE: {by} measured on {}; the next measurement was announced for {due}\n",
            statement.at
        ));
    }
    if statement.other_contract {
        text.push_str(&format!(
            "{by} measured version {}; the contract has changed since\n",
            statement.version
        ));
    }
    if statement.omitted > 0 {
        text.push_str(&format!(
            "{by} left out {} verdicts for want of room\n",
            statement.omitted
        ));
    }
    text
}

fn promised(promise: &api::Promised) -> String {
    let Some(threshold) = promise.promise.as_deref() else {
        return promise.metric.clone();
    };
    // The only promises in seconds are ages, with one bound.
    let bound = threshold.strip_prefix("< ").and_then(|n| n.parse().ok());
    match (promise.unit.as_deref(), bound) {
        (Some("seconds"), Some(seconds)) => format!("{} < {}", promise.metric, age(seconds)),
        (Some("percent"), _) => format!("{} {threshold} %", promise.metric),
        _ => format!("{} {threshold}", promise.metric),
    }
}

fn amount(value: f64, promise: &api::Promised) -> String {
    match promise.unit.as_deref() {
        Some("seconds") => age(value),
        Some("percent") => format!("{value} %"),
        Some(unit) => format!("{value} {}", printable(unit)),
        None => value.to_string(),
    }
}

/// Seconds as people say them.
pub(super) fn age(seconds: f64) -> String {
    const UNITS: [(f64, &str); 3] = [(86_400.0, "d"), (3600.0, "h"), (60.0, "min")];
    let fits = UNITS
        .into_iter()
        .find(|(unit, _)| seconds.abs() >= 2.0 * unit);
    match fits {
        Some((unit, name)) => format!("{} {name}", (seconds / unit * 10.0).round() / 10.0),
        None => format!("{seconds} s"),
    }
}

/// A moment in seconds since the Unix epoch, which may be before it.
fn moment(seconds: i64) -> String {
    let shown = arrow::temporal_conversions::timestamp_s_to_datetime(seconds);
    shown.map_or_else(
        || format!("{seconds}s"),
        |t| format!("{t}Z").replace(' ', "T"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_moments_are_said_as_people_say_them() {
        let said = [90_000.0, 7255.0, 119.0, 121.0, -5.0, 172_800.0].map(age);
        assert_eq!(said, ["25 h", "2 h", "119 s", "2 min", "-5 s", "2 d"]);
        assert_eq!(moment(0), "1970-01-01T00:00:00Z");
        assert_eq!(moment(-1), "1969-12-31T23:59:59Z");
    }
}

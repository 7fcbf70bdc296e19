//! `comity audit show`.

use std::collections::VecDeque;
use std::io::Write as _;

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::temporal_conversions::timestamp_s_to_datetime;
use comity_identity::Timestamp;

use super::super::output::{Output, Problem, printable};
use crate::audit::{self, Filter, Line};
use crate::home::Home;

/// Read the journal's records, oldest first.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity audit show --limit 20\n  comity audit show --kind delivery --partner port-authority --since 2026-11-01\n  comity audit show --trace 9f3c2a --json"
)]
pub(super) struct Show {
    /// Not before: 2026-11-21, 2026-11-21T09:30:00Z, or seconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Not after.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Only records of this kind, such as delivery, refused, message, signed.
    #[arg(long)]
    kind: Option<String>,
    /// Only records about this organization, by its alias or id.
    #[arg(long, value_name = "ORGANIZATION")]
    partner: Option<String>,
    /// Only records about this agreement; the beginning of its id is enough.
    #[arg(long, value_name = "ID")]
    agreement: Option<String>,
    /// Only records about this member, or a partner's member by pseudonym.
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// Only records with this trace, or a part of it.
    #[arg(long, value_name = "TRACE")]
    trace: Option<String>,
    /// Only the newest so many.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Do not cut long texts, such as signed envelopes.
    #[arg(long)]
    full: bool,
}

impl Show {
    pub(super) fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let filter = Filter {
            since: self.since,
            until: self.until,
            kind: self.kind,
            partner: self.partner,
            agreement: self.agreement,
            member: self.member,
            trace: self.trace,
        };
        let mut newest = VecDeque::new();
        let (limit, full, json) = (self.limit, self.full, output.is_json());
        let shown = audit::show(&home.journal(), &filter, full, |line| match limit {
            None => print(&line, json, full),
            Some(limit) => {
                newest.push_back(line);
                if newest.len() > limit {
                    newest.pop_front();
                }
            }
        });
        for line in &newest {
            print(line, json, full);
        }
        shown.map_err(|f| Problem::from_failure(&f))
    }
}

fn print(line: &Line, json: bool, full: bool) {
    let text = if json {
        serde_json::to_string(line).unwrap_or_else(|e| format!("\"{e}\""))
    } else {
        let at = line.at.map_or_else(|| " ".repeat(20), utc);
        let said = printable(&line.says).replace('\n', " ");
        let mut text = format!("{:>8}  {at}  {:<18}  {said}", line.position, line.kind);
        if full {
            text.push_str(&format!("\n          {}", printable(&line.record)));
        }
        text
    };
    // A closed pipe (`comity audit show | head`) is the reader's choice.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A moment as people write it, in UTC unless it says otherwise.
fn time(text: &str) -> Result<Timestamp, String> {
    const NANOS: i64 = 1_000_000_000;
    let seconds = text.parse().ok().or_else(|| {
        let nanos = string_to_timestamp_nanos(text).ok()?;
        u64::try_from(nanos / NANOS).ok()
    });
    seconds
        .map(Timestamp::from_secs)
        .ok_or_else(|| "write 2026-11-21, 2026-11-21T09:30:00Z, or seconds since 1970".to_owned())
}

fn utc(at: Timestamp) -> String {
    i64::try_from(at.as_secs())
        .ok()
        .and_then(timestamp_s_to_datetime)
        .map_or_else(|| at.as_secs().to_string(), |shown| format!("{shown}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        for text in ["2026-11-21T09:30:00Z", "2026-11-21 09:30:00", "1795253400"] {
            let at = time(text).unwrap();
            assert_eq!(at.as_secs(), 1_795_253_400, "{text}");
            assert_eq!(utc(at), "2026-11-21 09:30:00Z");
        }
        assert_eq!(time("2026-11-21").unwrap().as_secs(), 1_795_219_200);
        assert!(time("yesterday").is_err());
    }
}

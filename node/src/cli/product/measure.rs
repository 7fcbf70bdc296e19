//! `comity product measure`.

use std::collections::BTreeMap;

use comity_protocol::address::Address;

use crate::admin::{Client, api};
use crate::cli::measured;
use crate::cli::output::{Output, Problem, printable};
use crate::home::Home;
use crate::measure::PROCESS;

/// Measure what a product promises now, and announce the result, signed.
///
/// The node also does it by itself, once a product is published and then every
/// hour ([measure] in comity.toml). Keys, required columns, freshness and the
/// contract's quality rules are measured: ok, failed, or error, which means
/// that nobody can say. Partners see verdicts and counts, and of values
/// the first and last moment of offered columns that are no more than internal.
/// Why there is no verdict is told here alone.
///
/// Ends with 0 when it was measured, whatever the verdicts; with `--strict`, 1
/// if a promise failed or has no verdict.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity product measure orders\n  comity product measure orders --strict || echo 'not as promised'"
)]
pub(super) struct Measure {
    /// NAME, which is major 1, or NAME@MAJOR.
    product: Address,
    /// End with 1 if a promise failed or has no verdict.
    #[arg(long)]
    strict: bool,
}

impl Measure {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let ask = api::Measure {
            product: self.product,
        };
        let just: api::JustMeasured = Client::new(home.admin_socket())
            .post("/v1/measurements", &ask)
            .await?;
        output.answer(&just, |just| {
            let shown = just.product.measured.as_ref();
            let mut text = shown.map(measured::text).unwrap_or_default();
            for (promise, seconds) in &just.kept {
                text.push_str(&format!(
                    "{}: {}, told to you alone\n",
                    printable(promise),
                    measured::age(*seconds)
                ));
            }
            text + &no_verdicts(&just.reasons)
        });
        let (failed, open) = not_kept(&just);
        if self.strict && failed + open > 0 {
            let message = format!("{failed} promises failed, {open} have no verdict");
            return Err(Problem::failed(message));
        }
        Ok(())
    }
}

/// Why there is no verdict: each reason once, with all that it is the reason of.
fn no_verdicts(reasons: &BTreeMap<String, String>) -> String {
    let mut promises: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (promise, reason) in reasons {
        promises.entry(reason).or_default().push(printable(promise));
    }
    let lines = promises.into_iter().map(|(reason, promises)| {
        let promises = promises.join(", ");
        format!("\nno verdict about {promises}: {}\n", printable(reason))
    });
    lines.collect()
}

/// How many promises this measurement found broken, and how many it could not judge.
fn not_kept(just: &api::JustMeasured) -> (usize, usize) {
    let promises = just.product.measured.iter().flat_map(|m| &m.promises);
    let (mut failed, mut open) = (0, 0);
    for promise in promises {
        let ours = promise.verdicts.iter().find(|v| v.by == PROCESS);
        match ours.map(|v| v.status.as_str()) {
            Some("ok") => {}
            Some("failed") => failed += 1,
            Some(_) => open += 1,
            // What only a pipeline checks is not promised in a number.
            None if promise.verdicts.is_empty() => open += 1,
            None => {}
        }
    }
    (failed, open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_once() {
        let reasons = ["a", "b", "c"].map(|p| (p.to_owned(), "the server is down".to_owned()));
        let mut reasons = BTreeMap::from(reasons);
        reasons.insert("d".to_owned(), "it took too long".to_owned());
        let text = no_verdicts(&reasons);
        assert_eq!(text.matches("is down").count(), 1, "{text}");
        assert!(
            text.contains("no verdict about a, b, c: the server is down"),
            "{text}"
        );
        assert!(
            text.contains("no verdict about d: it took too long"),
            "{text}"
        );
    }
}

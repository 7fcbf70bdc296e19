//! What receipts cost: `bench/evidence.md`.
//!
//! Two pairs of organizations: one makes a receipt each second, signs, sends
//! and countersigns it; the other makes none while it is measured.

use std::time::Duration;

use comity_tests::bench::{self, Outcome, Way, interleaved};
use comity_tests::streams::{Two, agree};
use comity_tests::workbench;
use futures::TryStreamExt as _;

/// Queries of one measurement; one to warm up and one that counts are fewer
/// than make a receipt by their number.
const QUERIES: usize = 120;

/// Of them at one time.
const AT_ONCE: usize = 4;

/// Interleaved rounds.
const ROUNDS: usize = 7;

const ONE: &str = "SELECT l_orderkey FROM provider.lineitem.lineitem LIMIT 1";

/// As `comity init` writes it under `[evidence]`.
const DEFAULT: &str = "receipt_seconds = 5";

#[tokio::main]
async fn main() -> Outcome {
    let mut with = Two::configured(0.001, DEFAULT, "receipt_seconds = 1").await?;
    let mut without = Two::configured(0.001, DEFAULT, "receipt_seconds = 3600").await?;
    let mut ratios = Vec::new();
    let mut table = String::new();
    for round in 1..=ROUNDS {
        // A new agreement has no deliveries without a receipt yet.
        with.agreement = agree(&with.consumer).await?;
        without.agreement = agree(&without.consumer).await?;
        let mut ways = [
            Way::new("without", || queries(&without)),
            Way::new("with", || queries(&with)),
        ];
        let times = interleaved(1, &mut ways).await?;
        let rate = |at: usize| {
            let time = times.get(at).map_or(Duration::MAX, |(_, time)| *time);
            QUERIES as f64 / time.as_secs_f64()
        };
        let ratio = rate(1) / rate(0);
        table.push_str(&format!(
            "| {round} | {:.0} | {:.0} | {:.1} % |\n",
            rate(0),
            rate(1),
            100.0 * ratio
        ));
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
    let report = format!(
        "# Evidence\n\nMade by `make bench-evidence`. {}\n\
         Queries of one row through two nodes, {AT_ONCE} at a time, {QUERIES} in each measurement; both journal every \
         delivery before its first byte and digest what they stream. *With*: a receipt each second, signed, sent and \
         countersigned. *Without*: none meanwhile. Goal: over 95 %.\n\n\
         | round | without, queries/s | with, queries/s | share |\n|---|---|---|---|\n{table}\n\
         Median share: {:.1} %.\n",
        bench::machine(),
        100.0 * median
    );
    bench::report("evidence", &report)
}

async fn queries(two: &Two) -> Outcome<usize> {
    let client = workbench(&two.consumer).await?;
    let lanes = (0..AT_ONCE).map(|_| async {
        let mut rows = 0;
        for _ in 0..QUERIES / AT_ONCE {
            let (_, answer) = client.query(ONE, None).await?;
            let batches: Vec<_> = answer.try_collect().await?;
            rows += batches.iter().map(|b| b.num_rows()).sum::<usize>();
        }
        Ok::<_, Box<dyn std::error::Error>>(rows)
    });
    let rows = futures::future::try_join_all(lanes).await?;
    Ok(rows.iter().sum())
}

//! The 22 queries of TPC-H over three organizations: what crosses, and how long it
//! takes, beside one engine over the same files: `bench/federation.md`.
//!
//! `COMITY_PYTHON` names the Python of `make unit`, whose DuckDB says what is right.

use std::collections::HashMap;

use comity::lab::Org;
use comity_tests::bench::{Outcome, Way, interleaved, machine, report};
use comity_tests::tpch::{QUERIES, SPLIT, Split, compare, query, tables, text};
use comity_tests::{sql, workbench};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::TryStreamExt as _;

/// Six million rows of the largest table.
const SCALE: f64 = 1.0;
/// Rounds that are counted.
const ROUNDS: usize = 3;

/// How many rows an answer has, at an organization's workbench.
async fn asked(org: &Org, sql: &str) -> Outcome<usize> {
    let (_, rows) = workbench(org).await?.query(sql, None).await?;
    let rows = rows.try_fold(0, |all, batch| async move { Ok(all + batch.num_rows()) });
    Ok(rows.await?)
}

#[tokio::main]
async fn main() -> Outcome {
    let scale = match std::env::args().nth(1) {
        Some(scale) => scale.parse()?,
        None => SCALE,
    };
    let split = Split::meet(scale).await?;
    let answers = split.answers()?;
    let one = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    let mut sizes = HashMap::new();
    for table in SPLIT.iter().flat_map(|(_, tables)| *tables) {
        let file = split.file(table).display().to_string();
        let options = ParquetReadOptions::default();
        one.register_parquet(*table, file, options).await?;
        sizes.insert(*table, one.table(*table).await?.count().await? as u64);
    }
    let mut page = format!(
        "# Statements over three organizations\n\nMade by `make bench-federation`. {}\n\
         TPC-H at scale {scale}: `customer` and `orders` at one organization, `lineitem` at the second, the others at the \
         third; a fourth asks. All 22 answers are compared with DuckDB's. *Tables*: rows of the tables that the query names. \
         *No keys*: the asker tells none of the three keys of the others. *Keys*: it tells each, which `[[egress]]` permits \
         there. MB are millions of bytes of Arrow data on the wire. *One engine* is DataFusion over the same files in one \
         process, {ROUNDS} interleaved rounds, medians; the others are multiples of its time, with planning, receipts and TLS.\n\n\
         | | tables | no keys | | keys | | one engine | no keys | keys |\n\
         |---|---|---|---|---|---|---|---|---|\n\
         | | rows | rows | MB | rows | MB | time | | |\n",
        machine()
    );
    let mut sums = [(0, 0); 2];
    for number in 1..=QUERIES {
        let (local, remote) = (text(number)?, query(number)?);
        let expected = answers[format!("q{number:02}")].as_array();
        let expected = expected.ok_or("no answer")?;
        let whole: u64 = tables(&local).iter().map(|(_, t)| sizes[t]).sum();
        let mut line = format!("| Q{number} | {whole} |");
        for (asks, sum) in [&split.analyst, &split.teller].into_iter().zip(&mut sums) {
            let before = split.delivered().await?;
            compare(&sql(asks, &remote).await?, expected)
                .map_err(|e| format!("Q{number} of {}: {e}", asks.alias()))?;
            let after = split.delivered().await?;
            let (rows, bytes) = (after.0 - before.0, after.1 - before.1);
            line.push_str(&format!(" {rows} | {:.1} |", bytes as f64 / 1e6));
            *sum = (sum.0 + rows, sum.1 + bytes);
        }
        let mut ways = [
            Way::new("one", || async {
                let answer = one.sql(&local).await?.collect().await?;
                Ok(answer.iter().map(|b| b.num_rows()).sum())
            }),
            Way::new("no keys", || asked(&split.analyst, &remote)),
            Way::new("keys", || asked(&split.teller, &remote)),
        ];
        let times = interleaved(ROUNDS, &mut ways).await?;
        let base = times[0].1.as_secs_f64();
        line.push_str(&format!(" {:.0} ms |", base * 1e3));
        for (_, time) in &times[1..] {
            line.push_str(&format!(" {:.1} |", time.as_secs_f64() / base));
        }
        eprintln!("{line}");
        page.push_str(&line);
        page.push('\n');
    }
    let [without, with] = sums.map(|(rows, bytes)| format!("{rows} | {:.0}", bytes as f64 / 1e6));
    page.push_str(&format!("| all | | {without} | {with} | | | |\n"));
    report("federation", &page)
}

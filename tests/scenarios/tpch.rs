//! The 22 queries of TPC-H over three organizations: right, and over few rows.

use std::collections::BTreeSet;

use comity_tests::tpch::{QUERIES, Split, compare, query};
use comity_tests::{Outcome, sql};
use serde_json::Value;

/// 300,000 rows of the largest table.
const SCALE: f64 = 0.05;

/// The most rows that may cross, for each query: what asking for scans and
/// whole one-partner queries alone fetches at this scale.
const MOST: [u64; QUERIES] = [
    4, 17, 199_386, 192_411, 319_351, 1, 173_789, 330_726, 415_892, 84_707, 1_599, 76_585, 36,
    13_699, 23_006, 1_421, 599_634, 682_128, 6_389, 86_981, 716_106, 7,
];

#[tokio::test(flavor = "multi_thread")]
async fn queries_over_three_organizations_are_right_and_fetch_few_rows() -> Outcome {
    let split = Split::meet(SCALE).await?;
    let answers = split.answers()?;
    let mut before = (0, 0);
    let mut wrong = Vec::new();
    let mut all = [0; 2];
    for (number, most) in (1..=QUERIES).zip(MOST) {
        let began = std::time::Instant::now();
        let expected = answers[format!("q{number:02}")]
            .as_array()
            .ok_or("no answer")?;
        for (n, asks) in [&split.analyst, &split.teller].into_iter().enumerate() {
            let answer = sql(asks, &query(number)?).await;
            let compared = match &answer {
                Ok(rows) => compare(rows, expected).map_err(|e| e.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let who = asks.alias();
            if let Err(error) = compared {
                wrong.push(format!("Q{number} of {who}: {error}"));
            }
            let after = split.delivered().await?;
            let rows = after.0 - before.0;
            println!(
                "Q{number} of {who}: {rows} rows of {most}, {} bytes, {} ms",
                after.1 - before.1,
                began.elapsed().as_millis()
            );
            if rows > most {
                wrong.push(format!(
                    "Q{number} of {who}: {rows} rows crossed, not {most} at most"
                ));
            }
            all[n] += rows;
            before = after;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Keys that are told leave out what matches nothing.
    assert!(all[1] * 5 < all[0], "{all:?}");
    // What is explained is what crossed.
    let explained = sql(&split.analyst, &format!("EXPLAIN ANALYZE {}", query(10)?)).await?;
    let after = split.delivered().await?;
    let rows: u64 = explained
        .iter()
        .filter_map(|part| part["rows"].as_u64())
        .sum();
    assert_eq!(rows, after.0 - before.0, "{explained:#?}");
    let partners: BTreeSet<&str> = explained
        .iter()
        .filter_map(|part| part["partner"].as_str())
        .collect();
    assert_eq!(
        partners,
        BTreeSet::from(["logistics", "purchasing", "sales"])
    );
    let agreed =
        |part: &Value| part["terms"] == "for delay-analysis" && part["agreement"].is_string();
    assert!(explained.iter().all(agreed), "{explained:#?}");
    Ok(())
}

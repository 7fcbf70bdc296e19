//! Statements whose partner is gone, or that nobody waits for any more.

use std::time::{Duration, Instant};

use comity::flight::Inquiry;
use comity_tests::streams::Two;
use comity_tests::{Outcome, Three, ask, reaches, workbench};
use futures::TryStreamExt as _;
use serde_json::Value;

/// More rows than an answer has: the statement below ends when nobody waits, or
/// at the deadline of five minutes.
const MAX_ROWS: &str = "max_rows = 1_000_000_000_000";

/// Every line with every seventh: hours of work at the partner, one number.
const LONG: &str = "SELECT count(*) FROM provider.lineitem.lineitem AS a \
    JOIN provider.lineitem.lineitem AS b ON a.l_linenumber = b.l_linenumber";

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_nobody_waits_for_ends_at_the_partner_too() -> Outcome {
    let two = Two::configured(0.05, "max_rows = 100_000_000", MAX_ROWS).await?;
    let ends = async || -> Result<Vec<Option<String>>, Box<dyn std::error::Error>> {
        let args = ["audit", "show", "--kind", "delivery", "--json"];
        let lines = two.provider.run(&args).await?;
        let ends = lines.lines().map(|line| {
            let line: Value = serde_json::from_str(line)?;
            Ok(line["record"]["ended"].as_str().map(str::to_owned))
        });
        ends.collect()
    };
    let client = workbench(&two.consumer).await?;
    let waits = tokio::spawn(async move { client.query(LONG, None).await.map(drop) });
    let begun = Instant::now() + Duration::from_secs(60);
    while ends().await?.is_empty() {
        assert!(Instant::now() < begun, "the partner never began");
        assert!(!waits.is_finished(), "it ended by itself");
    }
    waits.abort();
    let left = Instant::now();
    // The end is written when the work has stopped.
    while ends().await?.iter().all(Option::is_none) {
        assert!(
            left.elapsed() < Duration::from_secs(60),
            "the partner goes on"
        );
    }
    println!(
        "the partner stopped {} ms later",
        left.elapsed().as_millis()
    );
    assert_eq!(ends().await?, [None, Some("cancelled".to_owned())]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_be_without_a_partner_that_is_gone_and_says_so() -> Outcome {
    let mut three = Three::meet().await?;
    let n = ask(&three.port, "weather-service", "weather").await?;
    reaches(&three.port, &n.id, "FINALIZED").await?;
    let counts = "SELECT count(*) AS n FROM \"weather-service\".weather.weather";
    let rows = "SELECT 1 AS n UNION ALL SELECT count(*) FROM \"weather-service\".weather.weather";
    let here = three
        .port
        .run(&["sql", "--partial", "--format", "csv", rows])
        .await?;
    assert_eq!(here.lines().count(), 3, "{here}");
    three.weather.kill().await;
    let client = workbench(&three.port).await?;
    let inquiry = Inquiry {
        statement: rows,
        partial: true,
        ..Inquiry::default()
    };
    let reply = client.inquire(&inquiry).await?;
    let some: Vec<_> = reply.rows.try_collect().await?;
    assert_eq!(some.iter().map(|b| b.num_rows()).sum::<usize>(), 1);
    let missing: Vec<_> = reply.ending.missing().collect();
    assert_eq!(missing, ["weather-service partner-unavailable"]);
    // Nothing is left out unless it was asked so, nor where that would be another answer.
    let refused = three
        .port
        .run(&["sql", rows])
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("weather-service"), "{refused}");
    let over = format!("SELECT sum(n) FROM ({counts} UNION ALL SELECT 1) AS t");
    let refused = three
        .port
        .run(&["sql", "--partial", &over])
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("weather-service"), "{refused}");
    Ok(())
}

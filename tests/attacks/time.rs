//! A29: clocks that are wrong, or were set.

use comity::admin::api;
use comity::lab::Org;
use comity_tests::clock::{set, with_a_clock};
use comity_tests::{Outcome, Three, ask, reaches, sql};

const WEATHER: &str = r#"SELECT count(*) AS n FROM "weather-service".weather.weather"#;

#[tokio::test(flavor = "multi_thread")]
async fn a29_a_clock_that_is_set_back_opens_nothing_and_is_said() -> Outcome {
    let mut three = Three::meet().await?;
    let dir = tempfile::tempdir()?;
    let clock = dir.path().join("clock");
    let n = ask(&three.port, "weather-service", "weather").await?;
    reaches(&three.port, &n.id, "FINALIZED").await?;
    with_a_clock(&mut three.port, &clock, "+0").await?;
    let read = async |org: &Org| sql(org, WEATHER).await.map_err(|e| e.to_string());
    three
        .port
        .until("an answer", || async { Ok(read(&three.port).await.ok()) })
        .await?;

    set(&clock, "-1d")?;
    let status = three.port.status().await?;
    assert!(status.health.contains("clock"), "{}", status.health);
    // A new member has no grant yet, and gets none.
    let token = three.port.run(&["member", "add", "analyst"]).await?;
    let token = token
        .split_whitespace()
        .find(|word| word.starts_with("comity_"));
    let analyst = comity_tests::workbench_as(&three.port, token.ok_or("no token")?).await?;
    let refused = match analyst.query(WEATHER, None).await {
        Err(error) => error.to_string(),
        Ok((_, mut rows)) => {
            use futures::StreamExt as _;
            let first = rows.next().await.ok_or("an empty answer")?;
            first.expect_err("a grant was issued").to_string()
        }
    };
    assert!(refused.contains("partner-unavailable"), "{refused}");
    let live: Vec<api::LiveGrant> = three.port.get("/v1/grants").await?;
    assert!(live.iter().all(|g| g.member != "analyst"), "{live:?}");

    // It is as well after a restart: the journal knows better than the clock.
    three.port.stop().await?;
    three.port.start().await?;
    let status = three.port.status().await?;
    assert!(status.health.contains("clock"), "{}", status.health);
    read(&three.port).await.unwrap_err();

    set(&clock, "+0")?;
    three
        .port
        .until("an answer by the right clock", || async {
            Ok(read(&three.port).await.ok())
        })
        .await?;
    let status = three.port.status().await?;
    assert!(!status.health.contains("clock"), "{}", status.health);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a29_a_clock_that_is_set_forward_ends_rights_and_lengthens_none() -> Outcome {
    let mut three = Three::meet().await?;
    let dir = tempfile::tempdir()?;
    let clock = dir.path().join("clock");
    let n = ask(&three.port, "weather-service", "weather").await?;
    reaches(&three.port, &n.id, "FINALIZED").await?;
    with_a_clock(&mut three.weather, &clock, "+0").await?;
    let read = async || sql(&three.port, WEATHER).await.map_err(|e| e.to_string());
    three
        .port
        .until("an answer", || async { Ok(read().await.ok()) })
        .await?;
    // The agreement is for ninety days, and the provider believes that they are over.
    set(&clock, "+100d")?;
    read().await.unwrap_err();
    Ok(())
}

//! kill -9 in the middle of a negotiation and of a stream.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use comity::admin::api;
use comity::lab::{LabError, Org};
use comity_tests::{
    Outcome, Three, agreements, ask, ask_from, contracts, decide, reaches, sql, waits_for,
    workbench,
};
use futures::TryStreamExt as _;

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_killed_while_it_negotiates_keeps_every_agreement() -> Outcome {
    let mut three = Three::meet().await?;
    let first = ask(&three.port, "weather-service", "weather").await?;
    let signed = reaches(&three.port, &first.id, "FINALIZED")
        .await?
        .agreement
        .expect("signed");

    // The consumer is away, so the approval is signed and cannot be delivered:
    // the provider dies between its signature and the other one.
    let n = ask(&three.port, "aircraft-registry", "planes").await?;
    waits_for(&three.registry, &n.id).await?;
    three.port.kill().await;
    let approved = decide(&three.registry, &n.id, "approve").await?;
    assert_eq!(approved.state, "AGREED");
    three.registry.kill().await;
    three.registry.start().await?;
    three.port.start().await?;
    // Acknowledged: it comes to its end without another decision.
    reaches(&three.port, &n.id, "FINALIZED").await?;
    reaches(&three.registry, &n.id, "FINALIZED").await?;
    let (ours, theirs) = (
        agreements(&three.port).await?,
        agreements(&three.registry).await?,
    );
    assert!(theirs.keys().all(|id| ours.contains_key(id)));
    assert_eq!(theirs.len(), 1);

    three.weather.kill().await;
    three.weather.start().await?;
    three.port.kill().await;
    three.port.start().await?;
    let key = signed.to_string();
    assert_eq!(agreements(&three.port).await?[&key].state, "in-force");
    assert_eq!(agreements(&three.weather).await?[&key].state, "in-force");
    let rows = sql(
        &three.port,
        r#"SELECT count(*) AS n FROM "weather-service".weather.weather"#,
    )
    .await?;
    assert_eq!(rows[0]["n"], 26_115);
    Ok(())
}

/// The partner's rows are more than all windows and queues on their way hold,
/// so the stream cannot be over when its source dies.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_killed_in_a_stream_gives_an_error_and_never_a_short_result() -> Outcome {
    const FLIGHTS: &str = r#"SELECT * FROM "port-authority"."flights-whole".flights"#;
    const COUNT: &str = r#"SELECT count(*) AS n FROM "port-authority"."flights-whole".flights"#;
    let mut three = Three::meet().await?;
    let (_dir, contract) = flights_without_a_row_limit()?;
    three.port.publish(&contract).await?;
    three
        .registry
        .discovers("port-authority", "flights-whole")
        .await?;
    let n = ask(&three.registry, "port-authority", "flights-whole").await?;
    waits_for(&three.port, &n.id).await?;
    decide(&three.port, &n.id, "approve").await?;
    reaches(&three.registry, &n.id, "FINALIZED").await?;
    let client = workbench(&three.registry).await?;
    let (_, mut rows) = client.query(FLIGHTS, None).await?;
    let first = rows.try_next().await?.ok_or("no rows")?;
    three.port.kill().await;
    let rest: Result<Vec<_>, _> = rows.try_collect().await;
    let said = rest.expect_err("a cut stream looks whole").to_string();
    assert!(first.num_rows() < 336_776);
    assert!(said.contains("port-authority"), "names the partner: {said}");
    assert!(!said.contains("too-many-rows"), "{said}");
    let said = sql(&three.registry, COUNT).await.unwrap_err().to_string();
    assert!(said.contains("port-authority"), "names the partner: {said}");
    three.port.start().await?;
    let rows = three
        .registry
        .until("an answer of the restarted partner", || async {
            Ok(sql(&three.registry, COUNT).await.ok())
        })
        .await?;
    assert_eq!(rows[0]["n"], 336_776);
    Ok(())
}

/// The example's flights as a product of its own, with all rows at once.
fn flights_without_a_row_limit() -> std::io::Result<(tempfile::TempDir, PathBuf)> {
    let example = contracts().join("port-authority");
    let text = std::fs::read_to_string(example.join("flights.odcs.yaml"))?;
    let data = example.join("../../data/flights.parquet").canonicalize()?;
    let text = text
        .replacen("name: flights\n", "name: flights-whole\n", 1)
        .replace("maxRowsPerQuery: 100000", "maxRowsPerQuery: 1000000")
        .replace("../../data/flights.parquet", &data.display().to_string());
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("flights-whole.odcs.yaml");
    std::fs::write(&path, text)?;
    Ok((dir, path))
}

/// How often [`what_was_acknowledged_survives_kills_at_any_moment`] kills.
const KILLS: u32 = 10;

/// The latest moment of a kill, in milliseconds after the request: about as long
/// as a negotiation that a rule agrees to takes here.
const LATEST_KILL: u32 = 40;

/// Steps of `xorshift32`, so that a failure can be run again.
fn next(state: &mut u32) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    *state
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills_at_any_moment() -> Outcome {
    let mut three = Three::meet().await?;
    let mut seed = match std::env::var("COMITY_TEST_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => std::process::id(),
    };
    eprintln!("COMITY_TEST_SEED={seed}");
    let (mut acknowledged, mut interrupted) = (Vec::new(), 0);
    for _ in 0..KILLS {
        let (delay, who) = (next(&mut seed) % LATEST_KILL, next(&mut seed) % 2);
        let asking = tokio::spawn(ask_from(three.port.admin(), "weather-service", "weather"));
        tokio::time::sleep(Duration::from_millis(u64::from(delay))).await;
        let victim = if who == 0 {
            &mut three.port
        } else {
            &mut three.weather
        };
        interrupted += u32::from(!asking.is_finished());
        victim.kill().await;
        // What the request was answered, if it was: an answer is a promise.
        acknowledged.extend(asking.await?.ok());
        victim.start().await?;
    }
    assert!(interrupted > 0, "every request was done before the kill");
    // Every negotiation that either side ever wrote down comes to its end there
    // and at the other side, whether or not its command was answered.
    let mut begun = negotiations(&three.port).await?;
    begun.extend(negotiations(&three.weather).await?);
    for id in &begun {
        reaches(&three.port, id, "FINALIZED").await?;
        reaches(&three.weather, id, "FINALIZED").await?;
    }
    let (ours, theirs) = (
        agreements(&three.port).await?,
        agreements(&three.weather).await?,
    );
    assert!(ours.keys().eq(theirs.keys()), "{ours:?} {theirs:?}");
    assert_eq!(ours.len(), begun.len());
    for answer in acknowledged {
        assert!(begun.contains(&answer.id), "{} is lost", answer.id);
        let signed = answer.agreement.map(|id| id.to_string());
        assert!(signed.is_none_or(|id| ours.contains_key(&id)));
    }
    Ok(())
}

/// The ids of all access negotiations of `org`.
async fn negotiations(org: &Org) -> Result<BTreeSet<String>, LabError> {
    let list: Vec<api::Negotiation> = org.get("/v1/requests").await?;
    let access = list.into_iter().filter(|n| n.product.is_some());
    Ok(access.map(|n| n.id).collect())
}

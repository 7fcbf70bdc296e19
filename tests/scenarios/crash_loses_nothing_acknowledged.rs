//! kill -9 in the middle of a negotiation and of a stream.

use comity_tests::{Outcome, Three, agreements, ask, decide, reaches, sql, waits_for, workbench};
use futures::TryStreamExt as _;

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_killed_while_it_negotiates_keeps_every_agreement() -> Outcome {
    let mut three = Three::meet().await?;
    let first = ask(&three.port, "weather-service", "weather").await?;
    let signed = reaches(&three.port, &first.id, "FINALIZED")
        .await?
        .agreement
        .expect("signed");

    // The answer to the second request is on its way while the node dies.
    let n = ask(&three.port, "aircraft-registry", "planes").await?;
    waits_for(&three.registry, &n.id).await?;
    let (decided, ()) = tokio::join!(decide(&three.registry, &n.id, "approve"), async {
        tokio::task::yield_now().await;
    });
    three.registry.kill().await;
    three.registry.start().await?;
    if decided.is_ok() {
        // Acknowledged: it must come to its end without another decision.
        reaches(&three.port, &n.id, "FINALIZED").await?;
        reaches(&three.registry, &n.id, "FINALIZED").await?;
        let (ours, theirs) = (
            agreements(&three.port).await?,
            agreements(&three.registry).await?,
        );
        assert!(theirs.keys().all(|id| ours.contains_key(id)));
        assert_eq!(theirs.len(), 1);
    }

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

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_killed_in_a_stream_gives_an_error_and_never_a_short_result() -> Outcome {
    let mut three = Three::meet().await?;
    let n = ask(&three.port, "weather-service", "weather").await?;
    reaches(&three.port, &n.id, "FINALIZED").await?;
    let client = workbench(&three.port).await?;
    // The partner's rows are read twice; the cross join keeps the stream open.
    let long = r#"SELECT a.origin FROM "weather-service".weather.weather a
        CROSS JOIN "weather-service".weather.weather b"#;
    let (_, mut rows) = client.query(long, None).await?;
    assert!(rows.try_next().await?.is_some());
    three.weather.kill().await;
    drop(rows);
    let said = sql(
        &three.port,
        r#"SELECT count(*) AS n FROM "weather-service".weather.weather"#,
    )
    .await
    .unwrap_err()
    .to_string();
    assert!(
        said.contains("weather-service"),
        "the message names the partner: {said}"
    );
    three.weather.start().await?;
    let rows = three
        .port
        .until("an answer of the restarted partner", || async {
            Ok(sql(
                &three.port,
                r#"SELECT count(*) AS n FROM "weather-service".weather.weather"#,
            )
            .await
            .ok())
        })
        .await?;
    assert_eq!(rows[0]["n"], 26_115);
    Ok(())
}

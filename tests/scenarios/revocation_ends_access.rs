//! `comity revoke`: what was open closes, on both sides, and stays closed.

use comity::admin::api;
use comity_tests::{Outcome, Three, agreements, ask, reaches, sql};

const WEATHER: &str = r#"SELECT count(*) AS n FROM "weather-service".weather.weather"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_agreement_serves_nothing_even_after_a_restart() -> Outcome {
    let mut three = Three::meet().await?;
    let n = ask(&three.port, "weather-service", "weather").await?;
    let agreement = reaches(&three.port, &n.id, "FINALIZED")
        .await?
        .agreement
        .expect("signed");
    assert_eq!(sql(&three.port, WEATHER).await?[0]["n"], 26_115);

    let path = format!(
        "/v1/agreements/{}/revoke",
        agreement.to_string().replace("sha256:", "")
    );
    let revoked: api::Agreement = three.weather.post(&path, &serde_json::json!({})).await?;
    assert_eq!(revoked.state, "revoked");
    let said = sql(&three.port, WEATHER).await.unwrap_err().to_string();
    assert!(said.contains("revoked"), "{said}");

    // The consumer was told, and both remember.
    let key = agreement.to_string();
    three
        .port
        .until("the notice of revocation", || async {
            Ok(agreements(&three.port)
                .await?
                .get(&key)
                .filter(|a| a.state == "revoked")
                .map(|_| ()))
        })
        .await?;
    three.weather.stop().await?;
    three.weather.start().await?;
    assert_eq!(agreements(&three.weather).await?[&key].state, "revoked");
    assert!(sql(&three.port, WEATHER).await.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_consumer_can_end_an_agreement_too() -> Outcome {
    let three = Three::meet().await?;
    let n = ask(&three.port, "weather-service", "weather").await?;
    let agreement = reaches(&three.port, &n.id, "FINALIZED")
        .await?
        .agreement
        .expect("signed");
    let key = agreement.to_string();
    let path = format!("/v1/agreements/{}/revoke", key.replace("sha256:", ""));
    let _: api::Agreement = three.port.post(&path, &serde_json::json!({})).await?;
    three
        .weather
        .until("the notice of revocation", || async {
            Ok(agreements(&three.weather)
                .await?
                .get(&key)
                .filter(|a| a.state == "revoked")
                .map(|_| ()))
        })
        .await?;
    assert!(sql(&three.port, WEATHER).await.is_err());
    Ok(())
}

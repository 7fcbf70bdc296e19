//! The main job: ask, agree, query, be refused.

use comity_tests::{Outcome, Three, agreements, ask, decide, reaches, sql, waits_for};

#[tokio::test(flavor = "multi_thread")]
async fn one_statement_joins_three_organizations() -> Outcome {
    let three = Three::meet().await?;
    let weather = ask(&three.port, "weather-service", "weather").await?;
    reaches(&three.port, &weather.id, "FINALIZED").await?;
    let planes = ask(&three.port, "aircraft-registry", "planes").await?;
    waits_for(&three.registry, &planes.id).await?;
    decide(&three.registry, &planes.id, "approve").await?;
    reaches(&three.port, &planes.id, "FINALIZED").await?;

    let rows = sql(
        &three.port,
        r#"SELECT count(*) AS n, count(DISTINCT p.manufacturer) AS makers
           FROM flights.flights f
           JOIN "weather-service".weather.weather w ON f.origin = w.origin AND f.time_hour = w.time_hour
           JOIN "aircraft-registry".planes.planes p ON f.tailnum = p.tailnum
           WHERE w.precip > 0.05 AND f.month = 6"#,
    )
    .await?;
    // The same statement over the five files in one DuckDB, without any node.
    assert_eq!(
        rows,
        vec![serde_json::json!({"n": EXPECTED_FLIGHTS, "makers": EXPECTED_MAKERS})]
    );
    Ok(())
}

/// See [`one_statement_joins_three_organizations`].
const EXPECTED_FLIGHTS: u64 = 1579;
const EXPECTED_MAKERS: u64 = 18;

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_offer_narrows_what_is_served() -> Outcome {
    let three = Three::meet().await?;
    let n = ask(&three.port, "aircraft-registry", "planes").await?;
    waits_for(&three.registry, &n.id).await?;
    let counter = serde_json::json!({
        "columns": {"planes": ["tailnum", "year"]},
        "filters": {"planes": [{"compare": {"column": "year", "op": "gt-eq", "value": {"int": 2000}}}]},
        "days": 7, "note": "recent aircraft only",
    });
    let _: comity::admin::api::Negotiation = three
        .registry
        .post(&format!("/v1/requests/{}/counter", n.id), &counter)
        .await?;
    let offer = waits_for(&three.port, &n.id).await?;
    assert_eq!(offer.note, "recent aircraft only");
    assert!(!offer.changes.is_empty(), "the changes are shown in words");
    decide(&three.port, &n.id, "approve").await?;
    reaches(&three.port, &n.id, "FINALIZED").await?;

    let planes = r#""aircraft-registry".planes.planes"#;
    let years = sql(
        &three.port,
        &format!("SELECT min(year) AS y, count(*) AS n FROM {planes}"),
    )
    .await?;
    assert_eq!(years[0]["y"], 2000);
    let all = sql(&three.port, &format!("SELECT * FROM {planes} LIMIT 1")).await?;
    let columns: Vec<&String> = all[0].as_object().expect("a row").keys().collect();
    assert_eq!(columns, ["tailnum", "year"]);
    let refused = sql(&three.port, &format!("SELECT engine FROM {planes}"))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("engine"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_agreement_nothing_is_served() -> Outcome {
    let three = Three::meet().await?;
    let n = ask(&three.port, "aircraft-registry", "airlines").await?;
    waits_for(&three.registry, &n.id).await?;
    decide(&three.registry, &n.id, "decline").await?;
    reaches(&three.port, &n.id, "TERMINATED").await?;
    assert!(agreements(&three.port).await?.is_empty());
    let said = sql(
        &three.port,
        r#"SELECT * FROM "aircraft-registry".airlines.airlines"#,
    )
    .await
    .unwrap_err();
    assert!(said.to_string().contains("agreement"), "{said}");
    Ok(())
}

//! Both sides hold the same bytes, and a node can be restarted at any point.

use comity_tests::{Outcome, Three, agreements, ask, decide, negotiation, reaches, sql, waits_for};

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_hold_the_same_agreement() -> Outcome {
    let three = Three::meet().await?;
    let n = ask(&three.port, "weather-service", "weather").await?;
    reaches(&three.port, &n.id, "FINALIZED").await?;
    reaches(&three.weather, &n.id, "FINALIZED").await?;
    let (ours, theirs) = (
        agreements(&three.port).await?,
        agreements(&three.weather).await?,
    );
    assert_eq!(
        ours.keys().collect::<Vec<_>>(),
        theirs.keys().collect::<Vec<_>>()
    );
    for (id, agreement) in &ours {
        assert_eq!(agreement.terms, theirs[id].terms);
        assert_eq!(
            (agreement.role.as_str(), theirs[id].role.as_str()),
            ("consumer", "provider")
        );
    }
    Ok(())
}

/// Regression: the provider's last message was left to the next half-minute
/// tick, so that `comity approve` said FINALIZED and the consumer could not query.
#[tokio::test(flavor = "multi_thread")]
async fn when_approve_returns_both_sides_are_done() -> Outcome {
    let three = Three::meet().await?;
    let n = ask(&three.port, "aircraft-registry", "planes").await?;
    waits_for(&three.registry, &n.id).await?;
    let decided = decide(&three.registry, &n.id, "approve").await?;
    assert_eq!(decided.state, "FINALIZED");
    let ours = negotiation(&three.port, &n.id).await?.expect("known here");
    assert_eq!(ours.state, "FINALIZED");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_survives_a_restart_of_both_sides() -> Outcome {
    let mut three = Three::meet().await?;
    let n = ask(&three.port, "aircraft-registry", "planes").await?;
    waits_for(&three.registry, &n.id).await?;
    for org in [&mut three.port, &mut three.registry] {
        assert!(org.stop().await?.success(), "SIGTERM ends the node cleanly");
        org.start().await?;
    }
    waits_for(&three.registry, &n.id).await?;
    decide(&three.registry, &n.id, "approve").await?;
    reaches(&three.port, &n.id, "FINALIZED").await?;
    let rows = sql(
        &three.port,
        r#"SELECT count(*) AS n FROM "aircraft-registry".planes.planes"#,
    )
    .await?;
    assert_eq!(rows[0]["n"], 3322);
    Ok(())
}

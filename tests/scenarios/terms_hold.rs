//! What terms promise, across two real nodes: masks, claims, limits, groups.

use std::path::Path;

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use comity::lab::{Lab, Org};
use comity_tests::rogue::{Rogue, code};
use comity_tests::{Outcome, agreements, ask, lab, reaches, sql};
use serde_json::{Value, json};

/// The hospital agrees by rule to what it offers, and knows where the partner is.
const RULES: &str = r#"
[[approve]]
partner = "institute"
product = "visits"
purposes = ["delay-analysis"]
max_days = 365

[[partner]]
partner = "institute"
attributes = { country = "DE" }
"#;

/// Visits of patients: six in Germany by six patients, and others.
const VISITS: &str = "visit,patient,country,ward,day,email,cost\n\
    1,p1,DE,A,2026-03-14,anna.k@example.org,10.0\n\
    2,p2,DE,A,2026-03-15,bert@example.org,20.0\n\
    3,p3,DE,A,2026-04-01,,30.0\n\
    4,p4,FR,A,2026-04-02,chloe@example.org,40.0\n\
    5,p5,DE,B,2026-05-05,dora@example.org,50.0\n\
    6,p6,DE,B,2026-05-06,emil@example.org,60.0\n\
    7,p7,DE,C,2026-06-30,fritz@example.org,999.0\n";

fn contract(role: &str) -> String {
    format!(
        r#"apiVersion: v3.1.0
kind: DataContract
id: 5b1d2b9e-6f0e-4a55-9d3c-2f0a4f7f1b77
name: visits
version: "1.0.0"
status: active
description:
  purpose: Visits of a hospital.
servers:
  - {{ server: files, type: local, path: visits.csv, format: csv }}
schema:
  - id: visits
    name: visits
    logicalType: object
    properties:
      - {{ id: visit, name: visit, logicalType: integer, physicalType: bigint }}
      - {{ id: patient, name: patient, logicalType: string, physicalType: varchar }}
      - {{ id: country, name: country, logicalType: string, physicalType: varchar }}
      - {{ id: ward, name: ward, logicalType: string, physicalType: varchar }}
      - {{ id: day, name: day, logicalType: date, physicalType: date }}
      - {{ id: email, name: email, logicalType: string, physicalType: varchar, classification: restricted, customProperties: [ {{ property: comityMask, value: show-last-4 }} ] }}
      - {{ id: cost, name: cost, logicalType: number, physicalType: double }}
roles:
  - role: visits.partner.read
    access: read
    customProperties:
      - {{ property: comityPurposes, value: [delay-analysis] }}
{role}"#
    )
}

/// A hospital that offers its visits under `role`, and an institute that has an agreement.
async fn agreed(
    lab: &Lab,
    dir: &Path,
    role: &str,
) -> Result<(Org, Org), Box<dyn std::error::Error>> {
    let hospital = lab.org("hospital", "Hospital", RULES).await?;
    let institute = lab.org("institute", "Institute", "").await?;
    hospital.federate(&institute).await?;
    std::fs::write(dir.join("visits.csv"), VISITS)?;
    let path = dir.join("visits.odcs.yaml");
    std::fs::write(&path, contract(role))?;
    hospital.publish(&path).await?;
    institute.discovers("hospital", "visits").await?;
    let n = ask(&institute, "hospital", "visits").await?;
    reaches(&institute, &n.id, "FINALIZED").await?;
    Ok((hospital, institute))
}

async fn visits(org: &Org, what: &str) -> Result<Vec<Value>, String> {
    let statement = what.replace("visits", "hospital.visits.visits");
    sql(org, &statement).await.map_err(|e| e.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_sees_masked_values_of_the_rows_that_its_claims_open() -> Outcome {
    let role = "      - property: comityReadRestrictions\n        value:\n          visits:\n            \
                required-row-filter: { type: eq, term: country, value: { claim: peer.country } }\n            \
                required-column-projections: [ { property-id: day, action: truncate-to-month }, \
                { property-id: patient, action: sha-256-agreement-local } ]\n";
    let (lab, dir) = lab();
    let (_hospital, institute) = agreed(&lab, dir.path(), role).await?;
    let rows = visits(
        &institute,
        "SELECT visit, country, day, email FROM visits ORDER BY visit",
    )
    .await?;
    assert_eq!(
        rows,
        [
            json!({"visit": 1, "country": "DE", "day": "2026-03-01", "email": "xxxx.x@xxxxxxx.org"}),
            json!({"visit": 2, "country": "DE", "day": "2026-03-01", "email": "xxxx@xxxxxxx.org"}),
            json!({"visit": 3, "country": "DE", "day": "2026-04-01"}),
            json!({"visit": 5, "country": "DE", "day": "2026-05-01", "email": "xxxx@xxxxxxx.org"}),
            json!({"visit": 6, "country": "DE", "day": "2026-05-01", "email": "xxxx@xxxxxxx.org"}),
            json!({"visit": 7, "country": "DE", "day": "2026-06-01", "email": "xxxxx@xxxxxxx.org"}),
        ]
    );
    // Hashes of one agreement join between queries, and tell nobody the value.
    let hashed = "SELECT patient FROM visits WHERE visit = 1";
    let (once, again) = (
        visits(&institute, hashed).await?,
        visits(&institute, hashed).await?,
    );
    assert_eq!(once, again);
    let hash = once[0]["patient"].as_str().unwrap_or_default();
    assert_eq!(hash.len(), 64);
    let plain = comity_identity::Digest::of(b"p1").to_string();
    assert!(!plain.contains(hash), "it is salted");
    // A predicate on the stored value finds nothing: it meets the mask.
    let by_value = visits(&institute, "SELECT visit FROM visits WHERE patient = 'p1'").await?;
    assert_eq!(by_value, Vec::<Value>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_over_all_queries_and_over_a_restart() -> Outcome {
    let role =
        "      - { property: comityLimits, value: { maxRowsPerDay: 12, maxQueriesPerDay: 6 } }\n";
    let (lab, dir) = lab();
    let (mut hospital, institute) = agreed(&lab, dir.path(), role).await?;
    assert_eq!(
        visits(&institute, "SELECT visit FROM visits").await?.len(),
        7
    );
    // Five rows are left: seven are one batch, which may not leave.
    let refused = visits(&institute, "SELECT visit FROM visits")
        .await
        .unwrap_err();
    assert!(refused.contains("quota"), "{refused}");
    let some = visits(&institute, "SELECT visit FROM visits WHERE visit < 6").await?;
    assert_eq!(some.len(), 5);
    let refused = visits(&institute, "SELECT visit FROM visits LIMIT 1")
        .await
        .unwrap_err();
    assert!(refused.contains("quota"), "{refused}");
    hospital.stop().await?;
    hospital.start().await?;
    let refused = institute
        .until("the quota after the restart", || async {
            let said = visits(&institute, "SELECT visit FROM visits LIMIT 1").await;
            let said = said.expect_err("a day has no second quota");
            Ok(said.contains("quota").then_some(said))
        })
        .await?;
    assert!(refused.contains("quota"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_table_gives_groups_of_enough_patients_and_nothing_else() -> Outcome {
    let role = "      - { property: comityProtection, value: { visits: { unit: patient, minUnits: 3, \
                groupBy: [ward, country], aggregates: [count, avg] } } }\n";
    let (lab, dir) = lab();
    let (hospital, institute) = agreed(&lab, dir.path(), role).await?;
    let groups =
        "SELECT ward, count(*) AS n, avg(cost) AS c FROM visits GROUP BY ward ORDER BY ward";
    assert_eq!(
        visits(&institute, groups).await?,
        [json!({"ward": "A", "n": 3, "c": 20.0})],
        "B has two patients, C one, and A one from elsewhere"
    );
    assert_eq!(
        visits(&institute, "SELECT count(*) AS n FROM visits").await?,
        [json!({"n": 3})],
        "a total does not tell of those who are left out"
    );
    for refused in [
        "SELECT * FROM visits",
        "SELECT cost FROM visits LIMIT 1",
        "SELECT max(cost) FROM visits",
        "SELECT ward, count(*) FROM visits WHERE cost > 900 GROUP BY ward",
        "SELECT visit, count(*) FROM visits GROUP BY visit",
    ] {
        let said = visits(&institute, refused).await.unwrap_err();
        assert!(said.contains("not-permitted"), "{refused}: {said}");
    }
    let said = visits(
        &institute,
        "SELECT count(*) FROM visits WHERE patient = 'p7'",
    )
    .await;
    assert!(
        said.unwrap_err().contains("patient"),
        "the unit does not exist"
    );

    // A21: rows that the partner chooses by a grant of its own would be groups
    // of any size; a column that its grant hides goes on making cells.
    let all = agreements(&institute).await?;
    let agreement = all.values().next().ok_or("no agreement")?.id;
    let provider = hospital.status().await?.org;
    let mut institute = institute;
    let rogue = Rogue::of(&mut institute).await?;
    let channel = rogue.dial(&provider).await?;
    let total = "SELECT count(*) AS n FROM visits.visits";
    let mut grant = rogue.grant(provider, agreement, "delay-analysis");
    grant.cols = Some(
        [(
            "visits".to_owned(),
            ["ward".to_owned(), "cost".to_owned()].into(),
        )]
        .into(),
    );
    let narrow = rogue.asked(&grant, total)?;
    let rows = rogue.query(&channel, &narrow).await?;
    let n = rows[0].column(0).as_primitive::<Int64Type>().value(0);
    assert_eq!(n, 3, "by ward alone A would have four patients");
    let filter =
        json!({"visits": [{"compare": {"column": "ward", "op": "eq", "value": {"text": "B"}}}]});
    grant.filter = vec![filter];
    let chosen = rogue.asked(&grant, total)?;
    let refused = rogue.query(&channel, &chosen).await.unwrap_err();
    assert_eq!(code(&refused), "grant-invalid");
    Ok(())
}

/// Regression: with a restart in between, a partner saw what one patient changed.
#[tokio::test(flavor = "multi_thread")]
async fn a21_a_restart_forgets_nothing_that_was_told_of_a_protected_table() -> Outcome {
    let role = "      - { property: comityProtection, value: { visits: { unit: patient, minUnits: 3, \
                groupBy: [ward, country], aggregates: [count, sum] } } }\n";
    let (lab, dir) = lab();
    let (mut hospital, institute) = agreed(&lab, dir.path(), role).await?;
    let total = "SELECT sum(cost) AS c FROM visits GROUP BY ward";
    assert_eq!(visits(&institute, total).await?, [json!({"c": 60.0})]);
    hospital.kill().await;
    let file = dir.path().join("visits.csv");
    std::fs::write(&file, VISITS.replace(",30.0", ",35.0"))?;
    hospital.start().await?;
    let asked = async || {
        let answered = || async { Ok(visits(&institute, total).await.ok()) };
        institute
            .until("an answer after the restart", answered)
            .await
    };
    assert_eq!(
        asked().await?,
        [json!({})],
        "the difference is one patient's"
    );
    std::fs::write(&file, VISITS)?;
    assert_eq!(asked().await?, [json!({"c": 60.0})], "as it was told");

    // Without what was told, nothing is.
    hospital.stop().await?;
    for told in std::fs::read_dir(hospital.home().told())? {
        std::fs::write(told?.path(), "not what was written")?;
    }
    hospital.start().await?;
    let refused = institute
        .until("a refusal", || async {
            let said = visits(&institute, total).await;
            Ok(said
                .err()
                .filter(|said| said.contains("source-unavailable")))
        })
        .await?;
    assert!(refused.contains("source-unavailable"), "{refused}");
    Ok(())
}

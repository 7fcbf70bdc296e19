//! An organization whose data is in PostgreSQL and nowhere else, and a partner that queries it.

use std::path::PathBuf;

use comity::lab::{Lab, Org, Postgres};
use comity_tests::{Outcome, lab, reaches, sql};

const CONTRACT: &str = r#"
schema:
  - name: flights
    properties:
      - { id: origin, name: origin, logicalType: string, required: true, classification: public }
      - { id: month, name: month, logicalType: integer, physicalType: int, required: true, classification: public }
      - { id: arr_delay, name: arr_delay, logicalType: integer, physicalType: int, classification: public }
      - { id: tail, name: tail, logicalType: string, classification: public }
  - name: airports
    properties:
      - { id: code, name: code, logicalType: string, required: true, classification: public }
      - { id: city, name: city, logicalType: string, required: true, classification: public }
roles:
  - role: research
    description: Flights of the two big airports, without the aircraft.
    access: read
    customProperties:
      - property: comityReadRestrictions
        value:
          flights:
            columns: [origin, month, arr_delay, tail]
            required-row-filter: { type: not-eq, term: origin, value: LGA }
            required-column-projections: [ { property-id: tail, action: replace-with-null } ]
      - { property: comityPurposes, value: [delay-analysis] }
"#;

const RULES: &str = r#"
[sources.warehouse]
username = "reader"
password_file = "warehouse.password"
timeout_seconds = 5

[[approve]]
partner = "airline"
product = "flights"
purposes = ["delay-analysis"]
max_days = 365
"#;

const AVERAGES: &str = "SELECT origin, avg(arr_delay) AS late FROM port.flights.flights \
                        WHERE month = 6 GROUP BY origin ORDER BY origin";

struct Pair {
    postgres: Postgres,
    port: Org,
    airline: Org,
    _lab: (Lab, tempfile::TempDir),
}

impl Pair {
    /// A publisher with a database, and a partner with an agreement.
    async fn meet() -> Result<Self, Box<dyn std::error::Error>> {
        let postgres = Postgres::start()?;
        postgres.sql(
            "CREATE TABLE flights AS SELECT (ARRAY['EWR','JFK','LGA'])[1 + i % 3] AS origin, \
             1 + (i / 3) % 12 AS month, (i % 61 - 30)::int AS arr_delay, 'N' || i AS tail \
             FROM generate_series(1, 300000) i; \
             CREATE TABLE airports (code text PRIMARY KEY, city text NOT NULL); \
             INSERT INTO airports VALUES ('EWR', 'Newark'), ('JFK', 'New York'), ('LGA', 'New York')",
        )?;
        let held = lab();
        let mut port = held.0.found("port", "Port Authority", RULES).await?;
        std::fs::write(
            port.home().path().join("warehouse.password"),
            Postgres::PASSWORD,
        )?;
        // Its own questions would stand among those that are counted here.
        comity_tests::shop::only_on_demand(&port)?;
        port.start().await?;
        let airline = held.0.org("airline", "Airline", "").await?;
        port.federate(&airline).await?;
        let contract = contract(&port, &postgres)?;
        port.publish(&contract).await?;
        airline.discovers("port", "flights").await?;
        let asked = comity_tests::ask(&airline, "port", "flights").await?;
        reaches(&airline, &asked.id, "FINALIZED").await?;
        Ok(Self {
            postgres,
            port,
            airline,
            _lab: held,
        })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.port.home().path().join("node.log")).unwrap_or_default()
    }

    /// The partner's question is refused with `code`, and the owner's log has `reason`.
    async fn refused(&self, question: &str, code: &str, reason: &str) -> Outcome {
        let said = sql(&self.airline, question).await.unwrap_err().to_string();
        assert!(said.contains(code), "{said}");
        assert!(
            !said.contains(reason) && !said.contains("127.0.0.1"),
            "{said}"
        );
        let log = self.log();
        assert!(log.contains(reason), "{reason} is not in {log}");
        assert!(!log.contains(Postgres::PASSWORD), "{log}");
        Ok(())
    }
}

fn contract(port: &Org, postgres: &Postgres) -> std::io::Result<PathBuf> {
    let path = port.home().path().join("flights.odcs.yaml");
    let head = "apiVersion: v3.1.0\nkind: DataContract\nid: flights-1\nname: flights\nversion: \"1.0.0\"\nstatus: active\n";
    std::fs::write(&path, format!("{head}{}{CONTRACT}", postgres.servers()))?;
    Ok(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_gets_groups_and_the_database_gives_no_more() -> Outcome {
    let pair = Pair::meet().await?;
    let late = sql(&pair.airline, AVERAGES).await?;
    let origins: Vec<_> = late.iter().map(|row| row["origin"].clone()).collect();
    assert_eq!(origins, ["EWR", "JFK"]);
    // One statement, two rows: the flights stayed where they are.
    assert_eq!(
        pair.postgres.copies(),
        ["SELECT \"origin\" COLLATE \"C\" AS \"c0\", \
          CAST(sum(\"arr_delay\") AS float8) / CAST(count(\"arr_delay\") AS float8) AS \"c1\" \
          FROM \"public\".\"flights\" WHERE (\"origin\" COLLATE \"C\" <> 'LGA'::text) \
          AND (\"month\" = 6) GROUP BY 1"]
    );
    // Columns, the policy's filter, the partner's and its limit.
    let rows = sql(
        &pair.airline,
        "SELECT month FROM port.flights.flights WHERE arr_delay >= 30 LIMIT 5",
    )
    .await?;
    assert_eq!(rows.len(), 5);
    assert_eq!(
        pair.postgres.copies()[1],
        "SELECT \"month\" FROM \"public\".\"flights\" WHERE (\"origin\" COLLATE \"C\" <> 'LGA'::text) \
         AND (\"arr_delay\" >= 30) LIMIT 5"
    );
    // What the terms mask is never computed with at the database.
    let masked = sql(
        &pair.airline,
        "SELECT count(tail) AS n, count(*) AS m FROM port.flights.flights",
    )
    .await?;
    assert_eq!(
        (&masked[0]["n"], &masked[0]["m"]),
        (&0.into(), &200_000.into())
    );
    assert!(!pair.postgres.copies()[2].contains("tail"));
    // Nothing of the database is in what was announced.
    let shown: serde_json::Value = pair.airline.get("/v1/products/port/flights").await?;
    for private in [
        "warehouse",
        "public\".",
        Postgres::DATABASE,
        Postgres::READER,
    ] {
        assert!(!shown.to_string().contains(private), "{private}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tables_of_one_database_are_joined_there() -> Outcome {
    let pair = Pair::meet().await?;
    let late = sql(
        &pair.port,
        "SELECT city, count(*) AS n FROM port.flights.flights JOIN port.flights.airports ON origin = code \
         WHERE month = 6 GROUP BY city ORDER BY city",
    )
    .await?;
    let late: Vec<_> = late.iter().map(|r| (&r["city"], &r["n"])).collect();
    let (new_york, newark) = (16_666.into(), 8_333.into());
    assert_eq!(late.len(), 2);
    assert_eq!(
        late,
        [(&"New York".into(), &new_york), (&"Newark".into(), &newark)]
    );
    let copies = pair.postgres.copies();
    assert_eq!(copies.len(), 1, "{copies:?}");
    assert!(copies[0].contains(") AS l JOIN ("), "{copies:?}");
    assert!(copies[0].ends_with(" AS joined GROUP BY 1"), "{copies:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fails_gives_a_code_to_the_partner_and_the_reason_to_its_owner() -> Outcome
{
    let mut pair = Pair::meet().await?;
    let all = "SELECT origin, month, arr_delay FROM port.flights.flights";
    // A password that no longer holds; only new connections notice.
    let password = pair.port.home().path().join("warehouse.password");
    std::fs::write(&password, "wrong")?;
    pair.refused(all, "source-unavailable", "password authentication failed")
        .await?;
    std::fs::write(&password, Postgres::PASSWORD)?;
    assert_eq!(sql(&pair.airline, AVERAGES).await?.len(), 2);

    pair.postgres.down();
    pair.refused(all, "source-unavailable", "Connection refused")
        .await?;
    // A node that starts while its database is away serves it when it is back.
    pair.port.stop().await?;
    pair.port.start().await?;
    assert!(sql(&pair.airline, AVERAGES).await.is_err());
    pair.postgres.up()?;
    let airline = &pair.airline;
    pair.port
        .until("the database's return", || async {
            Ok(sql(airline, AVERAGES).await.ok())
        })
        .await?;

    pair.postgres
        .sql("ALTER TABLE flights ALTER arr_delay TYPE real")?;
    pair.refused(all, "source-unavailable", "is now of type float4")
        .await?;
    pair.postgres
        .sql("ALTER TABLE flights ALTER arr_delay TYPE int")?;
    assert_eq!(sql(&pair.airline, AVERAGES).await?.len(), 2);

    pair.postgres.sql(
        "ALTER TABLE flights RENAME TO flown; CREATE VIEW flights AS \
         SELECT flown.* FROM flown WHERE pg_sleep(1) IS NOT NULL; GRANT SELECT ON flights TO reader",
    )?;
    pair.refused(all, "budget", "statement timeout").await?;
    pair.postgres.sql("DROP VIEW flights")?;
    pair.refused(all, "source-unavailable", "does not exist")
        .await?;
    Ok(())
}

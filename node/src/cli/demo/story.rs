//! What happens in the demo, step by step.

use std::collections::{BTreeMap, BTreeSet};

use super::data;
use super::tell::Teller;
use crate::admin::api;
use crate::cli::output::Output;
use crate::cli::sql;
use crate::lab::{Lab, LabError, Org};

/// Weather Service agrees by rule to what its product offers for this purpose.
const WEATHER_RULES: &str = r#"
[[approve]]
partner = "port-authority"
product = "weather"
purposes = ["delay-analysis"]
max_days = 365
"#;

/// Port Authority's flights, joined with what both partners serve.
pub(super) const STATEMENT: &str = r#"SELECT p.manufacturer, count(*) AS flights,
       round(avg(f.dep_delay), 1) AS avg_delay, round(avg(w.wind_speed), 1) AS avg_wind
FROM "port-authority"."flights"."flights" f
JOIN "weather-service"."weather"."weather" w ON f.origin = w.origin AND f.time_hour = w.time_hour
JOIN "aircraft-registry"."planes"."planes" p ON f.tailnum = p.tailnum
WHERE w.precip > 0.05
GROUP BY p.manufacturer
HAVING count(*) >= 100
ORDER BY flights DESC, p.manufacturer"#;

/// A column that the counter-offer left out.
const REFUSED_STATEMENT: &str = r#"SELECT engine FROM "aircraft-registry"."planes"."planes""#;

/// What works until the agreement is taken back.
const WEATHER_STATEMENT: &str = r#"SELECT origin, max(wind_speed) AS gust FROM "weather-service"."weather"."weather" GROUP BY origin ORDER BY origin"#;

/// The columns that Aircraft Registry is ready to give.
const COUNTERED: [&str; 5] = ["tailnum", "year", "manufacturer", "model", "seats"];

/// Tells the whole story and gives the three organizations, still running.
pub(super) async fn tell(lab: &Lab, output: &Output, keep: bool) -> Result<[Org; 3], LabError> {
    let mut teller = Teller::new(output);
    let contracts =
        data::unpack(lab.dir()).map_err(|e| LabError::Io(lab.dir().display().to_string(), e))?;

    let (port, weather, registry) = teller
        .step("create three organizations and start their nodes", async {
            let port = lab.org("port-authority", "Port Authority", "").await?;
            let weather = lab
                .org("weather-service", "Weather Service", WEATHER_RULES)
                .await?;
            let registry = lab
                .org("aircraft-registry", "Aircraft Registry", "")
                .await?;
            let mut lines = Vec::new();
            for org in [&port, &weather, &registry] {
                let s = org.status().await?;
                lines.push(format!(
                    "{:<18} organization {}…  workbench {}",
                    s.name,
                    s.org.short(),
                    s.listening.workbench
                ));
            }
            Ok::<_, LabError>(((port, weather, registry), lines))
        })
        .await?;

    teller
        .step("exchange invitations and sign federations", async {
            let mut lines = Vec::new();
            for host in [&weather, &registry] {
                let joined = host.federate(&port).await?;
                lines.push(format!(
                    "port-authority <-> {}  federation {} signed by both",
                    joined.alias,
                    joined.federation.short()
                ));
            }
            Ok::<_, LabError>(((), lines))
        })
        .await?;

    teller
        .step("announce products", async {
            let mut lines = Vec::new();
            for (org, products) in [
                (&port, &["flights"][..]),
                (&weather, &["weather"]),
                (&registry, &["planes", "airlines", "airports"]),
            ] {
                for product in products {
                    let file = contracts
                        .join(org.alias())
                        .join(format!("{product}.odcs.yaml"));
                    let p = org.publish(&file).await?;
                    lines.push(format!(
                        "{}/{} {}  descriptor {}",
                        org.alias(),
                        p.product,
                        p.version,
                        p.descriptor.short()
                    ));
                }
            }
            Ok::<_, LabError>(((), lines))
        })
        .await?;

    teller
        .step("discover them at Port Authority", async {
            let mut lines = Vec::new();
            for (partner, product) in [
                ("weather-service", "weather"),
                ("aircraft-registry", "planes"),
                ("aircraft-registry", "airlines"),
            ] {
                let p = port.discovers(partner, product).await?;
                lines.push(format!("{partner}/{product}: {}", p.description.trim()));
            }
            Ok::<_, LabError>(((), lines))
        })
        .await?;

    let agreement = teller
        .step(
            "request weather: agreed at once, by Weather Service's rule",
            async {
                let n = ask(&port, "weather-service", "weather").await?;
                let agreement = wait_agreed(&port, &n.id).await?;
                let line = format!(
                    "{}, signed by both: agreement {}",
                    n.state,
                    agreement.short()
                );
                Ok::<_, LabError>((agreement, vec![line]))
            },
        )
        .await?;

    teller
        .step(
            "request planes: countered with narrower terms, accepted",
            async {
                let n = ask(&port, "aircraft-registry", "planes").await?;
                wait_turn(&registry, &n.id).await?;
                let columns = BTreeMap::from([("planes".to_owned(), set(&COUNTERED))]);
                let counter = api::Counter {
                    columns,
                    days: Some(30),
                    note: "engine data needs a separate request".to_owned(),
                    ..api::Counter::default()
                };
                let _: api::Negotiation = registry
                    .post(&format!("/v1/requests/{}/counter", n.id), &counter)
                    .await?;
                let offer = wait_turn(&port, &n.id).await?;
                let mut lines = vec![format!("counter-offer: {}", offer.note)];
                lines.extend(offer.changes.iter().map(|c| format!("  {c}")));
                let _: api::Negotiation = port
                    .post(
                        &format!("/v1/requests/{}/approve", n.id),
                        &serde_json::json!({}),
                    )
                    .await?;
                let agreement = wait_agreed(&port, &n.id).await?;
                lines.push(format!(
                    "accepted, signed by both: agreement {}",
                    agreement.short()
                ));
                Ok::<_, LabError>(((), lines))
            },
        )
        .await?;

    teller
        .step("request airlines: declined", async {
            let n = ask(&port, "aircraft-registry", "airlines").await?;
            wait_turn(&registry, &n.id).await?;
            let decline = api::Decline {
                note: "airline names are public elsewhere".to_owned(),
            };
            let _: api::Negotiation = registry
                .post(&format!("/v1/requests/{}/decline", n.id), &decline)
                .await?;
            let ended = wait_state(&port, &n.id, "TERMINATED").await?;
            Ok::<_, LabError>(((), vec![format!("{}: {}", ended.state, ended.note)]))
        })
        .await?;

    teller
        .step(
            "one SQL statement at Port Authority's node, over all three",
            async {
                let answer = sql::ask(port.home(), STATEMENT)
                    .await
                    .map_err(|e| sql_error(&port, &e))?;
                let mut lines = vec![STATEMENT.to_owned(), String::new()];
                lines.push(answer.to_text());
                lines.push(format!("{} rows", answer.rows()));
                Ok::<_, LabError>(((), lines))
            },
        )
        .await?;

    teller
        .step(
            "a column outside the agreement is refused",
            refused(&port, REFUSED_STATEMENT),
        )
        .await?;

    teller
        .step("Weather Service takes its agreement back", async {
            let before = sql::ask(port.home(), WEATHER_STATEMENT)
                .await
                .map_err(|e| sql_error(&port, &e))?;
            let path = format!("/v1/agreements/{}/revoke", hex(&agreement));
            let _: api::Agreement = weather.post(&path, &serde_json::json!({})).await?;
            Ok::<_, LabError>((
                (),
                vec![format!(
                    "the same statement gave {} rows just before",
                    before.rows()
                )],
            ))
        })
        .await?;

    teller
        .step(
            "and nothing of it is served any more",
            refused(&port, WEATHER_STATEMENT),
        )
        .await?;

    let orgs = [port, weather, registry];
    let kept = if keep {
        Some(serde_json::json!(connections(&orgs).await?))
    } else {
        None
    };
    if keep && !output.is_json() {
        println!("{}", how_to_connect(&orgs).await?);
    }
    teller.end(kept);
    Ok(orgs)
}

/// Runs a statement that must fail, and gives the message that the analyst reads.
async fn refused(org: &Org, statement: &str) -> Result<((), Vec<String>), LabError> {
    match sql::ask(org.home(), statement).await {
        Err(said) => Ok(((), vec![statement.to_owned(), format!("refused: {said}")])),
        Ok(answer) => Err(LabError::Sql(
            org.alias().to_owned(),
            format!(
                "{} rows came back where none may: {statement}",
                answer.rows()
            ),
        )),
    }
}

async fn ask(org: &Org, partner: &str, product: &str) -> Result<api::Negotiation, LabError> {
    let ask = api::Ask {
        partner: partner.to_owned(),
        product: product.to_owned(),
        columns: BTreeMap::new(),
        purposes: set(&["delay-analysis"]),
        days: 90,
        reason: "how weather and aircraft age delay departures".to_owned(),
        open_days: None,
    };
    org.post("/v1/requests", &ask).await
}

async fn find(org: &Org, id: &str) -> Result<Option<api::Negotiation>, LabError> {
    let list: Vec<api::Negotiation> = org.get("/v1/requests").await?;
    Ok(list.into_iter().find(|n| n.id == id))
}

async fn wait_turn(org: &Org, id: &str) -> Result<api::Negotiation, LabError> {
    org.until("a turn in the negotiation", || async {
        Ok(find(org, id).await?.filter(|n| n.waits_for_us))
    })
    .await
}

async fn wait_state(org: &Org, id: &str, state: &str) -> Result<api::Negotiation, LabError> {
    org.until(state, || async {
        Ok(find(org, id).await?.filter(|n| n.state == state))
    })
    .await
}

async fn wait_agreed(org: &Org, id: &str) -> Result<comity_identity::Digest, LabError> {
    let done = wait_state(org, id, "FINALIZED").await?;
    done.agreement
        .ok_or_else(|| LabError::Timeout(org.alias().to_owned(), "the agreement".to_owned()))
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn hex(digest: &comity_identity::Digest) -> String {
    digest.to_string().trim_start_matches("sha256:").to_owned()
}

fn sql_error(org: &Org, error: &str) -> LabError {
    LabError::Sql(org.alias().to_owned(), error.to_owned())
}

#[derive(serde::Serialize)]
struct Connection {
    alias: String,
    home: String,
    uri: String,
    ca: String,
    token: String,
}

async fn connections(orgs: &[Org]) -> Result<Vec<Connection>, LabError> {
    let mut list = Vec::new();
    for org in orgs {
        let path = org.home().workbench_token();
        let token = std::fs::read_to_string(&path)
            .map_err(|e| LabError::Io(path.display().to_string(), e))?;
        list.push(Connection {
            alias: org.alias().to_owned(),
            home: org.home().path().display().to_string(),
            uri: org.status().await?.listening.workbench,
            ca: org.home().ca_pem().display().to_string(),
            token: token.trim().to_owned(),
        });
    }
    Ok(list)
}

async fn how_to_connect(orgs: &[Org]) -> Result<String, LabError> {
    let list = connections(orgs).await?;
    let mut text = String::from("\nThe nodes are up. Ctrl-C stops them.\n\n");
    for c in &list {
        text.push_str(&format!(
            "  {:<18} {:<34} home {}\n",
            c.alias, c.uri, c.home
        ));
    }
    if let Some(c) = list.first() {
        text.push_str(&format!(
            "\nWith comity:\n\n  comity --home {home} sql 'SELECT count(*) FROM flights.flights'\n\
             \nWith Python (pip install adbc-driver-flightsql pyarrow):\n\n  \
             import adbc_driver_flightsql.dbapi as flightsql\n  \
             from adbc_driver_flightsql import DatabaseOptions as Option\n  \
             connection = flightsql.connect(\"{uri}\", autocommit=True, db_kwargs={{\n      \
             Option.AUTHORIZATION_HEADER.value: \"Bearer {token}\",\n      \
             Option.TLS_ROOT_CERTS.value: open(\"{ca}\").read()}})\n  \
             cursor = connection.cursor()\n  \
             cursor.execute('SELECT * FROM \"aircraft-registry\".\"planes\".\"planes\" LIMIT 5')\n  \
             print(cursor.fetch_arrow_table())\n",
            home = c.home,
            uri = c.uri,
            token = c.token,
            ca = c.ca,
        ));
    }
    Ok(text)
}

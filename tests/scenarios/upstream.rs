//! Products whose data another server has: an engine that is none of ours, and another node.

use std::path::{Path, PathBuf};

use comity::lab::Org;
use comity_tests::{Outcome, WEATHER_RULES, ask, contracts, lab, python, reaches, sql};
use serde_json::json;

const WEATHER: &str = r#""weather-service".weather.weather"#;
const PASSWORD: &str = "upstream-secret";

/// The example's contract over a Flight SQL server, in `folder`.
fn contract(folder: &Path, server: &str) -> std::io::Result<PathBuf> {
    let text = std::fs::read_to_string(contracts().join("weather-service/weather.odcs.yaml"))?;
    let old = "  - server: files\n    type: local\n    path: ../../data/weather.parquet\n    format: parquet\n";
    assert!(text.contains(old));
    let file = folder.join("weather.odcs.yaml");
    std::fs::write(&file, text.replace(old, server))?;
    Ok(file)
}

fn server(port: u16, rest: &str) -> String {
    format!(
        "  - server: upstream\n    type: custom\n    host: 127.0.0.1\n    port: {port}\n{rest}      - {{ property: comityProtocol, value: arrow-flight-sql }}\n"
    )
}

/// Publishes, agrees, and asks as a partner.
async fn served(owner: &Org, port: &Org, file: &Path) -> Outcome {
    owner.federate(port).await?;
    owner.publish(file).await?;
    port.discovers("weather-service", "weather").await?;
    let asked = ask(port, "weather-service", "weather").await?;
    reaches(port, &asked.id, "FINALIZED").await?;
    for (question, expected) in [
        (
            "count(*) AS n, count(DISTINCT month) AS m FROM {t}",
            json!({"n": 26_115, "m": 12}),
        ),
        (
            "count(*) AS n FROM {t} WHERE month = 6",
            json!({"n": 2_160}),
        ),
        (
            "count(*) AS n FROM {t} WHERE month = 6 AND origin = 'JFK' AND temp > 80.0",
            json!({"n": JFK_HOT}),
        ),
        (
            "count(*) AS n FROM {t} WHERE time_hour >= TIMESTAMP '2013-12-30 18:00:00Z'",
            json!({"n": LAST}),
        ),
        ("count(*) AS n FROM {t} WHERE month > 12", json!({"n": 0})),
    ] {
        let question = format!("SELECT {}", question.replace("{t}", WEATHER));
        assert_eq!(sql(port, &question).await?, [expected], "{question}");
    }
    Ok(())
}

/// Rows of the example's file, counted without any node.
const JFK_HOT: u64 = 53;
const LAST: u64 = 18;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_another_engine_is_a_product() -> Outcome {
    let folder = tempfile::tempdir()?;
    let weather = contracts().join("../data/weather.parquet").canonicalize()?;
    let arguments = [
        weather.as_os_str(),
        folder.path().as_os_str(),
        "reader".as_ref(),
        PASSWORD.as_ref(),
    ];
    let (upstream, port) = python::Server::start("flight_sql_server.py", arguments)?;
    let at = port.parse()?;

    let (lab, dir) = lab();
    let access =
        "\n[sources.upstream]\nusername = \"reader\"\npassword_file = \"upstream.password\"\n";
    let rules = format!("{access}{WEATHER_RULES}");
    let mut owner = lab
        .found("weather-service", "Weather Service", &rules)
        .await?;
    std::fs::write(owner.home().path().join("upstream.password"), PASSWORD)?;
    owner.start().await?;
    let port = lab.org("port-authority", "Port Authority", "").await?;
    let file = contract(dir.path(), &server(at, "    customProperties:\n"))?;
    served(&owner, &port, &file).await?;

    // What the server was asked: columns, what every engine answers alike, no more.
    let log = || std::fs::read_to_string(folder.path().join("log"));
    let asked = log()?;
    assert!(asked.contains(r#"WHERE ("month" = 6)"#), "{asked}");
    assert!(asked.contains(r#"("origin" = 'JFK')"#), "{asked}");
    assert!(
        !asked.contains(r#""temp" >"#) && !asked.contains(r#""time_hour" >"#),
        "{asked}"
    );

    let question = format!("SELECT count(*) AS n FROM {WEATHER} WHERE day = 1");
    drop(upstream);
    let error = sql(&port, &question).await.unwrap_err().to_string();
    assert!(error.contains("source-unavailable"), "{error}");
    assert!(!error.contains(&at.to_string()), "{error}");
    let said = std::fs::read_to_string(owner.home().path().join("node.log"))?;
    assert!(
        said.contains("upstream") && !said.contains(PASSWORD),
        "{said}"
    );
    let shown: serde_json::Value = port.get("/v1/products/weather-service/weather").await?;
    for private in ["upstream", "127.0.0.1", "comityProtocol"] {
        assert!(!shown.to_string().contains(private), "{private}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_another_node_is_a_product() -> Outcome {
    let (lab, dir) = lab();
    let first = lab.org("first", "First", "").await?;
    let weather = contracts().join("weather-service/weather.odcs.yaml");
    first.publish(&weather).await?;
    let at = first.status().await?.listening.workbench;
    let at = at.rsplit_once(':').expect("a port").1.parse()?;

    let token = first.home().workbench_token();
    let access = format!(
        "\n[sources.upstream]\npassword_file = {token:?}\nca_file = {:?}\ntls = true\n",
        first.home().ca_pem()
    );
    let rules = format!("{access}{WEATHER_RULES}");
    let owner = lab
        .org("weather-service", "Weather Service", &rules)
        .await?;
    let port = lab.org("port-authority", "Port Authority", "").await?;
    let rest = "    catalog: first\n    schema: weather\n    customProperties:\n      - { property: comityDialect, value: datafusion }\n";
    let file = contract(dir.path(), &server(at, rest))?;
    served(&owner, &port, &file).await?;
    let said = std::fs::read_to_string(owner.home().path().join("node.log"))?;
    let token = std::fs::read_to_string(token)?;
    assert!(!said.contains(token.trim()));
    Ok(())
}

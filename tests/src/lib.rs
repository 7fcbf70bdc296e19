//! What the scenarios share: three organizations on loopback, over the example data.
//!
//! Every node is a process of the real `comity` binary (`COMITY_BIN`, or the
//! one beside the test program). Waits are bounded and end on an event.

pub mod attack;
pub mod bench;
pub mod calls;
pub mod clock;
pub mod oidc;
pub mod orders;
pub mod python;
pub mod rogue;
pub mod rogue_host;
pub mod shop;
pub mod streams;
pub mod tpch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use comity::admin::{Client, ClientError, api};
use comity::flight::{SqlClient, Workers};
use comity::lab::{Lab, LabError, Org};

/// Weather Service agrees by rule to what its product offers for this purpose.
pub const WEATHER_RULES: &str = r#"
[[approve]]
partner = "port-authority"
product = "weather"
purposes = ["delay-analysis"]
max_days = 365
"#;

/// A scenario's result.
pub type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The `comity` binary under test.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("COMITY_BIN") {
        return path.into();
    }
    let mut path = std::env::current_exe().expect("a test program has a path");
    path.pop();
    path.pop();
    path.join("comity")
}

/// Threads for the connections of tests and benchmarks that are no nodes.
pub fn workers() -> &'static Workers {
    static WORKERS: LazyLock<Workers> =
        LazyLock::new(|| Workers::start().expect("threads for connections"));
    &WORKERS
}

/// A lab in a folder of its own, removed at the end.
pub fn lab() -> (Lab, tempfile::TempDir) {
    let dir = tempfile::Builder::new()
        .prefix("comity-test-")
        .tempdir()
        .expect("a temporary folder");
    (Lab::new(dir.path(), program()), dir)
}

/// The repository's example contracts.
pub fn contracts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/first-exchange")
}

/// Three organizations, federated, with their products announced and discovered.
#[derive(Debug)]
pub struct Three {
    /// Owns flights; asks the others.
    pub port: Org,
    /// Owns weather; agrees by rule.
    pub weather: Org,
    /// Owns planes, airlines, airports; a person decides.
    pub registry: Org,
    _dir: tempfile::TempDir,
}

impl Three {
    /// Founds, starts, federates and publishes.
    pub async fn meet() -> Result<Self, LabError> {
        let (lab, dir) = lab();
        let port = lab.org("port-authority", "Port Authority", "").await?;
        let weather = lab
            .org("weather-service", "Weather Service", WEATHER_RULES)
            .await?;
        let registry = lab
            .org("aircraft-registry", "Aircraft Registry", "")
            .await?;
        weather.federate(&port).await?;
        registry.federate(&port).await?;
        for (org, products) in [
            (&port, &["flights"][..]),
            (&weather, &["weather"]),
            (&registry, &["planes", "airlines", "airports"]),
        ] {
            for product in products {
                let file = format!("{}/{product}.odcs.yaml", org.alias());
                org.publish(&contracts().join(file)).await?;
            }
        }
        port.discovers("weather-service", "weather").await?;
        for product in ["planes", "airlines", "airports"] {
            port.discovers("aircraft-registry", product).await?;
        }
        Ok(Self {
            port,
            weather,
            registry,
            _dir: dir,
        })
    }
}

/// `org` asks for `product` with the purpose that the examples offer.
pub async fn ask(org: &Org, partner: &str, product: &str) -> Result<api::Negotiation, LabError> {
    org.post("/v1/requests", &request(partner, product)).await
}

/// [`ask`] without holding on to the organization, which may be killed meanwhile.
pub async fn ask_from(
    admin: Client,
    partner: &'static str,
    product: &'static str,
) -> Result<api::Negotiation, ClientError> {
    admin.post("/v1/requests", &request(partner, product)).await
}

fn request(partner: &str, product: &str) -> api::Ask {
    api::Ask {
        partner: partner.to_owned(),
        product: product.to_owned(),
        columns: BTreeMap::new(),
        purposes: BTreeSet::from(["delay-analysis".to_owned()]),
        days: 90,
        reason: String::new(),
        open_days: None,
    }
}

/// The negotiation `id` as `org` sees it.
pub async fn negotiation(org: &Org, id: &str) -> Result<Option<api::Negotiation>, LabError> {
    let list: Vec<api::Negotiation> = org.get("/v1/requests").await?;
    Ok(list.into_iter().find(|n| n.id == id))
}

/// Waits until the negotiation `id` is in `state` at `org`.
pub async fn reaches(org: &Org, id: &str, state: &str) -> Result<api::Negotiation, LabError> {
    let what = format!("negotiation {id} in {state}");
    org.until(&what, || async {
        Ok(negotiation(org, id).await?.filter(|n| n.state == state))
    })
    .await
}

/// Waits until the negotiation `id` needs a decision at `org`.
pub async fn waits_for(org: &Org, id: &str) -> Result<api::Negotiation, LabError> {
    org.until(&format!("negotiation {id} to need a decision"), || async {
        Ok(negotiation(org, id).await?.filter(|n| n.waits_for_us))
    })
    .await
}

/// Decides `verb` on a negotiation.
pub async fn decide(org: &Org, id: &str, verb: &str) -> Result<api::Negotiation, LabError> {
    org.post(&format!("/v1/requests/{id}/{verb}"), &serde_json::json!({}))
        .await
}

/// The agreements that `org` holds, by id.
pub async fn agreements(org: &Org) -> Result<BTreeMap<String, api::Agreement>, LabError> {
    let list: Vec<api::Agreement> = org.get("/v1/agreements").await?;
    Ok(list.into_iter().map(|a| (a.id.to_string(), a)).collect())
}

fn read(path: PathBuf) -> Result<String, LabError> {
    std::fs::read_to_string(&path).map_err(|e| LabError::Io(path.display().to_string(), e))
}

/// A client of `org`'s workbench, as its owner.
pub async fn workbench(org: &Org) -> Result<SqlClient, LabError> {
    let token = read(org.home().workbench_token())?;
    workbench_as(org, token.trim()).await
}

/// A client of `org`'s workbench, as the member with this token.
pub async fn workbench_as(org: &Org, token: &str) -> Result<SqlClient, LabError> {
    let ca = read(org.home().ca_pem())?;
    let uri = org.status().await?.listening.workbench;
    SqlClient::connect(&uri, Some(&ca), token)
        .await
        .map_err(|e| LabError::Sql(org.alias().to_owned(), e.to_string()))
}

/// Runs `statement` at `org`'s workbench and gives all rows as JSON text lines.
pub async fn sql(org: &Org, statement: &str) -> Result<Vec<serde_json::Value>, LabError> {
    use futures::TryStreamExt as _;
    let failed = |e: &dyn std::fmt::Display| LabError::Sql(org.alias().to_owned(), e.to_string());
    let client = workbench(org).await?;
    let (_, rows) = client
        .query(statement, None)
        .await
        .map_err(|e| failed(&e))?;
    let batches: Vec<_> = rows.try_collect().await.map_err(|e| failed(&e))?;
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    for batch in &batches {
        writer.write(batch).map_err(|e| failed(&e))?;
    }
    writer.finish().map_err(|e| failed(&e))?;
    let text = String::from_utf8(writer.into_inner()).map_err(|e| failed(&e))?;
    text.lines()
        .map(|l| serde_json::from_str(l).map_err(|e| failed(&e)))
        .collect()
}

//! What a product promises is measured, and partners see it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use comity::admin::api;
use comity::clock::now;
use comity::index;
use comity::journal;
use comity::lab::{Lab, LabError, Org};
use comity::ledger::{Ledger, Record};
use comity_identity::envelope::Compact;
use comity_protocol::results::RESULTS;
use comity_tests::{Outcome, lab, program};
use serde_json::{Value, json};

/// What must never leave the house: a folder, a name in the warehouse, a
/// query, a value.
const CANARIES: [&str; 6] = [
    "canary-folder",
    "canary_physical",
    "canary_query",
    "canary-value",
    "canary_host",
    "canary-log",
];

/// A shop that measures when it is asked to, and not by itself.
async fn on_demand(lab: &Lab) -> Result<Org, Box<dyn std::error::Error>> {
    let mut shop = lab.found("shop", "Shop", "").await?;
    let path = shop.home().config();
    let text = std::fs::read_to_string(&path)?;
    assert!(text.contains("\nevery_seconds = 3600\n"), "{text}");
    let text = text.replace("\nevery_seconds = 3600\n", "\nevery_seconds = 0\n");
    std::fs::write(&path, text)?;
    shop.start().await?;
    Ok(shop)
}

/// Orders of a shop with promises that are kept, broken, and beyond telling.
struct Shop<'a>(&'a Path);

impl Shop<'_> {
    /// Four orders, the last one as old as this many hours.
    fn orders(&self, hours: u64, rows: &str) -> std::io::Result<()> {
        let folder = self.0.join("canary-folder");
        std::fs::create_dir_all(&folder)?;
        let last = now().saturating_sub(std::time::Duration::from_secs(hours * 3600));
        let last = last.to_string().replace('Z', ".000000");
        let text = format!(
            "id,country,amount,ordered_at\n1,DE,10.5,2026-01-01T00:00:00.000000\n2,FR,,2026-01-02T00:00:00.000000\n3,canary-value,5.25,2026-01-03T00:00:00.000000\n4,NL,7.0,{last}\n{rows}"
        );
        std::fs::write(folder.join("orders.csv"), text)
    }

    fn contract(&self) -> std::io::Result<std::path::PathBuf> {
        let path = self.0.join("orders.odcs.yaml");
        std::fs::write(&path, CONTRACT)?;
        Ok(path)
    }
}

const CONTRACT: &str = r#"apiVersion: v3.1.0
kind: DataContract
id: 7c1d2b9e-6f0e-4a55-9d3c-2f0a4f7f1b07
name: orders
version: "1.0.0"
status: active
description:
  purpose: Orders of a shop.
servers:
  - { server: canary_host, type: local, path: canary-folder/orders.csv, format: csv }
schema:
  - id: orders
    name: orders
    physicalName: canary_physical
    logicalType: object
    properties:
      - { id: id, name: id, logicalType: integer, physicalType: bigint, required: true, primaryKey: true, primaryKeyPosition: 1 }
      - id: country
        name: country
        logicalType: string
        physicalType: varchar
        quality:
          - { id: country_known, type: library, metric: invalidValues, arguments: { validValues: [DE, FR, NL] }, mustBe: 0 }
          - { id: country_some, type: sql, query: "SELECT count(*) FROM ${table} WHERE ${column} = 'canary-value'", mustBe: 1 }
      - id: amount
        name: amount
        logicalType: number
        physicalType: double
        quality:
          - { id: amount_known, type: library, metric: nullValues, mustBeLessOrEqualTo: 25, unit: percent }
      - { id: ordered_at, name: ordered_at, logicalType: timestamp, physicalType: timestamp_ntz }
    quality:
      - { id: enough, type: library, metric: rowCount, mustBeBetween: [3, 4] }
      - { id: elsewhere, type: sql, query: "SELECT count(*) FROM canary_query", mustBe: 0 }
      - { id: twice, type: sql, query: "SELECT id FROM ${table}", mustBe: 0 }
      - { id: written, type: sql, query: "DELETE FROM ${table}", mustBe: 0 }
slaProperties:
  - { id: fresh, property: freshness, value: 24, unit: h, element: orders.ordered_at }
roles:
  - role: orders.partner.read
    access: read
    customProperties:
      - { property: comityPurposes, value: [delay-analysis] }
"#;

/// The verdict about the promise with this id, by this process.
fn verdict(measured: &api::Measured, id: &str, by: &str) -> Option<api::Verdict> {
    let promise = measured.promises.iter().find(|p| p.id == id)?;
    promise.verdicts.iter().find(|v| v.by == by).cloned()
}

/// Waits until `org` sees the statement with this number.
async fn sees(org: &Org, alias: &str, seq: u64) -> Result<api::Measured, LabError> {
    let path = format!("/v1/products/{alias}/orders");
    org.until(&format!("measurement {seq} of {alias}/orders"), || async {
        let found: Option<api::Product> = org.get(&path).await.ok();
        let measured = found.and_then(|p| p.measured).unwrap_or_default();
        let newest = measured.statements.iter().map(|s| s.seq).max();
        Ok((newest >= Some(seq)).then_some(measured))
    })
    .await
}

async fn measure(org: &Org) -> Result<api::JustMeasured, LabError> {
    org.post("/v1/measurements", &json!({"product": "orders"}))
        .await
}

async fn chain(org: &Org, alias: &str) -> Result<Vec<api::Measurement>, LabError> {
    org.get(&format!("/v1/products/{alias}/orders/measurements"))
        .await
}

/// The payloads of all statements that `org`, which is stopped, received.
async fn signed(org: &mut Org) -> Result<String, Box<dyn std::error::Error>> {
    org.stop().await?;
    let (journal, index) = (journal::Settings::default(), index::Settings::default());
    let ledger = Ledger::open(org.home(), journal, index)?;
    let mut signed = String::new();
    for (_, record) in ledger.scan(index::Table::Results, &[])? {
        if let Record::Measured(stored) = record {
            let said: Value = Compact::parse(RESULTS, &stored.text)?.danger_unverified_payload()?;
            signed.push_str(&said.to_string());
        }
    }
    assert!(signed.contains("country_known"), "{signed}");
    Ok(signed)
}

fn show(org: &Org, args: &[&str]) -> std::io::Result<String> {
    let output = Command::new(program())
        .args(["--home", &org.home().path().display().to_string(), "show"])
        .args(args)
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_sees_what_is_kept_what_is_broken_and_what_nobody_can_say() -> Outcome {
    let (lab, dir) = lab();
    let mut shop = lab.org("shop", "Shop", "").await?;
    let mut reader = lab.org("reader", "Reader", "").await?;
    shop.federate(&reader).await?;
    let data = Shop(dir.path());
    data.orders(1, "")?;
    shop.publish(&data.contract()?).await?;

    // Once it is published, without being asked.
    let measured = sees(&reader, "shop", 1).await?;
    let status = |id| verdict(&measured, id, "comity").map(|v| (v.status, v.value));
    let expected = [
        ("orders.id.required", "ok", Some(0.0)),
        ("orders.id.unique", "ok", Some(0.0)),
        ("country_known", "failed", Some(1.0)),
        ("country_some", "ok", None),
        ("amount_known", "ok", Some(25.0)),
        ("enough", "ok", Some(4.0)),
        ("elsewhere", "error", None),
        ("twice", "error", None),
        ("written", "error", None),
    ];
    for (id, word, value) in expected {
        assert_eq!(status(id), Some((word.to_owned(), value)), "{id}");
    }
    let fresh = verdict(&measured, "fresh", "comity").ok_or("no freshness")?;
    assert_eq!(fresh.status, "ok");
    assert!((3600.0..7200.0).contains(&fresh.value.unwrap_or_default()));
    assert_eq!(measured.tables[0].rows, 4);
    assert_eq!(
        measured.tables[0].columns["ordered_at"].earliest,
        1_767_225_600
    );

    // The owner alone is told why there is no verdict.
    let just = measure(&shop).await?;
    assert!(
        just.reasons["elsewhere"].contains("canary_query"),
        "{:?}",
        just.reasons
    );
    assert!(just.reasons["twice"].contains("more than one row"));
    assert_eq!(just.reasons.len(), 3, "{:?}", just.reasons);

    // What changes shows; the chain holds on both sides, and over a restart.
    data.orders(
        48,
        "5,DE,1.0,2026-01-05T00:00:00.000000\n5,DE,1.0,2026-01-05T00:00:00.000000\n",
    )?;
    measure(&shop).await?;
    let measured = sees(&reader, "shop", 3).await?;
    for id in ["fresh", "enough", "orders.id.unique"] {
        let broken = verdict(&measured, id, "comity").ok_or("no verdict")?;
        assert_eq!(broken.status, "failed", "{id}");
    }
    let theirs = chain(&reader, "shop").await?;
    assert_eq!(theirs.len(), 3);
    assert!(theirs.iter().all(|m| m.unbroken), "{theirs:?}");
    assert!(theirs[0].failures.contains_key("enough"));
    shop.stop().await?;
    shop.start().await?;
    let ours = chain(&shop, "shop").await?;
    let ids =
        |chain: &[api::Measurement]| -> Vec<_> { chain.iter().map(|m| m.statement.id).collect() };
    assert_eq!(ids(&ours), ids(&theirs));
    measure(&shop).await?;
    sees(&reader, "shop", 4).await?;
    assert!(chain(&reader, "shop").await?.iter().all(|m| m.unbroken));

    let text = show(&reader, &["shop/orders"])?;
    assert!(
        text.contains("country_known") && text.contains("failed"),
        "{text}"
    );
    assert!(text.contains("freshness < 24 h"), "{text}");
    let text = show(&reader, &["shop/orders", "--history"])?;
    assert_eq!(text.lines().count(), 5, "{text}");

    // Nothing of the house, in what was signed and sent.
    let shown = serde_json::to_string(&reader.get::<Value>("/v1/products/shop/orders").await?)?;
    let signed = signed(&mut reader).await?;
    for canary in CANARIES {
        assert!(!signed.contains(canary), "{canary} was signed: {signed}");
        assert!(!shown.contains(canary), "{canary} was shown: {shown}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_changes_what_it_stated_is_noticed() -> Outcome {
    let (lab, dir) = lab();
    let mut shop = on_demand(&lab).await?;
    let mut reader = lab.org("reader", "Reader", "").await?;
    shop.federate(&reader).await?;
    let data = Shop(dir.path());
    data.orders(1, "")?;
    shop.publish(&data.contract()?).await?;
    measure(&shop).await?;
    sees(&reader, "shop", 1).await?;
    shop.stop().await?;
    let backup = dir.path().join("backup");
    copy(shop.home().path(), &backup)?;
    shop.start().await?;
    data.orders(48, "")?;
    measure(&shop).await?;
    let broken = sees(&reader, "shop", 2).await?;
    assert_eq!(
        verdict(&broken, "fresh", "comity").ok_or("none")?.status,
        "failed"
    );

    // The shop goes back to before, and states that everything was fine.
    shop.stop().await?;
    std::fs::remove_dir_all(shop.home().path())?;
    copy(&backup, shop.home().path())?;
    data.orders(1, "")?;
    shop.start().await?;
    for _ in 0..3 {
        measure(&shop).await?;
    }
    let path = "/v1/products/shop/orders";
    let noticed = async |reader: &Org| {
        reader
            .until("the rewritten history", || async {
                let found: Option<api::Product> = reader.get(path).await.ok();
                Ok(found.and_then(|p| p.measured?.rewritten))
            })
            .await
    };
    assert_eq!(noticed(&reader).await?.seq, 2);
    let text = show(&reader, &["shop/orders"])?;
    assert!(
        text.contains("WARNING") && text.contains("measurement 2"),
        "{text}"
    );
    let theirs = chain(&reader, "shop").await?;
    assert!(theirs.iter().any(|m| !m.unbroken), "{theirs:?}");
    reader.stop().await?;
    reader.start().await?;
    assert_eq!(noticed(&reader).await?.seq, 2, "kept over a restart");
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&path, &target)?;
        } else if entry.file_type()?.is_file() {
            std::fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

/// What `datacontract test --publish` (1.2.8) sends, shortened to what differs.
fn run(checks: Value) -> Value {
    json!({
        "runId": "2f1c7f4e-9d8a-4b7e-8c11-0a4be1f3a001",
        "datacontractCliVersion": "1.2.8",
        "dataContractId": "7c1d2b9e-6f0e-4a55-9d3c-2f0a4f7f1b07",
        "dataContractVersion": "1.0.0",
        "dataProductId": null, "outputPortId": null,
        "server": "canary_host", "filters": null,
        "timestampStart": "2026-11-20T15:30:00.123456Z",
        "timestampEnd": "2026-11-20T15:30:05.123456Z",
        "result": "failed", "dryRun": false,
        "checks": checks,
        "logs": [{"level": "INFO", "message": "canary-log", "timestamp": "2026-11-20T15:30:00Z"}],
    })
}

fn checks() -> Value {
    let check = |kind: &str,
                 field: Option<&str>,
                 id: Option<&str>,
                 result: Option<&str>,
                 diagnostics: Value| {
        json!({
            "id": "b7e1", "key": format!("canary_physical__{kind}"), "category": "quality",
            "type": kind, "name": "canary_query", "model": "canary_physical", "field": field,
            "qualityId": id, "quality_id": id, "tags": null, "dimension": "conformity",
            "qualityDefinition": "query: canary_query", "engine": "datacontract-cli",
            "language": "sql", "implementation": "SELECT 'canary-value' FROM canary_query",
            "result": result, "reason": "canary-value", "diagnostics": diagnostics,
            "failedSamples": [{"country": "canary-value"}],
        })
    };
    json!([
        check(
            "field_is_present",
            Some("id"),
            None,
            Some("passed"),
            Value::Null
        ),
        check(
            "field_required",
            Some("id"),
            None,
            Some("passed"),
            json!({"metric": "missing_count", "value": 0})
        ),
        check(
            "field_invalid_values",
            Some("country"),
            Some("country_known"),
            Some("failed"),
            json!({"metric": "invalid_count", "value": 1, "constraint": {"valid_values": ["canary-value"]}})
        ),
        check(
            "field_quality_sql",
            Some("country"),
            Some("country_some"),
            Some("passed"),
            json!({"value": 77_123})
        ),
        check(
            "field_null_values",
            Some("amount"),
            Some("amount_known"),
            Some("warning"),
            json!({"value": 1, "percent": 25.0})
        ),
        check("row_count", None, Some("enough"), None, Value::Null),
        check(
            "field_type",
            Some("canary_physical"),
            None,
            Some("passed"),
            Value::Null
        ),
        check(
            "canary_query",
            Some("id"),
            None,
            Some("passed"),
            Value::Null
        ),
        check(
            "servicelevel_freshness",
            Some("ordered_at"),
            Some("fresh"),
            Some("warning"),
            Value::Null
        ),
    ])
}

/// The status of a POST over plain HTTP.
fn post(url: &str, headers: &str, body: &str) -> Result<u16, Box<dyn std::error::Error>> {
    let rest = url.strip_prefix("http://").ok_or("not http")?;
    let (host, path) = rest.split_once('/').ok_or("no path")?;
    let mut stream = TcpStream::connect(host)?;
    write!(
        stream,
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.get(9..12).ok_or("no status")?.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_publishes_what_it_tested() -> Outcome {
    let (lab, dir) = lab();
    let shop = on_demand(&lab).await?;
    let mut reader = lab.org("reader", "Reader", "").await?;
    shop.federate(&reader).await?;
    let data = Shop(dir.path());
    data.orders(1, "")?;
    shop.publish(&data.contract()?).await?;
    let url = shop.get::<api::ResultsUrl>("/v1/results-url").await?.url;
    let good = run(checks()).to_string();
    assert_eq!(post(&url, "", &good)?, 200);

    let measured = sees(&reader, "shop", 1).await?;
    let status = |id| verdict(&measured, id, "datacontract-cli").map(|v| (v.status, v.value));
    let expected = [
        ("orders.id.field_is_present", "ok", None),
        ("orders.id.required", "ok", Some(0.0)),
        ("country_known", "failed", Some(1.0)),
        ("country_some", "ok", None),
        ("amount_known", "failed", Some(25.0)),
        ("enough", "error", None),
        ("fresh", "error", None),
    ];
    for (id, word, value) in expected {
        assert_eq!(status(id), Some((word.to_owned(), value)), "{id}");
    }
    let statement = &measured.statements[0];
    assert_eq!(
        (statement.by_version.as_str(), statement.omitted),
        ("1.2.8", 2)
    );
    assert_eq!(statement.at.to_string(), "2026-11-20T15:30:05Z");

    // What is not about this product, or measured nothing, is not taken.
    let change = |key: &str, value: Value| {
        let mut run = run(checks());
        run[key] = value;
        run.to_string()
    };
    let refused = [
        (404, change("dataContractId", json!("another"))),
        (404, change("dataContractVersion", json!("1.1.0"))),
        (400, change("dryRun", json!(true))),
        (400, change("filters", json!({"orders": "id < 3"}))),
        (400, change("checks", json!([]))),
        (
            400,
            change("checks", json!([{"type": "general", "result": "failed"}])),
        ),
        (400, "{".to_owned()),
        (413, " ".repeat((4 << 20) + 1)),
    ];
    for (status, body) in refused {
        assert_eq!(post(&url, "", &body)?, status, "{:.80}", body);
    }
    let (base, token) = url.rsplit_once('/').ok_or("no token")?;
    assert_eq!(post(base, "", &good)?, 401);
    assert_eq!(post(&format!("{base}/wrong"), "", &good)?, 401);
    assert_eq!(post(&url, "Origin: http://evil.example\r\n", &good)?, 403);
    let admin = url.replace("/api/test-results/", "/v1/status?");
    assert_eq!(post(&admin, "", "")?, 401, "it opens nothing else");
    assert_eq!(post(base, &format!("x-api-key: {token}\r\n"), &good)?, 200);
    sees(&reader, "shop", 2).await?;
    assert_eq!(chain(&reader, "shop").await?.len(), 2);

    let shown = serde_json::to_string(&reader.get::<Value>("/v1/products/shop/orders").await?)?;
    let signed = signed(&mut reader).await?;
    for canary in CANARIES.iter().chain(&["77123"]) {
        assert!(!signed.contains(canary), "{canary} was signed: {signed}");
        assert!(!shown.contains(canary), "{canary} was shown: {shown}");
    }
    Ok(())
}

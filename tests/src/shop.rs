//! A shop whose product keeps some promises and breaks others.

use std::path::Path;

use comity::admin::api;
use comity::clock::now;
use comity::index;
use comity::journal;
use comity::lab::{Lab, LabError, Org};
use comity::ledger::{Ledger, Record};
use comity_identity::envelope::Compact;
use comity_protocol::results::RESULTS;
use serde_json::{Value, json};

/// What must never leave the house: a folder, a name in the warehouse, a
/// query, a value.
pub const CANARIES: [&str; 6] = [
    "canary-folder",
    "canary_physical",
    "canary_query",
    "canary-value",
    "canary_host",
    "canary-log",
];

/// A shop that measures when it is asked to, and not by itself.
pub async fn on_demand(lab: &Lab) -> Result<Org, Box<dyn std::error::Error>> {
    let mut shop = lab.found("shop", "Shop", "").await?;
    only_on_demand(&shop)?;
    shop.start().await?;
    Ok(shop)
}

/// Has the node of `org`, which does not run yet, not measure by itself.
pub fn only_on_demand(org: &Org) -> std::io::Result<()> {
    let path = org.home().config();
    let text = std::fs::read_to_string(&path)?;
    assert!(text.contains("\nevery_seconds = 3600\n"), "{text}");
    let text = text.replace("\nevery_seconds = 3600\n", "\nevery_seconds = 0\n");
    std::fs::write(&path, text)
}

/// Orders of a shop with promises that are kept, broken, and beyond telling.
#[derive(Debug)]
pub struct Shop<'a>(pub &'a Path);

impl Shop<'_> {
    /// Four orders, the last one as old as this many hours.
    pub fn orders(&self, hours: u64, rows: &str) -> std::io::Result<()> {
        let folder = self.0.join("canary-folder");
        std::fs::create_dir_all(&folder)?;
        let last = now().saturating_sub(std::time::Duration::from_secs(hours * 3600));
        let last = last.to_string().replace('Z', ".000000");
        let text = format!(
            "id,country,amount,ordered_at\n1,DE,10.5,2026-01-01T00:00:00.000000\n2,FR,,2026-01-02T00:00:00.000000\n3,canary-value,5.25,2026-01-03T00:00:00.000000\n4,NL,7.0,{last}\n{rows}"
        );
        std::fs::write(folder.join("orders.csv"), text)
    }

    /// Writes the contract and gives its path.
    pub fn contract(&self) -> std::io::Result<std::path::PathBuf> {
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
pub fn verdict(measured: &api::Measured, id: &str, by: &str) -> Option<api::Verdict> {
    let promise = measured.promises.iter().find(|p| p.id == id)?;
    promise.verdicts.iter().find(|v| v.by == by).cloned()
}

/// Waits until `org` sees the statement with this number.
pub async fn sees(org: &Org, alias: &str, seq: u64) -> Result<api::Measured, LabError> {
    let path = format!("/v1/products/{alias}/orders");
    org.until(&format!("measurement {seq} of {alias}/orders"), || async {
        let found: Option<api::Product> = org.get(&path).await.ok();
        let measured = found.and_then(|p| p.measured).unwrap_or_default();
        let newest = measured.statements.iter().map(|s| s.seq).max();
        Ok((newest >= Some(seq)).then_some(measured))
    })
    .await
}

/// Measures the orders now.
pub async fn measure(org: &Org) -> Result<api::JustMeasured, LabError> {
    org.post("/v1/measurements", &json!({"product": "orders"}))
        .await
}

/// The statements of `alias`'s orders that `org` has, newest first.
pub async fn chain(org: &Org, alias: &str) -> Result<Vec<api::Measurement>, LabError> {
    org.get(&format!("/v1/products/{alias}/orders/measurements"))
        .await
}

/// The payloads of all statements that `org`, which is stopped, received.
pub async fn signed(org: &mut Org) -> Result<String, Box<dyn std::error::Error>> {
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

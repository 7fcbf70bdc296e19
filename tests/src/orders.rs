//! A small product whose next versions a scenario writes.

use std::path::{Path, PathBuf};

use comity::lab::{LabError, Org};

/// A product of one table over four rows of CSV.
#[derive(Debug)]
pub struct Orders {
    dir: PathBuf,
}

impl Orders {
    /// Writes the data into `dir`.
    pub fn new(dir: &Path) -> std::io::Result<Self> {
        let rows = "id,country,amount,channel\n1,DE,10.5,web\n2,FR,20.0,shop\n3,DE,5.25,web\n4,NL,7.0,web\n";
        std::fs::write(dir.join("orders.csv"), rows)?;
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// Writes the contract with this `version` and `columns`, each line of
    /// `more` added at the end, and gives its path.
    pub fn contract(
        &self,
        version: &str,
        columns: &[&str],
        more: &str,
    ) -> std::io::Result<PathBuf> {
        let columns: String = columns.iter().map(|c| column(c)).collect();
        let text = format!(
            r#"apiVersion: v3.1.0
kind: DataContract
id: 5b1d2b9e-6f0e-4a55-9d3c-2f0a4f7f1b01
name: orders
version: "{version}"
status: active
description:
  purpose: Orders of a shop.
servers:
  - {{ server: files, type: local, path: orders.csv, format: csv }}
schema:
  - id: orders
    name: orders
    logicalType: object
    properties:
{columns}
roles:
  - role: orders.partner.read
    access: read
    customProperties:
      - {{ property: comityPurposes, value: [delay-analysis] }}
{more}"#
        );
        let path = self.dir.join(format!("orders-{version}.odcs.yaml"));
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Announces that contract.
    pub async fn publish(
        &self,
        org: &Org,
        version: &str,
        columns: &[&str],
        more: &str,
    ) -> Result<comity::admin::api::Product, LabError> {
        let path = self.contract(version, columns, more);
        let path = path.map_err(|e| LabError::Io("the contract".to_owned(), e))?;
        org.publish(&path).await
    }
}

fn column(name: &str) -> String {
    let (logical, physical) = match name {
        "id" => ("integer", "bigint"),
        "amount" => ("number", "double"),
        _ => ("string", "varchar"),
    };
    format!(
        "      - {{ id: {name}, name: {name}, logicalType: {logical}, physicalType: {physical} }}\n"
    )
}

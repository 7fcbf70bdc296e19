//! Two organizations, and answers large enough to be under way for a while.

use comity::flight::SqlClient;
use comity::lab::{Lab, Org};
use comity_identity::Digest;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt as _;

use crate::bench::{Outcome, lineitem};
use crate::{ask, lab, reaches};

/// Reads everything: more than what waits in windows and buffers on the way.
pub const ALL: &str = "SELECT * FROM provider.lineitem.lineitem";

/// As `comity init` writes it under [query].
const DEFAULT_CONCURRENT: &str = "concurrent = 16";

/// The provider agrees by rule.
const RULES: &str = r#"
[[approve]]
partner = "consumer"
product = "lineitem"
purposes = ["delay-analysis"]
max_days = 365
"#;

/// A provider of TPC-H's `lineitem`, and a consumer with an agreement over it.
#[derive(Debug)]
pub struct Two {
    /// Has the rows.
    pub provider: Org,
    /// Reads them.
    pub consumer: Org,
    /// The agreement.
    pub agreement: Digest,
    _lab: Lab,
    dir: tempfile::TempDir,
}

impl Two {
    /// Founds, starts, federates, publishes `lineitem` at `scale` and agrees.
    /// Each node runs up to `concurrent` queries at a time.
    pub async fn meet(scale: f64, concurrent: u32) -> Outcome<Self> {
        let more = format!("concurrent = {concurrent}");
        Self::configured(scale, DEFAULT_CONCURRENT, &more).await
    }

    /// [`Two::meet`] with `key` of both nodes' configuration replaced by `value`.
    pub async fn configured(scale: f64, key: &str, value: &str) -> Outcome<Self> {
        let (lab, dir) = lab();
        let mut provider = lab.found("provider", "Provider", RULES).await?;
        let mut consumer = lab.found("consumer", "Consumer", "").await?;
        for org in [&mut provider, &mut consumer] {
            let path = org.home().config();
            let text = std::fs::read_to_string(&path)?;
            if !text.contains(&format!("\n{key}\n")) {
                return Err(format!("no '{key}' in {}", path.display()).into());
            }
            std::fs::write(&path, text.replace(key, value))?;
            org.start().await?;
        }
        provider.federate(&consumer).await?;
        let file = dir.path().join("lineitem.parquet");
        tokio::task::spawn_blocking(move || {
            lineitem::write(&file, scale).map_err(|e| e.to_string())
        })
        .await??;
        let contract = dir.path().join("lineitem.odcs.yaml");
        let server = "servers: [ { server: files, type: local, path: ./lineitem.parquet, format: parquet } ]";
        lineitem::contract(&contract, server, "lineitem")?;
        provider.publish(&contract).await?;
        consumer.discovers("provider", "lineitem").await?;
        let agreement = agree(&consumer).await?;
        Ok(Self {
            provider,
            consumer,
            agreement,
            _lab: lab,
            dir,
        })
    }
}

impl Two {
    /// The folder of the provider's files.
    pub fn files(&self) -> &std::path::Path {
        self.dir.path()
    }
}

/// A new agreement over the product.
pub async fn agree(consumer: &Org) -> Outcome<Digest> {
    let n = ask(consumer, "provider", "lineitem").await?;
    let agreement = reaches(consumer, &n.id, "FINALIZED").await?.agreement;
    Ok(agreement.ok_or("not signed")?)
}

/// An answer of which one batch was read.
pub async fn begun(client: &SqlClient) -> Outcome<SendableRecordBatchStream> {
    let (_, mut rows) = client.query(ALL, None).await?;
    rows.next().await.ok_or("no batch")??;
    Ok(rows)
}

/// Reads to the end: the rows, and why it ended if it did not end well.
pub async fn to_the_end(mut rows: SendableRecordBatchStream) -> (usize, Option<String>) {
    let mut read = 0;
    while let Some(batch) = rows.next().await {
        match batch {
            Ok(batch) => read += batch.num_rows(),
            Err(error) => return (read, Some(error.to_string())),
        }
    }
    (read, None)
}

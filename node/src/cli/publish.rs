//! `comity publish`.

use std::path::PathBuf;

use super::output::{Output, Problem};
use crate::admin::Client;
use crate::admin::api;
use crate::home::Home;

/// Announce a data product from its ODCS file.
///
/// The file is checked against the ODCS v3.1 schema and its sources are opened.
/// Only its public projection is signed and announced: no host, path or SQL.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity publish products/weather.odcs.yaml")]
pub(super) struct Publish {
    /// The ODCS v3.1 contract file.
    file: PathBuf,
}

impl Publish {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let path = self.file.canonicalize().map_err(|e| {
            Problem::failed(format!("{}: {e}", self.file.display()))
                .next("name an existing .odcs.yaml file")
        })?;
        let path = path
            .into_os_string()
            .into_string()
            .map_err(|_| Problem::usage("the path is not UTF-8"))?;
        let product: api::Product = Client::new(home.admin_socket())
            .post("/v1/products", &api::Publish { path })
            .await?;
        output.answer(&product, |p| {
            let tables: Vec<String> = p
                .tables
                .iter()
                .map(|t| format!("{} ({} columns)", t.name, t.columns.len()))
                .collect();
            format!(
                "announced {} {}: {}\ndescriptor {}\n",
                p.product,
                p.version,
                tables.join(", "),
                p.descriptor
            )
        });
        Ok(())
    }
}

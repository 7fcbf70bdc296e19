//! `comity product publish`, and `comity publish`, which is the same.

use std::path::PathBuf;

use crate::admin::Client;
use crate::admin::api;
use crate::cli::output::{Output, Problem, printable};
use crate::home::Home;

/// Announce a data product from its ODCS file.
///
/// The file is checked against the ODCS v3.1 schema and its sources are opened.
/// Only its public projection is signed and announced: no host, path or SQL.
/// A version that is too low for what changed is refused; `comity product diff`
/// says why.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity product publish products/weather.odcs.yaml")]
pub(in crate::cli) struct Publish {
    /// The ODCS v3.1 contract file.
    file: PathBuf,
}

impl Publish {
    pub(in crate::cli) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let path = self.file.canonicalize().map_err(|e| {
            Problem::failed(format!("{}: {e}", self.file.display()))
                .next("name an existing .odcs.yaml file")
        })?;
        let path = path
            .into_os_string()
            .into_string()
            .map_err(|_| Problem::usage("the path is not UTF-8"))?;
        let published: api::Published = Client::new(home.admin_socket())
            .post("/v1/products", &api::Publish { path })
            .await?;
        output.answer(&published, |published| {
            let p = &published.product;
            let tables: Vec<String> = p
                .tables
                .iter()
                .map(|t| format!("{} ({} columns)", t.name, t.columns.len()))
                .collect();
            let mut text = format!(
                "announced {} {}: {}\ndescriptor {}\n",
                p.product,
                p.version,
                tables.join(", "),
                p.descriptor
            );
            if !published.second_looks.is_empty() {
                text.push_str("\nmore may leave the organization than before; let a second person look at it:\n");
            }
            for look in &published.second_looks {
                text.push_str(&format!("  {}\n", printable(look)));
            }
            text
        });
        Ok(())
    }
}

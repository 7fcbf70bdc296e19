//! `comity agreements`.

use super::output::{Output, Problem, table};
use super::request::permits;
use crate::admin::Client;
use crate::admin::api;
use crate::home::Home;

/// List agreements, given and received, or show what one permits.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity agreements\n  comity agreements 1c9d04ab\n  comity agreements --json"
)]
pub(super) struct Agreements {
    /// Show what this one permits: its id, or any beginning of its hex digits.
    id: Option<String>,
}

impl Agreements {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let mut list: Vec<api::Agreement> = Client::new(home.admin_socket())
            .get("/v1/agreements")
            .await?;
        if let Some(id) = &self.id {
            let id = beginning(id)?;
            list.retain(|a| a.id.to_string().replace("sha256:", "").starts_with(&id));
            if list.is_empty() {
                return Err(Problem::usage(format!("no agreement begins with {id}"))
                    .next("copy the id from 'comity agreements'"));
            }
        }
        output.answer(&list, |list| {
            if self.id.is_some() {
                let told = list.iter().map(|a| {
                    let head = [a.id.short(), format!("{}/{}", a.partner, a.product)];
                    format!("{}  {}\n{}", head.join("  "), a.state, permits(&a.terms))
                });
                return told.collect();
            }
            if list.is_empty() {
                return "no agreements yet; ask a partner with 'comity request'\n".to_owned();
            }
            let rows: Vec<Vec<String>> = list.iter().map(row).collect();
            table(
                &[
                    "ID", "ROLE", "PARTNER", "PRODUCT", "STATE", "COLUMNS", "EXPIRES",
                ],
                &rows,
            )
        });
        Ok(())
    }
}

fn row(a: &api::Agreement) -> Vec<String> {
    let columns: usize = a.terms.tables.values().map(|t| t.columns.len()).sum();
    vec![
        a.id.short(),
        a.role.clone(),
        a.partner.clone(),
        a.product.clone(),
        a.state.clone(),
        columns.to_string(),
        a.terms.expires.to_string(),
    ]
}

/// The hex digits that an agreement's id begins with.
pub(super) fn beginning(text: &str) -> Result<String, Problem> {
    let id = text
        .strip_prefix("sha256:")
        .unwrap_or(text)
        .to_ascii_lowercase();
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Problem::usage(format!("'{text}' is not an agreement's id"))
            .next("copy the id from 'comity agreements'"));
    }
    Ok(id)
}

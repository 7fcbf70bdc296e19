//! `comity grant show`.

use std::path::PathBuf;

use comity_identity::grant::Grant;
use comity_identity::{LEEWAY, OrgId};
use serde::Serialize;

use super::super::output::{Output, Problem, printable};
use super::file;
use crate::clock;

/// Show what a grant permits, and until when. Nothing runs and nobody is asked.
///
/// Offline it is checked that each link is signed by the holder before it and
/// permits no more. Whether the first one is its organization's, and whether
/// anything was taken back, only the provider's node can tell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity grant show job.grant\n  comity grant show job.grant --json"
)]
pub(super) struct Show {
    /// The grant.
    file: PathBuf,
}

#[derive(Debug, Serialize)]
struct Shown {
    /// `now`, `not-yet` or `ended`.
    counts: &'static str,
    provider: OrgId,
    product: String,
    links: Vec<Grant>,
}

impl Show {
    pub(super) fn run(self, output: &Output) -> Result<(), Problem> {
        let (file, chain) = file::read(&self.file)?;
        let links = chain
            .check_offline()
            .map_err(|e| Problem::failed(e.to_string()))?;
        let now = clock::now();
        let begun = links.iter().all(|l| l.nbf <= now.saturating_add(LEEWAY));
        let ended = links.iter().any(|l| now >= l.exp);
        let shown = Shown {
            counts: match (begun, ended) {
                (_, true) => "ended",
                (false, false) => "not-yet",
                (true, false) => "now",
            },
            provider: file.provider,
            product: file.product,
            links,
        };
        output.answer(&shown, text);
        Ok(())
    }
}

fn text(shown: &Shown) -> String {
    let Some(last) = shown.links.last() else {
        return String::new();
    };
    let list = |names: &mut dyn Iterator<Item = &String>| {
        names.map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    let mut lines = vec![
        format!("product    {}", shown.product),
        format!("provider   {}", shown.provider),
        format!("consumer   {}", last.iss),
        format!("agreement  {}", last.agr),
        format!("purposes   {}", list(&mut last.purpose.iter())),
    ];
    if !last.roles.is_empty() {
        lines.push(format!("roles      {}", list(&mut last.roles.iter())));
    }
    if !last.act.is_empty() {
        lines.push(format!("through    {}", list(&mut last.act.iter())));
    }
    lines.push(match &last.tables {
        Some(tables) => format!("tables     {}", list(&mut tables.iter())),
        None => "tables     all of the agreement".to_owned(),
    });
    for (table, columns) in last.cols.iter().flatten() {
        lines.push(format!("columns    {table}: {}", list(&mut columns.iter())));
    }
    for filter in shown.links.iter().flat_map(|l| &l.filter) {
        lines.push(format!("where      {filter}"));
    }
    lines.push(match last.max_rows {
        Some(rows) => format!("rows       at most {rows} in its life"),
        None => "rows       as the agreement says".to_owned(),
    });
    lines.push(match last.cert {
        Some(_) => "direct     yes, with the holder's certificate".to_owned(),
        None => "direct     no".to_owned(),
    });
    lines.push(format!("links      {} of 4", shown.links.len()));
    lines.push(format!("until      {} ({})", last.exp, shown.counts));
    lines.push(
        "checked    each link follows and narrows the one before; the issuer's signature and revocations are the provider's to check"
            .to_owned(),
    );
    let lines = lines.iter().map(|line| format!("{}\n", printable(line)));
    lines.collect()
}

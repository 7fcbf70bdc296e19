//! `comity grant narrow`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use comity_identity::grant::GrantError;
use data_encoding::HEXLOWER;

use super::super::output::{Output, Problem};
use super::super::request::columns;
use super::file;
use crate::clock;
use crate::keys::HolderKey;

/// Hand a grant on, with less in it. Nothing runs and nobody is asked.
///
/// What is not named stays as it is; nothing can be added. The rows that the
/// next holder reads are taken from this grant's budget, too.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity grant narrow job.grant --key job.key --to worker.pub --columns weather=origin --rows 1000 -o worker.grant"
)]
pub(super) struct Narrow {
    /// The grant.
    file: PathBuf,
    /// Its holder's key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The next holder: a file that 'comity grant key' printed, or a key.
    #[arg(long, value_name = "FILE")]
    to: String,
    /// The only purpose. May be given several times.
    #[arg(long, value_name = "PURPOSE")]
    purpose: Vec<String>,
    /// The only tables, beside those of --columns.
    #[arg(long, value_delimiter = ',', value_name = "TABLES")]
    tables: Vec<String>,
    /// TABLE=COLUMN,COLUMN…; the only columns of that table. May be given several times.
    #[arg(long, value_name = "TABLE=COLUMNS", value_parser = columns)]
    columns: Vec<(String, BTreeSet<String>)>,
    /// A filter in addition: {"TABLE": [PREDICATE, …]}, or @FILE.
    #[arg(long = "where", value_name = "JSON")]
    filter: Option<String>,
    /// How many rows may be delivered in its whole life.
    #[arg(long, value_name = "N")]
    rows: Option<u64>,
    /// For how long from now; the grant's own end comes first.
    #[arg(long, value_name = "M")]
    minutes: Option<u64>,
    /// The only roles.
    #[arg(long, value_delimiter = ',', value_name = "ROLES")]
    roles: Vec<String>,
    /// The job or service that acts from now on, after those before it.
    #[arg(long, value_name = "NAME")]
    actor: Vec<String>,
    /// Where to write the grant; the standard output when absent.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Narrow {
    pub(super) fn run(self, output: &Output) -> Result<(), Problem> {
        let failed = |e: &dyn std::fmt::Display| Problem::failed(e.to_string());
        let now = clock::now();
        let (mut file, chain) = file::read(&self.file)?;
        let key = HolderKey::open(&self.key, now).map_err(|e| failed(&e))?;
        let next = file::holder(&self.to)?;
        let last = chain.danger_unverified().map_err(|e| failed(&e))?.pop();
        let mut grant = last.ok_or_else(|| failed(&GrantError::Length(0)))?;
        if grant.cnf != key.name().key {
            return Err(failed(&"the key is not the one that holds the grant"));
        }
        grant.cnf = next.key;
        grant.cert = next.certificate;
        if !self.purpose.is_empty() {
            grant.purpose = self.purpose.into_iter().collect();
        }
        if !self.roles.is_empty() {
            grant.roles = self.roles.into_iter().collect();
        }
        let tables = file::open_tables(&self.tables, &self.columns);
        if !tables.is_empty() {
            grant.tables = Some(tables);
        }
        if !self.columns.is_empty() {
            // What the grant restricts stays restricted, named here or not.
            let mut columns: BTreeMap<_, _> = grant.cols.unwrap_or_default();
            columns.extend(self.columns);
            grant.cols = Some(columns);
        }
        // The filters of the links before count as well and are not repeated.
        let filter = self.filter.as_deref().map(file::filter).transpose()?;
        let filter = filter.map(serde_json::to_value).transpose();
        grant.filter = filter.map_err(|e| failed(&e))?.into_iter().collect();
        grant.max_rows = self.rows.or(grant.max_rows);
        if let Some(minutes) = self.minutes {
            let end = now.saturating_add(Duration::from_secs(minutes.saturating_mul(60)));
            grant.exp = grant.exp.min(end);
        }
        grant.act.extend(self.actor);
        let mut jti = [0; 16];
        getrandom::fill(&mut jti).map_err(|e| failed(&e))?;
        grant.jti = HEXLOWER.encode(&jti);
        let narrowed = chain.narrow(grant, key.signing()).map_err(|e| failed(&e))?;
        file.links = narrowed.links().to_vec();
        file::answer(&file, self.output.as_deref(), output)
    }
}

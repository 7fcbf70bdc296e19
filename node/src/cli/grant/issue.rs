//! `comity grant issue` and `comity grant renew`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::super::agreements::beginning;
use super::super::output::{Output, Problem};
use super::super::request::columns;
use super::file;
use crate::admin::Client;
use crate::admin::api::{GrantFile, IssueGrant};
use crate::home::Home;

/// Issue a grant to a key. The running node's policies are asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    comity grant issue --agreement 1c9d04ab --to job.pub --for analyst -o job.grant\n  \
    comity grant issue --agreement 1c9d04ab --to job.pub --for analyst --actor job:train-42 \\\n    \
    --columns weather=origin,temp --where '{\"weather\":[{\"compare\":{\"column\":\"origin\",\"op\":\"eq\",\"value\":{\"text\":\"EWR\"}}}]}' --rows 100000 -o job.grant")]
pub(super) struct Issue {
    /// The agreement, or any unique beginning of its hex digits.
    #[arg(long, value_name = "ID")]
    agreement: String,
    /// The holder: a file that 'comity grant key' printed, or a key.
    #[arg(long, value_name = "FILE")]
    to: String,
    /// The member who answers for it.
    #[arg(long = "for", value_name = "NAME")]
    member: String,
    /// The only purpose, of the agreement's. May be given several times.
    #[arg(long, value_name = "PURPOSE")]
    purpose: Vec<String>,
    /// The only tables, beside those of --columns; all of the agreement when neither is given.
    #[arg(long, value_delimiter = ',', value_name = "TABLES")]
    tables: Vec<String>,
    /// TABLE=COLUMN,COLUMN…; the only columns of that table. May be given several times.
    #[arg(long, value_name = "TABLE=COLUMNS", value_parser = columns)]
    columns: Vec<(String, BTreeSet<String>)>,
    /// The rows that are left: {"TABLE": [PREDICATE, …]}, or @FILE.
    #[arg(long = "where", value_name = "JSON")]
    filter: Option<String>,
    /// How many rows may be delivered in its whole life, all queries together.
    #[arg(long, value_name = "N")]
    rows: Option<u64>,
    /// For how long.
    #[arg(long, value_name = "M", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=15))]
    minutes: u64,
    /// Roles, of those that the federation names.
    #[arg(long, value_delimiter = ',', value_name = "ROLES")]
    roles: Vec<String>,
    /// The job or service that acts, such as job:train-42; outermost last.
    #[arg(long, value_name = "NAME")]
    actor: Vec<String>,
    /// Where to write the grant; the standard output when absent.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Issue {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let holder = file::holder(&self.to)?;
        let filter = self.filter.as_deref().map(file::filter).transpose()?;
        let ask = IssueGrant {
            agreement: beginning(&self.agreement)?,
            member: self.member,
            holder: holder.key,
            certificate: holder.certificate,
            purposes: self.purpose.into_iter().collect(),
            tables: self.tables.into_iter().collect(),
            columns: self.columns.into_iter().collect(),
            filter: filter.unwrap_or_default(),
            max_rows: self.rows,
            minutes: self.minutes,
            roles: self.roles.into_iter().collect(),
            actors: self.actor,
        };
        let client = Client::new(home.admin_socket());
        let issued: GrantFile = client.post("/v1/grants", &ask).await?;
        file::answer(&issued, self.output.as_deref(), output)
    }
}

/// Ask the running node for the same grant again, for as long again.
///
/// A grant lives for 15 minutes at most, so that what is taken back is gone; a
/// job that runs for hours renews it while it lives. Agreement, member and
/// policies are judged anew. Its row budget begins anew, too. What was narrowed
/// from it is narrowed again by its holder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity grant renew job.grant")]
pub(super) struct Renew {
    /// The grant, as it was issued. The new one takes its place.
    file: PathBuf,
}

impl Renew {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let (_, chain) = file::read(&self.file)?;
        let links = chain
            .danger_unverified()
            .map_err(|e| Problem::failed(e.to_string()))?;
        let [grant] = links.as_slice() else {
            return Err(Problem::failed(
                "a grant that was narrowed is renewed where it was issued",
            )
            .next("renew the grant that it was narrowed from, and narrow that again"));
        };
        // Ours are hexadecimal; anything else would be another path.
        if !grant.jti.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Problem::failed("this node issued no such grant"));
        }
        let path = format!("/v1/grants/{}/renew", grant.jti);
        let client = Client::new(home.admin_socket());
        let issued: GrantFile = client.post(&path, &serde_json::json!({})).await?;
        file::answer(&issued, Some(&self.file), output)
    }
}

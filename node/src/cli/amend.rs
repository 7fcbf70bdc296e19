//! `comity amend`, `comity renew` and `comity end`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::agreements::beginning;
use super::output::{Output, Problem};
use super::request::{columns, filters, stands};
use crate::admin::Client;
use crate::admin::api;
use crate::home::Home;

/// Propose other terms for an agreement, given or received.
///
/// The other side decides as over any request. When both have signed, the new
/// agreement is in force and the old one ends in the same moment.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    comity agreements\n  comity amend 1c9d04ab --columns planes=tailnum,year,seats --note 'seats, please'")]
pub(super) struct Amend {
    /// The agreement, or any unique beginning of its hex digits.
    id: String,
    /// TABLE=COLUMN,COLUMN…: the only columns. May be given several times.
    #[arg(long, value_name = "TABLE=COLUMNS", value_parser = columns)]
    columns: Vec<(String, BTreeSet<String>)>,
    /// A JSON file with row conditions to add: {"TABLE": [PREDICATE, …]} (spec/4-negotiation.md).
    #[arg(long, value_name = "FILE")]
    filter: Option<PathBuf>,
    /// The only purpose. May be given several times.
    #[arg(long, value_name = "PURPOSE")]
    purpose: Vec<String>,
    /// For how many days from now.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: Option<u64>,
    /// A sentence for the other side.
    #[arg(long, default_value = "")]
    note: String,
    /// For how many days it can be accepted; 14, unless configured otherwise.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=90))]
    open_days: Option<u64>,
}

impl Amend {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let body = api::Amend {
            columns: self.columns.into_iter().collect(),
            filters: filters(self.filter.as_deref())?,
            purposes: self.purpose.into_iter().collect(),
            days: self.days,
            note: self.note,
            open_days: self.open_days,
        };
        propose(home, output, &self.id, "amend", &body).await
    }
}

/// Propose that an agreement goes on, on the same terms.
///
/// Works for 30 days after its end, too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity renew 1c9d04ab\n  comity renew 1c9d04ab --days 365")]
pub(super) struct Renew {
    /// The agreement, or any unique beginning of its hex digits.
    id: String,
    /// For how many days from now.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: u64,
    /// A sentence for the other side.
    #[arg(long, default_value = "")]
    note: String,
}

impl Renew {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let body = api::Amend {
            days: Some(self.days),
            note: self.note,
            ..api::Amend::default()
        };
        propose(home, output, &self.id, "amend", &body).await
    }
}

/// Propose that an agreement ends, or confirm that the other side proposed it.
///
/// Both sign the end, unlike a revocation, which either side declares alone.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity end 1c9d04ab --reason 'the project is over'\n  comity end 1c9d04ab --hours 168"
)]
pub(super) struct End {
    /// The agreement, or any unique beginning of its hex digits.
    id: String,
    /// In how many hours it ends; the other side has that long to confirm.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=8760))]
    hours: u64,
    /// A sentence for the other side.
    #[arg(long, default_value = "")]
    reason: String,
}

impl End {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let body = api::End {
            hours: self.hours,
            reason: self.reason,
        };
        propose(home, output, &self.id, "end", &body).await
    }
}

async fn propose<B: serde::Serialize + Sync>(
    home: &Home,
    output: &Output,
    id: &str,
    verb: &str,
    body: &B,
) -> Result<(), Problem> {
    let path = format!("/v1/agreements/{}/{verb}", beginning(id)?);
    let client = Client::new(home.admin_socket());
    let negotiation: api::Negotiation = client.post(&path, body).await?;
    output.answer(&negotiation, stands);
    Ok(())
}

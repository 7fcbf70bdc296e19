//! `comity approve`, `comity counter` and `comity decline`.

use std::path::PathBuf;

use super::caller::Caller;
use super::output::{Output, Problem};
use super::request::{columns, filters, stands};
use crate::admin::Client;
use crate::admin::api;
use crate::home::Home;
use std::collections::BTreeSet;

/// Agree to what the other side proposes.
///
/// As provider this signs an agreement on exactly the terms requested, which
/// `comity requests` shows; what goes beyond the product's offer is agreed to
/// only with `--beyond-offer`. As consumer it accepts the provider's counter-offer.
/// Where the owner's configuration demands two persons (`[approval]`), the first
/// approval is noted and the second, by somebody else, signs: a member with
/// --token-file, if the operator was the first.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity requests 3f9a21c0\n  comity approve 3f9a21c0 --read 8c1d42aa\n  comity approve 3f9a21c0 --token-file ~/cleo.token"
)]
pub(super) struct Approve {
    /// The negotiation, or any unique beginning of its id.
    id: String,
    /// Agree also to what the product does not offer.
    #[arg(long)]
    beyond_offer: bool,
    /// What was read: the digits behind 'terms' in 'comity requests ID'. If the
    /// other side proposed something else since, nothing is agreed to.
    #[arg(long, value_name = "DIGITS")]
    read: Option<String>,
    #[command(flatten)]
    caller: Caller,
}

impl Approve {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let body = api::Approve {
            beyond_offer: self.beyond_offer,
            read: self.read,
        };
        let client = self.caller.client(home)?;
        decide(&client, output, &self.id, "approve", &body).await
    }
}

/// Offer other terms.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    comity counter 3f9a21c0 --columns planes=tailnum,year,manufacturer --days 30 \\\n    --note 'engine data needs a separate request'")]
pub(super) struct Counter {
    /// The negotiation, or any unique beginning of its id.
    id: String,
    /// TABLE=COLUMN,COLUMN… to offer instead. May be given several times.
    #[arg(long, value_name = "TABLE=COLUMNS", value_parser = columns)]
    columns: Vec<(String, BTreeSet<String>)>,
    /// A JSON file with row conditions to add: {"TABLE": [PREDICATE, …]} (spec/4-negotiation.md).
    #[arg(long, value_name = "FILE")]
    filter: Option<PathBuf>,
    /// For how many days.
    #[arg(long)]
    days: Option<u64>,
    /// A sentence for the other side.
    #[arg(long, default_value = "")]
    note: String,
    /// For how many days the offer can be accepted; 14, unless configured otherwise.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=90))]
    open_days: Option<u64>,
}

impl Counter {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let body = api::Counter {
            columns: self.columns.into_iter().collect(),
            filters: filters(self.filter.as_deref())?,
            days: self.days,
            open_days: self.open_days,
            note: self.note,
        };
        let client = Client::new(home.admin_socket());
        decide(&client, output, &self.id, "counter", &body).await
    }
}

/// Refuse, and end the negotiation.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity decline 3f9a21c0 --note 'please ask for fewer columns'")]
pub(super) struct Decline {
    /// The negotiation, or any unique beginning of its id.
    id: String,
    /// A sentence for the other side.
    #[arg(long, default_value = "")]
    note: String,
}

impl Decline {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let client = Client::new(home.admin_socket());
        let body = api::Decline { note: self.note };
        decide(&client, output, &self.id, "decline", &body).await
    }
}

async fn decide<B: serde::Serialize + Sync>(
    client: &Client,
    output: &Output,
    id: &str,
    verb: &str,
    body: &B,
) -> Result<(), Problem> {
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Problem::usage(format!("'{id}' is not a negotiation's id"))
            .next("copy the id from 'comity requests'"));
    }
    let path = format!("/v1/requests/{}/{verb}", id.to_ascii_lowercase());
    let negotiation: api::Negotiation = client.post(&path, body).await?;
    output.answer(&negotiation, stands);
    Ok(())
}

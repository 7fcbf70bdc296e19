//! `comity receipts`.

use super::agreements::beginning;
use super::caller::Caller;
use super::output::{Output, Problem, table};
use crate::admin::api;
use crate::home::Home;

/// Show how partners acknowledge what they received, or settle a dispute.
///
/// A partner that disputes a receipt, or leaves too many unanswered, is paused:
/// its queries are refused with 'receipts-due'.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity receipts\n  comity receipts accept 1c9d04ab 17")]
pub(super) struct Receipts {
    #[command(subcommand)]
    verb: Option<Verb>,
}

// No doc comments here: they would hide those of the commands themselves.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    Accept(Accept),
}

/// Accept what the partner disputes of one receipt; the agreement goes on.
///
/// What the partner counted is kept beside what this node stated. Find out first
/// which is right: 'comity audit show' has both.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity receipts\n  comity receipts accept 1c9d04ab 17")]
struct Accept {
    /// The agreement, or any unique beginning of its hex digits.
    agreement: String,
    /// The receipt's number.
    receipt: u64,
    #[command(flatten)]
    caller: Caller,
}

impl Receipts {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let list: Vec<api::Receipts> = match self.verb {
            None => {
                let client = crate::admin::Client::new(home.admin_socket());
                client.get("/v1/receipts").await?
            }
            Some(Verb::Accept(c)) => {
                let ask = api::AcceptDispute {
                    agreement: beginning(&c.agreement)?,
                    receipt: c.receipt,
                };
                let client = c.caller.client(home)?;
                vec![client.post("/v1/receipts/accept", &ask).await?]
            }
        };
        output.answer(&list, |list| {
            if list.is_empty() {
                return "no agreements given, so no receipts\n".to_owned();
            }
            let rows: Vec<Vec<String>> = list.iter().map(row).collect();
            let heads = [
                "AGREEMENT",
                "PARTNER",
                "PRODUCT",
                "MADE",
                "UNANSWERED",
                "DISPUTED",
                "STATE",
            ];
            table(&heads, &rows)
        });
        Ok(())
    }
}

fn row(of: &api::Receipts) -> Vec<String> {
    let disputes: Vec<String> = of.disputes.iter().map(u64::to_string).collect();
    vec![
        of.agreement.short(),
        of.partner.clone(),
        of.product.clone(),
        of.made.to_string(),
        of.unanswered.to_string(),
        match disputes.is_empty() {
            true => "-".to_owned(),
            false => disputes.join(" "),
        },
        if of.paused { "paused" } else { "open" }.to_owned(),
    ]
}

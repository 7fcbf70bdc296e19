//! `comity product measure`.

use comity_protocol::address::Address;

use crate::admin::{Client, api};
use crate::cli::measured;
use crate::cli::output::{Output, Problem, printable};
use crate::home::Home;

/// Measure what a product promises now, and announce the result, signed.
///
/// The node also does it by itself, once a product is published and then every
/// hour ([measure] in comity.toml). Keys, required columns, freshness and the
/// contract's quality rules are measured: ok, failed, or error, which means
/// that nobody can say. Partners see verdicts and counts, and of values
/// the first and last moment of offered columns that are no more than internal.
/// Why there is no verdict is told here alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity product measure orders")]
pub(super) struct Measure {
    /// NAME, which is major 1, or NAME@MAJOR.
    product: Address,
}

impl Measure {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let ask = api::Measure {
            product: self.product,
        };
        let just: api::JustMeasured = Client::new(home.admin_socket())
            .post("/v1/measurements", &ask)
            .await?;
        output.answer(&just, |just| {
            let shown = just.product.measured.as_ref();
            let mut text = shown.map(measured::text).unwrap_or_default();
            for (promise, reason) in &just.reasons {
                let (promise, reason) = (printable(promise), printable(reason));
                text.push_str(&format!("\nno verdict about {promise}: {reason}"));
            }
            text
        });
        Ok(())
    }
}

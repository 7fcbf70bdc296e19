//! `comity policy show`.

use crate::admin::{Client, api};
use crate::cli::output::{Output, Problem, printable};
use crate::home::Home;

/// Show the policies that the running node decides by.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity policy show\n  comity policy show --json | jq .refused")]
pub(super) struct Show {}

impl Show {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let client = Client::new(home.admin_socket());
        let status: api::PolicyStatus = client.get("/v1/policy").await?;
        output.answer(&status, text);
        Ok(())
    }
}

fn text(status: &api::PolicyStatus) -> String {
    let mut text = format!(
        "in force  {}\nfiles     {}\nerrors    {}\n",
        status.digest,
        status.files.join(", "),
        status.errors
    );
    for problem in status.refused.iter().flatten() {
        text.push_str(&format!("refused   {}\n", printable(problem)));
    }
    text
}

//! `comity invite` and `comity join`: how two organizations meet.

use super::output::{Output, Problem};
use crate::admin::Client;
use crate::admin::api;
use crate::home::Home;

/// Make an invitation for another organization.
///
/// The text that is printed works once and until it expires. Whoever has it
/// can join, so send it over a channel you trust.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity invite --as weather-service --hours 24")]
pub(super) struct Invite {
    /// What to call the guest here; its own name for itself when absent.
    #[arg(long = "as", value_name = "ALIAS")]
    alias: Option<String>,
    /// How many hours the invitation works.
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u64).range(1..=168))]
    hours: u64,
    /// A role that members may show the other organization, of either side: its
    /// policies and row filters can use it. May be given several times.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
}

impl Invite {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let ask = api::Invite {
            alias: self.alias,
            hours: self.hours,
            roles: self.roles,
        };
        let made: api::Invitation = Client::new(home.admin_socket())
            .post("/v1/invitations", &ask)
            .await?;
        output.answer(&made, |made| {
            format!(
                "{}\n\nWorks once, until {}. The other organization runs:\n  comity join CODE\n",
                made.code, made.expires
            )
        });
        Ok(())
    }
}

/// Join with the organization that sent an invitation.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity join comity1:eyJ… --as port-authority\n  comity join - < invitation.txt"
)]
pub(super) struct Join {
    /// The invitation's text, or '-' to read it from standard input.
    code: String,
    /// What to call the inviter here; its own name for itself when absent.
    #[arg(long = "as", value_name = "ALIAS")]
    alias: Option<String>,
}

/// More than the longest invitation; a larger input is not one.
const MAX_CODE_BYTES: u64 = 256 * 1024;

impl Join {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let code = if self.code == "-" {
            read_code()?
        } else {
            self.code
        };
        let ask = api::Join {
            code: code.trim().to_owned(),
            alias: self.alias,
        };
        let joined: api::Joined = Client::new(home.admin_socket())
            .post("/v1/join", &ask)
            .await?;
        output.answer(&joined, |j| {
            format!(
                "federated with {} ({})\nfederation {}\n\nSee what it offers: comity search\n",
                j.alias, j.org, j.federation
            )
        });
        Ok(())
    }
}

fn read_code() -> Result<String, Problem> {
    use std::io::Read as _;
    let mut code = String::new();
    std::io::stdin()
        .take(MAX_CODE_BYTES)
        .read_to_string(&mut code)
        .map_err(|e| Problem::failed(format!("standard input: {e}")))?;
    Ok(code)
}

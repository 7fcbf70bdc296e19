//! `comity member`.

use super::output::{Output, Problem};
use crate::admin::Client;
use crate::admin::api;
use crate::home::Home;

/// Give a member of the organization a token for the workbench.
///
/// The token is printed once and only its hash is kept. Giving a member a new
/// token ends the old one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity member add analyst\n  comity member remove analyst")]
pub(super) struct Member {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a token for a member.
    #[command(after_help = "Example:\n  comity member add analyst > analyst.token")]
    Add {
        /// The member's name.
        name: String,
    },
    /// List the members who have a token.
    #[command(after_help = "Example:\n  comity member list")]
    List,
    /// End a member's token.
    #[command(after_help = "Example:\n  comity member remove analyst")]
    Remove {
        /// The member's name.
        name: String,
    },
}

impl Member {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let client = Client::new(home.admin_socket());
        match self.verb {
            Verb::Add { name } => {
                let made: api::MemberToken =
                    client.post("/v1/members", &api::AddMember { name }).await?;
                output.answer(&made, |m| format!("{}\n", m.token));
            }
            Verb::List => {
                let names: Vec<String> = client.get("/v1/members").await?;
                output.answer(&names, |names| match names.as_slice() {
                    [] => "no member has a token; give one with 'comity member add NAME'\n".into(),
                    names => names.join("\n"),
                });
            }
            Verb::Remove { name } => {
                let body = api::AddMember { name };
                let _: serde_json::Value = client.post("/v1/members/remove", &body).await?;
                output.answer(&body, |m| format!("removed {}\n", m.name));
            }
        }
        Ok(())
    }
}

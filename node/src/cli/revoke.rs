//! `comity revoke`.

use super::agreements::beginning;
use super::output::{Output, Problem, table};
use crate::admin::Client;
use crate::admin::api::{self, LiveGrant, Revocable, TakeBack, TakenBack};
use crate::home::Home;

/// Take something back: running streams stop, the partners are told at once.
///
/// It counts here when the command returns. A partner that cannot be reached is
/// told when it is back; nothing is served to it meanwhile.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  comity revoke 1c9d04ab\n  comity revoke member analyst\n  comity revoke partner weather-service"
)]
pub(super) struct Revoke {
    #[command(subcommand)]
    what: Option<What>,
    /// An agreement, or any unique beginning of its hex digits.
    id: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Take an agreement back, given or received.
    #[command(after_help = "Example:\n  comity agreements\n  comity revoke agreement 1c9d04ab")]
    Agreement {
        /// The agreement, or any unique beginning of its hex digits.
        id: String,
    },
    /// Take a grant back, with all that was narrowed from it; without an id, list those that live.
    #[command(
        after_help = "Example:\n  comity revoke grant\n  comity revoke grant 5f0c8e1ab1d24d8f9a6b7c3e2f1a0b9d"
    )]
    Grant {
        /// The grant's id.
        jti: Option<String>,
    },
    /// End a member's token, and take its grants back at every partner.
    #[command(after_help = "Example:\n  comity revoke member analyst")]
    Member {
        /// The member's name.
        name: String,
    },
    /// Take another node of this organization back, with its key.
    #[command(after_help = "Example:\n  comity revoke node node-2")]
    Node {
        /// The node's name.
        name: String,
    },
    /// End everything with a partner: every agreement, and the federation.
    #[command(after_help = "Example:\n  comity revoke partner weather-service")]
    Partner {
        /// The partner's name here.
        name: String,
    },
}

impl Revoke {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let client = Client::new(home.admin_socket());
        let (what, id) = match (self.what, self.id) {
            (Some(What::Agreement { id }), _) | (None, Some(id)) => {
                return agreement(&client, &id, output).await;
            }
            (Some(What::Grant { jti: None }), _) => return grants(&client, output).await,
            (Some(What::Grant { jti: Some(id) }), _) => (Revocable::Grant, id),
            (Some(What::Member { name }), _) => (Revocable::Member, name),
            (Some(What::Node { name }), _) => (Revocable::Node, name),
            (Some(What::Partner { name }), _) => (Revocable::Partner, name),
            (None, None) => {
                return Err(
                    Problem::usage("what is to be taken back?").next("see 'comity revoke --help'")
                );
            }
        };
        let taken: TakenBack = client
            .post("/v1/revocations", &TakeBack { what, id })
            .await?;
        output.answer(&taken, |taken| {
            let mut lines = vec![format!("revoked {}", taken.id)];
            lines.extend(
                taken
                    .agreements
                    .iter()
                    .map(|a| format!("  agreement {}", a.short())),
            );
            let others = taken.grants.iter().filter(|jti| **jti != taken.id);
            lines.extend(others.map(|jti| format!("  grant {jti}")));
            lines.extend(
                taken
                    .document
                    .map(|v| format!("  organization document {v}")),
            );
            lines.join("\n")
        });
        Ok(())
    }
}

async fn agreement(client: &Client, id: &str, output: &Output) -> Result<(), Problem> {
    let id = beginning(id)?;
    let path = format!("/v1/agreements/{id}/revoke");
    let agreement: api::Agreement = client.post(&path, &serde_json::json!({})).await?;
    output.answer(&agreement, |a| {
        format!("revoked {} ({} {})\n", a.id.short(), a.partner, a.product)
    });
    Ok(())
}

async fn grants(client: &Client, output: &Output) -> Result<(), Problem> {
    let live: Vec<LiveGrant> = client.get("/v1/grants").await?;
    output.answer(&live, |live| {
        if live.is_empty() {
            return "no grant lives now\n".to_owned();
        }
        let row = |g: &LiveGrant| {
            vec![
                g.jti.clone(),
                g.member.clone(),
                g.partner.clone(),
                g.agreement.short(),
                g.expires.to_string(),
            ]
        };
        let rows: Vec<_> = live.iter().map(row).collect();
        table(&["GRANT", "MEMBER", "PARTNER", "AGREEMENT", "ENDS"], &rows)
    });
    Ok(())
}

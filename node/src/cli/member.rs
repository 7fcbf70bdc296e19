//! `comity member`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use comity_identity::Timestamp;

use super::output::{Output, Problem};
use crate::admin::{Client, api};
use crate::clock;
use crate::home::Home;
use crate::ledger::TokenScope;

/// Give members of the organization tokens for this node.
///
/// A token is printed once and only its hash is kept. A member may hold several,
/// each with its own scope, roles and end. Whoever the identity provider of
/// [oidc] in comity.toml vouches for needs none.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity member add analyst --roles planner --expires 90d\n  \
    comity member token analyst --scope observe\n  comity member remove analyst"
)]
pub(super) struct Member {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a member and its first token.
    #[command(after_help = "Example:\n  comity member add analyst --expires 90d > analyst.token")]
    Add(Wanted),
    /// Make one more token for a member; those before it go on.
    #[command(after_help = "Example:\n  comity member token analyst --scope observe --expires 12h")]
    Token(Wanted),
    /// List the members and what their tokens are good for.
    #[command(after_help = "Example:\n  comity member list")]
    List,
    /// End one token of a member.
    #[command(after_help = "Example:\n  comity member end-token analyst 5c1f0e9a77b3d420")]
    EndToken {
        /// The member's name.
        name: String,
        /// The token's id, as 'comity member list' shows it.
        token: String,
    },
    /// End all tokens of a member, and those that the identity provider issued to it until now.
    #[command(
        after_help = "Example:\n  comity member remove analyst\n  comity member remove oidc:8f3c"
    )]
    Remove {
        /// The member's name.
        name: String,
    },
    /// Say whose pseudonym it is, in a dispute with a partner; the journal notes that it was asked.
    #[command(
        after_help = "Example:\n  comity member resolve 0b6e4c1d2f3a59788796a5b4c3d2e1f0 --partner weather-service"
    )]
    Resolve {
        /// What the partner knows the member as.
        pseudonym: String,
        /// The partner; without it, every partner is tried.
        #[arg(long)]
        partner: Option<String>,
    },
}

/// What a token is to be good for.
#[derive(Debug, clap::Args)]
struct Wanted {
    /// The member's name.
    name: String,
    /// What it may be used for: `query` at the workbench, or over TCP the admin API's
    /// calls that only read (`observe`) or all of them (`administer`).
    #[arg(long, value_enum, default_value_t)]
    scope: TokenScope,
    /// The roles of its holder, which policies see; joined by commas.
    #[arg(long, value_delimiter = ',')]
    roles: Vec<String>,
    /// After how long it ends by itself: a number and s, m, h or d. Without it, never.
    #[arg(long, value_parser = lasting)]
    expires: Option<Duration>,
}

impl Member {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let client = Client::new(home.admin_socket());
        match self.verb {
            Verb::Add(wanted) => give(&client, "/v1/members", wanted, output).await?,
            Verb::Token(wanted) => give(&client, "/v1/members/tokens", wanted, output).await?,
            Verb::List => {
                let members: Vec<api::Member> = client.get("/v1/members").await?;
                output.answer(&members, |members| list(members));
            }
            Verb::EndToken { name, token } => {
                let body = api::EndToken { name, token };
                let _: serde_json::Value = client.post("/v1/members/tokens/end", &body).await?;
                output.answer(&body, |b| format!("ended {} of {}\n", b.token, b.name));
            }
            Verb::Remove { name } => {
                let body = api::RemoveMember { name };
                let _: serde_json::Value = client.post("/v1/members/remove", &body).await?;
                output.answer(&body, |m| format!("removed {}\n", m.name));
            }
            Verb::Resolve { pseudonym, partner } => {
                let body = api::ResolveMember { pseudonym, partner };
                let found: Vec<api::ResolvedMember> =
                    client.post("/v1/members/resolve", &body).await?;
                output.answer(&found, |found| resolved(found));
            }
        }
        Ok(())
    }
}

async fn give(client: &Client, path: &str, wanted: Wanted, output: &Output) -> Result<(), Problem> {
    let body = api::AddMember {
        name: wanted.name,
        scope: wanted.scope,
        roles: wanted.roles.into_iter().collect(),
        expires: wanted.expires.map(|d| clock::now().saturating_add(d)),
    };
    let made: api::MemberToken = client.post(path, &body).await?;
    output.answer(&made, |m| format!("{}\n", m.token));
    Ok(())
}

fn list(members: &[api::Member]) -> String {
    if members.is_empty() {
        return "no member has a token; give one with 'comity member add NAME'\n".into();
    }
    let mut out = String::new();
    for member in members {
        let _ = writeln!(out, "{}", member.name);
        for token in &member.tokens {
            let _ = writeln!(
                out,
                "  {}  {}{}  {}",
                token.id,
                scope(token.scope),
                roles(&token.roles),
                end(token)
            );
        }
    }
    out
}

fn scope(scope: TokenScope) -> &'static str {
    match scope {
        TokenScope::Query => "query",
        TokenScope::Observe => "observe",
        TokenScope::Administer => "administer",
    }
}

fn roles(roles: &BTreeSet<String>) -> String {
    match roles.is_empty() {
        true => String::new(),
        false => {
            let roles: Vec<_> = roles.iter().map(String::as_str).collect();
            format!(" as {}", roles.join(", "))
        }
    }
}

fn end(token: &api::Token) -> String {
    let at = |end: Timestamp| end.to_string();
    match token.expires {
        None => "does not expire".to_owned(),
        Some(end) if token.expired => format!("expired {}", at(end)),
        Some(end) => format!("until {}", at(end)),
    }
}

fn resolved(found: &[api::ResolvedMember]) -> String {
    if found.is_empty() {
        return "no member that the journal knows has this pseudonym\n".to_owned();
    }
    let line = |f: &api::ResolvedMember| format!("{} at {}\n", f.member, f.partner);
    found.iter().map(line).collect()
}

/// A time span: `45s`, `30m`, `12h`, `90d`.
fn lasting(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number and s, m, h or d, such as 90d".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(seconds) {
        None | Some(0) => Err(wrong()),
        Some(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_have_a_unit_and_an_end() {
        assert_eq!(lasting("45s"), Ok(Duration::from_secs(45)));
        assert_eq!(lasting("90d"), Ok(Duration::from_secs(90 * 86_400)));
        for wrong in [
            "",
            "d",
            "90",
            "0d",
            "-1d",
            "1w",
            "1.5h",
            "99999999999999999999d",
        ] {
            assert!(lasting(wrong).is_err(), "{wrong}");
        }
    }
}

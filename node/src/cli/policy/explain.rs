//! `comity policy explain`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;

use super::check;
use crate::access::policy::{
    Action, Asked, Circumstances, Explanation, PolicyEngine as _, Principal, Resource,
};
use crate::admin::{Client, ClientError, api};
use crate::cli::output::{Output, Problem, printable, table};
use crate::clock;
use crate::home::Home;

/// The most bytes of a request.
const MAX_BYTES: u64 = 256 * 1024;

/// Say what would be decided, by which policies and because of which facts.
///
/// The running node decides, with all that it knows of what is named. Without
/// it, or with --offline, the files in HOME/policies decide by the names alone.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity policy explain --action query --partner port-authority --product weather --purpose marketing\n  comity policy explain --action issueGrant --member ana --partner weather-service --product weather\n  comity policy explain --request request.json"
)]
pub(super) struct Explain {
    /// A request as policies see it: the form of "request" in a policy test; '-'
    /// reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["action", "partner", "member", "product", "purpose"], required_unless_present = "action")]
    request: Option<String>,
    /// What is to happen.
    #[arg(long, value_enum)]
    action: Option<Action>,
    /// The partner that asks, or, with --member, whose product is read.
    #[arg(long)]
    partner: Option<String>,
    /// The member that asks.
    #[arg(long)]
    member: Option<String>,
    /// The product's address.
    #[arg(long)]
    product: Option<String>,
    /// The purpose stated.
    #[arg(long)]
    purpose: Option<String>,
    /// Ask the files, not the node.
    #[arg(long)]
    offline: bool,
}

impl Explain {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let offline = self.offline;
        let ask = self.ask()?;
        let client = Client::new(home.admin_socket());
        let explained = if offline {
            from_files(ask, home)?
        } else {
            match client.post("/v1/policy/explain", &ask).await {
                Err(ClientError::NotRunning { .. }) => from_files(ask, home)?,
                answered => answered?,
            }
        };
        output.answer(&explained, text);
        Ok(())
    }

    fn ask(self) -> Result<api::ExplainPolicy, Problem> {
        let Some(action) = self.action else {
            let text = read(self.request.as_deref().unwrap_or("-"))?;
            let asked = serde_json::from_str(&text)
                .map_err(|e| Problem::failed(format!("the request cannot be read: {e}")))?;
            return Ok(api::ExplainPolicy::Request(Box::new(asked)));
        };
        Ok(api::ExplainPolicy::Named(api::PolicyNames {
            action,
            partner: self.partner,
            member: self.member,
            product: self.product,
            purpose: self.purpose,
        }))
    }
}

fn from_files(ask: api::ExplainPolicy, home: &Home) -> Result<Explanation, Problem> {
    let asked = match ask {
        api::ExplainPolicy::Request(asked) => *asked,
        api::ExplainPolicy::Named(names) => by_names(names)?,
    };
    Ok(check::engine(home)?.explain(asked))
}

/// The request of which nothing but names is known.
fn by_names(names: api::PolicyNames) -> Result<Asked, Problem> {
    let own = names.member.is_none() || names.partner.is_none();
    let principal = match (names.action, names.member, &names.partner) {
        (Action::Administer | Action::Export, None, _) => Principal::administrator("owner"),
        (_, Some(member), _) => Principal::member(&member),
        (_, None, Some(alias)) => Principal::Partner {
            id: String::new(),
            alias: Some(alias.clone()),
            roles: BTreeSet::new(),
            assurance: BTreeSet::new(),
        },
        (_, None, None) => return Err(Problem::usage("the action needs --partner or --member")),
    };
    let resource = match (names.action, names.product) {
        (Action::Discover | Action::Administer | Action::Export, _) => Resource::Node,
        (_, Some(address)) => Resource::Product {
            address,
            org: String::new(),
            own,
            classifications: BTreeSet::new(),
            tags: BTreeSet::new(),
        },
        (_, None) => return Err(Problem::usage("the action needs --product")),
    };
    Ok(Asked {
        action: names.action,
        principal,
        resource,
        context: Circumstances {
            purposes: names.purpose.into_iter().collect(),
            ..Circumstances::at(clock::now())
        },
    })
}

fn read(path: &str) -> Result<String, Problem> {
    let failed = |e: std::io::Error| Problem::failed(format!("{path}: {e}"));
    let mut text = String::new();
    let source: Box<dyn Read> = match path {
        "-" => Box::new(std::io::stdin()),
        path => Box::new(File::open(path).map_err(failed)?),
    };
    source
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Problem::failed(format!(
            "{path} has more than {MAX_BYTES} bytes"
        )));
    }
    Ok(text)
}

fn text(explained: &Explanation) -> String {
    let decision = &explained.decision;
    let by = match decision.by.is_empty() {
        true => "no policy".to_owned(),
        false => decision.by.join(", "),
    };
    let mut text = format!("{} by {by}\n", decision.verdict.name());
    for error in &decision.errors {
        text.push_str(&format!("error: {}\n", printable(error)));
    }
    if !explained.facts.is_empty() {
        let rows: Vec<Vec<String>> = explained
            .facts
            .iter()
            .map(|f| {
                let value = f.value.clone().unwrap_or_else(|| "absent".to_owned());
                vec![f.policy.clone(), f.fact.clone(), value]
            })
            .collect();
        text.push('\n');
        text.push_str(&table(&["POLICY", "FACT", "VALUE"], &rows));
    }
    text.push_str(&format!("\npolicies {}\n", decision.policy));
    text
}

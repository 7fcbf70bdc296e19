//! `comity status`.

use std::time::Duration;

use tokio::time::Instant;

use super::output::{Output, Problem, table};
use super::search::ends;
use crate::admin::api;
use crate::admin::{Client, ClientError};
use crate::home::Home;

/// Show how the node is doing, and whom it knows.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity status\n  comity up 2>up.log & comity status --wait\n  comity status --json | jq .partners"
)]
pub(super) struct Status {
    /// Wait until the node answers, at most a minute; in a folder without an organization not at all.
    #[arg(long)]
    wait: bool,
}

/// The longest wait for a node that is starting.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The time between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Status {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        // Nobody can be waited for.
        if self.wait && !home.config().exists() {
            let message = format!("there is no organization in {}", home.path().display());
            return Err(Problem::failed(message)
                .next("found one with 'comity init', or name its home folder with --home"));
        }
        let client = Client::new(home.admin_socket());
        let start = Instant::now();
        let status = loop {
            match client.get::<api::Status>("/v1/status").await {
                Err(ClientError::NotRunning { .. }) if self.wait && start.elapsed() < MAX_WAIT => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                answered => break answered?,
            }
        };
        output.answer(&status, text);
        Ok(())
    }
}

fn text(s: &api::Status) -> String {
    let mut text = format!(
        "{} ({})\n\
         organization  {}\n\
         node          {}, comity {}\n\
         health        {}\n\
         network       {}\n\
         peers         {}\n\
         workbench     {}\n\
         document      valid until {}\n\
         certificate   valid until {}\n\
         journal       {} records, root {}\n\
         products      {}\n\
         agreements    {} in force\n\
         waiting       {}\n",
        super::output::printable(&s.name),
        s.alias,
        s.org,
        s.node,
        s.version,
        s.health,
        s.listening.network.first().map_or("-", String::as_str),
        s.listening.peers,
        s.listening.workbench,
        s.document_expires,
        s.certificate_expires,
        s.journal_records,
        s.journal_root.short(),
        if s.products.is_empty() {
            "none; announce one with 'comity publish FILE'".to_owned()
        } else {
            s.products.join(", ")
        },
        s.agreements,
        if s.waiting == 0 {
            "nothing".to_owned()
        } else {
            format!(
                "{} negotiations need a decision: 'comity requests'",
                s.waiting
            )
        },
    );
    for problem in s.policy.refused.iter().flatten() {
        let problem = super::output::printable(problem);
        text.push_str(&format!(
            "policies      refused, those before them decide: {problem}\n"
        ));
    }
    if s.policy.errors > 0 {
        text.push_str(&format!(
            "policies      {} requests denied because a policy could not be evaluated\n",
            s.policy.errors
        ));
    }
    if let Some(reason) = &s.index_rebuilt {
        text.push_str(&format!("index         rebuilt at start: {reason}\n"));
    }
    for ending in &s.ending {
        let (partner, product) = (&ending.partner, &ending.product);
        let when = match &ending.deprecation {
            Some(end) => format!("ends {}", ends(partner, end)),
            None => "is withdrawn".to_owned(),
        };
        text.push_str(&format!("ending        {partner}/{product} {when}\n"));
    }
    text.push('\n');
    if s.partners.is_empty() {
        text.push_str(
            "No partners yet. 'comity invite' makes an invitation, 'comity join CODE' uses one.\n",
        );
    } else {
        let rows: Vec<Vec<String>> = s
            .partners
            .iter()
            .map(|p| {
                vec![
                    p.alias.clone(),
                    p.name.clone(),
                    p.state.clone(),
                    if p.connected { "connected" } else { "away" }.to_owned(),
                    p.products.to_string(),
                    p.document.clone(),
                    p.org.short(),
                ]
            })
            .collect();
        text.push_str(&table(
            &[
                "PARTNER", "NAME", "STATE", "NODE", "PRODUCTS", "DOCUMENT", "ID",
            ],
            &rows,
        ));
    }
    text
}

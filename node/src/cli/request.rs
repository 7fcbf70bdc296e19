//! `comity request` and `comity requests`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use comity_protocol::terms::{Direction, Limit, RowFilter, Terms};

use super::output::{Output, Problem, printable, table};
use super::search::split;
use crate::admin::Client;
use crate::admin::api;
use crate::home::Home;

/// Ask a partner for access to a product.
///
/// The provider's rules may agree at once; otherwise a person there decides,
/// and `comity requests` shows how it stands.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    comity request weather-service/weather --purpose delay-analysis\n  \
    comity request aircraft-registry/planes --columns planes=tailnum,year --purpose delay-analysis --days 30")]
pub(super) struct Request {
    /// PARTNER/PRODUCT, as `comity search` prints it.
    product: String,
    /// Why the data will be used. May be given several times.
    #[arg(long, required = true, value_name = "PURPOSE")]
    purpose: Vec<String>,
    /// TABLE=COLUMN,COLUMN…; what the product offers when absent. May be given several times.
    #[arg(long, value_name = "TABLE=COLUMNS", value_parser = columns)]
    columns: Vec<(String, BTreeSet<String>)>,
    /// For how many days.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: u64,
    /// A sentence for the person who decides.
    #[arg(long, default_value = "")]
    reason: String,
    /// For how many days the request can be agreed to; 14, unless configured otherwise.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=90))]
    open_days: Option<u64>,
}

impl Request {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let (partner, product) = split(&self.product)?;
        let ask = api::Ask {
            partner: partner.to_owned(),
            product: product.to_string(),
            columns: self.columns.into_iter().collect::<BTreeMap<_, _>>(),
            purposes: self.purpose.into_iter().collect(),
            days: self.days,
            reason: self.reason,
            open_days: self.open_days,
        };
        let negotiation: api::Negotiation = Client::new(home.admin_socket())
            .post("/v1/requests", &ask)
            .await?;
        output.answer(&negotiation, stands);
        Ok(())
    }
}

/// `TABLE=A,B` for `--columns`.
pub(super) fn columns(text: &str) -> Result<(String, BTreeSet<String>), String> {
    let (table, columns) = text
        .split_once('=')
        .ok_or("expected TABLE=COLUMN,COLUMN…")?;
    let columns: BTreeSet<String> = columns
        .split(',')
        .map(str::trim)
        .filter(|c| !c.is_empty())
        .map(str::to_owned)
        .collect();
    if table.is_empty() || columns.is_empty() {
        return Err("expected TABLE=COLUMN,COLUMN…".to_owned());
    }
    Ok((table.to_owned(), columns))
}

/// The row conditions in the file of `--filter`.
pub(super) fn filters(path: Option<&Path>) -> Result<BTreeMap<String, RowFilter>, Problem> {
    let Some(path) = path else {
        return Ok(BTreeMap::new());
    };
    let failed = |e: &dyn std::fmt::Display| Problem::failed(format!("{}: {e}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| failed(&e))?;
    serde_json::from_str(&text).map_err(|e| failed(&e))
}

/// List negotiations and what they wait for.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity requests\n  comity requests 3f9a21c0\n  comity requests --all --json"
)]
pub(super) struct Requests {
    /// Only this one, whole: the negotiation, or any unique beginning of its id.
    id: Option<String>,
    /// Include those that have ended or expired.
    #[arg(long)]
    all: bool,
}

impl Requests {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let mut list: Vec<api::Negotiation> =
            Client::new(home.admin_socket()).get("/v1/requests").await?;
        if let Some(beginning) = &self.id {
            return one(&list, beginning, output);
        }
        if !self.all {
            list.retain(|n| !n.expired && n.state != "FINALIZED" && n.state != "TERMINATED");
        }
        output.answer(&list, |list| {
            if list.is_empty() {
                return "nothing is under negotiation ('--all' includes what has ended or expired)\n"
                    .to_owned();
            }
            let rows: Vec<Vec<String>> = list
                .iter()
                .map(|n| {
                    vec![
                        n.id.chars().take(8).collect(),
                        n.partner.clone(),
                        n.product.clone().unwrap_or_else(|| n.kind.clone()),
                        n.role.clone(),
                        stage(n).to_owned(),
                        waits_for(n).to_owned() + beyond(n),
                        n.note.clone(),
                    ]
                })
                .collect();
            let mut text = table(
                &[
                    "ID",
                    "PARTNER",
                    "PRODUCT",
                    "ROLE",
                    "STATE",
                    "WAITS FOR",
                    "NOTE",
                ],
                &rows,
            );
            for n in list.iter().filter(|n| n.waits_for_us) {
                text.push('\n');
                text.push_str(&stands(n));
            }
            text
        });
        Ok(())
    }
}

/// Shows one negotiation with its terms and every comparison, whoever decides next.
fn one(list: &[api::Negotiation], beginning: &str, output: &Output) -> Result<(), Problem> {
    let beginning = beginning.to_ascii_lowercase();
    let mut found = list.iter().filter(|n| n.id.starts_with(&beginning));
    let (Some(n), None) = (found.next(), found.next()) else {
        return Err(
            Problem::failed(format!("no single negotiation begins with '{beginning}'"))
                .next("see the ids with 'comity requests --all'"),
        );
    };
    output.answer(n, |n| {
        let mut text = stands(n);
        if let Some(terms) = n.terms.as_ref().filter(|_| !n.waits_for_us) {
            text.push_str(&permits(terms));
        }
        text
    });
    Ok(())
}

/// The state, in which an ended proposal is no state of the protocol's.
fn stage(n: &api::Negotiation) -> &str {
    match n.expired {
        true => "expired",
        false => &n.state,
    }
}

fn waits_for(n: &api::Negotiation) -> &'static str {
    match n.state.as_str() {
        _ if n.expired => "-",
        "FINALIZED" | "TERMINATED" => "-",
        _ if n.waits_for_us => "you",
        _ => "them",
    }
}

/// That it takes more than 'comity approve' says at first sight.
fn beyond(n: &api::Negotiation) -> &'static str {
    match n.beyond_offer.is_empty() {
        true => "",
        false => ", beyond your offer",
    }
}

/// What terms permit, line by line: nobody signs what they were not shown.
pub(super) fn permits(terms: &Terms) -> String {
    let mut lines = Vec::new();
    for (name, table) in &terms.tables {
        let columns = table.columns.iter().map(|c| match table.masks.get(c) {
            Some(mask) => format!("{c} (masked: {mask:?})"),
            None => c.clone(),
        });
        let columns: Vec<String> = columns.collect();
        lines.push(format!("{name}: columns {}", columns.join(", ")));
        for predicate in &table.filter.0 {
            lines.push(format!("{name}: only rows where {predicate}"));
        }
        if table.filter.0.is_empty() {
            lines.push(format!("{name}: every row"));
        }
        if let Some(protection) = &table.protection {
            lines.push(format!("{name}: {protection}"));
        }
    }
    let purposes: Vec<&str> = terms.purposes.iter().map(String::as_str).collect();
    lines.push(format!("for {}", purposes.join(", ")));
    if terms.limits.max_rows_per_query.is_none() {
        lines.push("any number of rows per query".to_owned());
    }
    for limit in Limit::all() {
        if let Some(number) = terms.limits.get(limit) {
            lines.push(format!("at most {number} {limit}"));
        }
    }
    if let Some(hours) = &terms.limits.hours {
        let hours: Vec<String> = hours.iter().map(|h| format!("{h:02}")).collect();
        lines.push(format!("only in the hours {} UTC", hours.join(", ")));
    }
    if let Some(days) = &terms.limits.weekdays {
        let days: Vec<String> = days.iter().map(ToString::to_string).collect();
        lines.push(format!("only on {} (UTC)", days.join(", ")));
    }
    lines.push(format!("from {} until {}", terms.not_before, terms.expires));
    lines
        .iter()
        .map(|line| format!("  {}\n", printable(line)))
        .collect()
}

/// Line by line how terms differ, and who gains by each: wider is good for the
/// consumer.
fn differs(compared: &api::Compared, role: &str) -> String {
    let ours = role == "consumer";
    let with = match (compared.with, ours) {
        (api::ComparedWith::Agreement, _) => "the agreement",
        (api::ComparedWith::Previous, _) => "the proposal before",
        (api::ComparedWith::Asked, true) => "what you asked for",
        (api::ComparedWith::Asked, false) => "what they asked for",
        (api::ComparedWith::Announced, true) => "what they announce",
        (api::ComparedWith::Announced, false) => "what you announce",
    };
    if compared.differences.is_empty() {
        return format!("  as {with}\n");
    }
    let mut text = format!("  against {with}:\n");
    let who = if ours { "us" } else { "them" };
    for difference in &compared.differences {
        let was = difference.was.as_ref();
        let was = was.map_or_else(String::new, |was| format!(" (was: {was})"));
        let way = match difference.direction {
            Direction::Wider => format!("wider for {who}"),
            Direction::Narrower => format!("narrower for {who}"),
            Direction::Neither => "neither wider nor narrower".to_owned(),
        };
        let line = format!("{}{was} [{way}]", difference.change);
        text.push_str(&format!("    {}\n", printable(&line)));
    }
    text
}

/// How a negotiation stands, and what can be done.
pub(super) fn stands(n: &api::Negotiation) -> String {
    let id: String = n.id.chars().take(8).collect();
    let product = n.product.as_deref().unwrap_or("federation");
    let what = match n.role.as_str() {
        // Ours: PARTNER/PRODUCT would be a product of theirs.
        "provider" if n.product.is_some() => format!("{product}, asked by {}", n.partner),
        _ => format!("{}/{product}", n.partner),
    };
    let mut text = format!("{id}  {what}  {}\n", stage(n));
    if n.expired {
        text.push_str(&format!("  could be accepted until {}\n", n.until));
    } else if n.waits_for_us {
        text.push_str(&format!("  can be accepted until {}\n", n.until));
    }
    if let Some(old) = &n.replaces {
        let short = old.short();
        text.push_str(&match n.ends {
            true => format!("  ends agreement {short} by consent\n"),
            false => format!("  in the place of agreement {short}\n"),
        });
    }
    for more in &n.beyond_offer {
        text.push_str(&format!("  beyond your offer: {}\n", printable(more)));
    }
    if !n.note.is_empty() {
        text.push_str(&format!("  note: {}\n", printable(&n.note)));
    }
    if let Some(terms) = n.terms.as_ref().filter(|_| n.waits_for_us) {
        let digits: String = n.read_as.chars().take(8).collect();
        text.push_str(&format!("  terms {digits}\n"));
        text.push_str(&permits(terms));
    }
    for compared in &n.compared {
        text.push_str(&differs(compared, &n.role));
    }
    for reason in &n.needs_two {
        text.push_str(&format!("  two persons approve: {}\n", printable(reason)));
    }
    for approval in &n.approvals {
        let by = printable(&approval.by);
        text.push_str(&format!("  approved by {by} at {}\n", approval.at));
    }
    if n.approvals.len() == 1 && !n.needs_two.is_empty() {
        text.push_str("  one more approval is needed, by somebody else\n");
    }
    if let Some(agreement) = &n.agreement {
        text.push_str(&format!("  agreement {agreement}\n"));
    }
    if n.waits_for_us {
        // Only the provider offers terms.
        let counter = match n.role.as_str() {
            "provider" if n.product.is_some() => format!(" | comity counter {id} …"),
            _ => String::new(),
        };
        let all_the_same = match n.beyond_offer.is_empty() {
            true => "",
            false => " --beyond-offer",
        };
        text.push_str(&format!(
            "  decide: comity approve {id}{all_the_same}{counter} | comity decline {id}\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use comity_identity::Timestamp;

    use super::*;

    fn request(role: &str, beyond: &[&str]) -> api::Negotiation {
        api::Negotiation {
            id: "3f9a21c0ffee".to_owned(),
            kind: "access".to_owned(),
            role: role.to_owned(),
            partner: "port-authority".to_owned(),
            product: Some("weather".to_owned()),
            replaces: None,
            ends: false,
            state: "REQUESTED".to_owned(),
            expired: false,
            until: Timestamp::from_secs(1),
            waits_for_us: role == "provider",
            read_as: "8c1d42aa".repeat(8),
            terms: None,
            changes: Vec::new(),
            compared: Vec::new(),
            needs_two: Vec::new(),
            approvals: Vec::new(),
            beyond_offer: beyond.iter().map(|s| (*s).to_owned()).collect(),
            note: String::new(),
            agreement: None,
            at: Timestamp::from_secs(0),
        }
    }

    #[test]
    fn the_command_that_decides_is_the_one_that_works() {
        let beyond = request("provider", &["+ weather: columns visib"]);
        let text = stands(&beyond);
        assert!(
            text.contains("comity approve 3f9a21c0 --beyond-offer |"),
            "{text}"
        );
        let (offer, decide) = (text.find("visib"), text.find("decide:"));
        assert!(offer.is_some() && offer < decide, "{text}");
        assert_eq!(
            waits_for(&beyond).to_owned() + self::beyond(&beyond),
            "you, beyond your offer"
        );
        let within = stands(&request("provider", &[]));
        assert!(within.contains("comity approve 3f9a21c0 |"), "{within}");
    }

    #[test]
    fn an_own_product_is_not_written_as_a_partners() {
        let own = stands(&request("provider", &[]));
        assert!(own.contains("weather, asked by port-authority"), "{own}");
        assert!(!own.contains("port-authority/weather"), "{own}");
        let theirs = stands(&request("consumer", &[]));
        assert!(theirs.contains("port-authority/weather"), "{theirs}");
    }
}

//! `comity search` and `comity show`.

use comity_protocol::address::Address;
use comity_protocol::product::Deprecation;

use super::measured;
use super::output::{Output, Problem, printable, table};
use crate::admin::Client;
use crate::admin::api;
use crate::home::Home;

/// Search the products known here, own and partners'.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  comity search\n  comity search weather")]
pub(super) struct Search {
    /// Words that must all occur in a product's name, description, tables or columns.
    words: Vec<String>,
}

impl Search {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let words = self.words.join(" ");
        let products: Vec<api::Product> = Client::new(home.admin_socket())
            .post("/v1/search", &words)
            .await?;
        output.answer(&products, |products| {
            if products.is_empty() {
                // Whoever has just joined asks at once.
                return match words.is_empty() {
                    true => "no product is known yet; the catalog of a partner that was just joined follows within seconds\n",
                    false => "no product matches\n",
                }
                .to_owned();
            }
            let rows: Vec<Vec<String>> = products
                .iter()
                .map(|p| {
                    vec![
                        format!("{}/{}", p.alias, p.product),
                        p.version.clone(),
                        if p.agreement.is_some() { "open" } else { "-" }.to_owned(),
                        p.description.clone(),
                    ]
                })
                .collect();
            table(&["PRODUCT", "VERSION", "ACCESS", "DESCRIPTION"], &rows)
        });
        Ok(())
    }
}

/// Show one product: tables, columns, what it offers; what it promises beside what was measured.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  comity show weather-service/weather\n  comity show weather-service/weather --history"
)]
pub(super) struct Show {
    /// PARTNER/PRODUCT[@MAJOR], as `comity search` prints it; PRODUCT[@MAJOR] is your own.
    product: String,
    /// Show every measurement that is kept instead, newest first.
    #[arg(long)]
    history: bool,
}

impl Show {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let client = Client::new(home.admin_socket());
        let named = match self.product.contains('/') {
            true => self.product,
            false => own(&client, &self.product).await?,
        };
        let (partner, product) = split(&named)?;
        let path = format!("/v1/products/{partner}/{product}");
        if self.history {
            let path = format!("{path}/measurements");
            let chain: Vec<api::Measurement> = client.get(&path).await?;
            output.answer(&chain, |chain| measured::history(chain));
            return Ok(());
        }
        let product: api::Product = client.get(&path).await?;
        let status: api::Status = client.get("/v1/status").await?;
        output.answer(&product, |product| text(product, product.org == status.org));
        Ok(())
    }
}

/// An own product's full name.
pub(super) async fn own(client: &Client, product: &str) -> Result<String, Problem> {
    let address: Address = product.parse().map_err(|_| not_named(product))?;
    let status: api::Status = client.get("/v1/status").await?;
    Ok(format!("{}/{address}", status.alias))
}

/// Splits `PARTNER/PRODUCT[@MAJOR]` and checks that both are names, so that neither
/// can smuggle a path into the request.
pub(super) fn split(text: &str) -> Result<(&str, Address), Problem> {
    let is_alias = |s: &str| {
        !s.is_empty()
            && s.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
    };
    let parts = text
        .split_once('/')
        .filter(|(partner, _)| is_alias(partner));
    match parts.and_then(|(partner, product)| Some((partner, product.parse().ok()?))) {
        Some(parts) => Ok(parts),
        None => Err(not_named(text)),
    }
}

fn not_named(text: &str) -> Problem {
    Problem::usage(format!(
        "'{text}' is not PARTNER/PRODUCT or PARTNER/PRODUCT@MAJOR"
    ))
    .next("copy the name from 'comity search'")
}

/// When a product of `partner` ends, and what to read instead.
pub(super) fn ends(partner: &str, end: &Deprecation) -> String {
    match &end.replacement {
        None => end.sunset.to_string(),
        Some(instead) => format!("{}; read {partner}/{instead} instead", end.sunset),
    }
}

fn text(p: &api::Product, own: bool) -> String {
    let mut text = format!(
        "{}/{} {}\n{}\n\norganization  {}\ndescriptor    {}\nvalid until   {}\naccess        {}\n",
        p.alias,
        p.product,
        p.version,
        printable(&p.description),
        p.org,
        p.descriptor,
        p.expires,
        match &p.agreement {
            _ if own => "yours; partners' is in: comity agreements".to_owned(),
            Some(id) => format!("agreement {}", id.short()),
            None => format!(
                "ask with: comity request {}/{} --purpose …",
                p.alias, p.product
            ),
        }
    );
    if let Some(end) = &p.deprecation {
        text.push_str(&format!("ends          {}\n", ends(&p.alias, end)));
    }
    if let Some(offer) = &p.offer {
        let purposes: Vec<&str> = offer.purposes.iter().map(String::as_str).collect();
        text.push_str(&format!("purposes      {}\n", purposes.join(", ")));
    }
    for t in &p.tables {
        text.push_str(&format!(
            "\n\"{}\".\"{}\".\"{}\"\n",
            p.alias, p.product, t.name
        ));
        let rows: Vec<Vec<String>> = t
            .columns
            .iter()
            .map(|c| {
                let offered = p.offer.as_ref().is_none_or(|o| {
                    o.tables
                        .get(&t.name)
                        .is_some_and(|t| t.columns.contains(&c.name))
                });
                vec![
                    c.name.clone(),
                    c.kind.clone(),
                    if offered { "offered" } else { "on request" }.to_owned(),
                    c.classification.clone().unwrap_or_default(),
                    c.description.clone().unwrap_or_default(),
                ]
            })
            .collect();
        text.push_str(&table(
            &["COLUMN", "TYPE", "OFFER", "CLASS", "MEANING"],
            &rows,
        ));
    }
    if let Some(measured) = &p.measured {
        text.push('\n');
        text.push_str(&measured::text(measured));
    }
    text
}

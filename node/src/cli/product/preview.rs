//! `comity product preview`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use comity_protocol::terms::TableTerms;
use serde_json::{Value, json};

use crate::admin::{Client, api};
use crate::catalog::preview::{Seen, preview};
use crate::catalog::types;
use crate::cli::output::{Output, Problem, printable, table};
use crate::cli::sql::Answer;
use crate::config::Config;
use crate::home::Home;
use crate::products::{Contract, Offer, read};
use crate::query::{Engine, EngineSettings};
use crate::sources::Warehouses;

/// Show what a partner would see of a contract: columns, masks, rows.
///
/// Reads the data as the node would, under the terms that the first role of the
/// contract offers, under another role's, or under the agreement that a partner
/// has. Nothing is announced, and no node is needed unless you name a partner.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    comity product preview orders.odcs.yaml\n  \
    comity product preview orders.odcs.yaml --role analyst --rows 20\n  \
    comity product preview orders.odcs.yaml --partner port-authority")]
pub(super) struct Preview {
    /// The ODCS contract file.
    file: PathBuf,
    /// The role of the contract whose offer counts; its first when absent.
    #[arg(long, conflicts_with = "partner")]
    role: Option<String>,
    /// The partner whose agreement about this product counts.
    #[arg(long, value_name = "ALIAS")]
    partner: Option<String>,
    /// How many rows of each table to show.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(0..=1000))]
    rows: u16,
}

/// Under which terms a preview reads.
struct Ground {
    /// In words.
    name: String,
    tables: BTreeMap<String, TableTerms>,
    purposes: Vec<String>,
    max_rows: Option<u64>,
}

impl Preview {
    pub(super) async fn run(self, home: &Home, output: &Output) -> Result<(), Problem> {
        let contract =
            read(&self.file).map_err(|problems| Problem::failed(problems.to_string()))?;
        let ground = match &self.partner {
            Some(partner) => agreed(home, &contract, partner).await?,
            None => offered(&contract, self.role.as_deref())?,
        };
        // The node may not be founded yet: then its configuration has nothing to add.
        let access = Config::load(&home.config()).map(|config| config.sources);
        let warehouses = Warehouses::new(access.unwrap_or_default(), home.path().to_owned());
        let engine =
            Engine::start(EngineSettings::default()).map_err(|e| Problem::failed(e.to_string()))?;
        let rows = usize::from(self.rows);
        let seen = preview(&contract, &warehouses, &engine, &ground.tables, rows)
            .await
            .map_err(|e| Problem::from_failure(&e))?;
        let told = json!({
            "product": contract.name(), "version": contract.version(), "as": ground.name,
            "purposes": ground.purposes, "maxRowsPerQuery": ground.max_rows,
            "tables": seen.iter().map(|s| told(&contract, s)).collect::<Result<Vec<_>, _>>()?,
        });
        output.answer(&told, |_| said(&contract, &ground, seen));
        Ok(())
    }
}

/// The terms of one of the contract's roles.
fn offered(contract: &Contract, role: Option<&str>) -> Result<Ground, Problem> {
    let offers = contract.offers();
    let offer = match role {
        Some(role) => offers.iter().find(|o| o.role == role).ok_or_else(|| {
            let roles: Vec<&str> = offers.iter().map(|o| o.role.as_str()).collect();
            Problem::usage(format!("the contract has no role {role}"))
                .next(format!("one of its roles: {}", roles.join(", ")))
        })?,
        None => contract.offer().ok_or_else(|| {
            Problem::failed("the contract offers nothing: it has no role, and every request waits for a person")
                .next("write 'roles' into the contract, or name a partner with an agreement: --partner ALIAS")
        })?,
    };
    let Offer { role, limits, .. } = offer;
    Ok(Ground {
        name: format!("the role {role}, as it is offered"),
        tables: offer.tables.clone(),
        purposes: offer.purposes.iter().cloned().collect(),
        max_rows: limits.max_rows_per_query,
    })
}

/// The terms of the agreement in force that covers this version.
async fn agreed(home: &Home, contract: &Contract, partner: &str) -> Result<Ground, Problem> {
    let agreements: Vec<api::Agreement> = Client::new(home.admin_socket())
        .get("/v1/agreements")
        .await?;
    let covers = |a: &&api::Agreement| {
        let name = a.product.split('@').next();
        let version = contract.version().parse();
        a.role == "provider"
            && a.state == "in-force"
            && a.partner == partner
            && name == Some(contract.name())
            && version.is_ok_and(|version| a.range.covers(version))
    };
    let agreement = agreements.iter().find(covers).ok_or_else(|| {
        let (name, version) = (contract.name(), contract.version());
        Problem::failed(format!(
            "{partner} has no agreement in force about {name} {version}"
        ))
        .next("see 'comity agreements', or leave --partner out to see what is offered")
    })?;
    let (id, terms) = (agreement.id.short(), &agreement.terms);
    Ok(Ground {
        name: format!("{partner}, by the agreement {id}"),
        tables: terms.tables.clone(),
        purposes: terms.purposes.iter().cloned().collect(),
        max_rows: terms.limits.max_rows_per_query,
    })
}

/// How a column is seen, in a word or two.
fn shown(terms: Option<&TableTerms>, column: &str) -> String {
    match terms {
        Some(terms) if terms.columns.contains(column) => match terms.masks.get(column) {
            Some(mask) => {
                // Its name in a contract and in an agreement.
                let name = serde_json::to_value(mask).ok();
                let name = name.as_ref().and_then(Value::as_str);
                format!("masked: {}", name.unwrap_or("unknown"))
            }
            None => "as it is".to_owned(),
        },
        _ => "not offered".to_owned(),
    }
}

/// Name, type, and how each is seen, of every column that the contract has.
fn columns(contract: &Contract, seen: &Seen) -> Vec<[String; 3]> {
    let announced = seen.table.columns.iter().map(|c| {
        let seen = shown(seen.terms.as_ref(), &c.name);
        [c.name.clone(), types::shown(&c.kind), seen]
    });
    let under_review = contract.under_review().iter();
    let under_review = under_review
        .filter(|(table, _)| *table == seen.table.name.as_str())
        .map(|(_, column)| [column.clone(), String::new(), "under review".to_owned()]);
    announced.chain(under_review).collect()
}

fn told(contract: &Contract, seen: &Seen) -> Result<Value, Problem> {
    let columns = columns(contract, seen).into_iter();
    let columns: Vec<Value> = columns
        .map(|[name, kind, seen]| json!({"name": name, "type": kind, "seen": seen}))
        .collect();
    let filter = seen.terms.iter().flat_map(|terms| &terms.filter.0);
    let filter: Vec<String> = filter.map(ToString::to_string).collect();
    let batches: Vec<&RecordBatch> = seen.rows.iter().collect();
    let mut writer = arrow::json::ArrayWriter::new(Vec::new());
    let written = writer
        .write_batches(&batches)
        .and_then(|()| writer.finish());
    written.map_err(|e| Problem::failed(e.to_string()))?;
    let rows = writer.into_inner();
    let rows: Value = match rows.is_empty() {
        true => json!([]),
        false => serde_json::from_slice(&rows).map_err(|e| Problem::failed(e.to_string()))?,
    };
    Ok(json!({
        "table": seen.table.name, "columns": columns, "filter": filter, "rows": rows,
    }))
}

fn said(contract: &Contract, ground: &Ground, seen: Vec<Seen>) -> String {
    let mut text = format!(
        "{} {} as seen by {}\n",
        contract.name(),
        contract.version(),
        printable(&ground.name)
    );
    if !ground.purposes.is_empty() {
        let purposes = printable(ground.purposes.join(", "));
        text.push_str(&format!("for {purposes}\n"));
    }
    if let Some(rows) = ground.max_rows {
        text.push_str(&format!("at most {rows} rows per query\n"));
    }
    for seen in seen {
        let rows: Vec<Vec<String>> = columns(contract, &seen)
            .into_iter()
            .map(Vec::from)
            .collect();
        text.push_str(&format!("\ntable {}\n", seen.table.name));
        text.push_str(&table(&["COLUMN", "TYPE", "SEEN"], &rows));
        let Some(terms) = &seen.terms else {
            continue;
        };
        for predicate in &terms.filter.0 {
            let predicate = printable(predicate);
            text.push_str(&format!("only rows where {predicate}\n"));
        }
        let answer = Answer::new(seen.schema, seen.rows);
        text.push_str(&format!("{}\n", answer.to_text()));
    }
    text
}

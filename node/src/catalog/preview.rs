//! What a partner would see of a contract, before anything is announced.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use comity_protocol::product::Table;
use comity_protocol::terms::TableTerms;
use futures::TryStreamExt as _;

use super::shape::shape;
use super::sources::{open_each, unreadable};
use crate::failure::Failure;
use crate::products::Contract;
use crate::query::{Engine, GovernedTable, TableName, View};
use crate::sources::{Warehouses, without_addresses};

/// The catalog of the view that a preview reads.
const CATALOG: &str = "preview";

/// One table as a partner would see it.
#[derive(Debug)]
pub struct Seen {
    /// The table as it would be announced.
    pub table: Table,
    /// What of it the partner may read; `None` is nothing.
    pub terms: Option<TableTerms>,
    /// The columns of `rows`.
    pub schema: SchemaRef,
    /// The first rows that the partner would get.
    pub rows: Vec<RecordBatch>,
}

/// The tables of `contract` under `terms`, each with its first `rows` rows.
///
/// The rows come the way that a partner's come: through the governed table and
/// its barrier. They are not the first of a warehouse, but the first visible ones.
///
/// # Errors
/// What `publish` would refuse about the sources, and why a row cannot be read.
pub async fn preview(
    contract: &Contract,
    warehouses: &Warehouses,
    engine: &Engine,
    terms: &BTreeMap<String, TableTerms>,
    rows: usize,
) -> Result<Vec<Seen>, Failure> {
    let mut sources = open_each(contract, warehouses).await;
    let mut seen = Vec::new();
    for declared in contract.tables() {
        let name = &declared.name;
        // A contract's gate gives every table a source.
        let source = sources
            .remove(name)
            .ok_or_else(|| Failure::caller("source", format!("table {name}: it has no source")))?;
        let source = source.map_err(|e| unreadable(name, &e))?;
        let wrong = |reason: String| Failure::caller("contract", reason);
        let table = shape(declared, &source.schema()).map_err(wrong)?;
        let terms = terms.get(name).and_then(|terms| served(&table, terms));
        let (schema, rows) = match &terms {
            None => (Arc::new(arrow::datatypes::Schema::empty()), Vec::new()),
            Some(terms) => {
                let governed = GovernedTable::new(source, terms).map_err(|e| {
                    let detail = e.owner_detail().unwrap_or_default();
                    wrong(format!("table {name}: {e}: {detail}"))
                })?;
                first(engine, contract.name(), name, governed, rows).await?
            }
        };
        seen.push(Seen {
            table,
            terms,
            schema,
            rows,
        });
    }
    Ok(seen)
}

/// The part of `terms` that the contract still has: what was agreed under an
/// earlier version may name a column that is gone.
fn served(table: &Table, terms: &TableTerms) -> Option<TableTerms> {
    let mut terms = terms.clone();
    terms.retain_columns(|column| table.columns.iter().any(|c| c.name == column));
    (!terms.columns.is_empty()).then_some(terms)
}

async fn first(
    engine: &Engine,
    product: &str,
    table: &str,
    governed: GovernedTable,
    rows: usize,
) -> Result<(SchemaRef, Vec<RecordBatch>), Failure> {
    let name = TableName {
        catalog: CATALOG.to_owned(),
        schema: product.to_owned(),
        table: table.to_owned(),
    };
    let view = View::builder(CATALOG).governed(name, governed).build();
    // Names of products and tables have no quotes in them.
    let statement = format!(r#"SELECT * FROM "{CATALOG}"."{product}"."{table}" LIMIT {rows}"#);
    // Whoever previews is the owner, and needs no log.
    let failed = |e: crate::query::QueryError| {
        let said = e.to_string();
        let reason = without_addresses(e.owner_detail().unwrap_or(&said));
        Failure::caller(e.code(), format!("table {table}: {reason}"))
    };
    let prepared = engine.prepare(view, &statement).await.map_err(failed)?;
    let stream = prepared.run().await.map_err(failed)?;
    let batches = stream.try_collect::<Vec<_>>().await;
    let batches = batches.map_err(|e| failed(crate::query::QueryError::of(&e)))?;
    Ok((prepared.schema(), batches))
}

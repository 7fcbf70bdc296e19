//! How large tables are, by what their publishers state of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use comity_protocol::product::Descriptor;
use serde_json::Value;

use super::partners::Partners;
use crate::catalog::Catalog;
use crate::own::Own;
use crate::query::{Sizes, TableName, TableSize};

/// The counts of the newest statements, own and partners'. They are the
/// publisher's word: a wrong one costs time, and changes no answer.
#[derive(Debug)]
pub struct StatedSizes {
    /// This organization.
    pub own: Arc<Own>,
    /// Whose names tables have.
    pub partners: Arc<Partners>,
    /// Where statements and contracts are.
    pub catalog: Arc<Catalog>,
}

impl Sizes for StatedSizes {
    fn of(&self, table: &TableName) -> Option<TableSize> {
        let product = &table.schema;
        let catalog = &self.catalog;
        if table.catalog == self.own.alias() {
            let own = catalog.own_product(product)?;
            return self.stated(&own.descriptor, table);
        }
        let partners = self.partners.all();
        let partner = partners.iter().find(|p| p.alias == table.catalog)?;
        let foreign = catalog.foreign_product(&partner.org, product)?;
        self.stated(foreign.descriptor(), table)
    }
}

impl StatedSizes {
    fn stated(&self, descriptor: &Descriptor, table: &TableName) -> Option<TableSize> {
        let results = self
            .catalog
            .newest_results(&descriptor.org, &table.schema)?;
        let mut extents = results.tables.into_iter();
        let extent = extents.find(|t| t.table.as_str() == table.table)?;
        let keys = keys(&descriptor.contract, &table.table);
        let mut distinct: BTreeMap<_, _> = keys.map(|key| (key, extent.rows)).collect();
        distinct.extend(extent.distinct);
        Some(TableSize {
            rows: extent.rows,
            distinct,
        })
    }
}

/// The columns of a table whose values the contract promises to be different.
fn keys(contract: &Value, table: &str) -> impl Iterator<Item = String> {
    let list = |value: &Value, member: &str| value[member].as_array().cloned().unwrap_or_default();
    let tables = list(contract, "schema").into_iter();
    let columns = tables
        .filter(|t| t["name"] == table)
        .flat_map(|t| list(&t, "properties"));
    let columns: Vec<_> = columns.collect();
    let alone = columns.iter().filter(|c| c["primaryKey"] == true).count() == 1;
    columns.into_iter().filter_map(move |column| {
        let key = column["unique"] == true || alone && column["primaryKey"] == true;
        key.then(|| column["name"].as_str().map(str::to_owned))?
    })
}

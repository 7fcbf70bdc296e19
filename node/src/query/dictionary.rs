//! `information_schema`: what a member can name, as tables, for tools that look
//! there (`spec/5-data-plane.md#D-5`). It is made of the caller's own view and of
//! nothing else; the engine's own tells of settings and functions besides.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::{TableName, advertised};

/// What the schema is called. A product of that name takes its place.
pub(super) const NAME: &str = "information_schema";

const TABLES: &str = "tables";
const COLUMNS: &str = "columns";
const SCHEMATA: &str = "schemata";

/// The schema over the tables of a view; made when it is asked for, because a view
/// is made for every call.
pub(super) struct Dictionary {
    /// The catalog that it stands in.
    pub(super) catalog: String,
    pub(super) of: Arc<BTreeMap<TableName, Arc<dyn TableProvider>>>,
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dictionary")
    }
}

#[async_trait]
impl SchemaProvider for Dictionary {
    fn table_names(&self) -> Vec<String> {
        [COLUMNS, SCHEMATA, TABLES].map(str::to_owned).to_vec()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let rows = match name {
            TABLES => self.tables()?,
            COLUMNS => self.columns()?,
            SCHEMATA => self.schemata()?,
            _ => return Ok(None),
        };
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
        let name = TableName {
            catalog: self.catalog.clone(),
            schema: NAME.to_owned(),
            table: name.to_owned(),
        };
        Ok(Some(Arc::new(DictionaryTable { name, table })))
    }

    fn table_exist(&self, name: &str) -> bool {
        [COLUMNS, SCHEMATA, TABLES].contains(&name)
    }
}

impl Dictionary {
    fn tables(&self) -> Result<RecordBatch> {
        let of = |part: fn(&TableName) -> &str| texts(self.of.keys().map(part));
        Ok(RecordBatch::try_from_iter([
            ("table_catalog", of(|name| &name.catalog)),
            ("table_schema", of(|name| &name.schema)),
            ("table_name", of(|name| &name.table)),
            ("table_type", of(|_| "BASE TABLE")),
        ])?)
    }

    fn schemata(&self) -> Result<RecordBatch> {
        let mut all: Vec<_> = self.of.keys().map(|n| (&*n.catalog, &*n.schema)).collect();
        all.dedup();
        let (catalogs, schemas): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        Ok(RecordBatch::try_from_iter([
            ("catalog_name", texts(catalogs.into_iter())),
            ("schema_name", texts(schemas.into_iter())),
        ])?)
    }

    fn columns(&self) -> Result<RecordBatch> {
        let all: Vec<_> = (self.of.iter())
            .flat_map(|(name, table)| {
                let schema = advertised(&table.schema());
                let fields: Vec<_> = schema.fields().iter().cloned().enumerate().collect();
                fields.into_iter().map(move |(n, field)| (name, n, field))
            })
            .collect();
        let of = |part: fn(&TableName) -> &str| texts(all.iter().map(|(name, ..)| part(name)));
        let kinds = all.iter().map(|(.., field)| field.data_type().to_string());
        let places = all
            .iter()
            .map(|(_, n, _)| i64::try_from(n + 1).unwrap_or(i64::MAX));
        Ok(RecordBatch::try_from_iter([
            ("table_catalog", of(|name| &name.catalog)),
            ("table_schema", of(|name| &name.schema)),
            ("table_name", of(|name| &name.table)),
            (
                "column_name",
                texts(all.iter().map(|(.., f)| f.name().as_str())),
            ),
            ("ordinal_position", Arc::new(places.collect::<Int64Array>())),
            // Every column is nullable on the wire.
            ("is_nullable", of(|_| "YES")),
            ("data_type", Arc::new(StringArray::from_iter_values(kinds))),
        ])?)
    }
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// A table of the schema: what the gate knows it by.
#[derive(Debug)]
pub(super) struct DictionaryTable {
    pub(super) name: TableName,
    table: MemTable,
}

#[async_trait]
impl TableProvider for DictionaryTable {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.table.scan(state, projection, filters, limit).await
    }
}

//! Tables of Flight SQL servers: other engines, and other Comity nodes
//! (`spec/5-data-plane.md#D-192`).
//!
//! A scan is one query, written here. Whose engine answers is the owner's word;
//! without it, nothing is handed down whose answer could differ.

mod error;
mod read;
mod server;
mod sql;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

pub use self::error::FlightSqlError;
use self::read::Statement;
pub(super) use self::server::Server;
use self::sql::{Columns, MAX_TEXT};
use super::servers::Servers;
use super::wire::plain;
use crate::products::{FlightSqlSpec, Table};
use crate::query::{Answer, Grouping, Pushdown, StatementExec, WithPushdown, identifier};

/// A column that no table has: a server that answers it takes names for texts.
const NO_COLUMN: &str = "comity: no such column";

impl Servers<Server> {
    /// The table, as it is now, with the columns of the contract.
    pub(super) async fn open(
        &self,
        spec: &FlightSqlSpec,
        table: &Table,
    ) -> Result<Arc<dyn TableProvider>, FlightSqlError> {
        let opened = FlightSqlTable::open(self.server(&spec.server), spec, table).await?;
        Ok(Arc::new(WithPushdown(Arc::new(opened))))
    }
}

/// A table of a server.
#[derive(Debug)]
struct FlightSqlTable {
    server: Arc<Server>,
    /// With its catalog and schema, quoted.
    table: Arc<str>,
    columns: Columns,
}

impl FlightSqlTable {
    async fn open(
        server: Arc<Server>,
        spec: &FlightSqlSpec,
        contract: &Table,
    ) -> Result<Self, FlightSqlError> {
        let parts: Vec<_> = spec.path.iter().map(|part| identifier(part)).collect();
        let table: Arc<str> = parts.join(".").into();
        let describe = |columns: &[&str], rows| {
            let statement = Statement {
                server: Arc::clone(&server),
                table: Arc::clone(&table),
                sql: sql::select(columns.iter().copied(), &table, &[], Some(rows)),
                schema: Arc::new(Schema::empty()),
            };
            statement.described()
        };
        let names: Vec<_> = contract.columns.iter().map(|c| c.name.as_str()).collect();
        let mut found = describe(&names, 0).await?;
        if found.fields().is_empty() {
            // Some servers say the columns of rows only.
            found = describe(&names, 1).await?;
        }
        // Refused, for whatever reason; what is wrong besides was said above.
        if describe(&[NO_COLUMN], 1).await.is_ok() {
            let server = server.name().to_owned();
            return Err(FlightSqlError::Quotes { server });
        }
        let found_names: Vec<_> = found.fields().iter().map(|f| f.name().as_str()).collect();
        if found_names != names {
            return Err(FlightSqlError::Broken {
                table: table.to_string(),
                what: "it has other columns than were asked for, or no row to tell them by"
                    .to_owned(),
            });
        }
        Ok(Self {
            columns: Columns {
                read: read_as(&found),
                stored: found.as_ref().clone(),
                dialect: spec.dialect,
            },
            server,
            table,
        })
    }

    fn leaf(&self, sql: String, schema: SchemaRef) -> Arc<dyn ExecutionPlan> {
        Arc::new(StatementExec::new(Statement {
            server: Arc::clone(&self.server),
            table: Arc::clone(&self.table),
            sql,
            schema,
        }))
    }
}

#[async_trait]
impl TableProvider for FlightSqlTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.columns.read)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let mut room = MAX_TEXT;
        let judge = |filter: &&Expr| match sql::predicate(filter, &self.columns) {
            Some((sql, worth)) if sql.len() <= room => {
                room -= sql.len();
                worth
            }
            _ => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(judge).collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(wanted) => Arc::new(self.columns.read.project(wanted)?),
            None => self.schema(),
        };
        let mut exact = true;
        let mut predicates = Vec::with_capacity(filters.len());
        for filter in filters {
            let (sql, worth) = sql::predicate(filter, &self.columns).ok_or_else(|| {
                DataFusionError::Internal(
                    "a predicate reached a server that cannot answer it".into(),
                )
            })?;
            exact &= worth == TableProviderFilterPushDown::Exact;
            predicates.push(sql);
        }
        // Rows that are left out here after the server counted them are missing from a limit.
        let limit = limit.filter(|_| exact);
        let columns = schema.fields().iter().map(|f| f.name().as_str());
        let sql = sql::select(columns, &self.table, &predicates, limit);
        Ok(self.leaf(sql, schema))
    }
}

impl Pushdown for FlightSqlTable {
    fn grouped(&self, grouping: &Grouping) -> Answer {
        let mut predicates = Vec::with_capacity(grouping.predicates.len());
        for filter in &grouping.predicates {
            match sql::predicate(filter, &self.columns) {
                Some((sql, TableProviderFilterPushDown::Exact)) => predicates.push(sql),
                _ => return Err("the server would not answer a predicate exactly".to_owned()),
            }
        }
        let sql = sql::group(grouping, &self.columns, &self.table, &predicates)?;
        Ok(self.leaf(sql, Arc::clone(&grouping.schema)))
    }
}

/// The columns as they are read, each of which may be null whatever the server says.
fn read_as(found: &Schema) -> SchemaRef {
    let fields = found.fields().iter();
    let fields = fields.map(|f| Field::new(f.name(), plain(f.data_type()), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

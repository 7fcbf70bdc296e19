//! Tables and views of PostgreSQL databases (`spec/5-data-plane.md`, 5.9).
//!
//! A scan is one read-only statement, written here, whose binary `COPY` is
//! decoded into Arrow arrays. The server filters and limits only where its
//! answer is exactly this engine's.

mod decode;
mod describe;
mod error;
mod group;
mod read;
mod server;
mod sql;
#[cfg(test)]
mod tests;
mod types;
mod value;

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

pub use self::describe::Described;
pub use self::error::PostgresError;
use self::read::Statement;
pub(super) use self::server::Server;
use self::types::Kind;
use crate::products::{PostgresSpec, Table};
use crate::query::{Answer, Grouped, Grouping, Groups, StatementExec, identifier};
use crate::sources::servers::Servers;

impl Servers<Server> {
    /// The table, as it is now, with the columns of the contract.
    pub(super) async fn open(
        &self,
        spec: &PostgresSpec,
        table: &Table,
    ) -> Result<Arc<dyn TableProvider>, PostgresError> {
        let opened = PostgresTable::open(self.server(&spec.server), spec, table).await?;
        Ok(Arc::new(Grouped(Arc::new(opened))))
    }
}

/// One column as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    name: String,
    kind: Kind,
}

/// A table or view of a database.
#[derive(Debug)]
struct PostgresTable {
    server: Arc<Server>,
    /// With its schema, quoted.
    table: Arc<str>,
    columns: Vec<Column>,
    schema: SchemaRef,
    /// Whether the database's encoding is UTF-8.
    utf8: bool,
}

impl PostgresTable {
    async fn open(
        server: Arc<Server>,
        spec: &PostgresSpec,
        contract: &Table,
    ) -> Result<Self, PostgresError> {
        let table = sql::table(&spec.schema, &spec.table);
        let failed = |e| PostgresError::statement(server.name(), &table, &e);
        let session = server.begin().await?;
        let client = session.client()?;
        let names: Vec<_> = contract
            .columns
            .iter()
            .map(|c| identifier(&c.name))
            .collect();
        let statement = format!("SELECT {} FROM {table}", names.join(", "));
        let described = client.prepare(&statement).await.map_err(failed)?;
        let mut columns = Vec::with_capacity(names.len());
        for (promised, found) in contract.columns.iter().zip(described.columns()) {
            let kind = Kind::of(found.type_(), found.type_modifier(), &promised.arrow);
            let kind = kind.map_err(|instead| PostgresError::Unsupported {
                table: table.clone(),
                column: promised.name.clone(),
                found: found.type_().name().to_owned(),
                instead,
            })?;
            columns.push(Column {
                name: promised.name.clone(),
                kind,
            });
        }
        let encoding = client.query_one("SHOW server_encoding", &[]).await;
        let encoding: String = encoding.and_then(|row| row.try_get(0)).map_err(failed)?;
        drop(described);
        session.end().await.map_err(failed)?;
        Ok(Self {
            schema: schema(&columns),
            server,
            table: table.into(),
            columns,
            utf8: encoding == "UTF8",
        })
    }

    fn predicate(&self, expr: &Expr) -> Option<String> {
        sql::predicate(expr, &self.columns, &self.schema, self.utf8)
    }
}

#[async_trait]
impl TableProvider for PostgresTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // Exact, so that a limit may follow; what the server would answer otherwise is done here.
        Ok(filters
            .iter()
            .map(|f| match self.predicate(f) {
                Some(_) => TableProviderFilterPushDown::Exact,
                None => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns: Vec<_> = match projection {
            Some(wanted) => wanted
                .iter()
                .filter_map(|i| self.columns.get(*i).cloned())
                .collect(),
            None => self.columns.clone(),
        };
        let predicates = filters.iter().map(|f| self.predicate(f));
        let predicates = predicates.collect::<Option<Vec<_>>>().ok_or_else(|| {
            DataFusionError::Internal("a predicate that the server cannot answer reached it".into())
        })?;
        Ok(Arc::new(StatementExec::new(Statement {
            server: Arc::clone(&self.server),
            table: Arc::clone(&self.table),
            sql: sql::select(&columns, &self.table, &predicates, limit),
            schema: schema(&columns),
            columns,
        })))
    }
}

impl Groups for PostgresTable {
    fn grouped(&self, grouping: &Grouping) -> Answer {
        let predicates = grouping.predicates.iter().map(|f| self.predicate(f));
        let predicates: Option<Vec<_>> = predicates.collect();
        let predicates = predicates.ok_or("the server would not answer a predicate exactly")?;
        let (sql, columns) =
            group::group(grouping, &self.columns, &self.table, &predicates, self.utf8)?;
        Ok(Arc::new(StatementExec::new(Statement {
            server: Arc::clone(&self.server),
            table: Arc::clone(&self.table),
            sql,
            schema: Arc::clone(&grouping.schema),
            columns,
        })))
    }
}

fn schema(columns: &[Column]) -> SchemaRef {
    let fields = columns
        .iter()
        .map(|c| Field::new(&c.name, c.kind.arrow(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

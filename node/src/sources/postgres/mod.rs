//! Tables and views of PostgreSQL databases (`spec/5-data-plane.md`, 5.9).
//!
//! A scan is one read-only statement, written here, whose binary `COPY` is
//! decoded into Arrow arrays. The server filters and limits only where its
//! answer is exactly this engine's.

mod decode;
mod describe;
mod error;
mod group;
mod join;
mod keys;
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
use tokio_postgres::types::Type;

pub use self::error::PostgresError;
use self::keys::{Keys, Relied};
use self::read::Statement;
pub(super) use self::server::Server;
use self::types::Kind;
use crate::products::{PostgresSpec, Table};
use crate::query::{Answer, Grouping, Joining, Pushdown, StatementExec, WithPushdown, identifier};
use crate::sources::servers::Servers;

impl Servers<Server> {
    /// The table, as it is now, with the columns of the contract.
    pub(super) async fn open(
        &self,
        spec: &PostgresSpec,
        table: &Table,
    ) -> Result<Arc<dyn TableProvider>, PostgresError> {
        let opened = PostgresTable::open(self.server(&spec.server), spec, table).await?;
        Ok(Arc::new(WithPushdown(Arc::new(opened))))
    }
}

/// One column as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    name: String,
    /// What it is for the owner: of an answer that is computed, what it was made of.
    said: String,
    kind: Kind,
}

impl Column {
    fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            said: name.to_owned(),
            kind,
        }
    }

    /// Whether a column of the type that was found can be read as this one.
    fn reads(&self, table: &str, found: &Type) -> Result<(), PostgresError> {
        match self.kind.reads(found) {
            true => Ok(()),
            false => Err(PostgresError::Changed {
                table: table.to_owned(),
                column: self.said.clone(),
                found: found.name().to_owned(),
                published: self.kind.arrow().to_string(),
            }),
        }
    }
}

/// A table or view of a database, or several joined.
#[derive(Debug)]
struct PostgresTable {
    server: Arc<Server>,
    /// With its schema, quoted; of several, the names of all. For messages.
    table: Arc<str>,
    /// What follows `FROM`.
    relation: Arc<str>,
    keys: Arc<Keys>,
    /// Of several tables: what is taken for granted of each.
    relied: Vec<Relied>,
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
        let failed = |e| server.failure(&table, &e);
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
            columns.push(Column::new(&promised.name, kind));
        }
        let encoding = client.query_one("SHOW server_encoding", &[]).await;
        let encoding: String = encoding.and_then(|row| row.try_get(0)).map_err(failed)?;
        drop(described);
        let keys = Keys::of(client, &table).await.map_err(failed)?;
        session.end().await.map_err(failed)?;
        let table = Arc::from(table);
        Ok(Self {
            schema: schema(&columns),
            server,
            relation: Arc::clone(&table),
            table,
            keys: Arc::new(keys),
            relied: Vec::new(),
            columns,
            utf8: encoding == "UTF8",
        })
    }

    fn statement(
        &self,
        sql: String,
        schema: SchemaRef,
        columns: Vec<Column>,
    ) -> Arc<dyn ExecutionPlan> {
        Arc::new(StatementExec::new(Statement {
            server: Arc::clone(&self.server),
            table: Arc::clone(&self.table),
            relied: self.relied.clone(),
            sql,
            columns,
            schema,
        }))
    }

    fn predicate(&self, expr: &Expr) -> Option<String> {
        sql::predicate(expr, &self.columns, &self.schema, self.utf8)
    }

    fn predicates(&self, exprs: &[Expr]) -> Result<Vec<String>, String> {
        let predicates = exprs.iter().map(|f| self.predicate(f)).collect();
        let predicates: Option<_> = predicates;
        predicates.ok_or_else(|| "the server would not answer a predicate exactly".to_owned())
    }

    fn column(&self, name: &str) -> Result<&Column, String> {
        let found = self.columns.iter().find(|c| c.name == name);
        found.ok_or_else(|| format!("there is no column {name}"))
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
        let predicates = self
            .predicates(filters)
            .map_err(DataFusionError::Internal)?;
        let sql = sql::select(&columns, &self.relation, &predicates, limit);
        Ok(self.statement(sql, schema(&columns), columns))
    }
}

impl Pushdown for PostgresTable {
    fn grouped(&self, grouping: &Grouping) -> Answer {
        let (sql, columns) = self.group(grouping)?;
        Ok(self.statement(sql, Arc::clone(&grouping.schema), columns))
    }

    fn joined(&self, joining: &Joining<'_>) -> Result<Arc<dyn Pushdown>, String> {
        Ok(Arc::new(self.join(joining)?))
    }
}

fn schema(columns: &[Column]) -> SchemaRef {
    let fields = columns
        .iter()
        .map(|c| Field::new(&c.name, c.kind.arrow(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

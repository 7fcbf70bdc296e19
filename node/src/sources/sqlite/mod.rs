//! Tables and views of SQLite files (`spec/5-data-plane.md#D-196`).

mod decode;
mod describe;
mod error;
mod read;
mod sql;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use tokio::sync::Semaphore;

use self::decode::Values;
pub use self::error::SqliteError;
use self::read::Statement;
use crate::config::Source;
use crate::products::{SqliteSpec, Table};
use crate::query::{StatementExec, advertised};

/// How much of each file may be read at a time.
#[derive(Debug, Default)]
pub(super) struct Databases {
    access: BTreeMap<String, Source>,
    room: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

impl Databases {
    pub(super) fn new(access: BTreeMap<String, Source>) -> Self {
        let room = Mutex::default();
        Self { access, room }
    }

    /// The table in the types of the contract: SQLite's own are those of its
    /// values, which are judged as they are read. Relative paths count from `folder`.
    pub(super) async fn open(
        &self,
        spec: &SqliteSpec,
        table: &Table,
        folder: &Path,
    ) -> Result<Arc<dyn TableProvider>, SqliteError> {
        let access = self.access.get(&spec.server).cloned().unwrap_or_default();
        for column in &table.columns {
            if Values::of(&column.arrow).is_none() {
                return Err(SqliteError::Unsupported {
                    table: spec.table.clone(),
                    column: column.name.clone(),
                    kind: column.arrow.to_string(),
                });
            }
        }
        let schema = advertised(&table.schema());
        let statement = Statement {
            file: folder.join(&spec.path).into(),
            table: spec.table.as_str().into(),
            sql: sql::select(&schema, &spec.table, &[], Some(0)),
            schema,
            room: self.room(&spec.server, access.connections),
            timeout: Duration::from_secs(access.timeout_seconds.into()),
        };
        let asked = statement.clone();
        let prepared = tokio::task::spawn_blocking(move || {
            let said = |e: rusqlite::Error| SqliteError::said(&asked.file, &asked.table, &e);
            let connection = read::open(&asked.file).map_err(said)?;
            connection.prepare(&asked.sql).map_err(said).map(drop)
        });
        match prepared.await {
            Ok(prepared) => prepared?,
            Err(stopping) => {
                return Err(SqliteError::Unreadable {
                    path: statement.file.to_path_buf(),
                    table: spec.table.clone(),
                    reason: stopping.to_string(),
                });
            }
        }
        Ok(Arc::new(SqliteTable { statement }))
    }

    fn room(&self, server: &str, connections: u32) -> Arc<Semaphore> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let permits = usize::try_from(connections).unwrap_or(Semaphore::MAX_PERMITS);
        let new = || Arc::new(Semaphore::new(permits));
        Arc::clone(room.entry(server.to_owned()).or_insert_with(new))
    }
}

/// A table of a file, with the query that gives all of it.
#[derive(Debug)]
struct SqliteTable {
    statement: Statement,
}

#[async_trait]
impl TableProvider for SqliteTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.statement.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // Never exact: the values that do not fit come with those that do, and
        // have to be read to be an error.
        let judge = |filter: &&Expr| match sql::predicate(filter, &self.statement.schema) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
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
        let all = &self.statement;
        let schema = match projection {
            Some(wanted) => Arc::new(all.schema.project(wanted)?),
            None => self.schema(),
        };
        let predicates = filters.iter().map(|f| sql::predicate(f, &all.schema));
        let predicates = predicates.collect::<Option<Vec<_>>>().ok_or_else(|| {
            DataFusionError::Internal("a predicate reached a file that cannot answer it".into())
        })?;
        // Rows that are left out afterwards would be missing from it.
        let limit = limit.filter(|_| predicates.is_empty());
        Ok(Arc::new(StatementExec::new(Statement {
            sql: sql::select(&schema, &all.table, &predicates, limit),
            schema,
            ..all.clone()
        })))
    }
}

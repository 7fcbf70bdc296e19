//! One statement to a server as a leaf of a plan, and its stream.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tokio_postgres::CopyOutStream;

use super::Column;
use super::decode::{Decoder, Fault};
use super::error::PostgresError;
use super::keys::Relied;
use super::server::{Server, Session};
use crate::sources::code::Coded;

/// A server that has few rows to find compares every row of one table with every
/// one of the other, if it takes the wrong number for few: a partner's `LIMIT 1`
/// over keys that never meet kept it busy for minutes. Sorted or hashed, a join
/// costs what reading both tables costs.
const WITHOUT_NESTED_LOOPS: &str = "SET LOCAL enable_nestloop = off";

/// A statement whose answer has these columns.
#[derive(Clone)]
pub(super) struct Statement {
    pub(super) server: Arc<Server>,
    /// The table, with its schema, for messages.
    pub(super) table: Arc<str>,
    /// Of a joined one: what it takes for granted of its tables.
    pub(super) relied: Vec<Relied>,
    pub(super) sql: String,
    pub(super) columns: Vec<Column>,
    pub(super) schema: SchemaRef,
}

impl Statement {
    /// The answer, in batches of at most `rows` rows. It is whole, or ends with an error.
    fn batches(
        self,
        rows: usize,
    ) -> impl futures::Stream<Item = Result<RecordBatch, PostgresError>> + Send {
        futures::stream::once(self.copy(rows))
            .map_ok(Copying::batches)
            .try_flatten()
    }

    async fn copy(self, rows: usize) -> Result<Copying, PostgresError> {
        let session = self.server.begin().await?;
        let failed = |e| self.server.failure(&self.table, &e);
        let client = session.client()?;
        // Its description has the types, which the copy does not say, and
        // takes the lock that keeps them until the transaction ends.
        let described = client.prepare(&self.sql).await.map_err(failed)?;
        let found = described.columns();
        if found.len() != self.columns.len() {
            return Err(PostgresError::Broken {
                table: self.table.to_string(),
                what: "the statement has another number of columns",
            });
        }
        for (column, found) in self.columns.iter().zip(found) {
            column.reads(&self.table, found.type_())?;
        }
        if !self.relied.is_empty() {
            client
                .batch_execute(WITHOUT_NESTED_LOOPS)
                .await
                .map_err(failed)?;
        }
        for table in &self.relied {
            table.holds(&self.server, client).await?;
        }
        let copy = format!("COPY ({}) TO STDOUT (FORMAT binary)", self.sql);
        let stream = client.copy_out(&copy).await.map_err(failed)?;
        let kinds = self.columns.iter().map(|c| &c.kind);
        let decoder = Decoder::new(Arc::clone(&self.schema), kinds, rows);
        Ok(Copying {
            session: Some(session),
            stream: Box::pin(stream),
            decoder,
            statement: self,
        })
    }
}

/// A copy that is being read. Dropping it cancels the statement.
struct Copying {
    /// Until the copy has ended.
    session: Option<Session>,
    stream: Pin<Box<CopyOutStream>>,
    decoder: Decoder,
    statement: Statement,
}

impl Copying {
    fn batches(self) -> impl futures::Stream<Item = Result<RecordBatch, PostgresError>> + Send {
        futures::stream::try_unfold(self, |mut copying| async move {
            let batch = copying.next().await?;
            Ok(batch.map(|batch| (batch, copying)))
        })
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, PostgresError> {
        if self.session.is_none() {
            return Ok(None);
        }
        while !self.decoder.is_full() {
            match self.stream.next().await {
                Some(Ok(bytes)) => self.decoder.take(&bytes).map_err(|f| self.fault(f))?,
                Some(Err(e)) => return Err(self.failed(&e)),
                None => {
                    self.decoder.finish().map_err(|f| self.fault(f))?;
                    if let Some(session) = self.session.take() {
                        session.end().await.map_err(|e| self.failed(&e))?;
                    }
                    break;
                }
            }
        }
        self.decoder.batch().map_err(|f| self.fault(f))
    }

    fn failed(&self, error: &tokio_postgres::Error) -> PostgresError {
        let statement = &self.statement;
        statement.server.failure(&statement.table, error)
    }

    fn fault(&self, fault: Fault) -> PostgresError {
        let table = self.statement.table.to_string();
        match fault {
            Fault::Copy(what) => PostgresError::Broken { table, what },
            Fault::Value(at, what) => {
                let column = self.statement.columns.get(at);
                let column = column.map(|c| c.said.clone()).unwrap_or_default();
                PostgresError::Value {
                    table,
                    column,
                    what,
                }
            }
        }
    }
}

impl crate::query::Statement for Statement {
    const NAME: &'static str = "PostgresExec";

    fn shown(&self) -> &str {
        &self.sql
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn read(&self, run: &Arc<TaskContext>) -> BoxStream<'static, Result<RecordBatch>> {
        let rows = run.session_config().batch_size();
        let batches = self.clone().batches(rows);
        batches.map_err(Coded::into_plan).boxed()
    }
}

//! One statement to a Flight SQL server, and its answer.

use std::pin::Pin;
use std::sync::Arc;
use std::vec::IntoIter;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::Ticket;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::time::timeout_at;
use tonic::Status;

use super::error::FlightSqlError;
use super::server::{Asked, Server};
use crate::flight::incoming;
use crate::query::QueryError;
use crate::sources::wire::{plain, read};

/// A statement whose answer has these columns.
#[derive(Clone)]
pub(super) struct Statement {
    pub(super) server: Arc<Server>,
    /// The table, with its catalog and schema, for messages.
    pub(super) table: Arc<str>,
    pub(super) sql: String,
    /// The columns as they are read; without one, the answer has the constant 1.
    pub(super) schema: SchemaRef,
}

impl crate::query::Statement for Statement {
    const NAME: &'static str = "FlightSqlExec";

    fn shown(&self) -> &str {
        &self.sql
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn read(&self, _: &Arc<TaskContext>) -> BoxStream<'static, Result<RecordBatch>> {
        let answer = futures::stream::once(self.clone().answer());
        answer
            .map_ok(|answer| {
                futures::stream::try_unfold(answer, |mut answer| async move {
                    let batch = answer.next().await?;
                    Ok(batch.map(|batch| (batch, answer)))
                })
            })
            .try_flatten()
            .map_err(|e: QueryError| e.into())
            .boxed()
    }
}

impl Statement {
    /// The columns of the answer as the server has them.
    pub(super) async fn described(self) -> Result<SchemaRef, FlightSqlError> {
        let mut asked = self.server.ask(&self.sql, &self.table).await?;
        let tickets = std::mem::take(&mut asked.tickets);
        let mut described = None;
        for ticket in tickets {
            let mut part = self.part(&asked, ticket).await?;
            // To its end: what the server refuses, it may refuse after the schema.
            while self.next(&asked, &mut part).await?.is_some() {}
            described = part.schema().cloned();
        }
        described.ok_or_else(|| self.broken("it has no schema"))
    }

    async fn answer(self) -> Result<Answer, QueryError> {
        let mut asked = self.server.ask(&self.sql, &self.table).await?;
        let tickets = std::mem::take(&mut asked.tickets).into_iter();
        Ok(Answer {
            statement: self,
            asked,
            tickets,
            part: None,
        })
    }

    async fn part(&self, asked: &Asked, ticket: Ticket) -> Result<Part, FlightSqlError> {
        let part = asked.part(ticket).await;
        let part = part.map_err(|status| self.failed(FlightError::Tonic(Box::new(status))))?;
        let sound = part.map(|message| {
            let message = message.map_err(|status| FlightError::Tonic(Box::new(status)))?;
            // The decoder believes what a message says of its own size (A23).
            let sound = incoming::check(&message).map(|()| message);
            sound.map_err(|why| FlightError::DecodeError(why.to_owned()))
        });
        Ok(Box::pin(FlightRecordBatchStream::new_from_flight_data(
            sound,
        )))
    }

    async fn next(
        &self,
        asked: &Asked,
        part: &mut Part,
    ) -> Result<Option<RecordBatch>, FlightSqlError> {
        let late = |_| self.failed(FlightError::Tonic(Box::new(late())));
        let next = timeout_at(asked.deadline, part.try_next()).await;
        next.map_err(late)?.map_err(|e| self.failed(e))
    }

    /// Whether an answer of the columns `found` is one to this statement
    /// (`spec/5-data-plane.md#D-194`).
    fn check(&self, found: &Schema) -> Result<(), FlightSqlError> {
        if self.schema.fields().is_empty() {
            return Ok(());
        }
        let named = |i: usize| found.fields().get(i);
        for (i, published) in self.schema.fields().iter().enumerate() {
            let same = named(i).is_some_and(|f| {
                f.name() == published.name() && plain(f.data_type()) == *published.data_type()
            });
            if !same {
                let found = named(i).map(|f| format!("{} of type {}", f.name(), f.data_type()));
                return Err(FlightSqlError::Changed {
                    table: self.table.to_string(),
                    column: published.name().clone(),
                    found: found.unwrap_or_else(|| "not there".to_owned()),
                    published: published.data_type().to_string(),
                });
            }
        }
        match found.fields().len() == self.schema.fields().len() {
            true => Ok(()),
            false => Err(self.broken("it has more columns than were asked for")),
        }
    }

    /// The batch in the types that were published.
    fn read_batch(&self, batch: &RecordBatch) -> Result<RecordBatch, QueryError> {
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns: Vec<ArrayRef> = columns
            .map(|(column, field)| read(column, field.name(), field.data_type()))
            .collect::<Result<_, _>>()?;
        // An answer of no columns still has rows.
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::clone(&self.schema);
        let batch = RecordBatch::try_new_with_options(schema, columns, &options);
        batch.map_err(|e| self.broken(&e.to_string()).into())
    }

    fn failed(&self, error: FlightError) -> FlightSqlError {
        FlightSqlError::stream(self.server.name(), &self.table, error)
    }

    fn broken(&self, what: &str) -> FlightSqlError {
        FlightSqlError::Broken {
            table: self.table.to_string(),
            what: what.to_owned(),
        }
    }
}

/// The batches of one part. An end without the status of its call is an error
/// in there (`spec/5-data-plane.md#D-194`), so a connection that breaks off is never a short answer.
type Part = Pin<Box<FlightRecordBatchStream>>;

/// An answer that is being read. Dropping it ends the call that is under way,
/// and with it the statement.
struct Answer {
    statement: Statement,
    asked: Asked,
    tickets: IntoIter<Ticket>,
    part: Option<Part>,
}

impl Answer {
    async fn next(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        loop {
            let Some(part) = self.part.as_mut() else {
                let Some(ticket) = self.tickets.next() else {
                    return Ok(None);
                };
                self.part = Some(self.statement.part(&self.asked, ticket).await?);
                continue;
            };
            let batch = self.statement.next(&self.asked, part).await?;
            let found = part.schema().cloned();
            let found = found.ok_or_else(|| self.statement.broken("a part has no schema"))?;
            // Some servers say no columns where there are no rows.
            if batch.is_some() || !found.fields().is_empty() {
                self.statement.check(&found)?;
            }
            match batch {
                Some(batch) => return Ok(Some(self.statement.read_batch(&batch)?)),
                None => self.part = None,
            }
        }
    }
}

fn late() -> Status {
    Status::deadline_exceeded("the answer was not read in time")
}

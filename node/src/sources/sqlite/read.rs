//! One query over a SQLite file, and its answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, mpsc};

use super::decode::Values;
use super::error::SqliteError;
use crate::sources::code::Coded;

/// How long a query waits for the end of another one, and for a writer.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest text or blob, in bytes.
const MAX_VALUE_BYTES: i32 = 64 * 1024 * 1024;
/// A batch ends with the row that brings it here, in bytes.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Batches that wait for their reader.
const AHEAD: usize = 2;
/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 10_000;

/// A query whose answer has these columns.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) file: Arc<Path>,
    pub(super) table: Arc<str>,
    pub(super) sql: String,
    pub(super) schema: SchemaRef,
    /// As many as may be read at a time.
    pub(super) room: Arc<Semaphore>,
    pub(super) timeout: Duration,
}

impl crate::query::Statement for Statement {
    const NAME: &'static str = "SqliteExec";

    fn shown(&self) -> &str {
        &self.sql
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn read(&self, run: &Arc<TaskContext>) -> BoxStream<'static, Result<RecordBatch>> {
        let rows = run.session_config().batch_size();
        let statement = self.clone();
        let batches = async move {
            let room =
                tokio::time::timeout(WAIT_TIMEOUT, Arc::clone(&statement.room).acquire_owned());
            let Ok(Ok(room)) = room.await else {
                let path = statement.path();
                let reason = "as many queries as may be are reading it".to_owned();
                return Err(SqliteError::Busy { path, reason });
            };
            let (sender, receiver) = mpsc::channel(AHEAD);
            // SQLite waits for the disk; the reader's thread must not.
            let reading = tokio::task::spawn_blocking(move || {
                let _room = room;
                let end = statement.batches(rows, &sender);
                if let Err(error) = end {
                    // Nobody to tell if the reader is gone.
                    let _ = sender.blocking_send(Err(error));
                }
            });
            let batches = stream::unfold(receiver, |mut batches| async move {
                let batch = batches.recv().await?;
                Some((batch, batches))
            });
            // A reader that ended without a word did not end well: never a short answer.
            let end = stream::once(reading).filter_map(|end| async move {
                let lost = |e: tokio::task::JoinError| SqliteError::Unreadable {
                    path: PathBuf::new(),
                    table: String::new(),
                    reason: e.to_string(),
                };
                end.err().map(lost).map(Err)
            });
            Ok(batches.chain(end))
        };
        stream::once(batches)
            .try_flatten()
            .map_err(Coded::into_plan)
            .boxed()
    }
}

type Sender = mpsc::Sender<Result<RecordBatch, SqliteError>>;

impl Statement {
    fn path(&self) -> PathBuf {
        self.file.to_path_buf()
    }

    fn batches(&self, rows: usize, sender: &Sender) -> Result<(), SqliteError> {
        let said = |e: rusqlite::Error| SqliteError::said(&self.file, &self.table, &e);
        let mut connection = open(&self.file).map_err(said)?;
        let (deadline, reader) = (Instant::now() + self.timeout, sender.clone());
        let over = move || reader.is_closed() || Instant::now() > deadline;
        connection
            .progress_handler(STEPS, Some(over))
            .map_err(said)?;
        let mut statement = connection.prepare(&self.sql).map_err(said)?;
        let fields = self.schema.fields();
        let columns = fields.iter().map(|f| Values::of(f.data_type()));
        let mut columns: Vec<_> = columns.collect::<Option<_>>().ok_or_else(|| self.lost())?;
        let (mut bytes, mut count) = (0, 0);
        let mut found = statement.query([]).map_err(said)?;
        while let Some(row) = found.next().map_err(said)? {
            for (i, (values, field)) in columns.iter_mut().zip(fields).enumerate() {
                let value = row.get_ref(i).map_err(said)?;
                let taken = values.take(value);
                bytes += taken.map_err(|what| self.misfit(field, what.to_owned()))?;
            }
            count += 1;
            if count == rows || bytes >= BATCH_BYTES {
                let batch = self.batch(&mut columns, count);
                if sender.blocking_send(batch).is_err() {
                    return Ok(());
                }
                (bytes, count) = (0, 0);
            }
        }
        if count > 0 {
            // The last one: whether it arrives is for its reader to know.
            let _ = sender.blocking_send(self.batch(&mut columns, count));
        }
        Ok(())
    }

    fn batch(&self, columns: &mut [Values], rows: usize) -> Result<RecordBatch, SqliteError> {
        let columns = columns.iter_mut().zip(self.schema.fields());
        let columns = columns.map(|(c, field)| c.finish().map_err(|what| self.misfit(field, what)));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        // An answer of no columns still has rows.
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
        batch.map_err(|_| self.lost())
    }

    fn misfit(&self, field: &arrow::datatypes::Field, what: String) -> SqliteError {
        SqliteError::Value {
            table: self.table.to_string(),
            column: field.name().clone(),
            kind: field.data_type().to_string(),
            what,
        }
    }

    fn lost(&self) -> SqliteError {
        SqliteError::Unreadable {
            path: self.path(),
            table: self.table.to_string(),
            reason: "its columns are not those that were published".to_owned(),
        }
    }
}

/// A connection that can only read (`spec/5-data-plane.md#D-150`), for which a
/// name in double quotes is a column or an error, and which lets the file's own
/// views call nothing that reaches beyond it.
pub(super) fn open(file: &Path) -> rusqlite::Result<Connection> {
    // Not `immutable`: another process may write, and locks are how we would know.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(WAIT_TIMEOUT)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
    ] {
        connection.set_db_config(setting, on)?;
    }
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

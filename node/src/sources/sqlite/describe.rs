//! What a SQLite file says of one of its tables, for a draft of its contract.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use rusqlite::Connection;

use super::read::{self, Statement};
use super::{Databases, SqliteError, SqliteTable, sql};
use crate::products::SqliteSpec;
use crate::query::{advertised, identifier};
use crate::sources::{Described, NO_VALUE};

const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') \
     AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name";
/// Name, declared type, whether nulls are refused, the place in the primary key.
const COLUMNS: &str = "SELECT name, type, \"notnull\", pk FROM pragma_table_info(?1)";
/// The only forms of moments that are taken for such, SQLite's own.
const DATE: &str = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]";
const TIME: &str = "[0-9][0-9]:[0-9][0-9]:[0-9][0-9]";

/// What a file says of a table, before it is one here.
struct Found {
    columns: Vec<(String, DataType)>,
    never_null: BTreeSet<String>,
    primary_key: BTreeMap<i64, String>,
    unread: Vec<(String, String)>,
}

impl Databases {
    /// The tables of the file that `spec` names, in their order.
    pub(in crate::sources) async fn tables(
        &self,
        spec: &SqliteSpec,
    ) -> Result<Vec<String>, SqliteError> {
        self.look(spec, |connection, _| tables(connection)).await
    }

    /// The table that `spec` names, without a contract. The path is absolute.
    ///
    /// SQLite keeps types by value, so all values are looked at: a column that holds
    /// two kinds has no type that a contract could promise.
    pub(in crate::sources) async fn describe(
        &self,
        spec: &SqliteSpec,
    ) -> Result<Described, SqliteError> {
        let there = self.tables(spec).await?;
        if !there.contains(&spec.table) {
            return Err(SqliteError::NoTable {
                path: spec.path.clone(),
                table: spec.table.clone(),
                there,
            });
        }
        let found = self.look(spec, found).await?;
        let fields = found.columns.into_iter();
        let fields = fields.map(|(name, kind)| Field::new(name, kind, true));
        let schema = advertised(&Arc::new(Schema::new(fields.collect::<Vec<_>>())));
        let access = self.access.get(&spec.server).cloned().unwrap_or_default();
        let statement = Statement {
            file: spec.path.as_path().into(),
            table: spec.table.as_str().into(),
            sql: sql::select(&schema, &spec.table, &[], None),
            schema,
            room: self.room(&spec.server, access.connections),
            timeout: Duration::from_secs(access.timeout_seconds.into()),
        };
        Ok(Described {
            table: Arc::new(SqliteTable { statement }),
            never_null: found.never_null,
            types: BTreeMap::new(),
            primary_key: found.primary_key.into_values().collect(),
            unread: found.unread,
        })
    }

    /// Asks the file, off the async runtime.
    async fn look<T: Send + 'static>(
        &self,
        spec: &SqliteSpec,
        ask: impl FnOnce(&Connection, &str) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, SqliteError> {
        let asked = spec.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let answer = read::open(&asked.path).and_then(|c| ask(&c, &asked.table));
            answer.map_err(|e| SqliteError::said(&asked.path, &asked.table, &e))
        });
        answer.await.unwrap_or_else(|stopping| {
            Err(SqliteError::Unreadable {
                path: spec.path.clone(),
                table: spec.table.clone(),
                reason: stopping.to_string(),
            })
        })
    }
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(TABLES)?;
    statement.query_map([], |row| row.get(0))?.collect()
}

fn found(connection: &Connection, table: &str) -> rusqlite::Result<Found> {
    let mut found = Found {
        columns: Vec::new(),
        never_null: BTreeSet::new(),
        primary_key: BTreeMap::new(),
        unread: Vec::new(),
    };
    let mut statement = connection.prepare(COLUMNS)?;
    let mut rows = statement.query([table])?;
    while let Some(row) = rows.next()? {
        let (name, declared): (String, String) = (row.get(0)?, row.get(1)?);
        let (refuses_nulls, place): (bool, i64) = (row.get(2)?, row.get(3)?);
        let declared = declared.to_ascii_uppercase();
        // Another primary key may hold nulls, which is SQLite's oldest bug.
        if refuses_nulls || place > 0 && declared == "INTEGER" {
            found.never_null.insert(name.clone());
        }
        if place > 0 {
            found.primary_key.insert(place, name.clone());
        }
        match kind(connection, table, &name, &declared)? {
            Ok(kind) => found.columns.push((name, kind)),
            Err(why) => found.unread.push((name, why)),
        }
    }
    Ok(found)
}

/// The type of all values of a column, or why there is none.
fn kind(
    connection: &Connection,
    table: &str,
    column: &str,
    declared: &str,
) -> rusqlite::Result<Result<DataType, String>> {
    let (c, t) = (identifier(column), identifier(table));
    let sql = format!(
        "SELECT count(*) FILTER (WHERE typeof({c}) = 'integer'), \
         count(*) FILTER (WHERE typeof({c}) = 'real'), \
         count(*) FILTER (WHERE typeof({c}) = 'text'), \
         count(*) FILTER (WHERE typeof({c}) = 'blob'), \
         count(*) FILTER (WHERE {c} IN (0, 1)), \
         count(*) FILTER (WHERE {c} GLOB '{DATE}'), \
         count(*) FILTER (WHERE {c} GLOB '{DATE}[ T]{TIME}') FROM {t}"
    );
    let counts = connection.query_row(&sql, [], |row| {
        let counts: rusqlite::Result<Vec<i64>> = (0..7).map(|at| row.get(at)).collect();
        counts
    })?;
    let [integers, reals, texts, blobs, truths, dates, moments] = counts[..] else {
        return Err(rusqlite::Error::QueryReturnedNoRows);
    };
    let says = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    Ok(match (integers, reals, texts, blobs) {
        (0, 0, 0, 0) if says(&["INT"]) => Ok(DataType::Int64),
        (0, 0, 0, 0) if says(&["CHAR", "CLOB", "TEXT", "DATE", "TIME"]) => Ok(DataType::Utf8),
        (0, 0, 0, 0) if says(&["REAL", "FLOA", "DOUB"]) => Ok(DataType::Float64),
        (0, 0, 0, 0) => Err(NO_VALUE.to_owned()),
        (all, 0, 0, 0) if says(&["BOOL"]) && all == truths => Ok(DataType::Boolean),
        (_, 0, 0, 0) => Ok(DataType::Int64),
        (_, _, 0, 0) => Ok(DataType::Float64),
        (0, 0, all, 0) if says(&["DATE", "TIME"]) && all == dates => Ok(DataType::Date32),
        (0, 0, all, 0) if says(&["DATE", "TIME"]) && all == moments => {
            Ok(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        (0, 0, _, 0) => Ok(DataType::Utf8),
        (0, 0, 0, _) => Ok(DataType::Binary),
        _ => Err(
            "it holds values of several kinds (numbers, texts, blobs); name a view with one"
                .to_owned(),
        ),
    })
}

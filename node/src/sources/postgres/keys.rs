//! In which columns of a table no two rows are equal, and what a join that
//! relies on it looks at again before it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_postgres::{Client, Error};

use super::error::PostgresError;
use super::server::Server;
use super::{Column, sql};

/// A set of columns in which no two rows are equal.
pub(super) type Key = BTreeSet<String>;

/// Every unique index over whole columns and all rows, one row for each of its
/// columns. A parent's index does not cover the tables that inherit from it,
/// whose rows are read with it; one of a partitioned table does.
const UNIQUE: &str = "SELECT i.indexrelid, a.attname::text FROM pg_catalog.pg_index i \
     JOIN pg_catalog.pg_class c ON c.oid = i.indrelid \
     CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, place) \
     JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
     WHERE i.indrelid = $1::text::regclass AND i.indisunique AND i.indisvalid \
     AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts \
     AND (c.relkind = 'p' OR NOT EXISTS \
     (SELECT 1 FROM pg_catalog.pg_inherits h WHERE h.inhparent = i.indrelid))";

/// The keys of a table when they were last looked at.
#[derive(Debug, Default)]
pub(super) struct Keys(RwLock<Vec<Key>>);

impl Keys {
    /// As the database has them now. A view has none.
    pub(super) async fn of(client: &Client, table: &str) -> Result<Self, Error> {
        Ok(Self::known(read(client, table).await?))
    }

    /// Known otherwise.
    pub(super) fn known(keys: Vec<Key>) -> Self {
        Self(RwLock::new(keys))
    }

    pub(super) fn now(&self) -> Vec<Key> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn read(client: &Client, table: &str) -> Result<Vec<Key>, Error> {
    let mut keys: BTreeMap<u32, Key> = BTreeMap::new();
    for row in client.query(UNIQUE, &[&table]).await? {
        keys.entry(row.try_get(0)?)
            .or_default()
            .insert(row.try_get(1)?);
    }
    Ok(keys.into_values().collect())
}

/// What a joined statement takes for granted of one of its tables.
#[derive(Clone, Debug)]
pub(super) struct Relied {
    pub(super) table: Arc<str>,
    /// Those that it uses.
    pub(super) columns: Vec<Column>,
    /// The keys that the table had when the statement was planned.
    pub(super) had: Vec<Key>,
    pub(super) keys: Arc<Keys>,
}

impl Relied {
    /// Looks whether it is still so, once the statement has its locks: an index
    /// that went would let a partner's join multiply rows at the owner's server.
    pub(super) async fn holds(
        &self,
        server: &Server,
        client: &Client,
    ) -> Result<(), PostgresError> {
        let failed = |e| server.failure(&self.table, &e);
        let statement = sql::select(&self.columns, &self.table, &[], None);
        let found = client.prepare(&statement).await.map_err(failed)?;
        for (column, found) in self.columns.iter().zip(found.columns()) {
            column.reads(&self.table, found.type_())?;
        }
        let now = read(client, &self.table).await.map_err(failed)?;
        let whole = self.had.iter().all(|key| now.contains(key));
        // What is planned from now on is planned with these.
        *self.keys.0.write().unwrap_or_else(PoisonError::into_inner) = now;
        match whole {
            true => Ok(()),
            false => Err(PostgresError::KeyGone {
                table: self.table.to_string(),
            }),
        }
    }
}

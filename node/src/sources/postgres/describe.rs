//! What a database says of one of its tables, for a draft of its contract.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::DataType;

use super::{Column, Kind, PostgresError, PostgresTable, Server, Servers, schema, sql};
use crate::products::{PostgresSpec, nearest};
use crate::sources::Described;

/// Name, whether nulls are refused, and the type, of every column; then the primary key.
/// A type that the owner made has a name that is nobody else's business: a contract
/// publishes its physical types.
const COLUMNS: &str = "SELECT attname::text, attnotnull, \
     CASE typnamespace WHEN 'pg_catalog'::regnamespace \
     THEN pg_catalog.format_type(atttypid, atttypmod) END \
     FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_type t ON t.oid = atttypid \
     WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped";
const PRIMARY_KEY: &str = "SELECT a.attname::text FROM pg_catalog.pg_index i \
     CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, place) \
     JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
     WHERE i.indrelid = $1::text::regclass AND i.indisprimary ORDER BY k.place";

/// Tables that the user may read, those of the schema first.
const READABLE: &str = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind = ANY ('{r,v,m,f,p}') AND n.nspname !~ '^pg_' \
     AND n.nspname <> 'information_schema' AND has_schema_privilege(n.oid, 'USAGE') \
     AND has_table_privilege(c.oid, 'SELECT') ORDER BY n.nspname <> $1, 1, 2 LIMIT 1000";
/// How many of them are shown where none is nearly the one that was meant.
const SHOWN: usize = 10;

/// The error, with the table that was meant, or those that there are.
async fn named(error: PostgresError, server: &Server, spec: &PostgresSpec) -> PostgresError {
    let PostgresError::NoTable {
        server: name,
        table,
        reason,
        ..
    } = error
    else {
        return error;
    };
    // Without them the error is still the error.
    let there = readable(server, &spec.schema).await.unwrap_or_default();
    let meant = format!("{}.{}", spec.schema, spec.table);
    let near = nearest(&meant, there.iter().map(String::as_str)).map(str::to_owned);
    let same = there
        .iter()
        .find(|table| table.ends_with(&format!(".{}", spec.table)));
    let there = match near.or_else(|| same.cloned()) {
        Some(near) => vec![near],
        None => there.into_iter().take(SHOWN).collect(),
    };
    PostgresError::NoTable {
        server: name,
        table,
        reason,
        there,
    }
}

async fn readable(server: &Server, schema: &str) -> Result<Vec<String>, PostgresError> {
    let failed = |e| server.failure(schema, &e);
    let session = server.begin().await?;
    let rows = session.client()?.query(READABLE, &[&schema]).await;
    let tables = rows.map_err(failed)?.into_iter().map(|row| {
        let (schema, table): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        Ok(format!("{schema}.{table}"))
    });
    let tables = tables.collect::<Result<_, _>>().map_err(failed)?;
    session.end().await.map_err(failed)?;
    Ok(tables)
}

impl Servers<Server> {
    /// The table that `spec` names, without a contract.
    pub(in crate::sources) async fn describe(
        &self,
        spec: &PostgresSpec,
    ) -> Result<Described, PostgresError> {
        let server = self.server(&spec.server);
        let table = sql::table(&spec.schema, &spec.table);
        let failed = |e| server.failure(&table, &e);
        let session = server.begin().await?;
        let client = session.client()?;
        let statement = format!("SELECT * FROM {table}");
        let described = match client.prepare(&statement).await {
            Ok(described) => described,
            Err(e) => return Err(named(failed(e), &server, spec).await),
        };
        // The right to read is looked at when a statement runs, not before.
        let nothing = format!("{statement} LIMIT 0");
        client.execute(&nothing, &[]).await.map_err(failed)?;
        let (mut columns, mut unread) = (Vec::new(), Vec::new());
        for found in described.columns() {
            // Nothing is promised yet, so a number without a precision has no type.
            let kind = Kind::of(found.type_(), found.type_modifier(), &DataType::Null);
            match kind {
                Ok(kind) => columns.push(Column::new(found.name(), kind)),
                Err(instead) => {
                    let why = format!("{}: {instead}", found.type_().name());
                    unread.push((found.name().to_owned(), why));
                }
            }
        }
        let rows = client.query(COLUMNS, &[&table]).await.map_err(failed)?;
        let (mut never_null, mut types) = (BTreeSet::new(), BTreeMap::new());
        for row in rows {
            let name: String = row.try_get(0).map_err(failed)?;
            if row.try_get(1).map_err(failed)? {
                never_null.insert(name.clone());
            }
            if let Some(kind) = row.try_get(2).map_err(failed)? {
                types.insert(name, kind);
            }
        }
        let rows = client.query(PRIMARY_KEY, &[&table]).await.map_err(failed)?;
        let primary_key = rows.iter().map(|row| row.try_get(0));
        let primary_key = primary_key.collect::<Result<_, _>>().map_err(failed)?;
        let encoding = client.query_one("SHOW server_encoding", &[]).await;
        let encoding: String = encoding.and_then(|row| row.try_get(0)).map_err(failed)?;
        drop(described);
        session.end().await.map_err(failed)?;
        let table = Arc::from(table);
        let table = PostgresTable {
            schema: schema(&columns),
            relation: Arc::clone(&table),
            table,
            // A draft is read table by table.
            keys: Arc::default(),
            relied: Vec::new(),
            columns,
            utf8: encoding == "UTF8",
            server,
        };
        Ok(Described {
            table: Arc::new(table),
            never_null,
            types,
            primary_key,
            unread,
        })
    }
}

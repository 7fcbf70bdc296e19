//! In which columns of a table no two rows are equal.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Client, Error};

/// Every unique index over whole columns and all rows, one row for each of its columns.
const UNIQUE: &str = "SELECT i.indexrelid, a.attname::text FROM pg_catalog.pg_index i \
     CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, place) \
     JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
     WHERE i.indrelid = $1::text::regclass AND i.indisunique AND i.indisvalid \
     AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts";

/// The sets of columns that a unique index is over. A view has none.
pub(super) async fn of(client: &Client, table: &str) -> Result<Vec<BTreeSet<String>>, Error> {
    let mut keys: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for row in client.query(UNIQUE, &[&table]).await? {
        keys.entry(row.try_get(0)?)
            .or_default()
            .insert(row.try_get(1)?);
    }
    Ok(keys.into_values().collect())
}

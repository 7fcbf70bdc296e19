//! The store in memory: for tests and simulations.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use super::store::{self, Entry, Op, Store, StoreError, Table};

/// A store that lives and dies with the process.
#[derive(Debug, Default)]
pub struct MemStore {
    tables: RwLock<BTreeMap<Table, Rows>>,
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

impl Store for MemStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        Ok(tables.get(&table).and_then(|t| t.get(key)).cloned())
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        // `BTreeMap::range` panics on a range that ends before it begins.
        if !to.is_empty() && from >= to {
            return Ok(Vec::new());
        }
        let end = if to.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(to)
        };
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        Ok(tables.get(&table).map_or_else(Vec::new, |t| {
            t.range::<[u8], _>((Bound::Included(from), end))
                .take(limit)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        }))
    }

    fn apply(&self, table: Table, batch: &[Op]) -> Result<(), StoreError> {
        store::check(batch)?;
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let rows = tables.entry(table).or_default();
        for op in batch {
            match op {
                Op::Put { key, value } => rows.insert(key.clone(), value.clone()),
                Op::Delete { key } => rows.remove(key),
            };
        }
        Ok(())
    }

    fn barrier(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

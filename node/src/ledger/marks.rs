//! The keyring's high-water marks, in the journal.

use std::sync::Arc;

use comity_identity::keyring::{self, MarkStore, StoreFailure};

use super::{Facet, Ledger, Record};
use crate::index::Table;

/// Keeps the keyring's records in the ledger.
///
/// [`MarkStore::save`] waits for the disk: call the keyring on a blocking
/// thread, never on a network task.
#[derive(Debug)]
pub struct Marks(Arc<Ledger>);

impl Marks {
    /// Marks kept in `ledger`.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Self(ledger)
    }
}

impl MarkStore for Marks {
    fn load(&self) -> Result<Vec<keyring::Record>, StoreFailure> {
        let all = self
            .0
            .scan(Table::Organizations, &[])
            .map_err(StoreFailure::new)?;
        let known = all
            .into_iter()
            .filter(|(key, _)| key.last() == Some(&(Facet::Known as u8)));
        Ok(known
            .filter_map(|(_, record)| match record {
                Record::Known(record) => Some(record),
                _ => None,
            })
            .collect())
    }

    fn save(&self, record: &keyring::Record) -> Result<(), StoreFailure> {
        let record = Record::Known(record.clone());
        self.0
            .commit_all_blocking(&[record])
            .map_err(StoreFailure::new)?;
        Ok(())
    }
}

//! The data of own products: opened when they are published, after a start, and
//! when it comes back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use comity_identity::Digest;
use datafusion::catalog::TableProvider;

use super::kept;
use super::{Catalog, OwnProduct, write};
use crate::failure::Failure;
use crate::ledger::Published;
use crate::products::{self, Contract};
use crate::sources::{SourceError, Warehouses};

/// The data of each table, or why it cannot be read.
pub(super) type Sources = BTreeMap<String, Result<Arc<dyn TableProvider>, String>>;

impl Catalog {
    /// Opens again what could not be opened before: a source may come back, and
    /// nobody should have to publish for it.
    pub async fn reopen_sources(&self) {
        for product in self.own_products() {
            if !product.sources.is_empty() && product.sources.values().all(Result::is_ok) {
                continue;
            }
            let (file, digest) = (&product.file, product.file_digest);
            let Some(contract) = kept::recall(&self.kept, file, digest).await else {
                continue;
            };
            let sources = open_sources(&contract, &self.warehouses).await;
            if sources.is_empty() || sources.values().any(Result::is_err) {
                continue;
            }
            let mut products = write(&self.products);
            // Unless it was published meanwhile, with sources of its own.
            let same = |p: &Arc<OwnProduct>| Arc::ptr_eq(p, &product);
            let address = product.address().to_string();
            if products.get(&address).is_some_and(same) {
                tracing::info!(product = address, "the data can be read again");
                let reopened = OwnProduct {
                    descriptor: product.descriptor.clone(),
                    text: product.text.clone(),
                    digest: product.digest,
                    file: product.file.clone(),
                    file_digest: product.file_digest,
                    sources,
                };
                products.insert(address, Arc::new(reopened));
            }
        }
    }
}

/// Why a table of a contract cannot be read, and what to do about it: the contract
/// is at fault only where it names what is not there.
pub(super) fn unreadable(table: &str, error: &SourceError) -> Failure {
    let failure = Failure::caller("source", format!("table {table}: {error}"));
    match error.is_of_contract() {
        true => failure.next("correct 'servers' or 'schema' in the contract"),
        false => failure,
    }
}

/// Reads a contract off the async runtime: it validates a large JSON schema.
pub(super) async fn read_contract(path: &Path) -> Result<(Contract, Digest), Failure> {
    let path: PathBuf = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let contract = products::read(&path)
            .map_err(|problems| Failure::caller("contract", problems.to_string()))?;
        let bytes = std::fs::read(&path)
            .map_err(|e| Failure::caller("contract", format!("{}: {e}", path.display())))?;
        Ok((contract, Digest::of(&bytes)))
    });
    read.await
        .map_err(|_| Failure::own("stopping", "the node is stopping"))?
}

/// The sources of a contract, each with the error that it has.
pub(super) async fn open_each(
    contract: &Contract,
    warehouses: &Warehouses,
) -> BTreeMap<String, Result<Arc<dyn TableProvider>, SourceError>> {
    let mut opened = BTreeMap::new();
    for table in contract.tables() {
        if let Some(spec) = contract.sources().get(&table.name) {
            let source = warehouses.open(spec, table, contract.folder()).await;
            opened.insert(table.name.clone(), source);
        }
    }
    opened
}

pub(super) async fn open_sources(contract: &Contract, warehouses: &Warehouses) -> Sources {
    let opened = open_each(contract, warehouses).await.into_iter();
    opened
        .map(|(table, source)| (table, source.map_err(|e| e.to_string())))
        .collect()
}

/// Opens the sources of a product that was published before. What cannot be
/// opened now is refused to partners with a stable code, and named in the log.
pub(super) async fn reopen(stored: &Published, kept: &Path, warehouses: &Warehouses) -> Sources {
    // The file may hold the next major by now: what was announced is what is served.
    if let Some(contract) = kept::recall(kept, &stored.file, stored.file_digest).await {
        return reported(stored, open_sources(&contract, warehouses).await);
    }
    let sources = match read_contract(&stored.file).await {
        Ok((contract, digest)) => {
            if digest != stored.file_digest {
                tracing::warn!(product = stored.product, file = %stored.file.display(), "the contract changed since it was published; publish it again to announce the change");
            }
            open_sources(&contract, warehouses).await
        }
        Err(error) => {
            tracing::error!(product = stored.product, %error, "the contract cannot be read");
            Sources::new()
        }
    };
    reported(stored, sources)
}

/// The sources, after the owner's log was told which cannot be read.
fn reported(stored: &Published, sources: Sources) -> Sources {
    for (table, source) in &sources {
        if let Err(reason) = source {
            tracing::error!(
                product = stored.product,
                table,
                reason,
                "the data cannot be read"
            );
        }
    }
    sources
}

//! What we know: our products and theirs.
//!
//! There is one way into the catalog of another organization,
//! [`Catalog::admit`] and then [`Catalog::complete`], for heads that were gossiped, said in a Hello, fetched
//! or read from the journal (A40).

mod foreign;
mod kept;
mod lifecycle;
mod own;
pub mod preview;
mod publish;
mod results;
mod shape;
mod sources;
mod take;
pub mod types;
mod versions;
mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use comity_identity::keyring::Keyring;
use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::catalog::{DescriptorList, VerifiedHead};
use comity_protocol::keys::StatementError;
use comity_protocol::product::{DESCRIPTOR, Descriptor, VerifiedDescriptor};
use comity_protocol::version::Version;

pub use foreign::Foreign;
pub use own::OwnProduct;
pub use publish::Announcement;
use results::Chains;
pub use results::{Measurement, Stated};
use take::Fetched;
pub use take::{MAX_CATALOG_BYTES, News};
pub use versions::in_words;
pub use view::{describe, matches};

use crate::failure::Failure;
use crate::index::Table;
use crate::ledger::{Facet, ForeignHead, Ledger, Record, descriptor_key, org_key};
use crate::own::Own;
use crate::sources::Warehouses;

/// Own products and partners' catalogs.
#[derive(Debug)]
pub struct Catalog {
    ledger: Arc<Ledger>,
    own: Arc<Own>,
    keyring: Arc<Keyring>,
    warehouses: Warehouses,
    products: RwLock<BTreeMap<String, Arc<OwnProduct>>>,
    retired: RwLock<BTreeMap<String, Version>>,
    announced: RwLock<Option<Announced>>,
    foreign: RwLock<BTreeMap<OrgId, Foreign>>,
    /// Where the contract of every announced version is kept as it was.
    kept: PathBuf,
    /// One publication at a time: heads are numbered.
    publishing: tokio::sync::Mutex<()>,
    /// One foreign head at a time between the look at the known one and the
    /// moment when the new one is shown. Held for one small write.
    taking: tokio::sync::Mutex<()>,
    fetched: Mutex<Fetched>,
    /// What was measured, of every product here.
    chains: RwLock<Chains>,
    /// One statement of results at a time: they are numbered.
    stating: tokio::sync::Mutex<()>,
}

/// What this organization announces now.
#[derive(Clone, Debug)]
pub struct Announced {
    /// The head's number.
    pub seq: u64,
    /// The signed head.
    pub head: String,
    /// The list that it commits to.
    pub list: String,
    /// The list of results that it commits to, once something was measured.
    pub results: Option<String>,
    /// Until when the head holds.
    pub expires: Timestamp,
}

impl Catalog {
    /// Reads both catalogs from the ledger. Sources are opened; one that is
    /// missing is reported and the product stays announced. `kept` is the
    /// folder of the announced contracts.
    pub async fn load(
        ledger: Arc<Ledger>,
        own: Arc<Own>,
        keyring: Arc<Keyring>,
        kept: PathBuf,
        warehouses: Warehouses,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let catalog = Self {
            kept,
            retired: RwLock::default(),
            ledger,
            own,
            keyring,
            warehouses,
            products: RwLock::default(),
            announced: RwLock::default(),
            foreign: RwLock::default(),
            publishing: tokio::sync::Mutex::default(),
            taking: tokio::sync::Mutex::default(),
            fetched: Mutex::default(),
            chains: RwLock::default(),
            stating: tokio::sync::Mutex::default(),
        };
        catalog.load_own().await?;
        catalog.load_chains()?;
        for (_, record) in catalog.ledger.scan(Table::Heads, &[])? {
            let Record::ForeignHead(stored) = record else {
                continue;
            };
            match catalog.recall(&stored, now) {
                Ok(foreign) => {
                    write(&catalog.foreign).insert(stored.org, foreign);
                }
                // Expired, or its keys are gone: the network brings the present one.
                Err(error) => {
                    tracing::info!(org = %stored.org, %error, "left out a stored catalog")
                }
            }
        }
        Ok(catalog)
    }

    /// The statements with these digests that others may fetch: this
    /// organization's own lists, descriptors and results.
    pub fn serve(&self, digests: &[Digest]) -> Vec<String> {
        let announced = self.announced();
        let products = read(&self.products);
        let lookup = |digest: &Digest| {
            let lists = announced.iter();
            lists
                .flat_map(|a| [Some(&a.list), a.results.as_ref()])
                .flatten()
                .find(|list| Digest::of(list.as_bytes()) == *digest)
                .or_else(|| {
                    products
                        .values()
                        .find(|p| p.digest == *digest)
                        .map(|p| &p.text)
                })
                .cloned()
                .or_else(|| self.own_statement(digest))
        };
        digests.iter().filter_map(lookup).collect()
    }

    /// What this organization announces now.
    pub fn announced(&self) -> Option<Announced> {
        read(&self.announced).clone()
    }

    /// Own products, by address.
    pub fn own_products(&self) -> Vec<Arc<OwnProduct>> {
        read(&self.products).values().cloned().collect()
    }

    /// The own product at this address.
    pub fn own_product(&self, address: &str) -> Option<Arc<OwnProduct>> {
        read(&self.products).get(address).cloned()
    }

    /// A partner's product.
    pub fn foreign_product(&self, org: &OrgId, name: &str) -> Option<Arc<VerifiedDescriptor>> {
        read(&self.foreign).get(org)?.product(name).cloned()
    }

    /// A partner's products.
    pub fn foreign_products(&self, org: &OrgId) -> Vec<Arc<VerifiedDescriptor>> {
        let foreign = read(&self.foreign);
        let products = foreign.get(org).into_iter().flat_map(Foreign::products);
        products.map(|(_, d)| Arc::clone(d)).collect()
    }

    /// A descriptor of `org` with this id, current or read before.
    pub fn descriptor(&self, org: &OrgId, id: &Digest) -> Option<Arc<VerifiedDescriptor>> {
        read(&self.foreign).get(org)?.descriptor(id).cloned()
    }

    /// Whether `org` announced `address` once and no longer does, as far as is
    /// known: not of an organization whose catalog was never seen or is set aside.
    pub fn is_withdrawn(&self, org: &OrgId, address: &str) -> bool {
        let foreign = read(&self.foreign);
        foreign.get(org).is_some_and(|f| {
            f.seq().is_some() && !f.is_contradicted() && f.product(address).is_none()
        })
    }

    /// A descriptor of `org` that was announced once and verified then, though
    /// it may be withdrawn or out of date now: for its shape, never for a right.
    pub fn remembered(&self, org: &OrgId, id: &Digest) -> Option<Descriptor> {
        let stored = self
            .ledger
            .get(Table::Descriptors, &descriptor_key(org, id));
        let Ok(Some(Record::ForeignDescriptor(statement))) = stored else {
            return None;
        };
        publish::recall(DESCRIPTOR, &statement.text).ok()
    }

    /// Whether `org` contradicts itself now: two heads with the newest number,
    /// or two documents with the version that is known (A36).
    pub fn is_contradicted(&self, org: &OrgId) -> bool {
        let heads = read(&self.foreign)
            .get(org)
            .is_some_and(Foreign::is_contradicted);
        heads || self.has_two_documents(org)
    }

    fn has_two_documents(&self, org: &OrgId) -> bool {
        let key = org_key(org, Facet::TwoDocuments);
        let stored = self.ledger.get(Table::Organizations, &key);
        let version = self.keyring.get(org).map(|o| o.document().version());
        matches!(stored, Ok(Some(Record::Contradiction(c))) if Some(c.number) == version)
    }

    fn recall(&self, stored: &ForeignHead, now: Timestamp) -> Result<Foreign, Failure> {
        let bad = |e: StatementError| Failure::partner("bad-catalog", &stored.org.short(), e);
        let head =
            VerifiedHead::verify(&stored.head, &stored.org, &*self.keyring, now).map_err(bad)?;
        let list = DescriptorList::read(&stored.list, &head).map_err(bad)?;
        let mut descriptors = Vec::new();
        for digest in list.digests() {
            descriptors.push(self.stored(&stored.org, digest, now)?);
        }
        let mut foreign = Foreign::new(head, stored.list.clone(), descriptors);
        let key = org_key(&stored.org, Facet::TwoHeads);
        if let Some(Record::Contradiction(c)) = self.ledger.get(Table::Organizations, &key)?
            && foreign.seq() == Some(c.number)
        {
            foreign.recall_contradiction();
        }
        Ok(foreign)
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

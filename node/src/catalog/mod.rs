//! What we know: our products and theirs.
//!
//! There is one way into the catalog of another organization,
//! [`Catalog::admit`], for heads that were gossiped, said in a Hello, fetched
//! or read from the journal (A40).

mod foreign;
mod own;
mod publish;
pub mod types;
mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use comity_identity::keyring::Keyring;
use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::catalog::{DescriptorList, Standing, VerifiedHead};
use comity_protocol::keys::StatementError;
use comity_protocol::product::VerifiedDescriptor;

pub use foreign::Foreign;
pub use own::OwnProduct;
pub use view::{describe, matches};

use crate::failure::Failure;
use crate::index::Table;
use crate::ledger::{ForeignHead, Ledger, Record, Statement, descriptor_key};
use crate::own::Own;

/// Own products and partners' catalogs.
#[derive(Debug)]
pub struct Catalog {
    ledger: Arc<Ledger>,
    own: Arc<Own>,
    keyring: Arc<Keyring>,
    products: RwLock<BTreeMap<String, Arc<OwnProduct>>>,
    announced: RwLock<Option<Announced>>,
    foreign: RwLock<BTreeMap<OrgId, Foreign>>,
    /// One publication at a time: heads are numbered.
    publishing: tokio::sync::Mutex<()>,
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
    /// Until when the head holds.
    pub expires: Timestamp,
}

/// What a received head asks for.
#[derive(Clone, Debug)]
pub enum News {
    /// Nothing: it is known, older, or contradicts what is known.
    Nothing(Standing),
    /// Fetch the list with this digest, then [`Catalog::missing`].
    Fetch(Box<VerifiedHead>),
}

impl Catalog {
    /// Reads both catalogs from the ledger. Sources are opened; one that is
    /// missing is reported and the product stays announced.
    pub async fn load(
        ledger: Arc<Ledger>,
        own: Arc<Own>,
        keyring: Arc<Keyring>,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let catalog = Self {
            ledger,
            own,
            keyring,
            products: RwLock::default(),
            announced: RwLock::default(),
            foreign: RwLock::default(),
            publishing: tokio::sync::Mutex::default(),
        };
        catalog.load_own().await?;
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

    /// What `text`, a head that came by any way, means here. The signature is
    /// checked against the keys of the organization that it names.
    pub fn admit(&self, text: &str, now: Timestamp) -> Result<(OrgId, News), StatementError> {
        let org = VerifiedHead::claimed_org(text)?;
        let head = VerifiedHead::verify(text, &org, &*self.keyring, now)?;
        let mut foreign = write(&self.foreign);
        let standing = foreign
            .get(&org)
            .map_or(Standing::Newer, |f| f.standing(&head));
        match standing {
            Standing::Newer => return Ok((org, News::Fetch(Box::new(head)))),
            Standing::Equivocation => {
                tracing::warn!(%org, seq = head.head().seq, "two heads with one number: the catalog is set aside");
                foreign.entry(org).or_default().contradicted(&head);
            }
            Standing::Same | Standing::Older => {}
        }
        Ok((org, News::Nothing(standing)))
    }

    /// The descriptors of `list` that are not here yet.
    pub fn missing(&self, org: &OrgId, list: &DescriptorList) -> Vec<Digest> {
        let foreign = read(&self.foreign);
        let known = foreign.get(org);
        let here = |digest: &Digest| known.is_some_and(|f| f.descriptor(digest).is_some());
        list.digests()
            .iter()
            .copied()
            .filter(|d| !here(d))
            .collect()
    }

    /// Takes over a complete catalog: the head, its list, and the texts of the
    /// descriptors that were missing. Journalled before it is shown.
    pub async fn complete(
        &self,
        head: VerifiedHead,
        list_text: String,
        fetched: Vec<String>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let org = head.head().org;
        let refused = |e: StatementError| Failure::partner("bad-catalog", &org.short(), e);
        let list = DescriptorList::read(&list_text, &head).map_err(refused)?;
        let mut descriptors = BTreeMap::new();
        let mut records = Vec::new();
        for text in fetched {
            let descriptor =
                VerifiedDescriptor::verify(&text, &org, &*self.keyring, now).map_err(refused)?;
            descriptors.insert(descriptor.digest(), descriptor);
            records.push(Record::ForeignDescriptor(Statement { org, text }));
        }
        {
            let foreign = read(&self.foreign);
            for digest in list.digests() {
                let known = foreign.get(&org).and_then(|f| f.descriptor(digest));
                if let Some(known) = known {
                    descriptors
                        .entry(*digest)
                        .or_insert_with(|| VerifiedDescriptor::clone(known));
                }
            }
        }
        descriptors.retain(|digest, _| list.digests().binary_search(digest).is_ok());
        if descriptors.len() != list.digests().len() {
            return Err(refused(StatementError::Rule(
                "descriptors of the list are missing",
            )));
        }
        records.push(Record::ForeignHead(ForeignHead {
            org,
            head: head.text().to_owned(),
            list: list_text.clone(),
        }));
        self.ledger.commit_all(&records).await?;
        let mut foreign = write(&self.foreign);
        // Another way may have brought a newer head meanwhile.
        let standing = foreign
            .get(&org)
            .map_or(Standing::Newer, |f| f.standing(&head));
        if standing == Standing::Newer {
            foreign.insert(
                org,
                Foreign::new(head, list_text, descriptors.into_values()),
            );
        }
        Ok(())
    }

    /// The statements with these digests that others may fetch: this
    /// organization's own list and descriptors.
    pub fn serve(&self, digests: &[Digest]) -> Vec<String> {
        let announced = self.announced();
        let products = read(&self.products);
        let lookup = |digest: &Digest| {
            let list = announced.as_ref().map(|a| &a.list);
            list.filter(|list| Digest::of(list.as_bytes()) == *digest)
                .or_else(|| {
                    products
                        .values()
                        .find(|p| p.digest == *digest)
                        .map(|p| &p.text)
                })
                .cloned()
        };
        digests.iter().filter_map(lookup).collect()
    }

    /// What this organization announces now.
    pub fn announced(&self) -> Option<Announced> {
        read(&self.announced).clone()
    }

    /// Own products, by name.
    pub fn own_products(&self) -> Vec<Arc<OwnProduct>> {
        read(&self.products).values().cloned().collect()
    }

    /// The own product of this name.
    pub fn own_product(&self, name: &str) -> Option<Arc<OwnProduct>> {
        read(&self.products).get(name).cloned()
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

    fn recall(&self, stored: &ForeignHead, now: Timestamp) -> Result<Foreign, Failure> {
        let bad = |e: StatementError| Failure::partner("bad-catalog", &stored.org.short(), e);
        let head =
            VerifiedHead::verify(&stored.head, &stored.org, &*self.keyring, now).map_err(bad)?;
        let list = DescriptorList::read(&stored.list, &head).map_err(bad)?;
        let mut descriptors = Vec::new();
        for digest in list.digests() {
            let key = descriptor_key(&stored.org, digest);
            let Some(Record::ForeignDescriptor(statement)) =
                self.ledger.get(Table::Descriptors, &key)?
            else {
                return Err(bad(StatementError::Rule("a stored descriptor is missing")));
            };
            let descriptor =
                VerifiedDescriptor::verify(&statement.text, &stored.org, &*self.keyring, now)
                    .map_err(bad)?;
            descriptors.push(descriptor);
        }
        Ok(Foreign::new(head, stored.list.clone(), descriptors))
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

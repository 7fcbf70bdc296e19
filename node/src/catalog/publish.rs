//! Announcing: a contract becomes a descriptor, a list and a head.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use comity_identity::envelope::{Compact, Typ};
use comity_identity::{Digest, Signer as _, Timestamp};
use comity_protocol::catalog::{DescriptorList, HEAD, Head, MAX_HEAD_LIFETIME, MAX_PRODUCTS};
use comity_protocol::product::{DESCRIPTOR, Deprecation, Descriptor, MAX_DESCRIPTOR_LIFETIME};
use comity_protocol::version::{NotAVersion, Version};

use super::kept;
use super::shape::shape;
use super::sources::{Sources, open_each, read_contract, reopen, unreadable};
use super::versions::{self, address_of};
use super::{Announced, Catalog, MAX_CATALOG_BYTES, OwnProduct, read, write};
use crate::failure::Failure;
use crate::index::Table;
use crate::ledger::{self, OWN, Published, Record};
use crate::products::Contract;

/// How long the terms of an offer reach ahead. A request names its own, shorter time.
const OFFER_LIFETIME: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);

/// A head with less than this left is signed anew, with every descriptor.
const RENEW_BEFORE: Duration = Duration::from_secs(15 * 24 * 60 * 60);

/// A product that was just announced.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// The product.
    pub product: Arc<OwnProduct>,
    /// Changes by which more may leave the organization, in words.
    pub second_looks: Vec<String>,
}

impl Catalog {
    /// Reads the ODCS file at `path`, opens its sources, and announces the
    /// product. Nothing is announced that could not be served now, or whose
    /// version is too low for what changed.
    pub async fn publish(&self, path: &Path, now: Timestamp) -> Result<Announcement, Failure> {
        let (contract, file_digest) = read_contract(path).await?;
        if !contract.status().announced() {
            return Err(Failure::caller(
                "not-announced",
                "a contract with this status is not announced: its status says draft, proposed or retired",
            )
            .next("write 'status: active' when it is ready for partners"));
        }
        let mut sources = Sources::new();
        for (table, source) in open_each(&contract, &self.warehouses).await {
            let source = source.map_err(|e| unreadable(&table, &e))?;
            sources.insert(table, Ok(source));
        }
        let _one = self.publishing.lock().await;
        let version: Version = contract
            .version()
            .parse()
            .map_err(|e: NotAVersion| Failure::caller("contract", e.to_string()))?;
        self.may_be_announced(contract.name(), version)?;
        let before = self.own_product(&address_of(contract.name(), version));
        let descriptor = self.descriptor_of(&contract, &sources, before.as_deref(), now)?;
        let second_looks = match &before {
            Some(before) => versions::risen(&before.descriptor, &descriptor)?,
            None => Vec::new(),
        };
        let text = descriptor
            .sign(&*self.own.keys().issuer)
            .map_err(|e| Failure::caller("descriptor", e.to_string()))?;
        kept::keep(&self.kept, path, file_digest).await?;
        let product = Arc::new(OwnProduct {
            digest: Digest::of(text.as_bytes()),
            descriptor,
            text,
            file: path.to_owned(),
            file_digest,
            sources,
        });
        self.announce(vec![Arc::clone(&product)], None, now).await?;
        Ok(Announcement {
            product,
            second_looks,
        })
    }

    /// Signs head and descriptors anew when they would soon run out. Gives whether it did.
    pub async fn refresh(&self, now: Timestamp) -> Result<bool, Failure> {
        let _one = self.publishing.lock().await;
        let Some(announced) = self.announced() else {
            return Ok(false);
        };
        // What a replaced key signed is signed anew while the old one still counts,
        // or at once when it was stolen (spec/2-identity.md#I-55).
        let in_use = self.own.keys().issuer.public().id();
        let head = Compact::parse(HEAD, &announced.head);
        let is_ours = head.is_ok_and(|head| head.claimed_kid() == in_use);
        if is_ours && announced.expires.since(now) > RENEW_BEFORE {
            let products = read(&self.products).clone();
            if announced.list == list_of(&products).to_text()
                && announced.results == self.results_of(&products)
            {
                return Ok(false);
            }
            // The node was killed between the products and their head.
            self.announce(Vec::new(), None, now).await?;
            return Ok(true);
        }
        let mut renewed = Vec::new();
        for product in self.own_products() {
            renewed.push(self.renewed(&product, product.descriptor.deprecation.clone(), now)?);
        }
        self.announce(renewed, None, now).await?;
        Ok(true)
    }

    /// The same product under a new descriptor, with this end.
    pub(super) fn renewed(
        &self,
        product: &OwnProduct,
        deprecation: Option<Deprecation>,
        now: Timestamp,
    ) -> Result<Arc<OwnProduct>, Failure> {
        let mut descriptor = product.descriptor.clone();
        descriptor.seq += 1;
        descriptor.prev = Some(product.digest);
        descriptor.issued_at = now;
        descriptor.expires_at = now.saturating_add(MAX_DESCRIPTOR_LIFETIME);
        descriptor.deprecation = deprecation;
        if let Some(offer) = &mut descriptor.offer {
            offer.expires = now.saturating_add(OFFER_LIFETIME);
        }
        let text = descriptor
            .sign(&*self.own.keys().issuer)
            .map_err(|e| Failure::own("descriptor", e))?;
        Ok(Arc::new(OwnProduct {
            digest: Digest::of(text.as_bytes()),
            descriptor,
            text,
            file: product.file.clone(),
            file_digest: product.file_digest,
            sources: product.sources.clone(),
        }))
    }

    /// Reads own products and the head from the ledger and opens the sources.
    pub(super) async fn load_own(&self) -> Result<(), Failure> {
        let damaged = |e: &dyn std::fmt::Display| Failure::own("own-catalog", e.to_string());
        for (_, record) in self.ledger.scan(Table::Products, &[])? {
            let stored = match record {
                Record::Published(stored) => stored,
                Record::Retired(retired) => {
                    write(&self.retired).insert(retired.product, retired.version);
                    continue;
                }
                _ => continue,
            };
            // Our own signature, checked when it was made and covered by the
            // journal's checksums since.
            let descriptor: Descriptor =
                recall(DESCRIPTOR, &stored.descriptor).map_err(|e| damaged(&e))?;
            let sources = reopen(&stored, &self.kept, &self.warehouses).await;
            let product = OwnProduct {
                digest: Digest::of(stored.descriptor.as_bytes()),
                descriptor,
                text: stored.descriptor,
                file: stored.file,
                file_digest: stored.file_digest,
                sources,
            };
            write(&self.products).insert(product.address().to_string(), Arc::new(product));
            if let (Some(head), Some(list)) = (stored.head, stored.list) {
                self.load_announced(head, list, None)?;
            }
        }
        if let Some(Record::Announced(stored)) = self.ledger.get(Table::Heads, OWN)? {
            self.load_announced(stored.head, stored.list, stored.results)?;
        }
        Ok(())
    }

    /// Takes over a stored head, unless a newer one is known.
    fn load_announced(
        &self,
        text: String,
        list: String,
        results: Option<String>,
    ) -> Result<(), Failure> {
        let head: Head = recall(HEAD, &text).map_err(|e| Failure::own("own-catalog", e))?;
        let mut announced = write(&self.announced);
        if announced.as_ref().is_none_or(|a| a.seq < head.seq) {
            *announced = Some(Announced {
                seq: head.seq,
                head: text,
                list,
                results,
                expires: head.expires_at,
            });
        }
        Ok(())
    }

    /// Signs the next head over all products, `changed` among them and `retired` not, journals
    /// the products and then the head, and only then shows them. As long as
    /// they fit one append, all of it is there after a crash, or nothing.
    pub(super) async fn announce(
        &self,
        changed: Vec<Arc<OwnProduct>>,
        retired: Option<&OwnProduct>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let mut products = read(&self.products).clone();
        for product in &changed {
            products.insert(product.address().to_string(), Arc::clone(product));
        }
        if let Some(gone) = retired {
            products.remove(&gone.address().to_string());
        }
        if products.len() > MAX_PRODUCTS {
            return Err(Failure::caller(
                "too-many-products",
                "a catalog has at most 1024 products",
            ));
        }
        let bytes: usize = products.values().map(|p| p.text.len()).sum();
        if bytes > MAX_CATALOG_BYTES {
            return Err(Failure::caller(
                "catalog-too-large",
                format!("the products' descriptors would have {bytes} bytes together, at most {MAX_CATALOG_BYTES} are read by others"),
            )
            .next("shorten the descriptions in the contracts"));
        }
        let list = list_of(&products);
        let list_text = list.to_text();
        let results = self.results_of(&products);
        let head = Head {
            v: 1,
            org: self.own.org(),
            seq: self.announced().map_or(1, |a| a.seq + 1),
            issued_at: now,
            expires_at: now.saturating_add(MAX_HEAD_LIFETIME),
            count: list.digests().len() as u64,
            list: Digest::of(list_text.as_bytes()),
            results: results.as_ref().map(|text| Digest::of(text.as_bytes())),
        };
        let head_text = head
            .sign(&*self.own.keys().issuer)
            .map_err(|e| Failure::own("head", e))?;
        let mut records: Vec<Record> = changed
            .iter()
            .map(|product| {
                Record::Published(Published {
                    product: product.address().to_string(),
                    file: product.file.clone(),
                    file_digest: product.file_digest,
                    descriptor: product.text.clone(),
                    head: None,
                    list: None,
                })
            })
            .collect();
        records.extend(retired.map(|gone| {
            Record::Retired(ledger::Retired {
                product: gone.address().to_string(),
                version: gone.descriptor.version,
                at: now,
            })
        }));
        // Last: before it is there, the head that others know is the old one.
        records.push(Record::Announced(ledger::Announced {
            head: head_text.clone(),
            list: list_text.clone(),
            results: results.clone(),
        }));
        self.ledger.commit_in_order(&records).await?;
        *write(&self.products) = products;
        if let Some(gone) = retired {
            write(&self.retired).insert(gone.address().to_string(), gone.descriptor.version);
        }
        *write(&self.announced) = Some(Announced {
            seq: head.seq,
            head: head_text,
            list: list_text,
            results,
            expires: head.expires_at,
        });
        Ok(())
    }

    fn descriptor_of(
        &self,
        contract: &Contract,
        sources: &Sources,
        before: Option<&OwnProduct>,
        now: Timestamp,
    ) -> Result<Descriptor, Failure> {
        let wrong = |e: String| Failure::caller("contract", e);
        let product = contract
            .name()
            .parse()
            .map_err(|e| wrong(format!("{}: {e}", contract.name())))?;
        let mut tables = Vec::new();
        for table in contract.tables() {
            let source = sources.get(&table.name).and_then(|s| s.as_ref().ok());
            let source =
                source.ok_or_else(|| wrong(format!("table {} has no source", table.name)))?;
            tables.push(shape(table, &source.schema()).map_err(wrong)?);
        }
        let expires = now.saturating_add(OFFER_LIFETIME);
        let offer = contract.offer().map(|offer| offer.terms(expires));
        Ok(Descriptor {
            v: 1,
            org: self.own.org(),
            product,
            version: contract
                .version()
                .parse()
                .map_err(|e: NotAVersion| wrong(e.to_string()))?,
            seq: before.map_or(1, |b| b.descriptor.seq + 1),
            prev: before.map(|b| b.digest),
            issued_at: now,
            expires_at: now.saturating_add(MAX_DESCRIPTOR_LIFETIME),
            contract_digest: contract.contract_digest(),
            contract: contract.public().clone(),
            tables,
            offer,
            // A further minor of a major that ends does not live longer.
            deprecation: before.and_then(|b| b.descriptor.deprecation.clone()),
        })
    }
}

/// The list of all products.
fn list_of(products: &BTreeMap<String, Arc<OwnProduct>>) -> DescriptorList {
    DescriptorList::new(products.values().map(|p| p.digest).collect())
}

/// Reads a statement that this node signed itself.
pub(super) fn recall<T: serde::de::DeserializeOwned>(
    typ: Typ,
    text: &str,
) -> Result<T, comity_identity::envelope::EnvelopeError> {
    Compact::parse(typ, text)?.danger_unverified_payload()
}

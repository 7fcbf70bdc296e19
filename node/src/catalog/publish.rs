//! Announcing: a contract becomes a descriptor, a list and a head.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use comity_identity::envelope::{Compact, Typ};
use comity_identity::{Digest, Timestamp};
use comity_protocol::catalog::{DescriptorList, HEAD, Head, MAX_HEAD_LIFETIME, MAX_PRODUCTS};
use comity_protocol::product::{
    Column, ColumnType, DESCRIPTOR, Deprecation, Descriptor, MAX_DESCRIPTOR_LIFETIME,
    Table as TableShape,
};
use comity_protocol::version::{NotAVersion, Version};
use datafusion::catalog::TableProvider;

use super::kept;
use super::types::{from_arrow, instead_of};
use super::versions::{self, address_of};
use super::{Announced, Catalog, MAX_CATALOG_BYTES, OwnProduct, read, write};
use crate::failure::Failure;
use crate::index::Table;
use crate::ledger::{self, OWN, Published, Record};
use crate::products::{self, Contract};
use crate::sources::Warehouses;

/// How long the terms of an offer reach ahead. A request names its own, shorter time.
const OFFER_LIFETIME: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);

/// A head with less than this left is signed anew, with every descriptor.
const RENEW_BEFORE: Duration = Duration::from_secs(15 * 24 * 60 * 60);

/// The data of each table, or why it cannot be read.
type Sources = BTreeMap<String, Result<Arc<dyn TableProvider>, String>>;

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
        let sources = open_sources(&contract, &self.warehouses).await;
        for (table, source) in &sources {
            if let Err(reason) = source {
                return Err(
                    Failure::caller("source", format!("table {table}: {reason}"))
                        .next("correct 'servers' or 'schema' in the contract, then publish again"),
                );
            }
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
        if announced.expires.since(now) > RENEW_BEFORE {
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

/// Reads a contract off the async runtime: it validates a large JSON schema.
async fn read_contract(path: &Path) -> Result<(Contract, Digest), Failure> {
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

pub(super) async fn open_sources(contract: &Contract, warehouses: &Warehouses) -> Sources {
    let mut opened = Sources::new();
    for table in contract.tables() {
        if let Some(spec) = contract.sources().get(&table.name) {
            let source = warehouses.open(spec, table, contract.folder()).await;
            opened.insert(table.name.clone(), source.map_err(|e| e.to_string()));
        }
    }
    opened
}

/// Opens the sources of a product that was published before. What cannot be
/// opened now is refused to partners with a stable code, and named in the log.
async fn reopen(stored: &Published, kept: &Path, warehouses: &Warehouses) -> Sources {
    // The file may hold the next major by now: what was announced is what is served.
    if let Some(contract) = kept::recall(kept, &stored.file, stored.file_digest).await {
        return reported(stored, open_sources(&contract, warehouses).await);
    }
    let sources = match read_contract(&stored.file).await {
        Ok((_, digest)) if digest != stored.file_digest => {
            tracing::warn!(product = stored.product, file = %stored.file.display(), "the contract changed since it was published; publish it again to announce the change");
            match read_contract(&stored.file).await {
                Ok((contract, _)) => open_sources(&contract, warehouses).await,
                Err(_) => Sources::new(),
            }
        }
        Ok((contract, _)) => open_sources(&contract, warehouses).await,
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

/// The descriptor's shape of a table: the contract says which columns exist,
/// the source says how they look on the wire, and both must agree in kind.
pub(super) fn shape(table: &products::Table, source: &SchemaRef) -> Result<TableShape, String> {
    let name = table
        .name
        .parse()
        .map_err(|e| format!("table {}: {e}", table.name))?;
    let mut columns = Vec::new();
    for column in &table.columns {
        let at = format!("table {}, column {}", table.name, column.name);
        let field = source
            .field_with_name(&column.name)
            .map_err(|_| format!("{at}: the data has no such column"))?;
        let found = from_arrow(field.data_type()).ok_or_else(|| {
            format!(
                "{at}: {} cannot cross between organizations; {}",
                field.data_type(),
                instead_of(field.data_type())
            )
        })?;
        let promised = from_arrow(&column.arrow)
            .ok_or_else(|| format!("{at}: {} cannot cross between organizations", column.arrow))?;
        if family(&found) != family(&promised) {
            return Err(format!(
                "{at}: the contract promises {}, the data holds {}",
                column.arrow,
                field.data_type()
            ));
        }
        columns.push(Column {
            name: column.name.clone(),
            kind: found,
            description: column.description.clone(),
            classification: column.classification.clone(),
        });
    }
    Ok(TableShape { name, columns })
}

/// Kinds of values that a contract's logical type does not tell apart.
fn family(kind: &ColumnType) -> (bool, u8) {
    use ColumnType as C;
    let family = match kind {
        C::Boolean => 0,
        C::Int8 | C::Int16 | C::Int32 | C::Int64 | C::UInt8 | C::UInt16 | C::UInt32 | C::UInt64 => {
            1
        }
        C::Float32 | C::Float64 | C::Decimal128 { .. } => 2,
        C::Utf8 => 3,
        C::Binary => 4,
        C::Date32 => 5,
        C::TimestampMicros | C::TimestampMicrosUtc => 6,
        C::TimeMicros => 7,
        C::List { item } => return (true, family(item).1),
    };
    (false, family)
}

/// Reads a statement that this node signed itself.
pub(super) fn recall<T: serde::de::DeserializeOwned>(
    typ: Typ,
    text: &str,
) -> Result<T, comity_identity::envelope::EnvelopeError> {
    Compact::parse(typ, text)?.danger_unverified_payload()
}

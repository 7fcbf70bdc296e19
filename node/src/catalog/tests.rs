mod results;

use std::time::Duration;

use comity_identity::keyring::Evidence;
use comity_protocol::catalog::{Head, MAX_HEAD_LIFETIME, Standing, VerifiedHead};
use comity_protocol::product::{Column, ColumnType, Descriptor, Table as TableShape};
use tempfile::TempDir;

use super::take::MAX_FETCHED_A_DAY;
use super::*;
use crate::clock;
use crate::founding::{Plan, found};
use crate::home::Home;
use crate::keys::Keys;
use crate::ledger::Marks;
use crate::{index, journal};

/// An organization that knows another one, without running nodes.
struct Site {
    catalog: Catalog,
    own: Arc<Own>,
    dir: TempDir,
}

impl Site {
    async fn new(alias: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let plan = Plan {
            name: alias.to_owned(),
            alias: alias.to_owned(),
            node: "node-1".to_owned(),
            passphrase: None,
            free_ports: false,
        };
        let home = Home::at(dir.path());
        // Founding waits for the disk: not on a thread of the runtime.
        std::thread::scope(|s| s.spawn(|| found(&home, &plan)).join().unwrap()).unwrap();
        Self::open(dir, alias).await
    }

    async fn open(dir: TempDir, alias: &str) -> Self {
        let home = Home::at(dir.path());
        let (journal, index) = (journal::Settings::default(), index::Settings::default());
        let ledger = Arc::new(Ledger::open(&home, journal, index).unwrap());
        let keys = Keys::open(home.path()).unwrap();
        let own = Arc::new(Own::load(Arc::clone(&ledger), keys, alias).unwrap());
        let keyring = Keyring::open(Arc::new(Marks::new(Arc::clone(&ledger)))).unwrap();
        let kept = home.contracts();
        let catalog = Catalog::load(
            ledger,
            Arc::clone(&own),
            Arc::new(keyring),
            kept,
            Warehouses::default(),
            clock::now(),
        );
        let catalog = catalog.await.unwrap();
        Self { catalog, own, dir }
    }

    /// The same after a restart.
    async fn again(self) -> Self {
        let alias = self.own.alias().to_owned();
        self.catalog.ledger.close().unwrap();
        drop((self.catalog, self.own));
        Self::open(self.dir, &alias).await
    }

    fn knows(&self, other: &Self) {
        let evidence = other.own.evidence();
        let evidence = Evidence {
            history: evidence.history,
            document: evidence.document,
        };
        let keyring = &self.catalog.keyring;
        std::thread::scope(|s| {
            let met = s.spawn(|| keyring.introduce(&evidence, clock::now()));
            met.join().unwrap().unwrap();
        });
    }

    /// A head of this organization over no products; `variant` makes another one.
    fn head(&self, seq: u64, variant: u64) -> String {
        let now = clock::now();
        let head = Head {
            v: 1,
            org: self.own.org(),
            seq,
            issued_at: now,
            expires_at: now.saturating_add(MAX_HEAD_LIFETIME - Duration::from_secs(variant)),
            count: 0,
            list: Digest::of(b"[]"),
            results: None,
        };
        head.sign(&*self.own.keys().issuer).unwrap()
    }

    /// A product of this organization with a contract of about `bytes`.
    fn product(&self, name: &str, bytes: usize) -> Arc<OwnProduct> {
        let now = clock::now();
        let contract = serde_json::json!({ "text": "x".repeat(bytes) });
        let descriptor = Descriptor {
            v: 1,
            org: self.own.org(),
            product: name.parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            seq: 1,
            prev: None,
            issued_at: now,
            expires_at: now.saturating_add(Duration::from_secs(3600)),
            contract_digest: Descriptor::digest_of_contract(&contract).unwrap(),
            contract,
            tables: vec![TableShape {
                name: "t".parse().unwrap(),
                columns: vec![Column {
                    name: "c".to_owned(),
                    kind: ColumnType::Int64,
                    description: None,
                    classification: None,
                }],
            }],
            offer: None,
            deprecation: None,
        };
        let text = descriptor.sign(&*self.own.keys().issuer).unwrap();
        Arc::new(OwnProduct {
            digest: Digest::of(text.as_bytes()),
            descriptor,
            text,
            file: "none".into(),
            file_digest: Digest::of(b""),
            sources: BTreeMap::new(),
        })
    }

    fn wanted(&self, text: &str) -> VerifiedHead {
        match self.catalog.admit(text, clock::now()).unwrap() {
            (_, News::Fetch(head)) => *head,
            (_, other) => panic!("expected news, got {other:?}"),
        }
    }

    async fn complete(&self, head: VerifiedHead) {
        let done = self
            .catalog
            .complete(head, "[]".to_owned(), Vec::new(), clock::now());
        done.await.unwrap();
    }

    /// What the head with this number and variant means here.
    fn standing(&self, text: &str) -> Option<Standing> {
        match self.catalog.admit(text, clock::now()).unwrap().1 {
            News::Nothing(standing) => Some(standing),
            News::Fetch(_) => Some(Standing::Newer),
            News::Contradiction(_) => None,
        }
    }
}

/// Regression: the older of two catalogs that were fetched at once was written
/// last, and was the current one after a restart (A10).
#[tokio::test]
async fn of_two_catalogs_that_come_at_once_the_newer_stays() {
    let (reader, publisher) = (Site::new("reader").await, Site::new("publisher").await);
    reader.knows(&publisher);
    let (five, six) = (publisher.head(5, 0), publisher.head(6, 0));
    let (old, new) = (reader.wanted(&five), reader.wanted(&six));
    tokio::join!(reader.complete(new), reader.complete(old));
    assert_eq!(reader.standing(&six), Some(Standing::Same));
    let reader = reader.again().await;
    assert_eq!(reader.standing(&six), Some(Standing::Same));
    assert_eq!(reader.standing(&five), Some(Standing::Older));
}

/// Regression: two heads with one number that were fetched at once were not
/// noticed, and the evidence of others was lost at a restart (A36).
#[tokio::test]
async fn a_contradiction_is_noticed_and_kept_until_a_higher_head() {
    let (reader, publisher) = (Site::new("reader").await, Site::new("publisher").await);
    reader.knows(&publisher);
    let org = publisher.own.org();
    let (one, two) = (publisher.head(6, 0), publisher.head(6, 1));
    let (first, second) = (reader.wanted(&one), reader.wanted(&two));
    tokio::join!(reader.complete(first), reader.complete(second));
    assert!(reader.catalog.is_contradicted(&org));
    let reader = reader.again().await;
    assert!(reader.catalog.is_contradicted(&org), "after a restart");
    let key = org_key(&org, Facet::TwoHeads);
    let kept = reader.catalog.ledger.get(Table::Organizations, &key);
    let Ok(Some(Record::Contradiction(kept))) = kept else {
        panic!("no evidence: {kept:?}");
    };
    assert_eq!((kept.known, kept.other), (one, two));
    let higher = reader.wanted(&publisher.head(7, 0));
    reader.complete(higher).await;
    assert!(!reader.catalog.is_contradicted(&org));
}

#[tokio::test]
async fn a_contradiction_that_is_heard_is_evidence_once() {
    let (reader, publisher) = (Site::new("reader").await, Site::new("publisher").await);
    reader.knows(&publisher);
    reader.complete(reader.wanted(&publisher.head(6, 0))).await;
    let two = publisher.head(6, 1);
    assert_eq!(reader.standing(&two), None, "evidence");
    assert_eq!(reader.standing(&two), Some(Standing::Equivocation));
}

/// Regression: the list and the head were written with every product, all in
/// one append, so that a large catalog could never be renewed.
#[tokio::test]
async fn a_catalog_beyond_one_append_is_announced_and_read_again() {
    let site = Site::new("publisher").await;
    let products: Vec<_> = (0..60)
        .map(|n| site.product(&format!("p{n}"), 120_000))
        .collect();
    let bytes: usize = products.iter().map(|p| p.text.len()).sum();
    assert!(bytes > journal::MAX_APPEND_BYTES);
    let announced = site.catalog.announce(products, None, clock::now()).await;
    announced.unwrap();
    let site = site.again().await;
    assert_eq!(site.catalog.own_products().len(), 60);
    let list = site.catalog.announced().unwrap().list;
    assert_eq!(list.matches("sha256:").count(), 60);
    assert!(!site.catalog.refresh(clock::now()).await.unwrap());
}

#[tokio::test]
async fn products_whose_head_was_not_written_are_announced_at_the_next_look() {
    let site = Site::new("publisher").await;
    let first = vec![site.product("a", 10)];
    site.catalog
        .announce(first, None, clock::now())
        .await
        .unwrap();
    // Killed after a product, before the head.
    let late = site.product("b", 10);
    let published = Record::Published(crate::ledger::Published {
        product: "b".to_owned(),
        file: late.file.clone(),
        file_digest: late.file_digest,
        descriptor: late.text.clone(),
        head: None,
        list: None,
    });
    site.catalog.ledger.commit(&published).await.unwrap();
    let site = site.again().await;
    assert_eq!(site.catalog.announced().unwrap().seq, 1);
    assert!(site.catalog.refresh(clock::now()).await.unwrap());
    let announced = site.catalog.announced().unwrap();
    assert_eq!(announced.seq, 2);
    assert!(announced.list.contains(&late.digest.to_string()));
}

/// Whichever of two descriptors at one address is shown, the other is hidden
/// behind the same head (C-74).
#[tokio::test]
async fn a_catalog_with_two_descriptors_at_one_address_is_refused() {
    let (reader, publisher) = (Site::new("reader").await, Site::new("publisher").await);
    reader.knows(&publisher);
    let take = async |seq: u64, products: &[Arc<OwnProduct>]| {
        let list = DescriptorList::new(products.iter().map(|p| p.digest).collect());
        let now = clock::now();
        let head = Head {
            v: 1,
            org: publisher.own.org(),
            seq,
            issued_at: now,
            expires_at: now.saturating_add(MAX_HEAD_LIFETIME),
            count: products.len() as u64,
            list: Digest::of(list.to_text().as_bytes()),
            results: None,
        };
        let head = reader.wanted(&head.sign(&*publisher.own.keys().issuer).unwrap());
        let texts = products.iter().map(|p| p.text.clone()).collect();
        let org = publisher.own.org();
        let kept = reader.catalog.keep(&org, texts, now).await.unwrap();
        let done = reader.catalog.complete(head, list.to_text(), kept, now);
        done.await
    };
    let (one, two) = (publisher.product("a", 10), publisher.product("a", 11));
    let refused = take(1, &[Arc::clone(&one), two]).await.unwrap_err();
    assert!(refused.to_string().contains("one address"), "{refused}");
    take(2, &[one, publisher.product("b", 10)]).await.unwrap();
}

#[tokio::test]
async fn a_fetch_that_was_cut_short_goes_on_where_it_was() {
    let (reader, publisher) = (Site::new("reader").await, Site::new("publisher").await);
    reader.knows(&publisher);
    let product = publisher.product("a", 10);
    let org = publisher.own.org();
    let list = DescriptorList::new(vec![product.digest]);
    let missing = reader.catalog.missing(&org, &list).unwrap();
    assert_eq!(missing, [product.digest]);
    let kept = reader
        .catalog
        .keep(&org, vec![product.text.clone()], clock::now());
    kept.await.unwrap();
    // Cut short here, the next fetch does not ask for it again.
    assert!(reader.catalog.missing(&org, &list).unwrap().is_empty());
    // Another organization's signature is not its own.
    let (other, strange) = (publisher.product("b", 10), reader.own.org());
    let foreign = reader
        .catalog
        .keep(&strange, vec![other.text.clone()], clock::now());
    foreign.await.unwrap_err();
}

#[tokio::test]
async fn what_is_taken_in_a_day_is_bounded_two_sided() {
    let site = Site::new("reader").await;
    let (org, now) = (site.own.org(), clock::now());
    let count = |bytes, now| site.catalog.count_fetched(&org, bytes, now);
    count(MAX_FETCHED_A_DAY, now).unwrap();
    count(1, now).unwrap_err();
    count(1, now.saturating_add(Duration::from_secs(24 * 60 * 60))).unwrap();
}

use std::sync::atomic::AtomicBool;

use comity_identity::Timestamp;

use super::*;
use crate::index::{Entry, MemStore, Op, Store, StoreError};

/// A store that fails while it is told to.
#[derive(Default)]
struct Flaky {
    store: MemStore,
    fails: Arc<AtomicBool>,
}

impl Store for Flaky {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(table, key)
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.store.range(table, from, to, limit)
    }

    fn apply(&self, table: Table, batch: &[Op]) -> Result<(), StoreError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(StoreError::Failed("no room".into()));
        }
        self.store.apply(table, batch)
    }

    fn barrier(&self) -> Result<(), StoreError> {
        self.store.barrier()
    }
}

fn ledger() -> (Ledger, Arc<AtomicBool>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), journal::Settings::default()).unwrap();
    let store = Flaky::default();
    let fails = Arc::clone(&store.fails);
    let index = Index::over(Box::new(store), &journal, &fold_bytes).unwrap();
    (Ledger::over(journal, index), fails, dir)
}

fn member(name: &str) -> Record {
    Record::Member(Member {
        terms: None,
        name: name.to_owned(),
        token_hash: Digest::of(name.as_bytes()),
        at: Timestamp::from_secs(1_800_000_000),
    })
}

fn names(ledger: &Ledger) -> Result<Vec<String>, Error> {
    let members = ledger.scan(Table::Members, b"")?;
    let name = |(_, record)| match record {
        Record::Member(member) => member.name,
        other => panic!("{other:?} among the members"),
    };
    Ok(members.into_iter().map(name).collect())
}

#[tokio::test]
async fn what_the_journal_has_is_committed_though_the_index_failed() {
    let (ledger, fails, _dir) = ledger();
    ledger.commit(&member("ann")).await.unwrap();

    fails.store(true, Ordering::Relaxed);
    assert_eq!(ledger.commit(&member("ben")).await.unwrap(), 1);
    // A read that does not know of Ben is refused, not answered without him.
    assert!(matches!(names(&ledger), Err(Error::Index(_))));
    assert!(ledger.get(Table::Members, b"ann").is_err());

    fails.store(false, Ordering::Relaxed);
    assert_eq!(names(&ledger).unwrap().len(), 2);
}

#[test]
fn outside_the_runtime_too() {
    let (ledger, fails, _dir) = ledger();
    fails.store(true, Ordering::Relaxed);
    let both = [member("ann"), member("ben")];
    assert_eq!(ledger.commit_all_blocking(&both).unwrap(), 0);
    assert!(names(&ledger).is_err());
    fails.store(false, Ordering::Relaxed);
    assert_eq!(names(&ledger).unwrap().len(), 2);
}

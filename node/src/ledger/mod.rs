//! The journal and its index behind one door.
//!
//! [`Ledger::commit`] is the only way in which this node remembers anything
//! that matters: it returns when the record is on the device, and until then
//! nothing that the record says may be acted on or told to anybody.

mod fold;
mod marks;
mod record;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use comity_identity::{Digest, Timestamp};
use serde::Deserialize;

pub use fold::{
    Facet, MAX_STATEMENTS, OWN, POLICY, ReceiptFacet, Stage, delivery_key, descriptor_key,
    direct_key, grant_hour, grant_key, message_key, org_key, receipt_key, results_key,
    rewritten_key, stage_key,
};
pub use marks::Marks;
pub use record::{
    Administered, Announced, Contradicted, Contradiction, Delivery, DisputeAccepted, Erased,
    Evidence, ForeignHead, GrantIssued, InvitationUsed, Invited, JournalRewritten, KeysTold,
    Measured, Member, MemberRemoved, MemberSeen, MemberTokenEnded, Message, OIDC, OPERATOR,
    Partner, PolicyActivated, PolicyRefused, Published, Receipt, ReceiptAnswered, ReceiptTaken,
    Received, Record, Refused, RefusedMore, Reserved, Retired, Revoked, Signed, SignedKind,
    Statement, TokenScope, TokenTerms, ToldKeys, Witnessed,
};
pub use record::{Approved, Replaced};

use crate::failure::Failure;
use crate::home::Home;
use crate::index::{self, Index, IndexError, Op, Table};
use crate::journal::{self, Health, Journal, JournalError};

/// The most entries that one scan reads: every table's own bound is smaller.
/// One entry more is an error: half of the revocations would be worse than none.
const MAX_SCAN: usize = 1_000_000;

/// Bytes of records that [`Ledger::commit_in_order`] puts into one unit: half of
/// what the journal takes, so that frames and a last large record have room.
const MAX_UNIT_BYTES: usize = journal::MAX_APPEND_BYTES / 2;

/// The open journal and index of a node.
#[derive(Debug)]
pub struct Ledger {
    journal: Arc<Journal>,
    index: Arc<Index>,
    rebuilt: Option<String>,
    /// The journal position that the index must have reached before it is read:
    /// set when the index failed over a record that the journal already had.
    owed: Arc<AtomicU64>,
    observer: OnceLock<Observer>,
}

/// Whoever is handed every unit after it is on the device.
struct Observer(Box<Observe>);

type Observe = dyn Fn(u64, &[Record]) + Send + Sync;

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// Why the ledger does not do as asked. Always this node's own fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The journal refused.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The index refused.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A record is not one that this version knows.
    #[error("the journal's record {position} is not readable by this version: {reason}")]
    Record {
        /// Where it lies.
        position: u64,
        /// What the reader says.
        reason: String,
    },
    /// A scan met more entries than it may read.
    #[error("a table of the index holds more than {MAX_SCAN} entries")]
    TooMany,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match &error {
            Error::Journal(JournalError::NoSpace { .. }) => {
                Self::own("no-space", &error).next("free disk space; the node goes on by itself")
            }
            _ => Self::own("ledger", &error).next("look at the node's log"),
        }
    }
}

impl Ledger {
    /// Opens the ledger of `home`. Reads every record once, so that a record
    /// that this version does not know stops the start and not a later promise.
    pub fn open(
        home: &Home,
        journal: journal::Settings,
        index: index::Settings,
    ) -> Result<Self, Error> {
        let (journal, report) = Journal::open(&home.journal(), journal)?;
        if let Some(tail) = &report.torn {
            tracing::warn!(
                ?tail,
                "cut a torn tail off the journal; it was never acknowledged"
            );
        }
        for entry in journal.replay(0) {
            let (position, bytes) = entry?;
            decode(position, &bytes)?;
        }
        let (index, report) = Index::open(&home.index(), index, &journal, &fold_bytes)?;
        let rebuilt = report
            .rebuilt
            .as_ref()
            .map(|reason| reason.name().to_owned())
            // A home that was just founded has none; that is no news.
            .filter(|reason| reason != "missing");
        if let Some(reason) = &rebuilt {
            tracing::warn!(reason, "rebuilt the index from the journal");
        }
        Ok(Self {
            rebuilt,
            ..Self::over(journal, index)
        })
    }

    /// A ledger on a fresh folder, without an index on disk. For founding and tests.
    pub fn create(dir: &Path) -> Result<Self, Error> {
        let (journal, _) = Journal::open(dir, journal::Settings::default())?;
        let index = Index::in_memory(&journal, &fold_bytes)?;
        Ok(Self::over(journal, index))
    }

    fn over(journal: Journal, index: Index) -> Self {
        Self {
            journal: Arc::new(journal),
            index: Arc::new(index),
            rebuilt: None,
            owed: Arc::default(),
            observer: OnceLock::new(),
        }
    }

    /// Writes `record` and returns its position when it is on the device.
    pub async fn commit(&self, record: &Record) -> Result<u64, Error> {
        self.commit_all(std::slice::from_ref(record)).await
    }

    /// Writes `records` as one unit: after a crash all of them are there, or none.
    ///
    /// What the journal took is committed, whatever the index does: an error here
    /// would have a caller undo what every restart brings back. An index that
    /// fails is caught up before the next read, which fails until that succeeds.
    pub async fn commit_all(&self, records: &[Record]) -> Result<u64, Error> {
        let bytes: Vec<Vec<u8>> = records.iter().map(encode).collect();
        let position = self.journal.append(&bytes).await?;
        self.tell(position, records);
        let (journal, index) = (Arc::clone(&self.journal), Arc::clone(&self.index));
        let owed = Arc::clone(&self.owed);
        let end = position + records.len() as u64;
        let indexed = tokio::task::spawn_blocking(move || {
            show(&journal, &index, &owed, end);
        });
        // An error is the runtime's end: nobody reads the index after it.
        let _ = indexed.await;
        Ok(position)
    }

    /// Writes `records` in their order, in as few units as the journal takes:
    /// one, unless they are many megabytes. After a crash a beginning of them
    /// is there, so the one that gives the others their meaning comes last.
    pub async fn commit_in_order(&self, records: &[Record]) -> Result<(), Error> {
        let mut rest = records;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|record| {
                bytes += encode(record).len();
                bytes <= MAX_UNIT_BYTES
            });
            let (unit, later) = rest.split_at(fits.count().clamp(1, rest.len()));
            self.commit_all(unit).await?;
            rest = later;
        }
        Ok(())
    }

    /// [`Ledger::commit_all`] outside the async runtime.
    pub fn commit_all_blocking(&self, records: &[Record]) -> Result<u64, Error> {
        let bytes: Vec<Vec<u8>> = records.iter().map(encode).collect();
        let position = self.journal.append_blocking(&bytes)?;
        self.tell(position, records);
        let end = position + records.len() as u64;
        show(&self.journal, &self.index, &self.owed, end);
        Ok(position)
    }

    /// Hands every unit that is written from now on to `observer`, with the
    /// position of its first record. It must not wait. The first observer stays.
    pub fn observe(&self, observer: impl Fn(u64, &[Record]) + Send + Sync + 'static) {
        let _ = self.observer.set(Observer(Box::new(observer)));
    }

    fn tell(&self, position: u64, records: &[Record]) {
        if let Some(Observer(observer)) = self.observer.get() {
            observer(position, records);
        }
    }

    /// The record that the index has under `key`.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Record>, Error> {
        match self.caught_up()?.get(table, key)? {
            Some(value) => self.record(&value).map(Some),
            None => Ok(None),
        }
    }

    /// The records whose keys begin with `prefix`, in the order of their keys.
    pub fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Record)>, Error> {
        let end = successor(prefix);
        let entries = self.caught_up()?.range(table, prefix, &end, MAX_SCAN + 1)?;
        if entries.len() > MAX_SCAN {
            return Err(Error::TooMany);
        }
        entries
            .into_iter()
            .map(|(key, value)| Ok((key, self.record(&value)?)))
            .collect()
    }

    /// Tells `of` every delivery, oldest first. Reads the whole journal.
    pub fn deliveries(&self, mut of: impl FnMut(Delivery)) -> Result<(), Error> {
        // How every such record begins: the others need not be understood.
        const BEGINS: &[u8] = br#"{"record":"delivery""#;
        for entry in self.journal.replay(0) {
            let (position, bytes) = entry?;
            if bytes.starts_with(BEGINS)
                && let Record::Delivery(delivery) = decode(position, &bytes)?
            {
                of(delivery);
            }
        }
        Ok(())
    }

    /// The latest time that the last records state (`spec/5-data-plane.md#D-136`).
    pub fn newest(&self) -> Result<Option<Timestamp>, Error> {
        /// Every few records have a time, beginning with that of each start.
        const LAST: u64 = 64;
        #[derive(Deserialize)]
        struct Timed {
            at: Option<Timestamp>,
        }
        let mut newest = None;
        for entry in self.journal.replay(self.journal.len().saturating_sub(LAST)) {
            let (_, bytes) = entry?;
            // An erased record has nothing to read.
            let timed = serde_json::from_slice::<Timed>(&bytes);
            newest = newest.max(timed.ok().and_then(|t| t.at));
        }
        Ok(newest)
    }

    /// Every record, oldest first.
    #[cfg(test)]
    pub(crate) fn records(&self) -> Result<Vec<Record>, Error> {
        let all = self.journal.replay(0).map(|entry| {
            let (position, bytes) = entry?;
            decode(position, &bytes)
        });
        all.collect()
    }

    /// Whether the journal takes records.
    pub fn health(&self) -> Health {
        self.journal.health()
    }

    /// Follows [`Ledger::health`].
    pub fn watch_health(&self) -> tokio::sync::watch::Receiver<Health> {
        self.journal.watch_health()
    }

    /// Tries whether the disk takes a write again.
    pub async fn probe(&self) -> Result<(), Error> {
        Ok(self.journal.probe().await?)
    }

    /// How many records there are, and the RFC 6962 root over them.
    pub fn root(&self) -> (u64, Digest) {
        let size = self.journal.len();
        let root = self.journal.root(size).unwrap_or_default();
        (size, Digest::from_bytes(root))
    }

    /// The proof that the first `old` records are a beginning of the first
    /// `new`; none when there are fewer.
    pub fn consistency(&self, old: u64, new: u64) -> Option<Vec<Digest>> {
        let proof = self.journal.consistency_proof(old, new)?;
        Some(proof.into_iter().map(Digest::from_bytes).collect())
    }

    /// Why the index was rebuilt when it was opened, if it was.
    pub fn rebuilt(&self) -> Option<&str> {
        self.rebuilt.as_deref()
    }

    /// Syncs and closes the index, so that the next start need not rebuild it.
    pub fn close(&self) -> Result<(), Error> {
        Ok(self.index.close()?)
    }

    /// The index, which has every record that was committed.
    fn caught_up(&self) -> Result<&Index, Error> {
        let owed = self.owed.load(Ordering::Acquire);
        if owed > 0 && self.index.position() < owed {
            self.index.catch_up(&self.journal, &fold_bytes)?;
        }
        Ok(&self.index)
    }

    fn record(&self, value: &[u8]) -> Result<Record, Error> {
        let position = value
            .try_into()
            .map(u64::from_be_bytes)
            .map_err(|_| Error::Record {
                position: 0,
                reason: "an index entry is not a position".to_owned(),
            })?;
        let bytes = self.journal.read(position)?.ok_or_else(|| Error::Record {
            position,
            reason: "the index points past the journal's end, or at an erased record".to_owned(),
        })?;
        decode(position, &bytes)
    }
}

/// Brings the index up to `journal`, or notes in `owed` that it must reach `end`.
/// Catching up keeps the order when two commits return at the same time.
fn show(journal: &Journal, index: &Index, owed: &AtomicU64, end: u64) {
    if let Err(error) = index.catch_up(journal, &fold_bytes) {
        tracing::error!(%error, "the index did not take a committed record; trying again with the next read");
        owed.fetch_max(end, Ordering::AcqRel);
    }
}

fn encode(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).expect("records hold strings, numbers and paths, which serialise")
}

fn decode(position: u64, bytes: &[u8]) -> Result<Record, Error> {
    serde_json::from_slice(bytes).map_err(|e| Error::Record {
        position,
        reason: e.to_string(),
    })
}

/// What the index does with a record. Every record was decoded when the ledger
/// was opened, so an unreadable one cannot occur here.
fn fold_bytes(position: u64, bytes: &[u8]) -> Vec<(Table, Op)> {
    match decode(position, bytes) {
        Ok(record) => fold::entries(position, &record),
        Err(_) => Vec::new(),
    }
}

/// The first key after all keys that begin with `prefix`; empty when there is none.
fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests;

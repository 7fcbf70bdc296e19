//! What the keyring keeps on disk, through a trait.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::history::ForkProof;
use crate::{Digest, OrgId};

/// What an organization shows to be believed: its whole key history and its
/// current document, both as exact texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The key events' envelopes, oldest first.
    pub history: Vec<String>,
    /// The organization document's envelope.
    pub document: String,
}

/// How far an organization had got when we last heard of it
/// (`spec/2-identity.md#I-20`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The organization.
    pub org: OrgId,
    /// The sequence number of its newest key event.
    pub seq: u64,
    /// The digest of that event.
    pub head: Digest,
    /// The version of its newest document.
    pub version: u64,
    /// The digest of that document.
    pub document: Digest,
}

/// One organization as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The high-water mark.
    pub mark: Mark,
    /// What the mark was taken from.
    pub evidence: Evidence,
    /// Proof of a fork, if the organization is frozen.
    pub fork: Option<ForkProof>,
}

/// Where marks survive a restart; implemented by the node.
pub trait MarkStore: Send + Sync {
    /// The newest record of every organization.
    fn load(&self) -> Result<Vec<Record>, StoreFailure>;

    /// Stores `record` in place of an earlier one of the same organization.
    /// Returns only when it is safe from power loss.
    fn save(&self, record: &Record) -> Result<(), StoreFailure>;
}

/// A store that could not read or write.
#[derive(Debug)]
pub struct StoreFailure(Box<dyn std::error::Error + Send + Sync>);

impl StoreFailure {
    /// The failure with the given cause.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the keyring's store failed: {}", self.0)
    }
}

impl std::error::Error for StoreFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// A store in memory, for tests and simulations: it forgets with the process.
#[derive(Debug, Default)]
pub struct MemoryMarkStore {
    records: Mutex<BTreeMap<OrgId, Record>>,
}

impl MarkStore for MemoryMarkStore {
    fn load(&self) -> Result<Vec<Record>, StoreFailure> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(records.values().cloned().collect())
    }

    fn save(&self, record: &Record) -> Result<(), StoreFailure> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.insert(record.mark.org, record.clone());
        Ok(())
    }
}

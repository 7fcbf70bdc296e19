//! Delta Lake tables: their log is read here, their files as any others.
//!
//! The reader is our own and small. It knows what the protocol calls reader
//! version 1 and refuses every feature that it does not know, by name: a table
//! with deletion vectors, read without them, shows rows that were deleted
//! (`spec/5-data-plane.md#D-183`).

mod action;
mod columns;
mod log;
#[cfg(test)]
pub(in crate::sources) mod tests;

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use datafusion::error::{DataFusionError, Result};
use object_store::ObjectMeta;
use object_store::path::Path as Location;

use self::action::Add;
use self::columns::Columns;
use self::log::{Log, Version};
use super::scan::hive::percent_decoded;
use super::scan::{DataFile, Listed, Listing, Scan, State, Store};
use crate::products::{Format, Travel};

/// Why a Delta table cannot be read. For the owner: it names files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// There is no log.
    #[error("there is no Delta table: no commit and no checkpoint in _delta_log; check the path")]
    Missing,
    /// The store does not answer, or not with what was asked for.
    #[error("the table's store: {0}")]
    Store(#[from] object_store::Error),
    /// The log is not one.
    #[error("the table's log cannot be read: {0}")]
    Log(String),
    /// The table uses what this reader does not know.
    #[error(
        "the table uses {feature}, which this release cannot read; rewrite the table without it"
    )]
    Feature {
        /// As the protocol names it.
        feature: String,
    },
    /// The version is not there yet.
    #[error("the table has no version {number}; the newest is {newest}")]
    NoVersion {
        /// The version that was asked for.
        number: u64,
        /// The newest one.
        newest: u64,
    },
    /// The time is before the log.
    #[error("the table's log does not go back to that time; name a later one")]
    TooEarly,
    /// A commit that is needed was cleaned up.
    #[error(
        "the log no longer has commit {number}, and no checkpoint in its place; name a newer version"
    )]
    Gap {
        /// The commit.
        number: u64,
    },
    /// The table changed its columns since it was opened.
    #[error(
        "version {number} has other columns than the version that was published; publish the product again"
    )]
    Changed {
        /// The version that does not fit.
        number: u64,
    },
    /// A file's path leads out of the table.
    #[error("the log names {path}, which is not a file in the table's folder")]
    Outside {
        /// As it stands in the log.
        path: String,
    },
}

impl DeltaError {
    fn feature(feature: impl Into<String>) -> Self {
        let feature = feature.into();
        Self::Feature { feature }
    }
}

/// Opens the table in the folder `path` of the file system.
///
/// With a version or a time, that one version is read for as long as the table is
/// open; otherwise each statement reads the newest.
///
/// # Errors
/// Any [`DeltaError`].
pub(crate) async fn open_local(
    path: &Path,
    travel: Travel,
) -> Result<Arc<Listed<DeltaTable>>, DeltaError> {
    let folder = path.canonicalize().map_err(|e| {
        DeltaError::Log(format!(
            "{}: {e}; check the path in the product's file",
            path.display()
        ))
    })?;
    let location = Location::from_absolute_path(&folder).map_err(object_store::Error::from)?;
    open(Store::local(folder), location, travel).await
}

/// Opens the table at `location` of a store.
pub(super) async fn open(
    store: Store,
    location: Location,
    travel: Travel,
) -> Result<Arc<Listed<DeltaTable>>, DeltaError> {
    let log = Log::new(store.clone(), &location);
    let version = log.read(travel, None).await?;
    let columns = version.columns.clone();
    let (stored, partitions) = (Arc::clone(&columns.stored), columns.partitions.clone());
    let scan = Scan::new(store, Format::Parquet, stored, partitions);
    let scan = scan.map_err(|e| DeltaError::Log(e.to_string()))?;
    tracing::info!(table = %location, version = version.number, "opened a Delta table");
    let table = DeltaTable {
        log,
        location,
        columns,
        scan,
        pinned: travel != Travel::Newest,
        read: Mutex::new(version),
    };
    // What stands in the log and cannot be read is said when the table is opened.
    table.files(&table.last_read())?;
    Ok(Arc::new(Listed::new(table)))
}

/// A Delta table.
#[derive(Debug)]
pub(crate) struct DeltaTable {
    log: Log,
    location: Location,
    columns: Columns,
    scan: Scan,
    pinned: bool,
    read: Mutex<Arc<Version>>,
}

impl DeltaTable {
    /// The version that was read last.
    fn last_read(&self) -> Arc<Version> {
        let read = self
            .read
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        Arc::clone(&read)
    }

    /// A version that was read before. It is read from the log again when newer
    /// ones came: a ticket keeps its number, not its list of files.
    async fn version(&self, number: u64) -> Result<Arc<Version>, DeltaError> {
        let known = self.last_read();
        if known.number == number {
            return Ok(known);
        }
        let travel = Travel::Version(number);
        let version = self.log.read(travel, Some(&known)).await?;
        match self.columns.readable_as(&version.columns) {
            true => Ok(version),
            false => Err(DeltaError::Changed { number }),
        }
    }

    async fn latest(&self) -> Result<Arc<Version>, DeltaError> {
        let known = self.last_read();
        if self.pinned {
            return Ok(known);
        }
        let version = self.log.read(Travel::Newest, Some(&known)).await?;
        if !self.columns.readable_as(&version.columns) {
            let number = version.number;
            return Err(DeltaError::Changed { number });
        }
        let mut read = self
            .read
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        *read = Arc::clone(&version);
        Ok(version)
    }

    fn files(&self, version: &Version) -> Result<Vec<DataFile>, DeltaError> {
        let file = |add: &Add| {
            Ok(DataFile {
                meta: self.meta(add)?,
                values: self.columns.values(add)?,
            })
        };
        version.files.values().map(file).collect()
    }

    fn meta(&self, add: &Add) -> Result<ObjectMeta, DeltaError> {
        let outside = || DeltaError::Outside {
            path: add.path.clone(),
        };
        let path = percent_decoded(&add.path).ok_or_else(outside)?;
        // Shallow clones name the files of other tables by their whole address.
        if path.starts_with('/') || add.path.contains(':') {
            return Err(outside());
        }
        // Refuses empty names and dots.
        let below = Location::parse(&path).map_err(|_| outside())?;
        let location = below
            .parts()
            .fold(self.location.clone(), |at, part| at.join(part));
        Ok(ObjectMeta {
            location,
            last_modified: Default::default(),
            size: add.size,
            // The protocol: a file is never changed, and its name never used again.
            e_tag: None,
            version: None,
        })
    }
}

#[async_trait]
impl Listing for DeltaTable {
    fn scan(&self) -> &Scan {
        &self.scan
    }

    async fn read(&self, before: Option<&str>) -> Result<State<'_>> {
        let unavailable = |e: DeltaError| {
            let error = crate::query::QueryError::source_unavailable(e.to_string());
            DataFusionError::from(error)
        };
        let version = match before.and_then(Version::number_of) {
            Some(number) => self.version(number).await,
            None => self.latest().await,
        };
        let version = version.map_err(unavailable)?;
        let files = self.files(&version).map_err(unavailable)?;
        Ok(State {
            name: version.name(),
            files: Cow::Owned(files),
        })
    }
}

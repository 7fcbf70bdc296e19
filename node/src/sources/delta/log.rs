//! The transaction log of a table: which versions there are, and what each says.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::DeltaError;
use super::action::{Action, Add, Metadata, Protocol};
use super::columns::Columns;
use crate::products::Travel;
use crate::sources::scan::Store;

/// The most files of a log that are looked at.
const MAX_LOG_FILES: usize = 100_000;
/// The most commits between a checkpoint and the version that is read.
const MAX_COMMITS: u64 = 10_000;
/// The most bytes of one commit.
const MAX_COMMIT_BYTES: u64 = 64 * 1024 * 1024;
/// The most bytes of one part of a checkpoint.
const MAX_CHECKPOINT_BYTES: u64 = 256 * 1024 * 1024;
/// The most files of one version.
const MAX_FILES: usize = 100_000;
/// Where the log lies in the table's folder.
const FOLDER: &str = "_delta_log";
/// What is read of a checkpoint: not the statistics of files, which are most of it.
const CHECKPOINT_COLUMNS: [&str; 4] = ["protocol", "metaData", "add", "sidecar"];

/// One version of a table.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) number: u64,
    pub(super) columns: Columns,
    /// By path.
    pub(super) files: BTreeMap<String, Add>,
    protocol: Protocol,
    metadata: Metadata,
    /// What the commit's file was: a table that was made anew under the same name
    /// has other commits under the same numbers.
    commit: Option<ObjectMeta>,
}

impl Version {
    /// The name of the state in which a table is that is read in this version.
    pub(super) fn name(&self) -> String {
        let commit = self.commit.as_ref();
        let tag = commit.and_then(|c| c.e_tag.as_deref()).unwrap_or_default();
        format!("version {} {tag}", self.number)
    }

    /// The number of the version that has this name.
    pub(super) fn number_of(name: &str) -> Option<u64> {
        let mut words = name.strip_prefix("version ")?.split(' ');
        words.next()?.parse().ok()
    }
}

/// The log of one table.
#[derive(Clone, Debug)]
pub(super) struct Log {
    store: Store,
    folder: Path,
}

/// What lies in the folder of a log.
#[derive(Default)]
struct Listing {
    commits: BTreeMap<u64, ObjectMeta>,
    /// Complete checkpoints.
    checkpoints: BTreeMap<u64, Vec<ObjectMeta>>,
}

impl Log {
    /// The log of the table in `table`.
    pub(super) fn new(store: Store, table: &Path) -> Self {
        let folder = table.clone().join(FOLDER);
        Self { store, folder }
    }

    /// Reads a version of the table. `known` is one that was read before, whose
    /// part of the log need not be read again.
    pub(super) async fn read(
        &self,
        travel: Travel,
        known: Option<&Arc<Version>>,
    ) -> Result<Arc<Version>, DeltaError> {
        let listing = self.list().await?;
        let newest = listing.newest().ok_or(DeltaError::Missing)?;
        let number = match travel {
            Travel::Newest => newest,
            Travel::Version(number) if number <= newest => number,
            Travel::Version(number) => return Err(DeltaError::NoVersion { number, newest }),
            Travel::Timestamp(at) => listing.at(at)?,
        };
        let known = known.filter(|v| v.number <= number && listing.has(v));
        if let Some(known) = known.filter(|v| v.number == number) {
            return Ok(Arc::clone(known));
        }
        let checkpoint = listing.checkpoints.range(..=number).next_back();
        let mut replay = match (known, checkpoint) {
            // The few commits since, unless a checkpoint is nearer.
            (Some(known), found) if found.is_none_or(|(c, _)| *c <= known.number) => {
                Replay::from(known)
            }
            (_, Some((number, parts))) => self.checkpoint(*number, parts).await?,
            (_, None) => Replay::default(),
        };
        let first = replay.number.map_or(0, |n| n + 1);
        if number.saturating_sub(first) > MAX_COMMITS {
            return Err(DeltaError::Log(format!(
                "more than {MAX_COMMITS} commits since the last checkpoint; write one"
            )));
        }
        for number in first..=number {
            let commit = listing.commits.get(&number);
            let commit = commit.ok_or(DeltaError::Gap { number })?;
            let (_, bytes) = self.store.read(&commit.location, MAX_COMMIT_BYTES).await?;
            replay.apply(number, &actions(&bytes)?)?;
        }
        let version = replay.finish(listing.commits.get(&number).cloned())?;
        let in_commit = version.metadata.property("delta.enableInCommitTimestamps");
        if matches!(travel, Travel::Timestamp(_)) && in_commit == Some("true") {
            return Err(DeltaError::feature(
                "travel by timestamp over in-commit timestamps (name the version instead)",
            ));
        }
        Ok(Arc::new(version))
    }

    async fn list(&self) -> Result<Listing, DeltaError> {
        let mut listing = Listing::default();
        let mut parts: BTreeMap<(u64, u32), Vec<ObjectMeta>> = BTreeMap::new();
        let mut found = self.store.list(&self.folder);
        let mut seen = 0;
        while let Some(file) = found.try_next().await? {
            seen += 1;
            if seen > MAX_LOG_FILES {
                return Err(DeltaError::Log(format!(
                    "more than {MAX_LOG_FILES} files; clean the log up"
                )));
            }
            // A file in a folder of the log is of another kind, whatever its name.
            let above = self.folder.as_ref().len() + 1;
            let name = file.location.as_ref().get(above..).unwrap_or_default();
            match Name::parse(name) {
                Some(Name::Commit(number)) => {
                    listing.commits.insert(number, file);
                }
                Some(Name::Checkpoint { number, of }) => {
                    parts.entry((number, of)).or_default().push(file);
                }
                None => {}
            }
        }
        // Half a checkpoint is none: its writer may still be at it.
        for ((number, of), files) in parts {
            if u32::try_from(files.len()) == Ok(of) {
                listing.checkpoints.insert(number, files);
            }
        }
        Ok(listing)
    }

    async fn checkpoint(&self, number: u64, parts: &[ObjectMeta]) -> Result<Replay, DeltaError> {
        let mut replay = Replay::default();
        for part in parts {
            let file = self
                .store
                .read(&part.location, MAX_CHECKPOINT_BYTES)
                .await?;
            let rows = tokio::task::spawn_blocking(|| rows(file.1.into()));
            let rows = rows
                .await
                .map_err(|_| DeltaError::Log("the node is stopping".to_owned()))?
                .map_err(|e| DeltaError::Log(format!("{}: {e}", part.location)))?;
            replay.apply(number, &rows)?;
        }
        Ok(replay)
    }
}

impl Listing {
    fn newest(&self) -> Option<u64> {
        let commit = self.commits.last_key_value().map(|(n, _)| *n);
        let checkpoint = self.checkpoints.last_key_value().map(|(n, _)| *n);
        commit.max(checkpoint)
    }

    /// The last version at a time. A commit's time is that of its file, and later
    /// than that of the one before.
    fn at(&self, milliseconds: i64) -> Result<u64, DeltaError> {
        let (mut before, mut found) = (i64::MIN, None);
        for (number, commit) in &self.commits {
            before = commit
                .last_modified
                .timestamp_millis()
                .max(before.saturating_add(1));
            if before > milliseconds {
                break;
            }
            found = Some(*number);
        }
        found.ok_or(DeltaError::TooEarly)
    }

    fn has(&self, version: &Version) -> bool {
        let now = self.commits.get(&version.number);
        match (&version.commit, now) {
            (Some(then), Some(now)) => {
                then.e_tag == now.e_tag
                    && then.size == now.size
                    && then.last_modified == now.last_modified
            }
            _ => false,
        }
    }
}

/// The names of a log's files that are read.
enum Name {
    Commit(u64),
    Checkpoint { number: u64, of: u32 },
}

impl Name {
    fn parse(name: &str) -> Option<Self> {
        let digits = |text: &str, many: usize| {
            let right = text.len() == many && text.bytes().all(|b| b.is_ascii_digit());
            right.then(|| text.parse::<u64>().ok()).flatten()
        };
        let parts: Vec<&str> = name.split('.').collect();
        let number = digits(parts.first()?, 20)?;
        match parts.get(1..)? {
            ["json"] => Some(Self::Commit(number)),
            ["checkpoint", "parquet"] => Some(Self::Checkpoint { number, of: 1 }),
            ["checkpoint", part, of, "parquet"] => {
                let (part, of) = (digits(part, 10)?, digits(of, 10)?);
                let of = u32::try_from(of).ok()?;
                (1..=u64::from(of)).contains(&part).then_some(())?;
                Some(Self::Checkpoint { number, of })
            }
            _ => None,
        }
    }
}

/// A version as far as the log has been read.
#[derive(Default)]
struct Replay {
    number: Option<u64>,
    protocol: Option<Protocol>,
    metadata: Option<Metadata>,
    files: BTreeMap<String, Add>,
}

impl Replay {
    fn from(version: &Version) -> Self {
        Self {
            number: Some(version.number),
            protocol: Some(version.protocol.clone()),
            metadata: Some(version.metadata.clone()),
            files: version.files.clone(),
        }
    }

    fn apply(&mut self, number: u64, actions: &[Action]) -> Result<(), DeltaError> {
        // Within one commit the order says nothing: a file that is both removed and
        // added is there.
        for action in actions {
            if let Some(remove) = &action.remove {
                self.files.remove(&remove.path);
            }
        }
        for action in actions {
            if action.sidecar.is_some() {
                return Err(DeltaError::feature("v2Checkpoint"));
            }
            if let Some(add) = &action.add {
                self.files.insert(add.path.clone(), add.clone());
            }
            if let Some(protocol) = &action.protocol {
                self.protocol = Some(protocol.clone());
            }
            if let Some(metadata) = &action.metadata {
                self.metadata = Some(metadata.clone());
            }
        }
        if self.files.len() > MAX_FILES {
            return Err(DeltaError::Log(format!(
                "more than {MAX_FILES} files in one version; compact the table"
            )));
        }
        self.number = Some(number);
        Ok(())
    }

    fn finish(self, commit: Option<ObjectMeta>) -> Result<Version, DeltaError> {
        let absent = |what: &str| DeltaError::Log(format!("there is no {what} in it"));
        let number = self.number.ok_or(DeltaError::Missing)?;
        let protocol = self.protocol.ok_or_else(|| absent("protocol"))?;
        let metadata = self.metadata.ok_or_else(|| absent("metaData"))?;
        protocol.check()?;
        metadata.check()?;
        for add in self.files.values() {
            add.check()?;
        }
        Ok(Version {
            number,
            columns: Columns::read(&metadata)?,
            files: self.files,
            protocol,
            metadata,
            commit,
        })
    }
}

fn actions(bytes: &[u8]) -> Result<Vec<Action>, DeltaError> {
    let lines = bytes.split(|b| *b == b'\n');
    let lines = lines.filter(|line| !line.iter().all(u8::is_ascii_whitespace));
    let read = lines.map(serde_json::from_slice).collect::<Result<_, _>>();
    read.map_err(|e| DeltaError::Log(format!("a line is not an action: {e}")))
}

/// The rows of a checkpoint, through JSON: commits and checkpoints are then read
/// by one set of rules.
fn rows(file: Bytes) -> Result<Vec<Action>, String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| e.to_string())?;
    let schema = builder.parquet_schema();
    let wanted = schema.columns().iter().enumerate().filter(|(_, column)| {
        let path = column.path().parts();
        let root = path.first().map_or("", String::as_str);
        let stored = path.get(1).map_or("", String::as_str);
        CHECKPOINT_COLUMNS.contains(&root)
            && !(root == "add"
                && matches!(
                    stored,
                    "stats" | "stats_parsed" | "partitionValues_parsed" | "tags"
                ))
    });
    let wanted: Vec<usize> = wanted.map(|(index, _)| index).collect();
    let mask = ProjectionMask::leaves(schema, wanted);
    let reader = builder.with_projection(mask).build();
    let mut all = Vec::new();
    for batch in reader.map_err(|e| e.to_string())? {
        let batch = batch.map_err(|e| e.to_string())?;
        let mut json = arrow::json::LineDelimitedWriter::new(Vec::new());
        json.write(&batch).map_err(|e| e.to_string())?;
        json.finish().map_err(|e| e.to_string())?;
        all.extend(actions(&json.into_inner()).map_err(|e| e.to_string())?);
    }
    Ok(all)
}

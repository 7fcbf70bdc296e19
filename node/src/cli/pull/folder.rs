//! An answer in partitions, as a folder of files that fills up.

use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use comity_identity::Digest;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::file::{Format, Whole, unwritten};
use crate::cli::output::Problem;
use crate::cli::progress::Progress;
use crate::flight::{Inquiry, SqlClient};
use crate::query::Partition;

/// What says which answer a folder holds. Readers of folders of files leave out
/// names that begin so.
const MANIFEST: &str = "_comity-pull.json";

/// The most bytes of a manifest: a statement, and little else.
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;

/// What holds the folder while it is filled: two commands would each believe their
/// own state of the data.
const LOCK: &str = "_comity-pull.lock";

/// What a manifest is called until it is whole.
const NEW: &str = "_comity-pull.new";

/// An answer to be pulled into a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Folder {
    pub(super) statement: String,
    pub(super) purpose: Option<String>,
    pub(super) format: Format,
    pub(super) partitions: u16,
}

/// What is known of a folder's answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    v: u8,
    answer: Folder,
    /// The states that its partitions read, once one is there.
    read: Option<States>,
}

/// What the rows of a partition are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct States {
    /// The name of the states of the sources; those without have none.
    snapshot: Option<String>,
    /// The digest of the columns: a product may be published anew over the same files.
    columns: Digest,
}

/// What was pulled.
#[derive(Debug, Serialize)]
pub(super) struct All {
    folder: PathBuf,
    partitions: u16,
    /// Of them, those that were there already.
    kept: u16,
    /// What came now.
    rows: u64,
    /// Of the files that were written now.
    bytes: u64,
}

impl fmt::Display for All {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rows, {} bytes in {} files of {}",
            self.rows,
            self.bytes,
            self.partitions - self.kept,
            self.folder.display()
        )?;
        match self.kept {
            0 => writeln!(f),
            kept => writeln!(f, "; {kept} were there"),
        }
    }
}

impl Folder {
    /// Reads into `path` what is not there yet, `parallel` partitions at a time.
    pub(super) async fn pull(
        self,
        path: &Path,
        client: &SqlClient,
        parallel: usize,
    ) -> Result<All, Problem> {
        let all = Partition::all(self.partitions).map_err(|e| Problem::usage(e.to_string()))?;
        let _lock = lock(path)?;
        let manifest = Manifest::open(path, self)?;
        let answer = manifest.answer.clone();
        let (missing, there): (Vec<_>, Vec<_>) = all
            .map(|partition| (partition, answer.file(path, partition)))
            .partition(|(_, file)| !file.exists());
        let manifest = Mutex::new(manifest);
        let progress = Progress::new();
        // After a failure none begins; those that are under way are worth their end.
        let failed = AtomicBool::new(false);
        let one = async |(partition, file): (Partition, PathBuf)| {
            let inquiry = Inquiry {
                statement: &answer.statement,
                purpose: answer.purpose.as_deref(),
                partial: false,
                partition: Some(partition),
            };
            let of = (file.as_path(), answer.format);
            let read = super::read(client, &inquiry, of, &progress).await?;
            let states = States {
                snapshot: read.snapshot,
                columns: Digest::of(format!("{:?}", read.schema).as_bytes()),
            };
            // What is not split has its later partitions without looking at anything.
            if read.file.rows() > 0 || states.snapshot.is_some() {
                manifest.lock().await.meet(path, states)?;
            }
            read.file.finish(&file)
        };
        let reading = missing.into_iter().map(async |wanted| {
            if failed.load(Ordering::Relaxed) {
                return None;
            }
            let pulled = one(wanted).await;
            failed.fetch_or(pulled.is_err(), Ordering::Relaxed);
            Some(pulled)
        });
        let pulled = futures::stream::iter(reading).buffer_unordered(parallel.max(1));
        let pulled: Vec<Option<Result<Whole, Problem>>> = pulled.collect().await;
        let pulled = pulled.into_iter().flatten().collect::<Result<Vec<_>, _>>();
        let pulled = pulled.map_err(|problem| match problem.has_next() {
            true => problem,
            false => problem.next("the same command goes on with the files that are not there yet"),
        })?;
        Ok(All {
            folder: path.to_owned(),
            partitions: answer.partitions,
            kept: u16::try_from(there.len()).unwrap_or(u16::MAX),
            rows: pulled.iter().map(|whole| whole.rows).sum(),
            bytes: pulled.iter().map(|whole| whole.bytes).sum(),
        })
    }

    fn file(&self, folder: &Path, partition: Partition) -> PathBuf {
        let extension = self.format.extension();
        folder.join(format!("part-{:05}.{extension}", partition.index()))
    }
}

/// The folder, made if it is not there, for this command alone.
fn lock(folder: &Path) -> Result<File, Problem> {
    let path = folder.join(LOCK);
    let failed = |e: std::io::Error| Problem::failed(format!("{}: {e}", path.display()));
    fs::create_dir_all(folder).map_err(failed)?;
    // Of a folder of something else nothing is touched, not even for a lock.
    let mut entries = fs::read_dir(folder).map_err(failed)?;
    let own = |entry: &fs::DirEntry| entry.file_name() == LOCK || entry.file_name() == NEW;
    let others = entries.any(|entry| entry.is_ok_and(|entry| !own(&entry)));
    if others && !folder.join(MANIFEST).exists() {
        let folder = folder.display();
        return Err(Problem::failed(format!("{folder} is not empty"))
            .next("name a folder that is not there yet"));
    }
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            let folder = folder.display();
            Err(Problem::failed(format!("another command fills {folder}")))
        }
        Err(fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

impl Manifest {
    /// The manifest of the folder, which is locked; it is made if it is not there.
    fn open(folder: &Path, answer: Folder) -> Result<Self, Problem> {
        let path = folder.join(MANIFEST);
        let failed = |e: std::io::Error| Problem::failed(format!("{}: {e}", path.display()));
        if path.exists() {
            if fs::metadata(&path).map_err(failed)?.len() > MAX_MANIFEST_BYTES {
                return Err(Problem::failed(format!("{} is too long", path.display())));
            }
            let text = fs::read(&path).map_err(failed)?;
            let found: Self = serde_json::from_slice(&text)
                .map_err(|e| Problem::failed(format!("{}: {e}", path.display())))?;
            if found.v != 1 || found.answer != answer {
                let folder = folder.display();
                return Err(Problem::failed(format!("{folder} holds another answer"))
                    .next("name another folder, or repeat the command that began this one"));
            }
            return Ok(found);
        }
        let manifest = Self {
            v: 1,
            answer,
            read: None,
        };
        manifest.write(folder)?;
        Ok(manifest)
    }

    /// A partition was read over `states`, the same as all others or none.
    fn meet(&mut self, folder: &Path, states: States) -> Result<(), Problem> {
        match &self.read {
            Some(read) if *read == states => Ok(()),
            Some(_) => {
                let message = "the data has changed since this pull began: what is there and what comes now are not of one answer";
                Err(Problem::failed(message).next("pull it into a new folder"))
            }
            None => {
                self.read = Some(states);
                self.write(folder)
            }
        }
    }

    /// On disk before a file is that it speaks of.
    fn write(&self, folder: &Path) -> Result<(), Problem> {
        let text = serde_json::to_vec_pretty(self).map_err(unwritten)?;
        let new = folder.join(NEW);
        let mut file = File::create(&new).map_err(unwritten)?;
        file.write_all(&text).map_err(unwritten)?;
        file.sync_all().map_err(unwritten)?;
        fs::rename(&new, folder.join(MANIFEST)).map_err(unwritten)?;
        let folder = File::open(folder).map_err(unwritten)?;
        folder.sync_all().map_err(unwritten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(statement: &str) -> Folder {
        Folder {
            statement: statement.to_owned(),
            purpose: None,
            format: Format::Parquet,
            partitions: 2,
        }
    }

    fn states(name: &str) -> States {
        States {
            snapshot: Some(name.to_owned()),
            columns: Digest::of(b"a"),
        }
    }

    fn open(folder: &Path, answer: Folder) -> Result<Manifest, Problem> {
        let _lock = lock(folder)?;
        Manifest::open(folder, answer)
    }

    #[test]
    fn a_folder_holds_one_answer_over_one_state() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("new/folder");
        // A command that was killed before it wrote anything.
        drop(lock(&folder).unwrap());
        fs::write(folder.join(NEW), "{").unwrap();
        let held = lock(&folder).unwrap();
        assert!(lock(&folder).is_err(), "one command at a time");
        drop(held);
        let mut manifest = open(&folder, answer("SELECT 1")).unwrap();
        manifest.meet(&folder, states("s:1")).unwrap();
        // After a cut.
        let mut again = open(&folder, answer("SELECT 1")).unwrap();
        again.meet(&folder, states("s:1")).unwrap();
        assert!(again.meet(&folder, states("s:2")).is_err());
        let other = States {
            columns: Digest::of(b"a, b"),
            ..states("s:1")
        };
        assert!(again.meet(&folder, other).is_err(), "other columns");
        assert!(open(&folder, answer("SELECT 2")).is_err());
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine.txt"), "mine").unwrap();
        assert!(open(dir.path(), answer("SELECT 1")).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        for text in ["", "{}", r#"{"v":2,"answer":null,"read":null}"#] {
            fs::write(dir.path().join(MANIFEST), text).unwrap();
            assert!(open(dir.path(), answer("SELECT 1")).is_err(), "{text}");
        }
    }
}

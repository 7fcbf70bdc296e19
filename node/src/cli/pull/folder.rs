//! An answer in partitions, as a folder of files that fills up.

use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use futures::{StreamExt as _, TryStreamExt as _};
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

/// Partitions that are read at the same time. They share a connection, and a
/// partner's patience.
const AT_ONCE: usize = 4;

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

/// A name of states, which sources without them do not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct States {
    snapshot: Option<String>,
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
    /// Reads into `path` what is not there yet.
    pub(super) async fn pull(self, path: &Path, client: &SqlClient) -> Result<All, Problem> {
        let all = Partition::all(self.partitions).map_err(|e| Problem::usage(e.to_string()))?;
        let manifest = Manifest::open(path, self)?;
        let answer = manifest.answer.clone();
        let (missing, there): (Vec<_>, Vec<_>) = all
            .map(|partition| (partition, answer.file(path, partition)))
            .partition(|(_, file)| !file.exists());
        let manifest = Mutex::new(manifest);
        let progress = Progress::new();
        let reading = missing.into_iter().map(async |(partition, file)| {
            let inquiry = Inquiry {
                statement: &answer.statement,
                purpose: answer.purpose.as_deref(),
                partial: false,
                partition: Some(partition),
            };
            let of = (file.as_path(), answer.format);
            let (partial, snapshot) = super::read(client, &inquiry, of, &progress).await?;
            manifest.lock().await.meet(path, States { snapshot })?;
            partial.finish(&file)
        });
        let pulled = futures::stream::iter(reading).buffer_unordered(AT_ONCE);
        let pulled: Result<Vec<Whole>, Problem> = pulled.try_collect().await;
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

impl Manifest {
    /// The manifest of the folder, which is made if it is not there: one that
    /// holds anything else is left alone.
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
        fs::create_dir_all(folder).map_err(failed)?;
        if fs::read_dir(folder).map_err(failed)?.next().is_some() {
            let folder = folder.display();
            return Err(Problem::failed(format!("{folder} is not empty"))
                .next("name a folder that is not there yet"));
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
        let mut new = tempfile::NamedTempFile::new_in(folder).map_err(unwritten)?;
        new.write_all(&text).map_err(unwritten)?;
        new.as_file().sync_all().map_err(unwritten)?;
        new.persist(folder.join(MANIFEST))
            .map_err(|e| unwritten(e.error))?;
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
        }
    }

    #[test]
    fn a_folder_holds_one_answer_over_one_state() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("new/folder");
        let mut manifest = Manifest::open(&folder, answer("SELECT 1")).unwrap();
        manifest.meet(&folder, states("s:1")).unwrap();
        // After a cut.
        let mut again = Manifest::open(&folder, answer("SELECT 1")).unwrap();
        again.meet(&folder, states("s:1")).unwrap();
        assert!(again.meet(&folder, states("s:2")).is_err());
        assert!(again.meet(&folder, States { snapshot: None }).is_err());
        assert!(Manifest::open(&folder, answer("SELECT 2")).is_err());
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine.txt"), "mine").unwrap();
        assert!(Manifest::open(dir.path(), answer("SELECT 1")).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        for text in ["", "{}", r#"{"v":2,"answer":null,"read":null}"#] {
            fs::write(dir.path().join(MANIFEST), text).unwrap();
            assert!(
                Manifest::open(dir.path(), answer("SELECT 1")).is_err(),
                "{text}"
            );
        }
    }
}

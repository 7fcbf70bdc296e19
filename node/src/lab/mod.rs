//! Organizations on this machine, for the demo and for the scenario tests.
//!
//! Each is a real node: a process of its own with its own home folder, keys,
//! journal and listeners on free loopback ports. Nothing in here is reachable
//! from a running node.

mod org;
mod ports;
mod postgres;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use org::Org;
pub use postgres::Postgres;

use crate::admin::ClientError;

/// The longest that a node may take from its start until it answers.
///
/// A development build opens its journal and binds in well under a second; two
/// cores that build something else at the same time need more.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A folder in which organizations live, and the program they run.
#[derive(Clone, Debug)]
pub struct Lab {
    dir: PathBuf,
    program: PathBuf,
}

/// Why an organization of the lab did not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A file or process could not be made.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    /// `comity init` failed.
    #[error("'comity init' for {0} failed: {1}")]
    Init(String, String),
    /// The node ended or did not answer in time.
    #[error("the node of {0} did not start: {1}")]
    Start(String, String),
    /// The admin API refused.
    #[error("{0}: {1}")]
    Admin(String, ClientError),
    /// A command failed.
    #[error("{0}: {1}")]
    Command(String, String),
    /// The SQL statement failed.
    #[error("{0}: {1}")]
    Sql(String, String),
    /// Something awaited did not happen.
    #[error("{0}: {1} did not happen in time")]
    Timeout(String, String),
}

impl Lab {
    /// A lab in `dir` whose nodes run `program` (the `comity` binary).
    pub fn new(dir: impl Into<PathBuf>, program: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            program: program.into(),
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Creates an organization and its home folder, without starting its node.
    /// `config` is appended to the lab's `comity.toml`.
    pub async fn found(&self, alias: &str, name: &str, config: &str) -> Result<Org, LabError> {
        Org::found(self, alias, name, config).await
    }

    /// Creates an organization and starts its node.
    pub async fn org(&self, alias: &str, name: &str, config: &str) -> Result<Org, LabError> {
        let mut org = self.found(alias, name, config).await?;
        org.start().await?;
        Ok(org)
    }
}

//! One organization's folder on disk.

use std::path::{Path, PathBuf};

/// Where a node keeps everything: configuration, keys, journal, index.
///
/// ```text
/// HOME/comity.toml      configuration
/// HOME/keys/            0700; one file per key
/// HOME/journal/         the truth; back this up
/// HOME/policies/        the owner's policies; the program's own without it
/// HOME/contracts/       the contract file of every announced version, as it was
/// HOME/told/            what partners were told of tables that are read in groups
/// HOME/index/           rebuilt from the journal when it is missing
/// HOME/admin.sock       the admin API, for this user
/// HOME/admin.token      the admin API's token over TCP
/// HOME/results.token    what a pipeline needs to publish test results
/// HOME/workbench.token  the owner's own token for the workbench listener
/// HOME/ca.pem           the organization's TLS CA, for Flight SQL clients
/// HOME/observed.json    what this node's queries saw of partners' products
/// HOME/node.json        what the running node listens on
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The home at `path`. Nothing is created.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.0.join("comity.toml")
    }

    /// The journal's folder.
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// The folder of the announced contracts.
    pub fn contracts(&self) -> PathBuf {
        self.0.join("contracts")
    }

    /// The folder of the owner's policies.
    pub fn policies(&self) -> PathBuf {
        self.0.join("policies")
    }

    /// The folder of what partners were told of tables that are read in groups.
    pub fn told(&self) -> PathBuf {
        self.0.join("told")
    }

    /// The index's folder.
    pub fn index(&self) -> PathBuf {
        self.0.join("index")
    }

    /// The admin API's Unix socket, unless the configuration moves it.
    pub fn admin_socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    /// The admin API's token.
    pub fn admin_token(&self) -> PathBuf {
        self.0.join("admin.token")
    }

    /// The token with which a pipeline publishes test results.
    pub fn results_token(&self) -> PathBuf {
        self.0.join("results.token")
    }

    /// The owner's own workbench token.
    pub fn workbench_token(&self) -> PathBuf {
        self.0.join("workbench.token")
    }

    /// The organization's TLS CA certificate.
    pub fn ca_pem(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// What this node's queries saw of partners' products.
    pub fn observed(&self) -> PathBuf {
        self.0.join("observed.json")
    }

    /// What the running node listens on.
    pub fn running(&self) -> PathBuf {
        self.0.join("node.json")
    }
}

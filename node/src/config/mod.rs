//! `comity.toml`: what a node's owner can set.
//!
//! Every key has a default, a meaning and a range, written down once
//! ([`Config::example`] prints them). A key that is not known is an error that
//! names the file, the line and the nearest known key: a setting that is
//! silently ignored is one that somebody relies on.
//!
//! Secrets are never in this file; they are key files ([`keys`](crate::keys))
//! and tokens.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

mod approve;
mod check;
mod egress;
mod error;
mod example;
mod keys;
mod negotiation;
mod notify;
mod oidc;
mod partner;
mod ports;
mod sections;

pub use approve::{ApproveRule, TableRule};
pub(crate) use check::is_provider_url;
pub use check::{Problem, Severity};
pub use egress::EgressRule;
pub use error::{ConfigError, UnknownKey};
pub use negotiation::{Approval, Negotiation};
pub use notify::Notify;
pub use oidc::{Oidc, SignatureAlgorithm};
pub use partner::PartnerNote;
pub use sections::{ADMIN_PORT, NETWORK_PORT, PEERS_PORT, WORKBENCH_PORT};
pub use sections::{
    Admin, Evidence, Index, Journal, Log, LogFormat, Measure, Network, Organization, Peers, Query,
    Shutdown, Source, Workbench,
};

/// The file's name within a home folder.
pub const FILE_NAME: &str = "comity.toml";

/// The longest configuration that is read, in bytes.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

/// A node's settings, one field a section of the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who the organization is, to people.
    pub organization: Organization,
    /// The peer network: discovery, negotiation, announcements.
    pub network: Network,
    /// The Flight listener that partners' nodes query.
    pub peers: Peers,
    /// The Flight SQL listener of the organization's own members.
    pub workbench: Workbench,
    /// The organization's identity provider.
    pub oidc: Oidc,
    /// The node's own API.
    pub admin: Admin,
    /// How this organization negotiates.
    pub negotiation: Negotiation,
    /// What one person alone may not open.
    pub approval: Approval,
    /// Whom the node tells what happened.
    pub notify: Notify,
    /// What a query may cost.
    pub query: Query,
    /// How own products are measured.
    pub measure: Measure,
    /// How deliveries are acknowledged.
    pub evidence: Evidence,
    /// How the journal is kept.
    pub journal: Journal,
    /// How the index is kept.
    pub index: Index,
    /// What is logged.
    pub log: Log,
    /// How the node stops.
    pub shutdown: Shutdown,
    /// The servers that hold the data, by their names in the contracts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, Source>,
    /// Requests that are agreed to without a person.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approve: Vec<ApproveRule>,
    /// What the owner says of partners.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partner: Vec<PartnerNote>,
    /// Which keys of joins partners may be told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<EgressRule>,
}

impl Config {
    /// Reads and checks the file `path`.
    ///
    /// Refused on the first [`Severity::Error`] of [`Config::check`]; warnings are the caller's to print.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Io {
            file: path.to_owned(),
            source,
        };
        let mut text = String::new();
        File::open(path)
            .map_err(failed)?
            .take(MAX_CONFIG_BYTES as u64 + 1)
            .read_to_string(&mut text)
            .map_err(failed)?;
        if text.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLong {
                file: path.to_owned(),
            });
        }
        let config = Self::parse(&text, path)?;
        match config
            .check()
            .into_iter()
            .find(|problem| problem.severity == Severity::Error)
        {
            Some(problem) => Err(error::refused(&text, path, problem)),
            None => Ok(config),
        }
    }

    /// Reads `text`, without the checks of [`Config::check`]. `file` is for messages only.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| error::explain(text, file, &error))
    }

    /// Everything that is wrong or doubtful, in the order of the file.
    pub fn check(&self) -> Vec<Problem> {
        check::check(self)
    }

    /// A file with every key, its default and its meaning.
    pub fn example() -> String {
        Self::default().render()
    }

    /// This configuration as a file, with every key and its meaning.
    pub fn render(&self) -> String {
        example::render(self)
    }

    /// Listens on loopback ports that are free now, and stay the node's after
    /// a restart: for several nodes on one machine.
    pub fn use_free_ports(&mut self) -> std::io::Result<()> {
        let [network, peers, workbench, admin] = ports::free()?;
        self.network.listen = sections::loopback_network(network);
        self.peers.listen.set_port(peers);
        self.workbench.listen.set_port(workbench);
        self.admin.listen.set_port(admin);
        Ok(())
    }

    /// Where the admin API's Unix socket is, for the home folder `home`.
    pub fn admin_socket(&self, home: &Path) -> PathBuf {
        // `join` takes an absolute path as it is.
        home.join(
            self.admin
                .socket
                .as_deref()
                .unwrap_or_else(|| Path::new("admin.sock")),
        )
    }
}

#[cfg(test)]
mod tests;

//! The sections of `comity.toml`. Meanings and ranges for the owner are in `keys.rs`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};

use crate::network::Area;

/// Default port of the peer network, for QUIC and TCP.
pub const NETWORK_PORT: u16 = 7401;
/// Default port of the Flight listener for partners' nodes.
pub const PEERS_PORT: u16 = 7402;
/// Default port of the Flight SQL listener for members.
pub const WORKBENCH_PORT: u16 = 7403;
/// Default port of the admin API.
pub const ADMIN_PORT: u16 = 7404;

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// `[organization]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Organization {
    /// The name that people read.
    pub name: String,
    /// The name in SQL and in commands: `[a-z0-9][a-z0-9-]{0,62}`. Partners may choose another.
    pub alias: String,
}

/// `[network]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Addresses to listen on.
    pub listen: Vec<Multiaddr>,
    /// Addresses under which others reach this node.
    pub external: Vec<Multiaddr>,
    /// Whether to find nodes on the local network (mDNS).
    pub lan: bool,
    /// Where partners are dialled; unset, on the public internet and wherever
    /// this node itself can be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dial: Option<Vec<Area>>,
    /// Connections at most.
    pub max_connections: u32,
    /// Process memory, in bytes and besides that of `[query]`, above which new connections are refused.
    pub memory_budget_bytes: u64,
    /// Nodes to connect to at start, each ending in `/p2p/<peer id>`.
    pub peers: Vec<Multiaddr>,
}

/// QUIC and TCP on one loopback port; 0 stands for any free port.
pub(super) fn loopback_network(port: u16) -> Vec<Multiaddr> {
    let quic = Multiaddr::from(Ipv4Addr::LOCALHOST)
        .with(libp2p::multiaddr::Protocol::Udp(port))
        .with(libp2p::multiaddr::Protocol::QuicV1);
    let tcp = Multiaddr::from(Ipv4Addr::LOCALHOST).with(libp2p::multiaddr::Protocol::Tcp(port));
    vec![quic, tcp]
}

impl Default for Network {
    fn default() -> Self {
        Self {
            listen: loopback_network(NETWORK_PORT),
            external: Vec::new(),
            lan: false,
            dial: None,
            max_connections: 256,
            memory_budget_bytes: 1 << 30,
            peers: Vec::new(),
        }
    }
}

/// `[peers]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Peers {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// `host:port` under which partners reach the listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertised: Option<String>,
    /// Whether holders of grants may come by themselves, with certificates that
    /// name no node (`spec/5-data-plane.md#D-132`). Anybody can then finish a
    /// handshake, which is why it is off unless the owner wants it.
    pub direct: bool,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            listen: loopback(PEERS_PORT),
            advertised: None,
            direct: false,
        }
    }
}

/// `[workbench]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workbench {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Whether members connect with TLS.
    pub tls: bool,
}

impl Default for Workbench {
    fn default() -> Self {
        Self {
            listen: loopback(WORKBENCH_PORT),
            tls: true,
        }
    }
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Loopback address to listen on.
    pub listen: SocketAddr,
    /// The Unix socket; a relative path starts at the home folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: loopback(ADMIN_PORT),
            socket: None,
        }
    }
}

/// `[query]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// Parts that a query is worked on in at the same time; 0 is one for each processor.
    pub partitions: u32,
    /// Memory for all running queries together, in bytes.
    pub memory_bytes: u64,
    /// Seconds after which a query is ended.
    pub deadline_seconds: u64,
    /// Rows that one query may deliver.
    pub max_rows: u64,
    /// Queries that run at the same time.
    pub concurrent: u32,
    /// Seconds that one waits for its turn.
    pub wait_seconds: u64,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            partitions: 0,
            memory_bytes: 1 << 30,
            deadline_seconds: 300,
            max_rows: 100_000_000,
            concurrent: 16,
            wait_seconds: 5,
        }
    }
}

/// `[measure]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Measure {
    /// Seconds between two measurements of a product; 0 measures on demand only.
    pub every_seconds: u64,
    /// Seconds after which one statement of a measurement is ended.
    pub timeout_seconds: u64,
}

impl Default for Measure {
    fn default() -> Self {
        Self {
            every_seconds: 3600,
            timeout_seconds: 60,
        }
    }
}

/// `[evidence]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evidence {
    /// Seconds after a delivery until a receipt of it is made.
    pub receipt_seconds: u64,
    /// Unacknowledged receipts at which an agreement pauses.
    pub max_unacknowledged: u64,
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            receipt_seconds: 5,
            max_unacknowledged: 8,
        }
    }
}

/// `[journal]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Journal {
    /// Bytes after which a new file begins.
    pub segment_bytes: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            segment_bytes: crate::journal::Settings::default().segment_bytes,
        }
    }
}

/// `[index]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Index {
    /// Memory for the cache, in bytes.
    pub cache_bytes: u64,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            cache_bytes: crate::index::Settings::default().cache_bytes,
        }
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How a line is written.
    pub format: LogFormat,
    /// What is written, in the syntax of `tracing_subscriber::EnvFilter`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".to_owned(),
        }
    }
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[shutdown]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// Seconds that running queries get to end.
    pub grace_seconds: u64,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { grace_seconds: 10 }
    }
}

/// `[sources.NAME]`: how to connect to the server that contracts name `NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// The user. Unset: the environment's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The file that holds the password, or without a user the token of a Flight
    /// SQL server; a relative path starts at the home folder. Unset: the
    /// environment's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Whether the way to the server is encrypted and the server's certificate
    /// checked. Unset: yes, except on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// The certificates (PEM) that vouch for the server's. Unset: for a Flight SQL
    /// server, the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Connections at most.
    pub connections: u32,
    /// Seconds after which the server ends a statement.
    pub timeout_seconds: u32,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            username: None,
            password_file: None,
            tls: None,
            ca_file: None,
            connections: 4,
            timeout_seconds: 300,
        }
    }
}

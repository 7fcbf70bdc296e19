//! Sockets, bound before anything is promised.

use std::net::SocketAddr;

use tokio::net::{TcpListener, UnixListener};

use crate::admin;
use crate::config::Config;
use crate::failure::Failure;
use crate::home::Home;

/// Every TCP and Unix listener of a node, bound. Partners and members never
/// share one (`spec/5-data-plane.md#D-101`).
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) peers: TcpListener,
    pub(super) workbench: TcpListener,
    pub(super) admin: TcpListener,
    pub(super) socket: UnixListener,
}

impl Listeners {
    pub(super) async fn bind(home: &Home, config: &Config) -> Result<Self, Failure> {
        Ok(Self {
            peers: tcp("peers", config.peers.listen).await?,
            workbench: tcp("workbench", config.workbench.listen).await?,
            admin: tcp("admin", config.admin.listen).await?,
            socket: admin::bind_socket(&config.admin_socket(home.path()))?,
        })
    }
}

async fn tcp(section: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|e| {
        Failure::own(
            "listen",
            format!("[{section}] cannot listen on {address}: {e}"),
        )
        .next(format!(
            "choose another 'listen' under [{section}] in comity.toml, or end what uses the port"
        ))
    })
}

/// The address that a listener got.
pub(super) fn address(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener.local_addr().map_err(|e| Failure::own("listen", e))
}

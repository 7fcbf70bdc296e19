//! The ports that organizations of this process have.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use libp2p::multiaddr::Protocol;

use super::LabError;
use crate::config::Config;
use crate::home::Home;

static CLAIMED: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// Whether the ports of `home` were nobody else's; if so, they are its own from
/// now on.
pub(super) fn claim(home: &Home) -> Result<bool, LabError> {
    let path = home.config();
    let config = Config::load(&path)
        .map_err(|e| LabError::Init(path.display().to_string(), e.to_string()))?;
    let listeners = [
        &config.peers.listen,
        &config.workbench.listen,
        &config.admin.listen,
    ];
    let network = config.network.listen.iter().flatten();
    let ports: HashSet<u16> = network
        .filter_map(|protocol| match protocol {
            Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
            _ => None,
        })
        .chain(listeners.map(SocketAddr::port))
        .collect();
    let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    let claimed = claimed.get_or_insert_default();
    if ports.iter().any(|port| claimed.contains(port)) {
        return Ok(false);
    }
    claimed.extend(ports);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_claimed_once() {
        let (own, dir) = crate::fixture::own("claims");
        let home = Home::at(dir.path().join("claims"));
        assert!(claim(&home).unwrap());
        assert!(!claim(&home).unwrap());
        drop(own);
    }
}

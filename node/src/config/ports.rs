//! Free ports on loopback.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// Where ports are looked for: above those of well-known services and below
/// Linux's range for outgoing connections, one of which could take a port
/// between now and the node's start.
const RANGE: std::ops::Range<u16> = 10_240..32_000;

/// Ports that are tried before giving up.
const TRIES: usize = 256;

/// Four different ports that are free for TCP and UDP now.
pub(super) fn free() -> io::Result<[u16; 4]> {
    let mut held = Vec::new();
    for _ in 0..TRIES {
        let mut bytes = [0; 2];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let port = RANGE.start + u16::from_be_bytes(bytes) % (RANGE.end - RANGE.start);
        let at = (Ipv4Addr::LOCALHOST, port);
        if let (Ok(tcp), Ok(udp)) = (TcpListener::bind(at), UdpSocket::bind(at)) {
            held.push((port, tcp, udp));
        }
        if let [(a, ..), (b, ..), (c, ..), (d, ..)] = held[..] {
            return Ok([a, b, c, d]);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        "no free ports were found on loopback",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_different_ports_outside_the_outgoing_range() {
        let mut ports = free().expect("free ports").to_vec();
        assert!(ports.iter().all(|p| RANGE.contains(p)));
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 4);
    }
}

//! Which addresses this node dials (A26, A43).
//!
//! Where a partner's nodes are is what the partner says. Without a rule its
//! document could send this node's connections to its own loopback listeners,
//! to a cloud's metadata service, or into a network that the partner itself
//! cannot reach. The rule is applied to the address of each connection, after
//! names are resolved, and the connection goes to the very address that was
//! judged: a name that resolves to something else the next time changes nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// The public internet.
    Public,
    /// A private network: RFC 1918, RFC 6598 (CGNAT), RFC 4193 (ULA).
    Private,
    /// This machine.
    Loopback,
}

/// The areas in which this node dials partners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialPolicy {
    public: bool,
    private: bool,
    loopback: bool,
}

/// Addresses of one name that are tried.
const MAX_RESOLVED: usize = 8;

impl DialPolicy {
    /// Exactly these areas.
    pub fn only(areas: &[Area]) -> Self {
        Self {
            public: areas.contains(&Area::Public),
            private: areas.contains(&Area::Private),
            loopback: areas.contains(&Area::Loopback),
        }
    }

    /// What a node dials whose owner said nothing: the public internet, and the
    /// areas in which the node itself can be reached at `own`. A node that
    /// listens on every interface is in a private network; one is on loopback
    /// only if that is all there is.
    pub fn like(own: impl IntoIterator<Item = IpAddr>) -> Self {
        let (mut private, mut loopback, mut other) = (false, false, false);
        for ip in own {
            if ip.is_unspecified() {
                (private, other) = (true, true);
                continue;
            }
            match area(ip) {
                Some(Area::Loopback) => loopback = true,
                Some(Area::Private) => (private, other) = (true, true),
                Some(Area::Public) | None => other = true,
            }
        }
        Self {
            public: true,
            private,
            loopback: loopback && !other,
        }
    }

    /// Also dials private networks.
    pub fn and_private(self) -> Self {
        Self {
            private: true,
            ..self
        }
    }

    /// Whether this node dials `ip`.
    pub fn permits(&self, ip: IpAddr) -> bool {
        match area(ip) {
            Some(Area::Public) => self.public,
            Some(Area::Private) => self.private,
            Some(Area::Loopback) => self.loopback,
            None => false,
        }
    }

    /// Whether this node dials `address`, in which names are resolved already.
    pub fn permits_resolved(&self, address: &Multiaddr) -> bool {
        match address.iter().next() {
            Some(Protocol::Ip4(ip)) => self.permits(ip.into()),
            Some(Protocol::Ip6(ip)) => self.permits(ip.into()),
            _ => false,
        }
    }

    /// Connects to `host:port`: resolves the host once, and tries the addresses
    /// that are permitted. An error is of kind [`io::ErrorKind::PermissionDenied`]
    /// when none is.
    pub async fn connect(&self, host_port: &str) -> io::Result<TcpStream> {
        let resolved = tokio::net::lookup_host(host_port).await?;
        let mut last = refused(host_port);
        let permitted = resolved.filter(|at| self.permits(at.ip()));
        for address in permitted.take(MAX_RESOLVED) {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Why an address is not dialled, for the owner.
pub(super) fn refused(address: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "{address} is not where this node dials partners; see 'dial' under [network] in comity.toml"
        ),
    )
}

/// The area of `ip`, or nothing if no partner can be there, whatever the owner
/// says: see [`is_nowhere_v4`] and [`is_nowhere_v6`].
fn area(ip: IpAddr) -> Option<Area> {
    match ip {
        IpAddr::V4(ip) => area_v4(ip),
        IpAddr::V6(ip) => match embedded(ip) {
            Some(inner) => area_v4(inner),
            None => area_v6(ip),
        },
    }
}

fn area_v4(ip: Ipv4Addr) -> Option<Area> {
    let [a, b, ..] = ip.octets();
    if is_nowhere_v4(ip) {
        return None;
    }
    Some(match (a, b) {
        _ if ip.is_loopback() => Area::Loopback,
        _ if ip.is_private() => Area::Private,
        // RFC 6598, shared address space.
        (100, 64..=127) => Area::Private,
        _ => Area::Public,
    })
}

fn area_v6(ip: Ipv6Addr) -> Option<Area> {
    if is_nowhere_v6(ip) {
        return None;
    }
    Some(match ip.segments() {
        _ if ip.is_loopback() => Area::Loopback,
        // RFC 4193, and the local-use translation prefix of RFC 8215.
        [0xfc00..=0xfdff, ..] | [0x64, 0xff9b, 1, ..] => Area::Private,
        _ => Area::Public,
    })
}

/// Unspecified, "this network", link-local (and with it the metadata services
/// at 169.254.0.0/16), multicast, reserved, broadcast, benchmarks,
/// documentation, protocol assignments, and metadata services elsewhere.
fn is_nowhere_v4(ip: Ipv4Addr) -> bool {
    // Azure's wire server and Alibaba Cloud's metadata: https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
    const METADATA: [Ipv4Addr; 2] = [
        Ipv4Addr::new(168, 63, 129, 16),
        Ipv4Addr::new(100, 100, 100, 200),
    ];
    let [a, b, c, _] = ip.octets();
    a == 0
        || a >= 224
        || ip.is_link_local()
        || ip.is_documentation()
        || (a, b, c) == (192, 0, 0)
        || (a, b & 0xfe) == (198, 18)
        || METADATA.contains(&ip)
}

/// Unspecified, multicast, link-local and the old site-local, documentation,
/// discard-only, and Amazon's metadata service in ULA space.
fn is_nowhere_v6(ip: Ipv6Addr) -> bool {
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    ip.is_unspecified()
        || ip.is_multicast()
        || ip == METADATA
        || matches!(
            ip.segments(),
            [0xfe80..=0xfeff, ..] | [0x2001, 0xdb8, ..] | [0x100, 0, 0, 0, ..]
        )
}

/// The IPv4 address inside an IPv6 one that leads to it: mapped, compatible,
/// translated (RFC 6052), 6to4. Loopback and unspecified are IPv6's own.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Area; 3] = [Area::Public, Area::Private, Area::Loopback];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_lead_where_the_registries_say_two_sided() {
        for (text, expected) in [
            ("8.8.8.8", Some(Area::Public)),
            ("9.255.255.255", Some(Area::Public)),
            ("10.0.0.0", Some(Area::Private)),
            ("10.255.255.255", Some(Area::Private)),
            ("11.0.0.0", Some(Area::Public)),
            ("100.63.255.255", Some(Area::Public)),
            ("100.64.0.0", Some(Area::Private)),
            ("100.127.255.255", Some(Area::Private)),
            ("100.128.0.0", Some(Area::Public)),
            ("100.100.100.200", None),
            ("126.255.255.255", Some(Area::Public)),
            ("127.0.0.1", Some(Area::Loopback)),
            ("127.255.255.255", Some(Area::Loopback)),
            ("169.253.255.255", Some(Area::Public)),
            ("169.254.0.0", None),
            ("169.254.169.254", None),
            ("169.255.0.0", Some(Area::Public)),
            ("172.15.255.255", Some(Area::Public)),
            ("172.16.0.0", Some(Area::Private)),
            ("172.31.255.255", Some(Area::Private)),
            ("172.32.0.0", Some(Area::Public)),
            ("192.0.0.192", None),
            ("192.168.1.1", Some(Area::Private)),
            ("198.17.255.255", Some(Area::Public)),
            ("198.18.0.0", None),
            ("198.19.255.255", None),
            ("198.20.0.0", Some(Area::Public)),
            ("168.63.129.16", None),
            ("0.0.0.0", None),
            ("0.1.2.3", None),
            ("223.255.255.255", Some(Area::Public)),
            ("224.0.0.1", None),
            ("255.255.255.255", None),
            ("::", None),
            ("::1", Some(Area::Loopback)),
            ("2606:4700::1", Some(Area::Public)),
            ("fc00::1", Some(Area::Private)),
            ("fdff::1", Some(Area::Private)),
            ("fd00:ec2::254", None),
            ("fe80::1", None),
            ("fec0::1", None),
            ("ff02::1", None),
            ("2001:db8::1", None),
            ("::ffff:127.0.0.1", Some(Area::Loopback)),
            ("::ffff:169.254.169.254", None),
            ("64:ff9b::a9fe:a9fe", None),
            ("2002:a9fe:a9fe::1", None),
            ("::169.254.169.254", None),
            ("64:ff9b::808:808", Some(Area::Public)),
        ] {
            assert_eq!(area(ip(text)), expected, "{text}");
        }
    }

    #[test]
    fn a_node_dials_where_it_can_be_reached_itself() {
        let like = |own: &[&str]| DialPolicy::like(own.iter().map(|t| ip(t)));
        assert_eq!(like(&[]), DialPolicy::only(&[Area::Public]));
        assert_eq!(like(&["8.8.8.8"]), DialPolicy::only(&[Area::Public]));
        let (public, private, loopback) = (Area::Public, Area::Private, Area::Loopback);
        assert_eq!(like(&["10.1.2.3"]), DialPolicy::only(&[public, private]));
        assert_eq!(like(&["127.0.0.1"]), DialPolicy::only(&[public, loopback]));
        // A demo on one machine may dial the machine; a node on the internet that
        // listens on loopback too may not.
        assert_eq!(like(&["127.0.0.1", "8.8.8.8"]), like(&["8.8.8.8"]));
        assert_eq!(like(&["0.0.0.0"]), DialPolicy::only(&[public, private]));
        assert_eq!(
            like(&["8.8.8.8"]).and_private(),
            DialPolicy::only(&[public, private])
        );
    }

    #[tokio::test]
    async fn a26_a_name_is_judged_by_what_it_resolves_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = format!("localhost:{}", listener.local_addr().unwrap().port());
        let public = DialPolicy::only(&[Area::Public]);
        let refused = public.connect(&at).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert!(DialPolicy::only(&ALL).connect(&at).await.is_ok());
    }

    proptest! {
        /// Writing an IPv4 address in IPv6 opens nothing.
        #[test]
        fn an_embedded_address_leads_where_it_leads_by_itself(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let [a, b, c, d] = v4.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            for v6 in [
                v4.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            ] {
                prop_assert_eq!(area(v6.into()), area_v4(v4), "{}", v6);
            }
        }

        /// What is nowhere is dialled under no policy, and each address belongs
        /// to one area: a policy without it does not dial it.
        #[test]
        fn only_the_area_of_an_address_opens_it(bits: u128, v4: bool) {
            let ip: IpAddr = if v4 {
                Ipv4Addr::from(bits as u32).into()
            } else {
                Ipv6Addr::from(bits).into()
            };
            for opened in ALL {
                let permitted = DialPolicy::only(&[opened]).permits(ip);
                prop_assert_eq!(permitted, area(ip) == Some(opened));
            }
            prop_assert_eq!(DialPolicy::only(&ALL).permits(ip), area(ip).is_some());
        }

        #[test]
        fn link_local_and_multicast_are_dialled_under_no_policy(low: u16, host: u64) {
            let [c, d] = low.to_be_bytes();
            let all = DialPolicy::only(&ALL);
            prop_assert!(!all.permits(Ipv4Addr::new(169, 254, c, d).into()));
            prop_assert!(!all.permits(Ipv4Addr::new(224 | (c & 0x0f), d, c, d).into()));
            let v6 = |prefix: u128| Ipv6Addr::from((prefix << 112) | u128::from(host));
            prop_assert!(!all.permits(v6(0xfe80).into()));
            prop_assert!(!all.permits(v6(0xff02).into()));
        }
    }
}

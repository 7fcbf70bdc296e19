//! This node's TLS certificate: issued by the organization's CA, renewed in time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use comity_identity::Timestamp;
use comity_identity::tls::{
    Authority, CurrentLeaf, LEAF_LIFETIME, LeafRequest, PeerName, RENEW_AFTER, TlsKey,
};

use crate::failure::Failure;
use crate::own::Own;

/// The certificate that both listeners show and that the dialler presents.
///
/// A renewed one replaces it in place: open connections go on, new ones get the
/// new one, nothing restarts. The key stays, so that partners who know its hash
/// from the organization document need not learn another.
#[derive(Debug)]
pub struct Certificate {
    authority: Authority,
    key: TlsKey,
    peer: PeerName,
    names: Names,
    current: Arc<CurrentLeaf>,
    issued: Mutex<Timestamp>,
}

/// By what ordinary clients may know this node, beside its SPIFFE name.
#[derive(Clone, Debug)]
struct Names {
    dns: Vec<String>,
    ips: Vec<IpAddr>,
}

impl Certificate {
    /// Issues the first certificate of this run. `hosts` are the names that
    /// clients use to reach the listeners.
    pub fn issue(own: &Own, hosts: &[String], now: Timestamp) -> Result<Self, Failure> {
        let failed = |e| Failure::own("tls-certificate", e);
        let key = |pkcs8: &[u8]| TlsKey::from_pkcs8(pkcs8).map_err(failed);
        let current = own.current();
        let ca = current.document.tls_ca().to_vec();
        let authority = Authority::open(own.org(), ca, key(&own.keys().tls_ca)?).map_err(failed)?;
        let node_key = key(&own.keys().tls_node)?;
        let peer = PeerName {
            org: own.org(),
            node: own.node().clone(),
        };
        let names = Names::of(hosts);
        let leaf = authority
            .issue(&request(&peer, &node_key, &names, now))
            .map_err(failed)?;
        let current = Arc::new(CurrentLeaf::new(&leaf, &node_key).map_err(failed)?);
        Ok(Self {
            authority,
            key: node_key,
            peer,
            names,
            current,
            issued: Mutex::new(now),
        })
    }

    /// What rustls asks for the certificate in force.
    pub fn current(&self) -> Arc<CurrentLeaf> {
        Arc::clone(&self.current)
    }

    /// When the certificate in force expires.
    pub fn expires(&self) -> Timestamp {
        self.issued().saturating_add(LEAF_LIFETIME)
    }

    /// Issues the next certificate when the present one is old enough. Gives whether it did.
    pub fn refresh(&self, now: Timestamp) -> Result<bool, Failure> {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(*issued) < RENEW_AFTER {
            return Ok(false);
        }
        let failed = |e| Failure::own("tls-certificate", e);
        let wanted = request(&self.peer, &self.key, &self.names, now);
        let leaf = self.authority.issue(&wanted).map_err(failed)?;
        self.current.replace(&leaf, &self.key).map_err(failed)?;
        *issued = now;
        Ok(true)
    }

    fn issued(&self) -> Timestamp {
        *self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    /// Loopback names always, so that local tools connect without a special
    /// case; then each host, as the address or the name that it is.
    fn of(hosts: &[String]) -> Self {
        let mut names = Self {
            dns: vec!["localhost".to_owned()],
            ips: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        };
        for host in hosts {
            let host = match host.parse::<SocketAddr>() {
                Ok(socket) => socket.ip().to_string(),
                Err(_) => host
                    .rsplit_once(':')
                    .map_or(host.as_str(), |(h, _)| h)
                    .to_owned(),
            };
            match host.parse::<IpAddr>() {
                Ok(ip) if ip.is_unspecified() || names.ips.contains(&ip) => {}
                Ok(ip) => names.ips.push(ip),
                Err(_) if names.dns.contains(&host) => {}
                Err(_) => names.dns.push(host),
            }
        }
        names
    }
}

fn request(peer: &PeerName, key: &TlsKey, names: &Names, at: Timestamp) -> LeafRequest {
    LeafRequest {
        peer: peer.clone(),
        spki: key.spki(),
        dns: names.dns.clone(),
        ips: names.ips.clone(),
        at,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use comity_identity::tls::{provider, workbench_server_config};
    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::time_provider::TimeProvider;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::client::TlsStream;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::fixture;

    /// A clock that stands.
    #[derive(Debug)]
    struct At(Timestamp);

    impl TimeProvider for At {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::from_secs(
                self.0.as_secs(),
            )))
        }
    }

    /// Connects at `at`, trusting the organization's CA alone.
    async fn connect(own: &Own, to: std::net::SocketAddr, at: Timestamp) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        let ca = own.current().document.tls_ca().to_vec();
        roots.add(ca.into()).unwrap();
        let config = ClientConfig::builder_with_details(provider(), Arc::new(At(at)))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let tcp = TcpStream::connect(to).await.unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .unwrap()
    }

    fn leaf(stream: &TlsStream<TcpStream>) -> Vec<u8> {
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    async fn echoes(stream: &mut TlsStream<TcpStream>) -> bool {
        let mut back = [0; 4];
        stream.write_all(b"ping").await.is_ok()
            && stream.read_exact(&mut back).await.is_ok()
            && &back == b"ping"
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_shown_without_a_restart_and_open_connections_go_on() {
        let founded = tokio::task::spawn_blocking(|| fixture::own("weather-service"));
        let (own, _dir) = founded.await.unwrap();
        let start = crate::clock::now();
        let certificate = Certificate::issue(&own, &[], start).unwrap();
        let later = start.saturating_add(RENEW_AFTER);

        let clock = Arc::new(At(later));
        let config = workbench_server_config(certificate.current(), clock).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let (mut read, mut write) = tokio::io::split(acceptor.accept(tcp).await?);
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });

        let mut open = connect(&own, to, later).await;
        let before = Timestamp::from_secs(later.as_secs() - 1);
        assert!(!certificate.refresh(before).unwrap(), "not a second early");
        assert_eq!(leaf(&connect(&own, to, later).await), leaf(&open));

        assert!(certificate.refresh(later).unwrap());
        assert!(!certificate.refresh(later).unwrap(), "once");
        assert_eq!(certificate.expires(), later.saturating_add(LEAF_LIFETIME));
        let mut new = connect(&own, to, later).await;
        assert_ne!(leaf(&new), leaf(&open));
        assert!(echoes(&mut open).await && echoes(&mut new).await);
        // The old one would be refused by now; the new one is not.
        let end = start.saturating_add(LEAF_LIFETIME);
        let mut after = connect(&own, to, end).await;
        assert!(echoes(&mut after).await);
    }

    #[test]
    fn hosts_become_the_names_that_they_are() {
        let hosts = [
            "10.1.2.3:7402",
            "node.example:7402",
            "0.0.0.0:7402",
            "[::1]:1",
        ];
        let names = Names::of(&hosts.map(str::to_owned));
        assert_eq!(names.dns, ["localhost", "node.example"]);
        assert_eq!(names.ips.len(), 3, "{:?}", names.ips);
    }
}

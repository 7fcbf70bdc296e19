mod connections;
mod refusals;

use core::time::Duration;
use std::sync::Arc;

use rcgen::CertificateParams;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, Connection, Error, ServerConfig, ServerConnection};

use super::*;
use crate::fixture::{NOW, Party};
use crate::keyring::{Keyring, MemoryMarkStore};
use crate::organization::Document;
use crate::{Der, OrgId, Timestamp};

#[derive(Debug)]
struct FixedClock(Timestamp);

impl TimeProvider for FixedClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            self.0.as_secs(),
        )))
    }
}

/// An organization with a certificate authority and one node's TLS key.
struct Actor {
    party: Party,
    authority: Authority,
    key: TlsKey,
}

impl Actor {
    fn new(seed: u8) -> Self {
        let mut party = Party::new(seed);
        let org = party.history.org();
        let authority = Authority::create(org, TlsKey::generate().unwrap(), NOW).unwrap();
        party.tls_ca = Der::new(authority.certificate().to_vec());
        Self {
            party,
            authority,
            key: TlsKey::generate().unwrap(),
        }
    }

    fn org(&self) -> OrgId {
        self.party.history.org()
    }

    fn request(&self) -> LeafRequest {
        LeafRequest {
            peer: PeerName {
                org: self.org(),
                node: "node-1".parse().unwrap(),
            },
            spki: self.key.spki(),
            dns: vec!["localhost".to_owned()],
            ips: vec!["127.0.0.1".parse().unwrap()],
            at: NOW,
        }
    }

    fn leaf(&self) -> Vec<u8> {
        self.authority.issue(&self.request()).unwrap()
    }

    /// A leaf that says what `change` makes of an honest one, signed by `authority`.
    fn forged(
        &self,
        authority: &Authority,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Vec<u8> {
        let mut params = authority::leaf_params(&self.request()).unwrap();
        change(&mut params);
        authority.sign(params, &self.key.spki()).unwrap()
    }

    fn document(&self, version: u64) -> Document {
        let mut document = self.party.document(version);
        document.nodes[0].tls_spki = vec![self.key.spki_digest()];
        document
    }

    fn tell(&self, keyring: &Keyring, document: &Document) {
        let evidence = self.party.evidence_of(document);
        keyring.introduce(&evidence, NOW).unwrap();
    }
}

/// Two organizations and the keyring that both use.
struct Stage {
    server: Actor,
    client: Actor,
    keyring: Arc<Keyring>,
}

impl Stage {
    fn new() -> Self {
        let store = Arc::new(MemoryMarkStore::default());
        let keyring = Arc::new(Keyring::open(store).unwrap());
        let (server, client) = (Actor::new(1), Actor::new(2));
        server.tell(&keyring, &server.document(1));
        client.tell(&keyring, &client.document(1));
        Self {
            server,
            client,
            keyring,
        }
    }

    fn server_config(&self, leaf: &[u8], now: Timestamp) -> ServerConfig {
        let leaf = Arc::new(CurrentLeaf::new(leaf, &self.server.key).unwrap());
        let trust = Arc::clone(&self.keyring) as _;
        peer_server_config(trust, leaf, Arc::new(FixedClock(now))).unwrap()
    }

    fn client_config(&self, leaf: &[u8], dialled: OrgId, now: Timestamp) -> ClientConfig {
        let leaf = Arc::new(CurrentLeaf::new(leaf, &self.client.key).unwrap());
        let trust = Arc::clone(&self.keyring) as _;
        peer_client_config(trust, dialled, leaf, Arc::new(FixedClock(now))).unwrap()
    }

    /// A handshake in which the client shows `leaf`; the server's verdict.
    fn client_shows(&self, leaf: &[u8]) -> Result<(), Error> {
        self.client_shows_at(leaf, NOW)
    }

    fn client_shows_at(&self, leaf: &[u8], now: Timestamp) -> Result<(), Error> {
        let server = self.server_config(&self.server.leaf(), now);
        let client = self.client_config(leaf, self.server.org(), now);
        let outcome = handshake(Arc::new(client), Arc::new(server));
        outcome.map(|_| ()).map_err(|(side, error)| {
            assert_eq!(side, Side::Server, "{error}");
            error
        })
    }

    /// A handshake in which the server shows `leaf`; the client's verdict.
    fn server_shows(&self, leaf: &[u8], dialled: OrgId) -> Result<(), Error> {
        let server = self.server_config(leaf, NOW);
        let client = self.client_config(&self.client.leaf(), dialled, NOW);
        let outcome = handshake(Arc::new(client), Arc::new(server));
        outcome.map(|_| ()).map_err(|(side, error)| {
            assert_eq!(side, Side::Client, "{error}");
            error
        })
    }
}

#[derive(Debug, PartialEq)]
enum Side {
    Client,
    Server,
}

/// Both ends after a handshake in memory, or the side that refused and why.
fn handshake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), (Side, Error)> {
    let name = ServerName::try_from("peer.invalid").unwrap();
    let mut client = Connection::from(ClientConnection::new(client, name).unwrap());
    let mut server = Connection::from(ServerConnection::new(server).unwrap());
    // A TLS 1.3 handshake needs two rounds; the bound ends a test that would not.
    for _ in 0..8 {
        pass(&mut client, &mut server).map_err(|e| (Side::Server, e))?;
        pass(&mut server, &mut client).map_err(|e| (Side::Client, e))?;
    }
    match (client, server) {
        (Connection::Client(c), Connection::Server(s)) if !c.is_handshaking() => Ok((c, s)),
        _ => panic!("the handshake did not end"),
    }
}

fn pass(from: &mut Connection, to: &mut Connection) -> Result<(), Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

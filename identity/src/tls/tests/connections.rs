//! What an honest connection is like, and what certificates say.

use rustls::HandshakeKind;

use super::*;
use crate::binding::{EXPORTER_BYTES, EXPORTER_LABEL};
use crate::fixture::DAY;

#[test]
fn honest_nodes_connect_and_share_an_exporter() {
    let stage = Stage::new();
    let server = stage.server_config(&stage.server.leaf(), NOW);
    let client = stage.client_config(&stage.client.leaf(), stage.server.org(), NOW);
    let (client, server) = handshake(Arc::new(client), Arc::new(server)).unwrap();
    assert_eq!(client.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(
        client.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    let exporters = [
        client.export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, None),
        server.export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, None),
    ]
    .map(Result::unwrap);
    assert_eq!(exporters[0], exporters[1]);
    let seen = server.peer_certificates().unwrap();
    let name = LeafName::parse(&seen[0]).unwrap();
    assert_eq!(name.peer, stage.client.request().peer);
    assert_eq!(name.spki, stage.client.key.spki_digest());
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let stage = Stage::new();
    let server = stage.server_config(&stage.server.leaf(), NOW);
    let provider = provider();
    let trust = Arc::clone(&stage.keyring) as _;
    let verifier = PeerVerifier::dialling(trust, stage.server.org());
    let clock = Arc::new(FixedClock(NOW));
    let client = ClientConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let mut client = client;
    client.alpn_protocols = vec![b"h2".to_vec()];
    let (side, error) = handshake(Arc::new(client), Arc::new(server)).unwrap_err();
    assert_eq!(
        (side, error),
        (Side::Server, Error::NoCertificatesPresented)
    );
}

#[test]
fn a8_tls_1_2_is_refused() {
    let stage = Stage::new();
    let server = stage.server_config(&stage.server.leaf(), NOW);
    let trust = Arc::clone(&stage.keyring) as _;
    let verifier = PeerVerifier::dialling(trust, stage.server.org());
    let clock = Arc::new(FixedClock(NOW));
    let old = ClientConfig::builder_with_details(provider(), clock)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let (side, error) = handshake(Arc::new(old), Arc::new(server)).unwrap_err();
    assert_eq!(side, Side::Server);
    assert!(matches!(error, Error::PeerIncompatible(_)), "{error}");
}

#[test]
fn a30_a_second_connection_is_never_resumed() {
    let stage = Stage::new();
    let server = Arc::new(stage.server_config(&stage.server.leaf(), NOW));
    assert_eq!(server.send_tls13_tickets, 0);
    assert!(!server.session_storage.can_cache());
    let mut client = stage.client_config(&stage.client.leaf(), stage.server.org(), NOW);
    // A client that would like to resume: the server gives it nothing to do so with.
    client.resumption = rustls::client::Resumption::in_memory_sessions(16);
    let client = Arc::new(client);
    for _ in 0..2 {
        let (client, server) = handshake(Arc::clone(&client), Arc::clone(&server)).unwrap();
        assert_ne!(client.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_ne!(server.handshake_kind(), Some(HandshakeKind::Resumed));
    }
}

#[test]
fn a_renewed_leaf_is_shown_without_a_restart() {
    let stage = Stage::new();
    let current = Arc::new(CurrentLeaf::new(&stage.server.leaf(), &stage.server.key).unwrap());
    let clock = Arc::new(FixedClock(NOW));
    let trust = Arc::clone(&stage.keyring) as _;
    let server = Arc::new(peer_server_config(trust, Arc::clone(&current) as _, clock).unwrap());
    let shown = || {
        let client = stage.client_config(&stage.client.leaf(), stage.server.org(), NOW);
        let (client, _) = handshake(Arc::new(client), Arc::clone(&server)).unwrap();
        client.peer_certificates().unwrap()[0].to_vec()
    };
    let before = shown();
    let mut request = stage.server.request();
    request.at = NOW.saturating_sub(DAY);
    let renewed = stage.server.authority.issue(&request).unwrap();
    assert!(current.replace(&renewed, &stage.client.key).is_err());
    assert_eq!(shown(), before);
    current.replace(&renewed, &stage.server.key).unwrap();
    assert_eq!(shown(), renewed);
    assert_ne!(before, renewed);
}

#[test]
fn an_ordinary_client_trusts_the_authority_and_the_dns_name() {
    let stage = Stage::new();
    let clock = || Arc::new(FixedClock(NOW));
    let leaf = CurrentLeaf::new(&stage.server.leaf(), &stage.server.key).unwrap();
    let server = Arc::new(workbench_server_config(Arc::new(leaf), clock()).unwrap());
    let connect = |authority: &Authority, name: &'static str| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.certificate().to_vec().into()).unwrap();
        let mut config = ClientConfig::builder_with_details(provider(), clock())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from(name).unwrap();
        let mut client = Connection::from(ClientConnection::new(Arc::new(config), name).unwrap());
        let mut server = Connection::from(ServerConnection::new(Arc::clone(&server)).unwrap());
        for _ in 0..4 {
            pass(&mut client, &mut server)?;
            pass(&mut server, &mut client)?;
        }
        Ok::<_, Error>(())
    };
    assert_eq!(connect(&stage.server.authority, "localhost"), Ok(()));
    assert_eq!(connect(&stage.server.authority, "127.0.0.1"), Ok(()));
    assert!(connect(&stage.server.authority, "elsewhere.example").is_err());
    assert!(connect(&stage.client.authority, "localhost").is_err());
}

#[test]
fn an_authority_signs_for_its_own_organization_only_and_keeps_its_key() {
    let stage = Stage::new();
    let foreign = stage.client.request();
    assert!(matches!(
        stage.server.authority.issue(&foreign),
        Err(CertificateError::OtherOrganization)
    ));
    let kept = stage.server.authority.certificate().to_vec();
    let other = TlsKey::from_pkcs8(stage.server.key.pkcs8()).unwrap();
    assert!(matches!(
        Authority::open(stage.server.org(), kept, other),
        Err(CertificateError::OtherKey)
    ));
    let key = TlsKey::generate().unwrap();
    let again = TlsKey::from_pkcs8(key.pkcs8()).unwrap();
    assert_eq!(key.spki(), again.spki());
    let authority = Authority::create(stage.server.org(), key, NOW).unwrap();
    let certificate = authority.certificate().to_vec();
    let opened = Authority::open(stage.server.org(), certificate, again).unwrap();
    assert!(opened.issue(&stage.server.request()).is_ok());
    let mut request = stage.server.request();
    request.spki.push(0);
    assert!(matches!(
        opened.issue(&request),
        Err(CertificateError::Malformed)
    ));
}

#[test]
fn certificate_names_are_strict() {
    let org = Stage::new().server.org();
    let good = format!("spiffe://{org}/node/node-1");
    let name: PeerName = good.parse().unwrap();
    assert_eq!(name.to_string(), good);
    for bad in [
        String::new(),
        format!("https://{org}/node/node-1"),
        format!("SPIFFE://{org}/node/node-1"),
        format!("spiffe://{}/node/node-1", org.to_string().to_uppercase()),
        format!("spiffe://{org}/node/"),
        format!("spiffe://{org}/node/node-1/"),
        format!("spiffe://{org}/node/node-1?x"),
        format!("spiffe://{org}/node/a/node/b"),
        format!("spiffe://{org}/job/node-1"),
        format!("spiffe://user@{org}/node/node-1"),
        format!("spiffe://{org}:443/node/node-1"),
        format!("spiffe://{org}/node/%6eode"),
        format!("spiffe://{}/node/node-1", &org.to_string()[1..]),
    ] {
        assert_eq!(bad.parse::<PeerName>(), Err(NameError::Grammar), "{bad}");
    }
    assert_eq!(LeafName::parse(b""), Err(NameError::Malformed));
    let mut trailing = Stage::new().server.leaf();
    trailing.push(0);
    assert_eq!(LeafName::parse(&trailing), Err(NameError::Malformed));
    assert_eq!(LeafName::parse(&[0x30; 8193]), Err(NameError::TooLarge));
}

#[test]
fn a_holder_comes_by_itself_only_where_it_is_expected_and_a_node_only_as_one() {
    let stage = Stage::new();
    let made = HolderCertificate::create(&stage.client.key, NOW).unwrap();
    let direct = || {
        let leaf = stage.server.leaf();
        let leaf = Arc::new(CurrentLeaf::new(&leaf, &stage.server.key).unwrap());
        let trust = Arc::clone(&stage.keyring) as _;
        Arc::new(direct_server_config(trust, leaf, Arc::new(FixedClock(NOW))).unwrap())
    };
    let shows = |leaf: &[u8]| Arc::new(stage.client_config(leaf, stage.server.org(), NOW));
    let (_, server) = handshake(shows(made.der()), direct()).unwrap();
    assert_eq!(server.peer_certificates().unwrap()[0].as_ref(), made.der());
    let nodes_only = stage.server_config(&stage.server.leaf(), NOW);
    let (side, _) = handshake(shows(made.der()), Arc::new(nodes_only)).unwrap_err();
    assert_eq!(side, Side::Server, "another listener takes nodes only");
    // A node that its organization no longer lists does not pass for a holder.
    let leaf = stage.client.leaf();
    assert_eq!(
        HolderCertificate::parse(&leaf, NOW),
        Err(NotAHolders::NamesANode)
    );
    handshake(shows(&leaf), direct()).unwrap();
    let mut revoked = stage.client.document(2);
    revoked.nodes[0].tls_spki = vec![stage.server.key.spki_digest()];
    stage.client.tell(&stage.keyring, &revoked);
    let (side, _) = handshake(shows(&leaf), direct()).unwrap_err();
    assert_eq!(side, Side::Server);
}

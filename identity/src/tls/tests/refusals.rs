//! Peers that are refused, each beside the honest one that is not.

use rcgen::SanType;
use rustls::CertificateError as RustlsCertificateError;
use time::OffsetDateTime;

use super::*;
use crate::fixture::DAY;
use crate::organization::{Revocation, Revoked};

fn refused(error: RustlsCertificateError) -> Result<(), Error> {
    Err(Error::InvalidCertificate(error))
}

fn reason(result: Result<(), Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn another_organizations_authority_cannot_forge_our_name() {
    let stage = Stage::new();
    let other = &stage.server.authority;
    let forged = stage.client.forged(other, |_| {});
    assert_eq!(
        stage.client_shows(&forged),
        refused(RustlsCertificateError::UnknownIssuer)
    );
    let forged = stage.server.forged(&stage.client.authority, |_| {});
    assert_eq!(
        stage.server_shows(&forged, stage.server.org()),
        refused(RustlsCertificateError::UnknownIssuer)
    );
    // Even an authority that calls itself like ours has another key.
    let twin = Authority::create(stage.client.org(), TlsKey::generate().unwrap(), NOW).unwrap();
    let forged = stage.client.forged(&twin, |_| {});
    assert!(stage.client_shows(&forged).is_err());
    assert!(stage.client_shows(&stage.client.leaf()).is_ok());
}

#[test]
fn a_certificate_has_exactly_one_uri_name() {
    let stage = Stage::new();
    let uri = |name: &PeerName| SanType::URI(name.to_string().try_into().unwrap());
    let second = PeerName {
        org: stage.server.org(),
        node: "node-1".parse().unwrap(),
    };
    let own = &stage.client.authority;
    for forged in [
        stage
            .client
            .forged(own, |p| p.subject_alt_names.push(uri(&second))),
        stage
            .client
            .forged(own, |p| p.subject_alt_names.insert(0, uri(&second))),
        stage.client.forged(own, |p| {
            let again = p.subject_alt_names[0].clone();
            p.subject_alt_names.push(again);
        }),
        stage
            .client
            .forged(own, |p| _ = p.subject_alt_names.remove(0)),
        stage.client.forged(own, |p| p.subject_alt_names.clear()),
    ] {
        assert_eq!(LeafName::parse(&forged), Err(NameError::NotOneUri));
        assert!(reason(stage.client_shows(&forged)).contains("NotOneUri"));
    }
}

#[test]
fn a_leaf_lives_for_eight_days_at_most() {
    let stage = Stage::new();
    let lasting = |seconds: u64| {
        stage.client.forged(&stage.client.authority, |p| {
            p.not_after = p.not_before + Duration::from_secs(seconds);
        })
    };
    let limit = MAX_LEAF_LIFETIME.as_secs();
    assert!(stage.client_shows(&lasting(limit)).is_ok());
    for seconds in [limit + 1, 400 * 24 * 60 * 60] {
        assert!(reason(stage.client_shows(&lasting(seconds))).contains("Lifetime"));
    }
    let backwards = stage.client.forged(&stage.client.authority, |p| {
        p.not_after = p.not_before - Duration::from_secs(1);
    });
    assert!(stage.client_shows(&backwards).is_err());
}

#[test]
fn expired_and_future_leaves_are_refused() {
    let stage = Stage::new();
    let at = |at: Timestamp| {
        stage.client.forged(&stage.client.authority, |p| {
            let start = OffsetDateTime::from_unix_timestamp(at.as_secs() as i64).unwrap();
            p.not_before = start;
            p.not_after = start + Duration::from_secs(60 * 60);
        })
    };
    assert_eq!(
        stage.client_shows(&at(NOW.saturating_sub(DAY))),
        refused(RustlsCertificateError::Expired)
    );
    assert_eq!(
        stage.client_shows(&at(NOW.saturating_add(DAY))),
        refused(RustlsCertificateError::NotValidYet)
    );
}

#[test]
fn a_dialler_wants_the_organization_it_dialled() {
    let stage = Stage::new();
    let leaf = stage.server.leaf();
    assert!(stage.server_shows(&leaf, stage.server.org()).is_ok());
    assert_eq!(
        stage.server_shows(&leaf, stage.client.org()),
        refused(RustlsCertificateError::NotValidForName)
    );
}

#[test]
fn a30_a_key_that_the_document_no_longer_lists_does_not_connect() {
    let stage = Stage::new();
    let leaf = stage.client.leaf();
    assert!(stage.client_shows(&leaf).is_ok());
    let mut document = stage.client.document(2);
    document.nodes[0].tls_spki.clear();
    stage.client.tell(&stage.keyring, &document);
    assert_eq!(
        stage.client_shows(&leaf),
        refused(RustlsCertificateError::Revoked)
    );
    let mut document = stage.client.document(3);
    document.revoked = vec![Revocation {
        what: Revoked::Node,
        id: "node-1".to_owned(),
        since: NOW,
    }];
    stage.client.tell(&stage.keyring, &document);
    assert_eq!(
        stage.client_shows(&leaf),
        refused(RustlsCertificateError::Revoked)
    );
    stage.client.tell(&stage.keyring, &stage.client.document(4));
    assert!(stage.client_shows(&leaf).is_ok());
}

#[test]
fn an_unknown_organization_is_refused() {
    let mut stage = Stage::new();
    stage.client = Actor::new(3);
    assert_eq!(
        stage.client_shows(&stage.client.leaf()),
        refused(RustlsCertificateError::UnknownIssuer)
    );
}

#[test]
fn a11_a_stale_organization_does_not_connect() {
    let stage = Stage::new();
    let late = NOW.saturating_add(7 * DAY);
    // Only the client's document is stale: the server's is renewed.
    let mut fresh = stage.server.document(2);
    fresh.expires_at = late.saturating_add(DAY);
    fresh.issued_at = late.saturating_sub(DAY);
    let evidence = stage.server.party.evidence_of(&fresh);
    stage.keyring.admit(&evidence, late).unwrap();
    let at = |actor: &Actor| {
        let mut request = actor.request();
        request.at = late;
        actor.authority.issue(&request).unwrap()
    };
    let server = stage.server_config(&at(&stage.server), late);
    let client = stage.client_config(&at(&stage.client), stage.server.org(), late);
    let (side, error) = handshake(Arc::new(client), Arc::new(server)).unwrap_err();
    assert_eq!(side, Side::Server);
    assert!(error.to_string().contains("Stale"), "{error}");
}

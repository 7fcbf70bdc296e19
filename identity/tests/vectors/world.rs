//! The organization that the vectors are about, and ways to sign what no honest
//! code would.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use comity_identity::grant::Grant;
use comity_identity::history::{History, KeyEvent, KeySet};
use comity_identity::organization::{Document, Issuer, Node, Role, peer_id};
use comity_identity::{Der, Digest, OrgId, SecretKey, Signer, Timestamp};
use serde_json::json;

pub(crate) const NOW: u64 = 1_795_000_000;
pub(crate) const DAY: u64 = 24 * 60 * 60;

/// A P-256 certificate authority made once; its secret key was thrown away.
const TLS_CA: &str = "MIIBqTCCAU6gAwIBAgIUIA4tE-TMIbyz5nPPSWYgxAKcHq0wCgYIKoZIzj0EAwIwIDEeMBwGA1UEAwwVQ29taXR5IHRlc3QgdmVjdG9yIENBMB4XDTI2MTEyMTA2MDE1MFoXDTM2MTExODA2MDE1MFowIDEeMBwGA1UEAwwVQ29taXR5IHRlc3QgdmVjdG9yIENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEyuR-oJUs4oDq_sAZfU9_LTkeAwmMYIUEwMKZzH5O7-mCqB5RpteORektc7YM9RqImM20cJ-x06mjdkx9Giuz_qNmMGQwHQYDVR0OBBYEFA6kp1CYlyKjY9NZ2MQl7JKvJwttMB8GA1UdIwQYMBaAFA6kp1CYlyKjY9NZ2MQl7JKvJwttMBIGA1UdEwEB_wQIMAYBAf8CAQAwDgYDVR0PAQH_BAQDAgIEMAoGCCqGSM49BAMCA0kAMEYCIQD2A1P_sdZUuBMuiBuTs3ig8aGZmR4OpC63Ww67EjXlnwIhAM2e63THpJ1s9aQ01aZSv9b5-XiarQ5ix03GZhRiwrMw";

/// The names of the keys. A key's seed is 32 times its place in this list, counted from 1.
pub(crate) const KEYS: [&str; 8] = [
    "root", "next", "later", "doc", "issuer", "node", "member", "thief",
];

pub(crate) fn key(name: &str) -> SecretKey {
    SecretKey::from_seed(&seed(name))
}

pub(crate) fn seed(name: &str) -> [u8; 32] {
    let place = KEYS.iter().position(|k| *k == name).unwrap();
    [place as u8 + 1; 32]
}

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(seconds)
}

pub(crate) fn inception() -> KeyEvent {
    let (root, next, doc) = (key("root"), key("next"), key("doc"));
    let keys = KeySet::single(root.public(), &next.public(), doc.public());
    KeyEvent::inception(keys, at(NOW), "")
}

pub(crate) fn history() -> History {
    History::verify(&[inception().sign(&[&key("root")]).unwrap()]).unwrap()
}

/// What the first rotation or recovery reveals and commits to.
pub(crate) fn next_keys() -> KeySet {
    let (next, later, doc) = (key("next"), key("later"), key("doc"));
    KeySet::single(next.public(), &later.public(), doc.public())
}

pub(crate) fn document() -> Document {
    let history = history();
    let node = key("node").public();
    Document {
        v: 1,
        org: history.org(),
        version: 1,
        kel_head: history.head(),
        kel_seq: 0,
        issued_at: at(NOW),
        expires_at: at(NOW + 7 * DAY),
        name: "Weather Service".to_owned(),
        tls_ca: Der::new(URL_SAFE_NO_PAD.decode(TLS_CA).unwrap()),
        issuers: vec![Issuer {
            key: key("issuer").public(),
            roles: BTreeSet::from([Role::Issue, Role::Agree, Role::Announce]),
            since: at(NOW),
            until: at(NOW + 90 * DAY),
        }],
        nodes: vec![Node {
            node: "node-1".parse().unwrap(),
            peer_id: peer_id(&node),
            key: node,
            tls_spki: vec![Digest::of(b"stands for a DER SubjectPublicKeyInfo")],
            addresses: vec!["/ip4/192.0.2.1/udp/4001/quic-v1".to_owned()],
            flight: vec!["192.0.2.1:8815".to_owned()],
            not_after: at(NOW + 90 * DAY),
        }],
        revoked: Vec::new(),
        min_version: 1,
    }
}

/// The organization that grants are shown to.
pub(crate) fn audience() -> OrgId {
    OrgId::from_inception(Digest::of(b"stands for another inception"))
}

pub(crate) fn grant() -> Grant {
    let set = |names: &[&str]| {
        names
            .iter()
            .map(|n| (*n).to_owned())
            .collect::<BTreeSet<_>>()
    };
    Grant {
        v: 1,
        iss: history().org(),
        aud: audience(),
        agr: Digest::of(b"stands for an agreement"),
        sub: "u-1".to_owned(),
        act: Vec::new(),
        roles: set(&["analyst"]),
        amr: set(&["mfa"]),
        cnf: key("node").public(),
        cert: None,
        tables: Some(set(&["weather"])),
        cols: Some(BTreeMap::from([(
            "weather".to_owned(),
            set(&["origin", "temp", "wind"]),
        )])),
        filter: vec![json!({"col": "origin", "op": "eq", "val": "EWR"})],
        purpose: set(&["delay-analysis"]),
        max_rows: Some(1_000_000),
        nbf: at(NOW),
        exp: at(NOW + 600),
        jti: "g-0".to_owned(),
        prt: None,
    }
}

/// The child of a grant, for the member's key.
pub(crate) fn child() -> Grant {
    let mut child = grant();
    child.cnf = key("member").public();
    child.jti = "g-1".to_owned();
    child.max_rows = Some(10);
    child
}

/// The honest header for a kind and a key.
pub(crate) fn header(typ: &str, signer: &str) -> String {
    let kid = key(signer).public().id();
    format!(r#"{{"alg":"Ed25519","kid":"{kid}","typ":"{typ}"}}"#)
}

/// A compact envelope with any header and payload, honestly signed over them.
pub(crate) fn compact(header: &str, payload: &str, signer: &str) -> String {
    let input = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let signature = key(signer).sign(input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A general envelope with any payload, honestly signed over it.
pub(crate) fn general(typ: &str, payload: &str, signers: &[&str]) -> String {
    let payload = URL_SAFE_NO_PAD.encode(payload);
    let signatures: Vec<_> = signers
        .iter()
        .map(|signer| {
            let protected = URL_SAFE_NO_PAD.encode(header(typ, signer));
            let signature = key(signer).sign(format!("{protected}.{payload}").as_bytes());
            json!({"protected": protected, "signature": URL_SAFE_NO_PAD.encode(signature)})
        })
        .collect();
    json!({"payload": payload, "signatures": signatures}).to_string()
}

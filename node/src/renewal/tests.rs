use std::collections::BTreeMap;
use std::sync::Arc;

use comity_identity::OrgId;
use comity_identity::history::EventKind;
use tempfile::TempDir;

use super::*;
use crate::founding;
use crate::own::{Current, Own};

const EVERY: [Renewal; 6] = [
    Renewal::Rotate,
    Renewal::Recover,
    Renewal::Issuer,
    Renewal::Doc,
    Renewal::Node,
    Renewal::Tls,
];

fn founded(passphrase: Option<&str>) -> (Home, TempDir) {
    let dir = TempDir::new().unwrap();
    let home = Home::at(dir.path().join("weather"));
    let plan = founding::Plan {
        name: "Weather Service".to_owned(),
        alias: "weather-service".to_owned(),
        node: "node-1".to_owned(),
        passphrase: passphrase.map(SecretString::from),
        free_ports: true,
    };
    founding::found(&home, &plan).unwrap();
    (home, dir)
}

fn plan(renewal: Renewal, passphrase: Option<&str>) -> Plan {
    Plan {
        renewal,
        passphrase: passphrase.map(SecretString::from),
        stolen_since: None,
        reason: String::new(),
        journal: journal::Settings::default(),
        index: index::Settings::default(),
    }
}

/// What a node that started had, as far as keys are concerned.
#[derive(Debug)]
struct Started {
    current: Arc<Current>,
    keys: Keys,
}

impl Started {
    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current)
    }

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn org(&self) -> OrgId {
        self.current.history.org()
    }
}

/// What a starting node does with a home. The journal is free again afterwards.
fn start(home: &Home) -> Result<Started, Failure> {
    let settings = (journal::Settings::default(), index::Settings::default());
    let ledger = Arc::new(Ledger::open(home, settings.0, settings.1)?);
    settle(home, &ledger)?;
    let open = || Keys::open(home.path()).map_err(|e| Failure::own("keys", e));
    let own = Own::load(Arc::clone(&ledger), open()?, "weather-service")?;
    ledger.close()?;
    Ok(Started {
        current: own.current(),
        keys: open()?,
    })
}

/// Every key that is on disk, by file name.
fn on_disk(home: &Home) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(home.path().join(keys::FOLDER)).unwrap();
    let read = |f: std::fs::DirEntry| {
        let name = f.file_name().into_string().unwrap();
        (name, std::fs::read(f.path()).unwrap())
    };
    files.map(|f| read(f.unwrap())).collect()
}

/// Whether the keys that a node uses are those that its document lists.
fn assert_sound(own: &Started) {
    let current = own.current();
    let now = clock::now();
    let document = &current.document;
    let keys = own.keys();
    for role in [Role::Issue, Role::Agree, Role::Announce] {
        let issuer = document.issuer(&keys.issuer.public().id(), role, now);
        assert!(issuer.is_some(), "{role:?}");
    }
    assert!(current.history.doc_keys().contains(&keys.doc.public()));
    let tls = TlsKey::from_pkcs8(&keys.tls_node).unwrap();
    let node = document.node_by_spki(&tls.spki_digest(), now).unwrap();
    assert_eq!(node.key, keys.node.public());
    assert_eq!(node.peer_id, peer_id(&keys.node.public()));
}

#[test]
fn every_key_can_be_replaced_and_the_organization_stays_who_it_is() {
    let (home, _dir) = founded(None);
    let org = start(&home).unwrap().org();
    for renewal in EVERY.into_iter().chain(EVERY) {
        let before = start(&home).unwrap();
        let renewed = renew(&home, &plan(renewal, None)).unwrap();
        let after = start(&home).unwrap();
        assert_sound(&after);
        assert_eq!(after.org(), org);
        let (old, new) = (before.current(), after.current());
        assert_eq!(new.document.version(), old.document.version() + 1);
        assert_eq!(new.document.version(), renewed.document);
        let event = matches!(renewal, Renewal::Rotate | Renewal::Recover | Renewal::Doc);
        assert_eq!(new.history.seq(), old.history.seq() + u64::from(event));
        let changed = |of: fn(&Keys) -> PublicKey| of(before.keys()) != of(after.keys());
        assert_eq!(changed(|k| k.node.public()), renewal == Renewal::Node);
        let issuer = matches!(renewal, Renewal::Issuer | Renewal::Recover);
        assert_eq!(changed(|k| k.issuer.public()), issuer);
        let doc = matches!(renewal, Renewal::Doc | Renewal::Recover);
        assert_eq!(changed(|k| k.doc.public()), doc);
        let tls = before.keys().tls_node != after.keys().tls_node;
        assert_eq!(tls, matches!(renewal, Renewal::Node | Renewal::Tls));
        let left = on_disk(&home);
        assert!(
            left.keys()
                .all(|name| !name.contains("new") && name != "change.json"),
            "{left:?}"
        );
    }
}

/// A crash between any two steps, and twice in a row, leaves a home that starts:
/// with all of the new keys, or with all of the old ones.
#[test]
fn a_change_that_is_cut_short_took_place_or_did_not() {
    for renewal in EVERY {
        for steps in 0..=2 {
            let (home, _dir) = founded(None);
            let before = on_disk(&home);
            let wanted = plan(renewal, None);
            let renewing = Renewing::begin(&home, &wanted).unwrap();
            if steps >= 1 {
                renewing.stage(&wanted).unwrap();
            }
            if steps >= 2 {
                renewing.commit().unwrap();
            }
            let document = renewing.evidence.document.clone();
            drop(renewing);
            let own = start(&home).unwrap();
            assert_sound(&own);
            let took_place = own.current().document.text() == document;
            assert_eq!(took_place, steps == 2, "{renewal:?} after {steps} steps");
            let after = on_disk(&home);
            assert_eq!(
                after == before,
                !took_place,
                "{renewal:?} after {steps} steps"
            );
            assert_eq!(after.len(), before.len(), "nothing is left over");
            // And the next change works.
            renew(&home, &wanted).unwrap();
            assert_sound(&start(&home).unwrap());
        }
    }
}

/// The keys lie there and the note does not: they are not in force.
#[test]
fn new_keys_without_a_note_are_forgotten() {
    let (home, _dir) = founded(None);
    let before = on_disk(&home);
    let wanted = plan(Renewal::Issuer, None);
    let renewing = Renewing::begin(&home, &wanted).unwrap();
    Staged::write(home.path(), &renewing.replacements, None).unwrap();
    drop(renewing);
    start(&home).unwrap();
    assert_eq!(on_disk(&home), before);
}

/// A damaged note is an error: guessing would remove keys that may be in force.
#[test]
fn a_note_that_cannot_be_read_stops_the_start() {
    let (home, _dir) = founded(None);
    let wanted = plan(Renewal::Issuer, None);
    let renewing = Renewing::begin(&home, &wanted).unwrap();
    renewing.stage(&wanted).unwrap();
    renewing.commit().unwrap();
    drop(renewing);
    let note = home.path().join(keys::FOLDER).join("change.json");
    let text = std::fs::read(&note).unwrap();
    std::fs::write(&note, &text[..text.len() / 2]).unwrap();
    assert_eq!(start(&home).unwrap_err().code(), "keys");
    std::fs::write(&note, &text).unwrap();
    assert_sound(&start(&home).unwrap());
}

#[test]
fn root_keys_that_are_encrypted_stay_encrypted() {
    let (home, _dir) = founded(Some("correct horse"));
    let refused = renew(&home, &plan(Renewal::Rotate, None)).unwrap_err();
    assert_eq!(refused.code(), "root-key");
    let wrong = renew(&home, &plan(Renewal::Rotate, Some("battery"))).unwrap_err();
    assert_eq!(wrong.code(), "root-key");
    for _ in 0..2 {
        renew(&home, &plan(Renewal::Rotate, Some("correct horse"))).unwrap();
    }
    let names: Vec<_> = on_disk(&home).into_keys().collect();
    assert!(names.contains(&"root.key.age".to_owned()), "{names:?}");
    assert!(!names.contains(&"root.key".to_owned()), "{names:?}");
    assert_eq!(start(&home).unwrap().current().history.seq(), 2);
}

/// A13: the owner needs nothing of what was stolen, and what was stolen counts no more.
#[test]
fn a13_the_committed_key_alone_takes_the_organization_back() {
    let (home, _dir) = founded(None);
    let before = start(&home).unwrap();
    let root = home.path().join(keys::FOLDER).join("root.key");
    std::fs::remove_file(&root).unwrap();
    let refused = renew(&home, &plan(Renewal::Rotate, None)).unwrap_err();
    assert_eq!(refused.code(), "root-key", "a rotation needs both");
    for lost in ["doc.key", "issuer.key"] {
        std::fs::remove_file(root.with_file_name(lost)).unwrap();
    }
    let since = clock::now();
    let stolen = Plan {
        stolen_since: Some(since),
        ..plan(Renewal::Recover, None)
    };
    renew(&home, &stolen).unwrap();
    let after = start(&home).unwrap();
    assert_sound(&after);
    let current = after.current();
    assert_eq!(current.history.current().kind, EventKind::Recovery);
    let old = before.keys().issuer.public().id();
    assert!(current.document.is_key_revoked(&old, since));
    assert!(current.document.issuer(&old, Role::Agree, since).is_none());
    // The thief's document, signed with the stolen doc key, fits no history now.
    let forged = before.current().document.document().clone();
    let forged = succeed(forged, since).sign(&*before.keys().doc).unwrap();
    assert!(VerifiedDocument::verify(&forged, &current.history, since).is_err());
}

#[test]
fn a_key_that_was_replaced_in_time_counts_for_a_while_and_a_stolen_one_does_not() {
    for stolen in [false, true] {
        let (home, _dir) = founded(None);
        let old = start(&home).unwrap().keys().issuer.public().id();
        let now = clock::now();
        let wanted = Plan {
            stolen_since: stolen.then_some(now),
            ..plan(Renewal::Issuer, None)
        };
        renew(&home, &wanted).unwrap();
        let current = start(&home).unwrap().current();
        let counts = |at| current.document.issuer(&old, Role::Agree, at).is_some();
        assert_eq!(counts(now), !stolen);
        assert!(!counts(
            now.saturating_add(ISSUER_OVERLAP + Duration::from_secs(60))
        ));
    }
}

#[test]
fn a_running_node_is_not_touched() {
    let (home, _dir) = founded(None);
    let settings = (journal::Settings::default(), index::Settings::default());
    let running = Ledger::open(&home, settings.0, settings.1).unwrap();
    let before = on_disk(&home);
    let refused = renew(&home, &plan(Renewal::Issuer, None)).unwrap_err();
    assert!(refused.to_api().next.unwrap().contains("stop the node"));
    drop(running);
    assert_eq!(on_disk(&home), before);
}

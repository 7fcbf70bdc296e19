use proptest::prelude::*;

use super::*;
use crate::envelope::Typ;
use crate::fixture::{DAY, NOW, Party};
use crate::{SecretKey, Signer};

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// Signs any payload as a key event, past the checks of the builders.
fn raw(payload: &serde_json::Value, signers: &[&SecretKey]) -> String {
    let envelope = General::new(KEY_EVENT, payload).unwrap();
    let signed = signers.iter().fold(envelope, |e, s| e.sign(*s));
    signed.to_text()
}

fn json(event: &KeyEvent) -> serde_json::Value {
    serde_json::to_value(event).unwrap()
}

#[test]
fn the_inception_names_the_organization() {
    let party = Party::new(1);
    let text = &party.history.texts()[0];
    let payload = General::parse(KEY_EVENT, text).unwrap();
    let expected = OrgId::from_inception(Digest::of(payload.payload_bytes()));
    assert_eq!(party.history.org(), expected);
    assert_eq!(party.history.seq(), 0);
    assert_eq!(party.history.doc_keys(), [party.doc.public()]);
    assert_ne!(party.history.org(), Party::new(2).history.org());
}

#[test]
fn a_rotation_keeps_the_name_and_changes_the_keys() {
    let party = Party::new(1);
    let rotated = party.rotated();
    assert_eq!(rotated.org(), party.history.org());
    assert_eq!(rotated.seq(), 1);
    assert_eq!(rotated.root_keys(), [party.next.public()]);
    assert_eq!(rotated.digest_at(0), Some(party.history.head()));
    assert_eq!(rotated.digest_at(1), Some(rotated.head()));
    assert_eq!(rotated.digest_at(2), None);
    assert_eq!(
        History::verify(rotated.texts()).unwrap().head(),
        rotated.head()
    );
}

#[test]
fn a13_a_stolen_root_key_changes_nothing_and_the_owner_recovers() {
    let party = Party::new(1);
    let thief = key(200);
    // The thief holds the current root key. Own keys are not the committed ones …
    let own = KeySet::single(thief.public(), &key(201).public(), key(202).public());
    let event = party.history.rotation(own, NOW, "");
    let text = event.sign(&[&party.root, &thief]).unwrap();
    assert_eq!(
        party.history.extend(&text).unwrap_err(),
        HistoryError::NotCommitted { seq: 1 }
    );
    // … and the committed ones do not sign, even if their public half were known.
    let event = party.history.rotation(party.next_keys(), NOW, "");
    let text = event.sign(&[&party.root]).unwrap();
    assert_eq!(
        party.history.extend(&text).unwrap_err(),
        HistoryError::Threshold {
            seq: 1,
            whose: "revealed"
        }
    );
    // The owner needs the pre-committed key alone, but must call it a recovery.
    let event = party.history.rotation(party.next_keys(), NOW, "");
    let text = event.sign(&[&party.next]).unwrap();
    assert_eq!(
        party.history.extend(&text).unwrap_err(),
        HistoryError::Threshold {
            seq: 1,
            whose: "current"
        }
    );
    let event = party.history.recovery(party.next_keys(), NOW, "stolen");
    let recovered = party.history.extend(&event.sign(&[&party.next]).unwrap());
    assert_eq!(recovered.unwrap().root_keys(), [party.next.public()]);
    // The stolen key has no say in a recovery at all.
    let text = event.sign(&[&party.next, &party.root]).unwrap();
    assert_eq!(
        party.history.extend(&text).unwrap_err(),
        HistoryError::Stranger { seq: 1 }
    );
}

#[test]
fn thresholds_are_two_sided() {
    let (a, b, c) = (key(1), key(2), key(3));
    let keys = KeySet {
        keys: vec![a.public(), b.public(), c.public()],
        threshold: 2,
        ..KeySet::single(a.public(), &key(4).public(), key(5).public())
    };
    let event = KeyEvent::inception(keys, NOW, "");
    let verify = |signers: &[&dyn Signer]| History::verify(&[event.sign(signers).unwrap()]);
    assert!(matches!(
        verify(&[&a]),
        Err(HistoryError::Threshold { seq: 0, .. })
    ));
    let two = verify(&[&a, &c]).unwrap();
    let three = verify(&[&c, &b, &a]).unwrap();
    // The same event with other signatures is the same event, not a fork.
    assert_eq!(two.org(), three.org());
    assert!(matches!(two.compare(&three), Comparison::Same));
}

#[test]
fn a_wrong_signature_beside_enough_right_ones_is_refused() {
    let (a, b) = (key(1), key(2));
    let keys = KeySet {
        keys: vec![a.public(), b.public()],
        ..KeySet::single(a.public(), &key(4).public(), key(5).public())
    };
    let event = KeyEvent::inception(keys, NOW, "");
    let one = event.sign(&[&a]).unwrap();
    let other = KeyEvent::inception(
        KeySet::single(b.public(), &key(4).public(), key(5).public()),
        NOW,
        "",
    );
    let foreign = other.sign(&[&b]).unwrap();
    assert!(History::verify(std::slice::from_ref(&one)).is_ok());
    let entry = |text: &str| {
        let start = text.find('[').unwrap() + 1;
        text[start..text.len() - 2].to_owned()
    };
    let mixed = one.replacen(
        &entry(&one),
        &format!("{},{}", entry(&one), entry(&foreign)),
        1,
    );
    assert!(matches!(
        History::verify(&[mixed]),
        Err(HistoryError::Envelope { seq: 0, .. })
    ));
    let strange = event.sign(&[&a, &key(9)]).unwrap();
    assert_eq!(
        History::verify(&[strange]).unwrap_err(),
        HistoryError::Stranger { seq: 0 }
    );
}

#[test]
fn an_event_must_follow_the_one_before_it() {
    let party = Party::new(1);
    let good = party.history.rotation(party.next_keys(), NOW, "");
    let signers: [&dyn Signer; 2] = [&party.root, &party.next];
    for (field, value) in [
        ("seq", serde_json::json!(2)),
        ("prev", serde_json::json!(Digest::of(b"other"))),
        ("org", serde_json::json!(Party::new(2).history.org())),
        ("at", serde_json::json!(NOW.as_secs() - 1)),
    ] {
        let mut event = json(&good);
        event[field] = value;
        let event: KeyEvent = serde_json::from_value(event).unwrap();
        assert_eq!(
            party
                .history
                .extend(&event.sign(&signers).unwrap())
                .unwrap_err(),
            HistoryError::Broken { seq: 1 },
            "{field}"
        );
    }
    assert!(party.history.extend(&good.sign(&signers).unwrap()).is_ok());
    // An event left out, or in the wrong order.
    let rotated = party.rotated();
    let texts = rotated.texts();
    assert!(History::verify(&texts[1..]).is_err());
    assert!(History::verify(&[texts[1].clone(), texts[0].clone()]).is_err());
    assert!(History::verify(&[texts[0].clone(), texts[0].clone()]).is_err());
    assert_eq!(History::verify(&[]).unwrap_err(), HistoryError::Empty);
}

#[test]
fn content_rules_hold() {
    let root = key(1);
    let event = || {
        KeyEvent::inception(
            KeySet::single(root.public(), &key(2).public(), key(3).public()),
            NOW,
            "",
        )
    };
    let verdict = |change: &dyn Fn(&mut KeyEvent)| {
        let mut event = event();
        change(&mut event);
        History::verify(&[event.sign(&[&root]).unwrap()])
    };
    assert!(verdict(&|_| {}).is_ok());
    type Change = (&'static str, Box<dyn Fn(&mut KeyEvent)>);
    let (a, c) = (key(1).public(), key(3).public());
    let cases: [Change; 13] = [
        ("version", Box::new(|e| e.v = 2)),
        ("kind", Box::new(|e| e.kind = EventKind::Rotation)),
        ("seq", Box::new(|e| e.seq = 1)),
        ("prev", Box::new(|e| e.prev = Some(Digest::of(b"")))),
        ("no next", Box::new(|e| e.next.clear())),
        ("no doc", Box::new(|e| e.doc.clear())),
        ("root as doc", Box::new(move |e| e.doc = vec![a])),
        (
            "root as next",
            Box::new(move |e| e.next = vec![Digest::of(a.as_bytes())]),
        ),
        (
            "doc as next",
            Box::new(move |e| e.next = vec![Digest::of(c.as_bytes())]),
        ),
        ("key twice", Box::new(move |e| e.keys = vec![a, a])),
        ("threshold 0", Box::new(|e| e.threshold = 0)),
        ("threshold 2 of 1", Box::new(|e| e.threshold = 2)),
        ("next threshold 2 of 1", Box::new(|e| e.next_threshold = 2)),
    ];
    for (name, change) in cases {
        assert!(
            matches!(verdict(&*change), Err(HistoryError::Rule { seq: 0, .. })),
            "{name}"
        );
    }
    // Two-sided bounds.
    let reason = |n: usize| move |e: &mut KeyEvent| e.reason = "x".repeat(n);
    assert!(verdict(&reason(MAX_REASON_CHARS)).is_ok());
    assert!(verdict(&reason(MAX_REASON_CHARS + 1)).is_err());
    let docs = |n: usize| {
        move |e: &mut KeyEvent| e.doc = (0..n as u8).map(|i| key(100 + i).public()).collect()
    };
    assert!(verdict(&docs(MAX_KEYS)).is_ok());
    assert!(verdict(&docs(MAX_KEYS + 1)).is_err());
}

#[test]
fn hostile_events_are_refused() {
    let root = key(1);
    let good = json(&KeyEvent::inception(
        KeySet::single(root.public(), &key(2).public(), key(3).public()),
        NOW,
        "",
    ));
    let verdict = |payload: &serde_json::Value, signers: &[&SecretKey]| {
        History::verify(&[raw(payload, signers)])
    };
    assert!(verdict(&good, &[&root]).is_ok());
    assert!(matches!(
        verdict(&good, &[]),
        Err(HistoryError::Threshold { .. })
    ));
    let mut unknown = good.clone();
    unknown["admin"] = true.into();
    let mut textual = good.clone();
    textual["at"] = "1795000000".into();
    let mut missing = good.clone();
    missing.as_object_mut().unwrap().remove("at");
    // A7: 32 zero bytes are a point of order four.
    let mut weak = good.clone();
    weak["doc"] = serde_json::json!(["A".repeat(43)]);
    for payload in [unknown, textual, missing, weak] {
        let result = verdict(&payload, &[&root]);
        assert!(
            matches!(result, Err(HistoryError::Envelope { seq: 0, .. })),
            "{payload}"
        );
    }
    // A6: another kind of statement, with an otherwise perfect event.
    let other = Typ::new("comity-other+jwt", 8192);
    let text = General::new(other, &good).unwrap().sign(&root).to_text();
    assert!(matches!(
        History::verify(&[text]),
        Err(HistoryError::Envelope {
            source: EnvelopeError::WrongTyp { .. },
            ..
        })
    ));
    let oversized = format!("{}{}", " ".repeat(KEY_EVENT.limit()), raw(&good, &[&root]));
    assert!(matches!(
        History::verify(&[oversized]),
        Err(HistoryError::Envelope {
            source: EnvelopeError::TooLarge { .. },
            ..
        })
    ));
}

#[test]
fn a_history_is_bounded() {
    let mut secrets: Vec<SecretKey> = Vec::new();
    for n in 0..=(MAX_EVENTS as u16 + 1) {
        let mut seed = [9; 32];
        seed[..2].copy_from_slice(&n.to_be_bytes());
        secrets.push(SecretKey::from_seed(&seed));
    }
    let doc = key(3).public();
    let set = |n: usize| KeySet::single(secrets[n].public(), &secrets[n + 1].public(), doc);
    let inception = KeyEvent::inception(set(0), NOW, "");
    let mut history = History::verify(&[inception.sign(&[&secrets[0]]).unwrap()]).unwrap();
    for (n, secret) in secrets.iter().enumerate().take(MAX_EVENTS).skip(1) {
        let event = history.recovery(set(n), NOW, "");
        history = history.extend(&event.sign(&[secret]).unwrap()).unwrap();
    }
    assert!(History::verify(history.texts()).is_ok());
    let event = history.recovery(set(MAX_EVENTS), NOW, "");
    let text = event.sign(&[&secrets[MAX_EVENTS]]).unwrap();
    assert_eq!(history.extend(&text).unwrap_err(), HistoryError::TooLong);
    let mut texts = history.texts().to_vec();
    texts.push(text);
    assert_eq!(History::verify(&texts).unwrap_err(), HistoryError::TooLong);
}

#[test]
fn a12_a_fork_is_proven_by_itself() {
    let party = Party::new(1);
    let ours = party.rotated();
    let event = party
        .history
        .recovery(party.next_keys(), NOW.saturating_add(DAY), "");
    let theirs = party
        .history
        .extend(&event.sign(&[&party.next]).unwrap())
        .unwrap();
    assert!(matches!(ours.compare(&ours), Comparison::Same));
    assert!(matches!(party.history.compare(&ours), Comparison::Ahead));
    assert!(matches!(ours.compare(&party.history), Comparison::Behind));
    assert!(matches!(
        ours.compare(&Party::new(2).history),
        Comparison::Unrelated
    ));
    let Comparison::Fork(proof) = ours.compare(&theirs) else {
        panic!("two different events with seq 1 are a fork");
    };
    let wire = serde_json::to_string(&proof).unwrap();
    let received: ForkProof = serde_json::from_str(&wire).unwrap();
    let fork = received.verify().unwrap();
    assert_eq!((fork.org, fork.seq), (ours.org(), 1));
    assert_eq!(fork.events, [ours.head(), theirs.head()]);
}

#[test]
fn an_invented_fork_proves_nothing() {
    let party = Party::new(1);
    let rotated = party.rotated();
    let [inception, rotation] = rotated.texts() else {
        panic!("two events")
    };
    let forged = party.history.recovery(party.next_keys(), NOW, "forged");
    let forged = forged.sign(&[&party.root]).unwrap();
    let proof = |left: &str, right: &str| -> ForkProof {
        serde_json::from_value(
            serde_json::json!({"shared": [inception], "left": left, "right": right}),
        )
        .unwrap()
    };
    assert_eq!(proof(rotation, rotation).verify(), Err(NotAFork::SameEvent));
    assert!(matches!(
        proof(rotation, &forged).verify(),
        Err(NotAFork::Branch(_))
    ));
    assert!(matches!(
        proof(rotation, "{}").verify(),
        Err(NotAFork::Branch(_))
    ));
}

proptest! {
    /// Any byte of any event may be hit: the history is refused or unchanged.
    #[test]
    fn a_changed_byte_never_changes_a_history(event in 0usize..2, position in any::<usize>(), byte in any::<u8>()) {
        let party = Party::new(1);
        let good = party.rotated();
        let mut texts = good.texts().to_vec();
        let mut bytes = texts[event].clone().into_bytes();
        let position = position % bytes.len();
        bytes[position] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            texts[event] = text;
            if let Ok(read) = History::verify(&texts) {
                prop_assert_eq!(read.head(), good.head());
            }
        }
    }

    #[test]
    fn arbitrary_text_never_panics(texts in proptest::collection::vec("\\PC{0,80}", 0..4)) {
        prop_assert!(History::verify(&texts).is_err());
    }
}

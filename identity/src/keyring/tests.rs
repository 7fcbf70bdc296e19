use core::sync::atomic::AtomicBool;

use super::*;
use crate::Signer;
use crate::fixture::{DAY, NOW, Party, node};
use crate::grant::GrantError;
use crate::organization::{Freshness, Role};

/// A keyring and the store behind it.
fn keyring() -> (Arc<MemoryMarkStore>, Keyring) {
    let store = Arc::new(MemoryMarkStore::default());
    let keyring = Keyring::open(Arc::clone(&store) as _).unwrap();
    (store, keyring)
}

fn rotated_evidence(party: &Party, history: &History, version: u64) -> Evidence {
    let document = party.document_on(history, version);
    Evidence {
        history: history.texts().to_vec(),
        document: document.sign(&party.doc).unwrap(),
    }
}

#[test]
fn first_contact_is_never_silent() {
    let party = Party::new(1);
    let (_, keyring) = keyring();
    let evidence = party.evidence(1);
    assert!(matches!(
        keyring.admit(&evidence, NOW),
        Err(AdmitError::Unknown)
    ));
    assert!(keyring.get(&party.history.org()).is_none());
    assert!(keyring.introduce(&evidence, NOW).unwrap().changed);
    let known = keyring.get(&party.history.org()).unwrap();
    assert_eq!(known.evidence(), evidence);
    assert_eq!(known.standing(), &Standing::Good);
}

#[test]
fn the_epoch_moves_with_every_change_and_only_then() {
    let party = Party::new(1);
    let (_, keyring) = keyring();
    let start = keyring.epoch();
    keyring.introduce(&party.evidence(1), NOW).unwrap();
    assert_eq!(keyring.epoch(), start + 1);
    assert!(!keyring.admit(&party.evidence(1), NOW).unwrap().changed);
    assert_eq!(keyring.epoch(), start + 1);
    assert!(keyring.admit(&party.evidence(2), NOW).unwrap().changed);
    assert_eq!(keyring.epoch(), start + 2);
    keyring.admit(&party.evidence(1), NOW).unwrap_err();
    assert_eq!(keyring.epoch(), start + 2);
}

#[test]
fn a10_older_evidence_is_refused_even_after_a_restart() {
    let party = Party::new(1);
    let (store, keyring) = keyring();
    keyring.introduce(&party.evidence(1), NOW).unwrap();
    keyring.admit(&party.evidence(3), NOW).unwrap();
    let reopened = Keyring::open(store as _).unwrap();
    for keyring in [&keyring, &reopened] {
        assert!(matches!(
            keyring.admit(&party.evidence(2), NOW),
            Err(AdmitError::DocumentRollback {
                known: 3,
                offered: 2
            })
        ));
    }
    let history = party.rotated();
    let evidence = rotated_evidence(&party, &history, 4);
    reopened.admit(&evidence, NOW).unwrap();
    // Even with a higher version, a document on the older history is a rollback.
    assert!(matches!(
        reopened.admit(&party.evidence(5), NOW),
        Err(AdmitError::HistoryRollback {
            known: 1,
            offered: 0
        })
    ));
}

#[test]
fn two_documents_with_one_version_are_refused_and_handed_back_as_evidence() {
    let party = Party::new(1);
    let (_, keyring) = keyring();
    keyring.introduce(&party.evidence(1), NOW).unwrap();
    let mut twin = party.document(1);
    twin.name = "Weather Service 2".to_owned();
    let twin = party.evidence_of(&twin);
    let Err(AdmitError::Equivocation { known, offered }) = keyring.admit(&twin, NOW) else {
        panic!("equivocation expected");
    };
    assert_eq!(known, party.evidence(1).document);
    assert_eq!(offered, twin.document);
    let kept = keyring.get(&party.history.org()).unwrap();
    assert_eq!(kept.document().document().name, "Weather Service");
}

/// Our history, and another one that also continues the inception.
/// Regression: an organization that listed another one's node was taken for it,
/// and the messages of the true owner, revocations among them, were refused.
#[test]
fn nobody_takes_over_a_node_of_an_organization_that_is_known() {
    let (owner, thief) = (Party::new(1), Party::new(2));
    let (_, keyring) = keyring();
    keyring.introduce(&owner.evidence(1), NOW).unwrap();
    let mut document = thief.document(1);
    document.nodes.push(node("stolen", owner.node.public()));
    let stolen = thief.evidence_of(&document);
    let refused = keyring.introduce(&stolen, NOW);
    let by = owner.history.org();
    assert!(matches!(refused, Err(AdmitError::ForeignNode { owner }) if owner == by));
    // Nor later, when it is known itself.
    keyring.introduce(&thief.evidence(1), NOW).unwrap();
    document.version = 2;
    let refused = keyring.admit(&thief.evidence_of(&document), NOW);
    assert!(matches!(refused, Err(AdmitError::ForeignNode { .. })));
    assert_eq!(keyring.get(&thief.history.org()).unwrap().mark().version, 1);
    // A node that its organization no longer lists may move.
    let mut without = owner.document(2);
    without.nodes = vec![node("other", owner.issuer.public())];
    keyring.admit(&owner.evidence_of(&without), NOW).unwrap();
    keyring.admit(&thief.evidence_of(&document), NOW).unwrap();
}

#[test]
fn known_evidence_is_recognized_only_when_every_byte_is_the_same() {
    let party = Party::new(1);
    let (_, keyring) = keyring();
    let evidence = party.evidence(1);
    keyring.introduce(&evidence, NOW).unwrap();
    assert!(!keyring.admit(&evidence, NOW).unwrap().changed);
    let mut other = evidence.clone();
    other.document.push('A');
    keyring.admit(&other, NOW).unwrap_err();
    let mut longer = evidence.clone();
    longer.history.push(evidence.history[0].clone());
    keyring.admit(&longer, NOW).unwrap_err();
    // Verified anew it would be refused as of the future: it is not verified anew.
    let early = Timestamp::from_secs(NOW.as_secs() - 24 * 60 * 60);
    assert!(!keyring.admit(&evidence, early).unwrap().changed);
    // Known or not: what has expired is refused.
    let late = NOW.saturating_add(14 * DAY);
    assert!(keyring.admit(&evidence, late).is_err());
}

fn forked(party: &Party) -> (History, History) {
    let event = party
        .history
        .recovery(party.next_keys(), NOW.saturating_add(DAY), "fork");
    let other = event.sign(&[&party.next]).unwrap();
    (party.rotated(), party.history.extend(&other).unwrap())
}

#[test]
fn a12_a_fork_freezes_the_organization_and_the_evidence_is_kept() {
    let party = Party::new(1);
    let (store, keyring) = keyring();
    let (ours, theirs) = forked(&party);
    keyring
        .introduce(&rotated_evidence(&party, &ours, 1), NOW)
        .unwrap();
    let epoch = keyring.epoch();
    let fork = rotated_evidence(&party, &theirs, 2);
    assert!(matches!(
        keyring.admit(&fork, NOW),
        Err(AdmitError::Forked(_))
    ));
    assert!(keyring.epoch() > epoch);
    let reopened = Keyring::open(store as _).unwrap();
    for keyring in [&keyring, &reopened] {
        let frozen = keyring.get(&ours.org()).unwrap();
        let Standing::Frozen(proof) = frozen.standing() else {
            panic!("frozen expected");
        };
        assert_eq!(proof.verify().unwrap().seq, 1);
        // Frozen: no key counts, and no news is taken, honest or not.
        let kid = party.issuer.public().id();
        assert!(frozen.document().issuer(&kid, Role::Agree, NOW).is_some());
        assert!(frozen.issuer(&kid, Role::Agree, NOW).is_none());
        assert_eq!(frozen.freshness(NOW), Freshness::Expired);
        assert_eq!(
            frozen.verify_grant(&[], ours.org(), NOW).unwrap_err(),
            GrantError::Frozen
        );
        let honest = rotated_evidence(&party, &ours, 3);
        assert!(matches!(
            keyring.admit(&honest, NOW),
            Err(AdmitError::Frozen(_))
        ));
        assert!(matches!(
            keyring.introduce(&honest, NOW),
            Err(AdmitError::Frozen(_))
        ));
    }
}

#[test]
fn a12_a_fork_counts_even_beside_a_worthless_document() {
    let party = Party::new(1);
    let (_, keyring) = keyring();
    let (ours, theirs) = forked(&party);
    keyring
        .introduce(&rotated_evidence(&party, &ours, 1), NOW)
        .unwrap();
    let fork = Evidence {
        history: theirs.texts().to_vec(),
        document: String::new(),
    };
    assert!(matches!(
        keyring.admit(&fork, NOW),
        Err(AdmitError::Forked(_))
    ));
}

#[test]
fn a12_a_fork_proof_that_a_partner_passes_on_freezes_as_well() {
    let party = Party::new(1);
    let (_, keyring) = keyring();
    let (ours, theirs) = forked(&party);
    let Comparison::Fork(proof) = ours.compare(&theirs) else {
        panic!("fork expected");
    };
    assert!(matches!(
        keyring.admit_fork(ForkProof::clone(&proof)),
        Err(AdmitError::Unknown)
    ));
    // It freezes an organization of which we know neither branch yet.
    keyring.introduce(&party.evidence(1), NOW).unwrap();
    let frozen = keyring.admit_fork(*proof).unwrap();
    assert!(frozen.standing().is_frozen());
    assert!(matches!(
        keyring.admit(&rotated_evidence(&party, &ours, 2), NOW),
        Err(AdmitError::Frozen(_))
    ));
}

/// Fails on demand.
#[derive(Default)]
struct FragileStore {
    inner: MemoryMarkStore,
    full: AtomicBool,
}

impl MarkStore for FragileStore {
    fn load(&self) -> Result<Vec<Record>, StoreFailure> {
        self.inner.load()
    }

    fn save(&self, record: &Record) -> Result<(), StoreFailure> {
        if self.full.load(Ordering::SeqCst) {
            return Err(StoreFailure::new("no space left"));
        }
        self.inner.save(record)
    }
}

#[test]
fn nothing_counts_before_its_mark_is_stored() {
    let party = Party::new(1);
    let store = Arc::new(FragileStore::default());
    let keyring = Keyring::open(Arc::clone(&store) as _).unwrap();
    keyring.introduce(&party.evidence(1), NOW).unwrap();
    let epoch = keyring.epoch();
    store.full.store(true, Ordering::SeqCst);
    assert!(matches!(
        keyring.admit(&party.evidence(2), NOW),
        Err(AdmitError::Store(_))
    ));
    assert_eq!(keyring.epoch(), epoch);
    let known = keyring.get(&party.history.org()).unwrap();
    assert_eq!(known.document().version(), 1);
    store.full.store(false, Ordering::SeqCst);
    assert!(keyring.admit(&party.evidence(2), NOW).unwrap().changed);
}

#[test]
fn a_freeze_does_not_wait_for_a_full_store() {
    let party = Party::new(1);
    let store = Arc::new(FragileStore::default());
    let keyring = Keyring::open(Arc::clone(&store) as _).unwrap();
    let (ours, theirs) = forked(&party);
    keyring
        .introduce(&rotated_evidence(&party, &ours, 1), NOW)
        .unwrap();
    store.full.store(true, Ordering::SeqCst);
    let fork = rotated_evidence(&party, &theirs, 2);
    assert!(matches!(
        keyring.admit(&fork, NOW),
        Err(AdmitError::Store(_))
    ));
    let known = keyring.get(&ours.org()).unwrap();
    assert!(known.standing().is_frozen());
}

#[test]
fn a_damaged_store_is_noticed() {
    let (party, other) = (Party::new(1), Party::new(2));
    let (store, keyring) = keyring();
    keyring.introduce(&party.evidence(1), NOW).unwrap();
    let mut record = store.load().unwrap().remove(0);
    record.evidence = other.evidence(1);
    store.save(&record).unwrap();
    assert!(matches!(
        Keyring::open(store as _),
        Err(OpenError::Damaged(_))
    ));
}

#[test]
fn a11_a_stale_organization_negotiates_but_issues_no_grants() {
    let party = Party::new(1);
    let (_, keyring) = keyring();
    let known = keyring.introduce(&party.evidence(1), NOW).unwrap();
    let organization = known.organization;
    let kid = party.issuer.public().id();
    let roles = |now| {
        [Role::Issue, Role::Agree, Role::Announce]
            .map(|role| organization.issuer(&kid, role, now).is_some())
    };
    assert_eq!(roles(NOW), [true, true, true]);
    assert_eq!(roles(NOW.saturating_add(7 * DAY)), [false, true, true]);
    assert_eq!(roles(NOW.saturating_add(14 * DAY)), [false, false, false]);
}

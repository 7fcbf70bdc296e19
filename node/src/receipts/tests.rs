mod direct;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use comity_identity::envelope::General;
use comity_identity::organization::Role;
use comity_identity::{Digest, KeyId, OrgId, PublicKey, Signer as _, Timestamp};
use comity_protocol::checkpoint::Checkpoint;
use comity_protocol::keys::IssuerKeys;
use comity_protocol::negotiation::{
    self, Document, FEDERATION, FederationTerms, NegotiationId, Proposal, SignedDocument,
};
use comity_protocol::receipt::{INTERRUPTED, MAX_DELIVERIES, Receipt};
use comity_protocol::wire::{ReceiptAnswer, Receipted, RefusalCode, Response};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::admin::Metrics;
use crate::clock;
use crate::fixture;
use crate::flight::{End, Moved, Taker as _};
use crate::index::Table;
use crate::ledger::{
    Delivery, Facet, Ledger, ReceiptFacet, Received, Record, org_key, receipt_key,
};
use crate::own::Own;

/// Receipts are due at once, and two may be unanswered.
const AT_ONCE: Settings = Settings {
    wait: Duration::ZERO,
    max_unanswered: 2,
};

/// One organization with a journal for its receipts.
struct Side {
    own: Arc<Own>,
    ledger: Arc<Ledger>,
    _dirs: (TempDir, TempDir),
}

impl Side {
    fn new(alias: &str) -> Self {
        // Founding writes to its journal as commands do: outside of the runtime.
        let founded = std::thread::scope(|s| s.spawn(|| fixture::own(alias)).join());
        let (own, dir) = founded.unwrap();
        let log = tempfile::tempdir().unwrap();
        Self {
            own,
            ledger: Arc::new(Ledger::create(log.path()).unwrap()),
            _dirs: (dir, log),
        }
    }
}

/// Whose key agrees.
struct Keys(BTreeMap<OrgId, PublicKey>);

impl IssuerKeys for Keys {
    fn issuer(&self, org: &OrgId, kid: &KeyId, role: Role, _: Timestamp) -> Option<PublicKey> {
        let key = self.0.get(org).filter(|k| k.id() == *kid);
        key.filter(|_| role == Role::Agree).copied()
    }
}

struct World {
    provider: Side,
    consumer: Side,
    keys: Keys,
    agreement: SignedDocument,
    taken: Taken,
}

impl World {
    fn new() -> Self {
        let (provider, consumer) = (Side::new("provider"), Side::new("consumer"));
        let party = |side: &Side| negotiation::Party {
            org: side.own.org(),
            history: Digest::of(b"history"),
        };
        let document = Document {
            v: 1,
            negotiation: NegotiationId::from_bytes([7; 16]),
            provider: party(&provider),
            consumer: party(&consumer),
            proposal: Proposal::Federation {
                invitation: Digest::of(b"invitation"),
                terms: FederationTerms {
                    roles: Vec::new(),
                    assurance: Vec::new(),
                    expires: clock::now(),
                },
            },
            last: Digest::of(b"last"),
            supported: vec![1],
            nonce: "0".repeat(32),
            at: clock::now(),
        };
        let text = General::new(FEDERATION, &document)
            .unwrap()
            .sign(&*provider.own.keys().issuer)
            .sign(&*consumer.own.keys().issuer)
            .to_text();
        let keys = [&provider, &consumer].map(|s| (s.own.org(), s.own.keys().issuer.public()));
        let taken = Taken::new(
            Arc::clone(&consumer.own),
            Arc::clone(&consumer.ledger),
            Metrics::default(),
        );
        Self {
            agreement: SignedDocument::recall(FEDERATION, &text).unwrap(),
            keys: Keys(keys.into()),
            provider,
            consumer,
            taken,
        }
    }

    fn id(&self) -> Digest {
        self.agreement.digest()
    }

    async fn given(&self, settings: Settings) -> Given {
        let (own, ledger) = (&self.provider.own, &self.provider.ledger);
        Given::load(
            Arc::clone(own),
            Arc::clone(ledger),
            Metrics::default(),
            settings,
            &[self.id()],
        )
        .await
        .unwrap()
    }

    /// The end of delivery `n`, as the provider counted it.
    fn sent(&self, n: u64) -> Delivery {
        Delivery {
            trace: trace(n),
            org: self.consumer.own.org(),
            subject: "pseudonym".to_owned(),
            agreement: Some(self.id()),
            purpose: None,
            query: Digest::of(b"SELECT 1"),
            plan: Some(Digest::of(b"plan")),
            snapshot: Some("s:0".to_owned()),
            grant: Some(Digest::of(b"grant")),
            direct: None,
            reserved: None,
            budgets: Vec::new(),
            rows: Some(n),
            bytes: Some(8 * n),
            content: Some(Digest::of(&n.to_be_bytes())),
            ended: None,
            policy: None,
            at: clock::now(),
        }
    }

    async fn deliver(&self, given: &Given, n: u64) {
        let sent = self.sent(n);
        let record = Record::Delivery(sent.clone());
        self.provider.ledger.commit(&record).await.unwrap();
        given.delivered(&sent);
    }

    /// The consumer received delivery `n`, with `more` rows than were sent.
    async fn receive(&self, n: u64, more: u64) {
        let received = Received {
            trace: trace(n),
            org: self.provider.own.org(),
            agreement: self.id(),
            grant: Digest::of(b"grant"),
            subject: "pseudonym".to_owned(),
            query: Digest::of(b"SELECT 1"),
            rows: n + more,
            bytes: 8 * n,
            content: Digest::of(&n.to_be_bytes()),
            ended: None,
            at: clock::now(),
        };
        let record = Record::Received(received);
        self.consumer.ledger.commit(&record).await.unwrap();
    }

    fn message(&self, given: &Given, seq: u64, held: u64) -> (Receipted, Sent) {
        let consumer = self.consumer.own.org();
        let message = given.message(&consumer, &self.id(), seq, held).unwrap();
        message.expect("it is not answered")
    }

    async fn ask(&self, asked: &Receipted) -> Result<Response, RefusalCode> {
        let provider = self.provider.own.org();
        let answer = self
            .taken
            .answer(&provider, &self.agreement, asked, &self.keys, clock::now());
        answer.await
    }

    /// Sends receipt `seq` as the node does; gives whether it is countersigned.
    async fn settle(&self, given: &Given, seq: u64) -> Result<bool, RefusalCode> {
        let mut held = given.held_by(&self.consumer.own.org());
        loop {
            let (message, sent) = self.message(given, seq, held);
            match self.ask(&message).await? {
                Response::ProveFrom(from) => {
                    assert_ne!(from, held, "asked for what it was given");
                    held = from;
                }
                Response::Receipt(answer) => {
                    let now = clock::now();
                    let (of, keys) = (&self.agreement, &self.keys);
                    let answered = given.answered(of, sent, &answer, keys, now);
                    return Ok(answered.await.unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn open(side: &Side) -> usize {
        side.ledger.scan(Table::Deliveries, &[]).unwrap().len()
    }

    fn evidence(side: &Side, of: &Side) -> Option<Record> {
        let key = org_key(&of.own.org(), Facet::Rewritten);
        side.ledger.get(Table::Organizations, &key).unwrap()
    }
}

fn trace(n: u64) -> String {
    format!("{n:032x}")
}

#[tokio::test]
async fn what_both_counted_is_countersigned_and_settled() {
    let world = World::new();
    let given = world.given(AT_ONCE).await;
    for n in 1..=3 {
        world.receive(n, 0).await;
        world.deliver(&given, n).await;
    }
    assert_eq!(
        given.make_due(Instant::now()).await.unwrap(),
        vec![world.id()]
    );
    let standing = given.standing(&world.id());
    assert_eq!(
        (standing.made, standing.unanswered, standing.open),
        (1, 1, 0)
    );
    assert_eq!(world.settle(&given, 1).await, Ok(true));
    assert_eq!(given.standing(&world.id()).unanswered, 0);
    let settled = (World::open(&world.provider), World::open(&world.consumer));
    assert_eq!(settled, (0, 0), "nothing is looked up any more");

    // The next one names it, and is proven from its checkpoint.
    world.receive(4, 0).await;
    world.deliver(&given, 4).await;
    given.make_due(Instant::now()).await.unwrap();
    let (message, _) = world.message(&given, 2, 0);
    let (second, _) = Receipt::recall(&message.text).unwrap();
    assert!(second.prev.is_some());
    assert_eq!(world.settle(&given, 2).await, Ok(true));
    let witnesses = Witnesses::new(Arc::clone(&world.consumer.ledger), Metrics::default());
    let held = witnesses.held_size(&world.provider.own.org()).unwrap();
    assert_eq!(held, second.journal_size);
    let witnesses = Witnesses::new(Arc::clone(&world.provider.ledger), Metrics::default());
    assert!(witnesses.held_size(&world.consumer.own.org()).unwrap() > 0);
}

#[tokio::test]
async fn a_restart_loses_no_delivery_and_no_receipt() {
    let world = World::new();
    let given = world.given(AT_ONCE).await;
    world.receive(1, 0).await;
    world.deliver(&given, 1).await;
    // The node ends before a receipt is made, in the middle of another delivery.
    let mut begun = world.sent(2);
    (begun.rows, begun.bytes, begun.content) = (None, None, None);
    let record = Record::Delivery(begun);
    world.provider.ledger.commit(&record).await.unwrap();
    drop(given);
    world.receive(2, 0).await;

    let given = world.given(AT_ONCE).await;
    assert_eq!(given.standing(&world.id()).open, 2);
    given.make_due(Instant::now()).await.unwrap();
    drop(given);
    let given = world.given(AT_ONCE).await;
    let standing = given.standing(&world.id());
    assert_eq!((standing.open, standing.unanswered), (0, 1));
    let (message, _) = world.message(&given, 1, 0);
    let (receipt, _) = Receipt::recall(&message.text).unwrap();
    let ended = receipt.deliveries.iter().map(|d| d.ended.as_deref());
    assert_eq!(ended.collect::<Vec<_>>(), [None, Some(INTERRUPTED)]);
    assert_eq!(world.settle(&given, 1).await, Ok(true));
    drop(given);
    let given = world.given(AT_ONCE).await;
    assert_eq!(given.standing(&world.id()).made, 1);
    assert_eq!(given.standing(&world.id()).unanswered, 0);
}

#[tokio::test]
async fn what_is_disputed_pauses_until_the_operator_accepts_it_even_after_a_restart() {
    let world = World::new();
    let given = world.given(AT_ONCE).await;
    world.receive(1, 1).await;
    world.deliver(&given, 1).await;
    given.make_due(Instant::now()).await.unwrap();
    assert!(!given.is_due(&world.id()));
    assert_eq!(world.settle(&given, 1).await, Ok(false));
    assert!(given.is_due(&world.id()));
    drop(given);
    let given = world.given(AT_ONCE).await;
    assert!(given.is_due(&world.id()));
    assert!(!given.accept_dispute(world.id(), 2).await.unwrap());
    assert!(given.accept_dispute(world.id(), 1).await.unwrap());
    assert!(!given.is_due(&world.id()));
    drop(given);
    assert!(!world.given(AT_ONCE).await.is_due(&world.id()));
}

#[tokio::test]
async fn a_consumer_that_does_not_answer_is_paused_and_goes_on_when_it_does() {
    let world = World::new();
    let given = world.given(AT_ONCE).await;
    for n in 1..=2 {
        assert!(!given.is_due(&world.id()));
        world.receive(n, 0).await;
        world.deliver(&given, n).await;
        given.make_due(Instant::now()).await.unwrap();
    }
    assert!(given.is_due(&world.id()));
    assert!(!given.is_due(&Digest::of(b"another agreement")));
    assert_eq!(world.settle(&given, 1).await, Ok(true));
    assert!(!given.is_due(&world.id()));
}

#[tokio::test]
async fn a_full_receipt_does_not_wait_and_the_rest_follows() {
    let world = World::new();
    let slow = Settings {
        wait: Duration::from_secs(3600),
        max_unanswered: 8,
    };
    let given = world.given(slow).await;
    for n in 0..MAX_DELIVERIES as u64 {
        assert_eq!(given.make_due(Instant::now()).await.unwrap(), vec![]);
        given.delivered(&world.sent(n));
    }
    given.delivered(&world.sent(MAX_DELIVERIES as u64));
    let record = Record::Delivery(world.sent(0));
    world.provider.ledger.commit(&record).await.unwrap();
    given.make_due(Instant::now()).await.unwrap();
    let standing = given.standing(&world.id());
    assert_eq!((standing.made, standing.open), (1, 1));
    assert_eq!(given.make_due(Instant::now()).await.unwrap(), vec![]);
}

#[tokio::test]
async fn the_same_receipt_gets_the_same_answer_and_another_one_is_refused() {
    let world = World::new();
    let given = world.given(AT_ONCE).await;
    for n in 1..=3 {
        world.receive(n, 0).await;
        world.deliver(&given, n).await;
        given.make_due(Instant::now()).await.unwrap();
    }
    let (third, _) = world.message(&given, 3, 0);
    assert_eq!(world.ask(&third).await, Err(RefusalCode::OutOfOrder));
    let (first, _) = world.message(&given, 1, 0);
    let Ok(Response::Receipt(answer)) = world.ask(&first).await else {
        panic!("no answer");
    };
    let (receipt, _) = Receipt::recall(&first.text).unwrap();
    let (again, _) = world.message(&given, 1, receipt.journal_size);
    let Ok(Response::Receipt(same)) = world.ask(&again).await else {
        panic!("no answer");
    };
    assert_eq!(answer.text, same.text);

    // Another receipt with the number of the last, and one after another former.
    for (seq, prev) in [(1, None), (2, Some(Digest::of(b"another")))] {
        let mut other = receipt.clone();
        (other.seq, other.prev) = (seq, prev);
        other.deliveries[0].trace = trace(9);
        let asked = Receipted {
            text: other.sign(&*world.provider.own.keys().issuer).unwrap(),
            ..again.clone()
        };
        let refused = world.ask(&asked).await;
        assert_eq!(refused, Err(RefusalCode::ConflictingEvidence));
    }
    assert_eq!(World::evidence(&world.consumer, &world.provider), None);
    // What was settled is settled: no second receipt of it.
    let mut twice = receipt.clone();
    let (_, id) = Receipt::recall(&first.text).unwrap();
    (twice.seq, twice.prev) = (2, Some(id));
    let asked = Receipted {
        text: twice.sign(&*world.provider.own.keys().issuer).unwrap(),
        ..again
    };
    let Ok(Response::Receipt(answer)) = world.ask(&asked).await else {
        panic!("no answer");
    };
    assert!(!answer.text.starts_with('{'), "it is disputed");
}

#[tokio::test]
async fn only_the_provider_of_the_agreement_gets_an_answer() {
    let world = World::new();
    let given = world.given(AT_ONCE).await;
    world.receive(1, 0).await;
    world.deliver(&given, 1).await;
    given.make_due(Instant::now()).await.unwrap();
    let (message, _) = world.message(&given, 1, 0);
    let stranger = world.consumer.own.org();
    let now = clock::now();
    let answer = world
        .taken
        .answer(&stranger, &world.agreement, &message, &world.keys, now);
    assert_eq!(answer.await, Err(RefusalCode::Malformed));
    let (receipt, _) = Receipt::recall(&message.text).unwrap();
    let forged = Receipted {
        text: receipt.sign(&*world.consumer.own.keys().issuer).unwrap(),
        ..message
    };
    assert_eq!(world.ask(&forged).await, Err(RefusalCode::Malformed));
}

#[tokio::test]
async fn an_answer_that_is_still_read_is_waited_for() {
    let world = World::new();
    let given = world.given(AT_ONCE).await;
    world.deliver(&given, 1).await;
    given.make_due(Instant::now()).await.unwrap();
    let of = (world.id(), Digest::of(b"grant"), Digest::of(b"SELECT 1"));
    let provider = world.provider.own.org();
    let reading = world.taken.reading();
    let receiving = reading.begin(&trace(1)[..16], provider, of, String::new());
    assert_eq!(world.settle(&given, 1).await, Err(RefusalCode::Busy));
    let moved = Moved {
        rows: 1,
        bytes: 8,
        content: Some(Digest::of(&1_u64.to_be_bytes())),
    };
    receiving.took(trace(1), moved, End::Whole);
    drop(receiving);
    while reading.is_under_way(&trace(1)) {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.settle(&given, 1).await, Ok(true));
}

#[tokio::test]
async fn a33_a_provider_that_rewrites_its_journal_is_caught_and_the_evidence_kept() {
    let world = World::new();
    let given = world.given(AT_ONCE).await;
    for n in 1..=3 {
        world.receive(n, 0).await;
        world.deliver(&given, n).await;
    }
    given.make_due(Instant::now()).await.unwrap();
    let (first, _) = world.message(&given, 1, 0);
    assert_eq!(world.settle(&given, 1).await, Ok(true));
    let (first, id) = Receipt::recall(&first.text).unwrap();

    // The chain is right; the journal is another one, longer or shorter, and no
    // proof leads from the former to it.
    for size in [first.journal_size, first.journal_size + 5, 1] {
        let mut rewritten = first.clone();
        (rewritten.seq, rewritten.prev) = (2, Some(id));
        rewritten.journal_size = size;
        rewritten.journal_root = Digest::of(b"another journal");
        let text = rewritten.sign(&*world.provider.own.keys().issuer).unwrap();
        for proof in [vec![], vec![first.journal_root], vec![id; 3]] {
            let asked = Receipted {
                text: text.clone(),
                held: first.journal_size,
                proof,
                witness: 0,
            };
            let refused = world.ask(&asked).await;
            assert_eq!(refused, Err(RefusalCode::ConflictingEvidence));
        }
        let before = world.consumer.ledger.root().0;
        let Some(Record::JournalRewritten(kept)) =
            World::evidence(&world.consumer, &world.provider)
        else {
            panic!("no evidence");
        };
        assert_eq!((kept.size, kept.held_size), (size, first.journal_size));
        assert_eq!(kept.text, text);
        let asked = Receipted {
            text,
            held: first.journal_size,
            proof: vec![],
            witness: 0,
        };
        assert!(world.ask(&asked).await.is_err());
        assert_eq!(world.consumer.ledger.root().0, before, "kept once");
    }
}

#[tokio::test]
async fn a33_a_consumer_that_rewrites_its_journal_is_caught_by_the_provider() {
    let world = World::new();
    let given = world.given(AT_ONCE).await;
    for n in 1..=2 {
        world.receive(n, 0).await;
        world.deliver(&given, n).await;
        given.make_due(Instant::now()).await.unwrap();
    }
    assert_eq!(world.settle(&given, 1).await, Ok(true));
    assert_eq!(World::evidence(&world.provider, &world.consumer), None);
    let held = given.held_by(&world.consumer.own.org());
    let (message, sent) = world.message(&given, 2, held);
    let Ok(Response::Receipt(answer)) = world.ask(&message).await else {
        panic!("no answer");
    };
    let issuer = &*world.consumer.own.keys().issuer;
    let checkpoint = Checkpoint {
        v: 1,
        org: world.consumer.own.org(),
        size: sent.witness + 9,
        root: Digest::of(b"another journal"),
        at: clock::now(),
    };
    let forged = ReceiptAnswer {
        checkpoint: checkpoint.sign(issuer).unwrap(),
        ..*answer
    };
    let (of, keys) = (&world.agreement, &world.keys);
    let answered = given.answered(of, sent, &forged, keys, clock::now());
    assert!(answered.await.unwrap(), "what it countersigned counts");
    let kept = World::evidence(&world.provider, &world.consumer);
    assert!(
        matches!(kept, Some(Record::JournalRewritten(_))),
        "{kept:?}"
    );
}

#[tokio::test]
async fn an_answer_that_is_none_leaves_the_receipt_unanswered() {
    let world = World::new();
    let given = world.given(AT_ONCE).await;
    for n in 1..=2 {
        world.receive(n, 0).await;
        world.deliver(&given, n).await;
        given.make_due(Instant::now()).await.unwrap();
    }
    let (message, sent) = world.message(&given, 1, 0);
    let Ok(Response::Receipt(answer)) = world.ask(&message).await else {
        panic!("no answer");
    };
    let unsigned = ReceiptAnswer {
        text: message.text.clone(),
        ..(*answer).clone()
    };
    let (of, keys, now) = (&world.agreement, &world.keys, clock::now());
    assert!(
        given
            .answered(of, sent, &unsigned, keys, now)
            .await
            .is_err()
    );
    let other = Sent { seq: 2, ..sent };
    assert!(given.answered(of, other, &answer, keys, now).await.is_err());
    assert_eq!(given.unanswered(&world.id()), [1, 2]);
    assert!(given.answered(of, sent, &answer, keys, now).await.unwrap());
    assert_eq!(given.unanswered(&world.id()), [2]);
    let key = receipt_key(&world.id(), ReceiptFacet::Unanswered, 1);
    let ledger = &world.provider.ledger;
    assert_eq!(ledger.get(Table::Receipts, &key).unwrap(), None);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Deliver,
    Make,
    Answer,
    Restart,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever happens in which order: every delivery stands in exactly one
    /// receipt, in the order of their ends, and each receipt names its former.
    #[test]
    fn every_delivery_stands_in_exactly_one_receipt(steps in prop::collection::vec(
        prop_oneof![
            3 => Just(Step::Deliver), 2 => Just(Step::Make),
            1 => Just(Step::Answer), 1 => Just(Step::Restart),
        ],
        0..24,
    )) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let mut given = world.given(AT_ONCE).await;
            let (mut sent, mut stated, mut made) = (0, Vec::new(), 0);
            let mut former = None;
            for step in steps.into_iter().chain([Step::Make]) {
                match step {
                    Step::Deliver => {
                        sent += 1;
                        world.receive(sent, 0).await;
                        world.deliver(&given, sent).await;
                    }
                    Step::Make => drop(given.make_due(Instant::now()).await.unwrap()),
                    Step::Answer => {
                        for seq in given.unanswered(&world.id()) {
                            prop_assert_eq!(world.settle(&given, seq).await, Ok(true));
                        }
                    }
                    Step::Restart => {
                        drop(given);
                        given = world.given(AT_ONCE).await;
                    }
                }
                while made < given.standing(&world.id()).made {
                    made += 1;
                    let (message, _) = world.message(&given, made, 0);
                    let (receipt, id) = Receipt::recall(&message.text).unwrap();
                    prop_assert_eq!((receipt.seq, receipt.prev), (made, former));
                    stated.extend(receipt.deliveries.into_iter().map(|d| d.trace));
                    former = Some(id);
                }
            }
            let all: Vec<String> = (1..=sent).map(trace).collect();
            prop_assert_eq!(stated, all);
            Ok(())
        })?;
    }
}

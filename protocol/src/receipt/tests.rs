use proptest::prelude::*;

use super::*;
use crate::fixture::{DAY, Directory, NOW, Party};
use crate::negotiation::{self, Document, FederationTerms, NegotiationId, Proposal};

const ID: Digest = Digest::from_bytes([5; 32]);

struct World {
    provider: Party,
    consumer: Party,
    stranger: Party,
    keys: Directory,
    agreement: Document,
}

impl World {
    fn new() -> Self {
        let [provider, consumer, stranger] = [1, 2, 3].map(Party::new);
        let side = |party: &Party| negotiation::Party {
            org: party.org,
            history: ID,
        };
        let agreement = Document {
            v: 1,
            negotiation: NegotiationId::from_bytes([7; 16]),
            provider: side(&provider),
            consumer: side(&consumer),
            proposal: Proposal::Federation {
                invitation: ID,
                terms: FederationTerms {
                    roles: Vec::new(),
                    assurance: Vec::new(),
                    expires: NOW.saturating_add(DAY),
                },
            },
            last: ID,
            supported: vec![1],
            nonce: "0".repeat(32),
            at: NOW,
        };
        Self {
            keys: Directory::of(&[&provider, &consumer, &stranger]),
            provider,
            consumer,
            stranger,
            agreement,
        }
    }

    fn stated(&self, text: &str) -> Result<StatedReceipt, ReceiptError> {
        StatedReceipt::verify(text, (ID, &self.agreement), &self.keys, NOW)
    }

    fn verify(&self, text: &str) -> Result<SignedReceipt, ReceiptError> {
        SignedReceipt::verify(text, (ID, &self.agreement), &self.keys, NOW)
    }

    /// What the consumer answers who `received` this of every delivery.
    fn answer(&self, receipt: &Receipt, received: Option<Received>) -> Answer {
        let half = receipt.sign(&self.provider.agree).unwrap();
        let stated = self.stated(&half).unwrap();
        stated
            .answer(|_| received, |_| None, &self.consumer.agree, NOW)
            .unwrap()
    }
}

fn delivered(n: u64) -> Delivered {
    Delivered {
        trace: format!("{n:032x}"),
        grant: Digest::of(b"grant"),
        direct: None,
        query: Digest::of(b"query"),
        plan: None,
        policy: None,
        snapshot: None,
        rows: 26_115,
        bytes: 1_048_576,
        content: Digest::of(b"content"),
        ended: None,
        at: NOW,
    }
}

fn receipt(deliveries: Vec<Delivered>) -> Receipt {
    Receipt {
        v: 1,
        agreement: ID,
        seq: 1,
        prev: None,
        deliveries,
        at: NOW,
        journal_size: 12,
        journal_root: Digest::of(b"root"),
    }
}

fn received() -> Received {
    let stated = delivered(1);
    Received {
        grant: stated.grant,
        query: stated.query,
        rows: stated.rows,
        bytes: stated.bytes,
        content: stated.content,
        whole: true,
    }
}

#[test]
fn both_sign_the_same_bytes() {
    let world = World::new();
    let stated = receipt(vec![delivered(1), delivered(2)]);
    let half = stated.sign(&world.provider.agree).unwrap();
    assert!(world.verify(&half).is_err());
    let Answer::Countersigned(whole) = world.answer(&stated, Some(received())) else {
        panic!("disputed");
    };
    let read = world.verify(&whole).unwrap();
    assert_eq!(*read.receipt(), stated);
    assert_eq!(read.text(), whole);
    let (recalled, id) = Receipt::recall(&half).unwrap();
    assert_eq!((recalled, id), (stated, read.digest()));
}

#[test]
fn a_consumer_countersigns_only_what_it_received() {
    let world = World::new();
    let stated = receipt(vec![delivered(1)]);
    let changes: [fn(&mut Received); 7] = [
        |r| r.grant = ID,
        |r| r.query = ID,
        |r| r.rows -= 1,
        |r| r.rows += 1,
        |r| r.bytes -= 1,
        |r| r.bytes += 1,
        |r| r.content = ID,
    ];
    let consumer = &world.consumer.org;
    let (_, id) = Receipt::recall(&stated.sign(&world.provider.agree).unwrap()).unwrap();
    for change in changes {
        let mut other = received();
        change(&mut other);
        let Answer::Disputed(text) = world.answer(&stated, Some(other)) else {
            panic!("{other:?} is countersigned");
        };
        let read = Dispute::verify(&text, consumer, (ID, id), &world.keys, NOW).unwrap();
        assert_eq!(read.contested.len(), 1);
        assert_eq!(read.contested[0].received, Counted::from(Some(&other)));
    }
    let Answer::Disputed(text) = world.answer(&stated, None) else {
        panic!("a delivery that nobody received is countersigned");
    };
    let read = Dispute::verify(&text, consumer, (ID, id), &world.keys, NOW).unwrap();
    assert_eq!(read.contested[0].received, Counted::Unknown);

    let mut other = stated;
    other.agreement = Digest::of(b"another");
    let text = other.sign(&world.provider.agree).unwrap();
    let refused = world.stated(&text).map(|_| ());
    assert_eq!(refused, Err(ReceiptError::OtherAgreement));
}

#[test]
fn of_an_answer_that_broke_off_the_provider_may_state_a_little_more() {
    let broken = |by: fn(&mut Received)| {
        let mut received = received();
        received.whole = false;
        by(&mut received);
        received
    };
    let stated = delivered(1);
    for good in [
        broken(|_| ()),
        broken(|r| r.content = ID),
        broken(|r| (r.rows, r.bytes) = (0, 0)),
    ] {
        assert!(stated.agrees_with(Some(&good)), "{good:?}");
    }
    for bad in [
        broken(|r| r.rows += 1),
        broken(|r| r.bytes += 1),
        broken(|r| r.grant = ID),
        broken(|r| r.query = ID),
    ] {
        assert!(!stated.agrees_with(Some(&bad)), "{bad:?}");
    }
    let mut greedy = delivered(1);
    greedy.bytes = MAX_UNDERWAY_BYTES;
    let nothing = broken(|r| (r.rows, r.bytes) = (0, 0));
    assert!(greedy.agrees_with(Some(&nothing)));
    greedy.bytes += 1;
    assert!(!greedy.agrees_with(Some(&nothing)), "it charges a quota");
    (greedy.bytes, greedy.rows) = (0, MAX_UNDERWAY_BYTES);
    assert!(greedy.agrees_with(Some(&nothing)));
    greedy.rows += 1;
    assert!(!greedy.agrees_with(Some(&nothing)), "of rows as well");

    let mut early = delivered(1);
    early.ended = Some("revoked".to_owned());
    assert!(early.agrees_with(Some(&broken(|_| ()))));
    assert!(!early.agrees_with(Some(&received())), "it was whole");
    assert!(!early.agrees_with(None), "rows that nobody got");
    (early.rows, early.bytes) = (0, 0);
    assert!(early.agrees_with(None));
    early.ended = Some(INTERRUPTED.to_owned());
    assert!(early.agrees_with(Some(&received())), "nobody counted");
    // Regression: whatever a provider stated of an interrupted answer was signed.
    for (rows, bytes) in [(1, 0), (0, 1), (MAX_INT, MAX_INT)] {
        (early.rows, early.bytes) = (rows, bytes);
        assert!(!early.agrees_with(Some(&received())), "it charges a quota");
    }
}

#[test]
fn a_receipt_needs_both_sides_and_nobody_else() {
    let world = World::new();
    let envelope = || General::new(RECEIPT, &receipt(vec![delivered(1)])).unwrap();
    let (provider, consumer) = (&world.provider.agree, &world.consumer.agree);
    let stranger = &world.stranger.agree;
    let both = envelope().sign(provider).sign(consumer);
    world.verify(&both.to_text()).unwrap();
    for bad in [
        envelope(),
        envelope().sign(provider),
        envelope().sign(consumer),
        envelope().sign(provider).sign(stranger),
        both.sign(stranger),
        envelope().sign(&world.provider.announce).sign(consumer),
    ] {
        assert!(world.verify(&bad.to_text()).is_err());
    }
    for key in [stranger, consumer, &world.provider.announce] {
        assert!(world.stated(&envelope().sign(key).to_text()).is_err());
    }
}

#[test]
fn a_dispute_is_the_consumers_and_of_this_receipt() {
    let world = World::new();
    let Answer::Disputed(text) = world.answer(&receipt(vec![delivered(1)]), None) else {
        panic!("countersigned");
    };
    let (read, id) = {
        let half = receipt(vec![delivered(1)]).sign(&world.provider.agree);
        let (_, id) = Receipt::recall(&half.unwrap()).unwrap();
        let org = &world.consumer.org;
        (
            Dispute::verify(&text, org, (ID, id), &world.keys, NOW).unwrap(),
            id,
        )
    };
    let verify = |text: &str, org, of| Dispute::verify(text, org, of, &world.keys, NOW);
    let org = &world.consumer.org;
    assert_eq!(
        verify(&text, org, (ID, ID)),
        Err(ReceiptError::OtherReceipt)
    );
    assert_eq!(
        verify(&text, org, (id, id)),
        Err(ReceiptError::OtherAgreement)
    );
    for key in [&world.provider.agree, &world.consumer.announce] {
        let text = read.sign(key).unwrap();
        assert_eq!(verify(&text, org, (ID, id)), Err(ReceiptError::Signatures));
    }
    let mut empty = read;
    empty.contested.clear();
    assert!(empty.sign(&world.consumer.agree).is_err());
}

#[test]
fn a_receipt_that_breaks_a_rule_is_neither_signed_nor_read() {
    let world = World::new();
    let changes: [fn(&mut Receipt); 15] = [
        |r| r.v = 2,
        |r| r.seq = 0,
        |r| r.seq = 2,
        |r| r.prev = Some(ID),
        |r| r.journal_size = 0,
        |r| r.journal_size = MAX_INT + 1,
        |r| r.deliveries.clear(),
        |r| r.deliveries = vec![delivered(1); 2],
        |r| r.deliveries = (0..=MAX_DELIVERIES as u64).map(delivered).collect(),
        |r| r.deliveries[0].trace = "0".repeat(TRACE_CHARS - 1),
        |r| r.deliveries[0].trace = "F".repeat(TRACE_CHARS),
        |r| r.deliveries[0].rows = MAX_INT + 1,
        |r| r.deliveries[0].bytes = MAX_INT + 1,
        |r| r.deliveries[0].ended = Some("not a code".to_owned()),
        |r| r.deliveries[0].snapshot = Some(String::new()),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut bad = receipt(vec![delivered(1)]);
        change(&mut bad);
        assert!(bad.sign(&world.provider.agree).is_err(), "{n}");
        let Ok(envelope) = General::new(RECEIPT, &bad) else {
            continue;
        };
        let envelope = envelope.sign(&world.provider.agree);
        assert!(world.stated(&envelope.to_text()).is_err(), "{n}");
        let both = envelope.sign(&world.consumer.agree).to_text();
        assert!(world.verify(&both).is_err(), "{n}");
    }
}

#[test]
fn as_many_of_the_longest_deliveries_as_permitted_fit_and_so_does_their_dispute() {
    let world = World::new();
    let longest = |n| Delivered {
        direct: Some(ID),
        plan: Some(ID),
        policy: Some(ID),
        snapshot: Some("s".repeat(MAX_SNAPSHOT_CHARS)),
        rows: MAX_INT,
        bytes: MAX_INT,
        ended: Some("e".repeat(MAX_ENDED_CHARS)),
        at: comity_identity::Timestamp::from_secs(MAX_INT),
        ..delivered(n)
    };
    let mut largest = receipt((0..MAX_DELIVERIES as u64).map(longest).collect());
    (largest.seq, largest.prev) = (MAX_INT, Some(ID));
    let mut contested = received();
    (contested.rows, contested.bytes) = (MAX_INT, MAX_INT);
    let Answer::Disputed(text) = world.answer(&largest, Some(contested)) else {
        panic!("countersigned");
    };
    assert!(text.len() <= DISPUTE.limit());
    largest.deliveries.iter_mut().for_each(|d| d.direct = None);
    contested.whole = false;
    let Answer::Countersigned(text) = world.answer(&largest, Some(contested)) else {
        panic!("disputed");
    };
    assert!(text.len() <= RECEIPT.limit());
}

proptest! {
    /// Whatever order receipts come in, again and again: the consumer's chain
    /// has each of them once, in their order, without a gap.
    #[test]
    fn a_chain_takes_each_receipt_once_and_in_order(
        sizes in prop::collection::vec(1..4_usize, 1..8),
        arrivals in prop::collection::vec(0..8_usize, 0..64),
    ) {
        let mut chain: Vec<(Receipt, Digest)> = Vec::new();
        let mut traces = 0..;
        for (seq, size) in (1..).zip(sizes) {
            let mut next = receipt(traces.by_ref().take(size).map(delivered).collect());
            (next.seq, next.prev) = (seq, chain.last().map(|(_, id)| *id));
            let id = General::new(RECEIPT, &next).unwrap().digest();
            chain.push((next, id));
        }
        let (mut last, mut taken) = (None::<Place>, Vec::new());
        for n in arrivals {
            let Some((came, id)) = chain.get(n) else { continue };
            let expected = last.map_or(0, |l| l.seq) + 1;
            match came.turn(*id, last) {
                Ok(Turn::Next) => {
                    prop_assert_eq!(came.seq, expected);
                    last = Some(Place { seq: came.seq, id: *id });
                    taken.push(*id);
                }
                Ok(Turn::Again) => prop_assert_eq!(came.seq + 1, expected),
                Err(OutOfTurn::Gap) => prop_assert!(came.seq > expected || came.seq + 1 < expected),
                Err(OutOfTurn::Fork) => prop_assert!(false, "an honest chain has no fork"),
            }
        }
        let begins: Vec<Digest> = chain.iter().take(taken.len()).map(|(_, id)| *id).collect();
        prop_assert_eq!(taken, begins);
    }

    /// A provider that leaves out, repeats or rewrites a receipt is noticed at
    /// the next one that it sends.
    #[test]
    fn a_rewritten_chain_is_noticed(seq in 2..100_u64, content in any::<[u8; 32]>()) {
        let (former, other) = (Digest::from_bytes(content), Digest::of(&content));
        let last = Some(Place { seq: seq - 1, id: former });
        let mut next = receipt(vec![delivered(1)]);
        (next.seq, next.prev) = (seq, Some(former));
        let id = Digest::of(b"next");
        prop_assert_eq!(next.turn(id, last), Ok(Turn::Next));
        next.prev = Some(other);
        prop_assert_eq!(next.turn(id, last), Err(OutOfTurn::Fork));
        next.seq += 1;
        prop_assert_eq!(next.turn(id, last), Err(OutOfTurn::Gap));
        let last = Some(Place { seq, id });
        next.seq = seq;
        prop_assert_eq!(next.turn(id, last), Ok(Turn::Again));
        prop_assert_eq!(next.turn(other, last), Err(OutOfTurn::Fork));
        prop_assert_eq!(next.turn(id, None), Err(OutOfTurn::Gap));
    }

    /// Two honest sides always agree, however the answer ended.
    #[test]
    fn honest_sides_agree(
        (rows, bytes) in (0..1_000_000_u64, 0..MAX_UNDERWAY_BYTES),
        (lost_rows, lost_bytes) in (0..1_000_000_u64, 0..MAX_UNDERWAY_BYTES),
        (ended, whole) in (any::<bool>(), any::<bool>()),
    ) {
        let mut stated = delivered(1);
        (stated.rows, stated.bytes) = (rows, bytes);
        stated.ended = ended.then(|| "cancelled".to_owned());
        let mut got = received();
        (got.rows, got.bytes) = (rows, bytes);
        got.whole = whole && !ended;
        if !got.whole {
            got.rows = rows.saturating_sub(lost_rows);
            got.bytes = bytes.saturating_sub(lost_bytes);
            got.content = ID;
        }
        prop_assert!(stated.agrees_with(Some(&got)));
    }
}

#[test]
fn a_direct_delivery_is_vouched_for_within_the_grant_that_was_issued_for_it() {
    use core::time::Duration;
    let world = World::new();
    let issued = Issued {
        not_before: NOW.saturating_sub(Duration::from_secs(60)),
        expires: NOW.saturating_add(Duration::from_secs(60)),
        max_rows: Some(26_115),
        delivered: 0,
    };
    let direct = Delivered {
        direct: Some(Digest::of(b"first link")),
        ..delivered(1)
    };
    let answer = |delivered: &Delivered, received, issued: Option<Issued>| {
        let half = receipt(vec![delivered.clone()]).sign(&world.provider.agree);
        let stated = world.stated(&half.unwrap()).unwrap();
        let of = |first: &Digest| issued.filter(|_| *first == Digest::of(b"first link"));
        stated
            .answer(|_| received, of, &world.consumer.agree, NOW)
            .unwrap()
    };
    let signed = |a: &Answer| matches!(a, Answer::Countersigned(_));
    assert!(signed(&answer(&direct, None, Some(issued))));
    // The budget is of all answers together: those before, and in one receipt.
    let spent = Issued {
        delivered: 1,
        ..issued
    };
    assert!(!signed(&answer(&direct, None, Some(spent))));
    let halves = [1, 2].map(|n| Delivered {
        direct: direct.direct,
        rows: 13_058,
        ..delivered(n)
    });
    let of = |rows: u64| {
        let half = receipt(halves.to_vec()).sign(&world.provider.agree);
        let issued = Issued {
            max_rows: Some(rows),
            ..issued
        };
        let stated = world.stated(&half.unwrap()).unwrap();
        let answer = stated.answer(|_| None, |_| Some(issued), &world.consumer.agree, NOW);
        answer.unwrap()
    };
    assert!(signed(&of(26_116)) && !signed(&of(26_115)));
    // Not issued, not for this holder, more rows than its budget, another time,
    // and one that the node counted itself: none of these.
    assert!(!signed(&answer(&direct, None, None)));
    let other = Delivered {
        direct: Some(Digest::of(b"another")),
        ..direct.clone()
    };
    assert!(!signed(&answer(&other, None, Some(issued))));
    let more = Delivered {
        rows: 26_116,
        ..direct.clone()
    };
    assert!(!signed(&answer(&more, None, Some(issued))));
    let early = Issued {
        not_before: NOW.saturating_add(Duration::from_secs(3600)),
        ..issued
    };
    assert!(!signed(&answer(&direct, None, Some(early))));
    let ended = Issued {
        expires: NOW.saturating_sub(2 * MAX_ANSWER),
        ..issued
    };
    assert!(!signed(&answer(&direct, None, Some(ended))));
    assert!(!signed(&answer(&direct, Some(received()), Some(issued))));
    // Without the mark the consumer must have counted it.
    assert!(!signed(&answer(&delivered(1), None, Some(issued))));
}

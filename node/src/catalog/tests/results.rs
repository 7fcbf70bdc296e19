//! Chains of what was measured, without running nodes.

use comity_protocol::results::{Check, Kind, Measure, Results, ResultsList, Status, Target};

use super::*;
use crate::ledger::{MAX_STATEMENTS, rewritten_key};

fn measurement(ids: impl IntoIterator<Item = String>) -> Measurement {
    let check = |id| Check {
        id,
        kind: Kind::Metric,
        status: Status::Ok,
        target: Target::of("t", None),
        measure: Measure {
            metric: "rowCount".to_owned(),
            value: Some(1.0),
            unit: None,
            threshold: None,
        },
    };
    Measurement {
        at: clock::now(),
        due: None,
        process: "comity".to_owned(),
        process_version: "0".to_owned(),
        checks: ids.into_iter().map(check).collect(),
        omitted: 0,
        tables: Vec::new(),
    }
}

/// What `publisher` says under this number, after `prev`; `variant` makes
/// another statement.
fn statement(publisher: &Site, seq: u64, prev: Option<Digest>, variant: u64) -> String {
    let results = Results {
        org: publisher.own.org(),
        product: "a".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        contract_digest: Digest::of(b"contract"),
        contract_id: "c".to_owned(),
        seq,
        prev,
        at: clock::now().saturating_sub(Duration::from_secs(variant)),
        due: None,
        process: "comity".to_owned(),
        process_version: "0".to_owned(),
        checks: Vec::new(),
        omitted: variant,
        tables: Vec::new(),
    };
    results.sign(&*publisher.own.keys().issuer).unwrap()
}

impl Site {
    /// Takes these statements of `publisher`, oldest first.
    async fn takes(&self, publisher: &Self, texts: &[&String]) {
        let (org, now) = (publisher.own.org(), clock::now());
        let verify = |text: &&String| self.catalog.verify_results(&org, "a", text, now);
        let chain: Vec<_> = texts.iter().map(|t| verify(t).unwrap()).collect();
        self.catalog.take_results(chain, now).await.unwrap();
    }

    /// The numbers that are kept of `publisher`, and whether it was caught.
    fn kept(&self, publisher: &Self) -> (Vec<u64>, Option<u64>) {
        let org = publisher.own.org();
        let stated = self.catalog.statements(&org, "a").unwrap();
        let rewritten = self.catalog.rewritten(&org, "a").unwrap();
        let numbers = stated.iter().map(|s| s.results.seq).collect();
        (numbers, rewritten.map(|(seq, _)| seq))
    }
}

fn id(text: &str) -> Option<Digest> {
    Some(Digest::of(text.as_bytes()))
}

/// C-96
#[tokio::test]
async fn two_statements_that_exclude_one_another_are_both_kept() {
    let (reader, publisher) = (Site::new("reader").await, Site::new("publisher").await);
    reader.knows(&publisher);
    let one = statement(&publisher, 1, None, 0);
    let two = statement(&publisher, 2, id(&one), 0);
    let other = statement(&publisher, 2, id(&one), 1);
    reader.takes(&publisher, &[&one, &two]).await;
    assert_eq!(reader.kept(&publisher), (vec![2, 1], None));
    reader.takes(&publisher, &[&two, &one]).await;
    assert_eq!(reader.kept(&publisher).1, None, "what is known is no news");

    reader.takes(&publisher, &[&other]).await;
    assert_eq!(reader.kept(&publisher), (vec![2, 1], Some(2)));
    let before = reader.catalog.ledger.root().0;
    reader.takes(&publisher, &[&other]).await;
    assert_eq!(reader.catalog.ledger.root().0, before, "evidence once");
    let reader = reader.again().await;
    assert_eq!(reader.kept(&publisher), (vec![2, 1], Some(2)));
    let key = rewritten_key(&publisher.own.org(), "a");
    let kept = reader.catalog.ledger.get(Table::Results, &key);
    let Ok(Some(Record::Contradiction(kept))) = kept else {
        panic!("no evidence: {kept:?}");
    };
    assert_eq!((kept.known, kept.other), (two, other));
}

/// C-96
#[tokio::test]
async fn a_statement_that_leaves_out_the_known_one_shows_the_rewriting() {
    let (reader, publisher) = (Site::new("reader").await, Site::new("publisher").await);
    reader.knows(&publisher);
    let one = statement(&publisher, 1, None, 0);
    let two = statement(&publisher, 2, id(&one), 0);
    let other = statement(&publisher, 2, id(&one), 1);
    let three = statement(&publisher, 3, id(&other), 0);
    reader.takes(&publisher, &[&one, &two]).await;
    reader.takes(&publisher, &[&three]).await;
    // It goes on from there, with the mark upon it.
    assert_eq!(reader.kept(&publisher), (vec![3, 2, 1], Some(2)));
    // An older one that never was shows it as well.
    let never = statement(&publisher, 1, None, 7);
    reader.takes(&publisher, &[&never]).await;
    assert_eq!(reader.kept(&publisher).1, Some(1));
}

/// C-95, C-97
#[tokio::test]
async fn what_lies_between_is_asked_for_and_else_a_gap() {
    let (reader, publisher) = (Site::new("reader").await, Site::new("publisher").await);
    reader.knows(&publisher);
    let one = statement(&publisher, 1, None, 0);
    reader.takes(&publisher, &[&one]).await;
    let (org, now) = (publisher.own.org(), clock::now());
    let verified = |text: &str| reader.catalog.verify_results(&org, "a", text, now).unwrap();
    let two = statement(&publisher, 2, id(&one), 0);
    let four = statement(&publisher, 4, id("lost"), 0);
    assert_eq!(reader.catalog.results_before(&verified(&two)), None);
    assert_eq!(reader.catalog.results_before(&verified(&four)), id("lost"));
    reader.takes(&publisher, &[&four]).await;
    assert_eq!(reader.kept(&publisher), (vec![4, 1], None));
    // A product that is not announced is not looked at; nor is another's text.
    let list = ResultsList::new([("a".parse().unwrap(), Digest::of(b"x"))]);
    assert!(reader.catalog.results_missing(&org, &list).is_empty());
    let other = reader.catalog.verify_results(&org, "b", &two, now);
    assert!(other.unwrap_err().to_string().contains("another product"));
}

#[tokio::test]
async fn own_statements_are_numbered_bounded_and_announced_over_a_restart() {
    let site = Site::new("publisher").await;
    let product = site.product("a", 10);
    let announced = site
        .catalog
        .announce(vec![Arc::clone(&product)], None, clock::now());
    announced.await.unwrap();
    assert!(!site.catalog.announce_results(clock::now()).await.unwrap());
    for n in 0..=MAX_STATEMENTS {
        let stated = site
            .catalog
            .state(&product, measurement(["x".to_owned()]))
            .await
            .unwrap();
        assert_eq!(stated.results.seq, n + 1);
    }
    // Killed before the head.
    let site = site.again().await;
    assert!(site.catalog.announced().unwrap().results.is_none());
    assert!(site.catalog.refresh(clock::now()).await.unwrap());
    let list = site.catalog.announced().unwrap().results.unwrap();
    let (numbers, _) = site.kept(&site);
    assert_eq!(numbers.len() as u64, MAX_STATEMENTS);
    assert_eq!((numbers[0], numbers.last()), (MAX_STATEMENTS + 1, Some(&2)));
    // Whoever asks gets the list, the newest, and those before it.
    let digest = Digest::of(list.as_bytes());
    let read = ResultsList::read(&list, &digest).unwrap();
    let newest = *read.entries().next().unwrap().1;
    let served = site.catalog.serve(&[digest, newest]);
    assert_eq!(served[0], list);
    let prev = Results::recall(&served[1]).unwrap().prev.unwrap();
    assert_eq!(site.catalog.serve(&[prev]).len(), 1);
}

/// Ids are the author's words: however long, a measurement can be stated.
#[tokio::test]
async fn verdicts_that_find_no_room_are_counted() {
    let site = Site::new("publisher").await;
    let product = site.product("a", 10);
    let ids = (0..600).map(|n| format!("{n:03}{}", "é".repeat(197)));
    let stated = site.catalog.state(&product, measurement(ids)).await;
    let results = stated.unwrap().results;
    assert!(!results.checks.is_empty());
    assert_eq!(results.checks.len() as u64 + results.omitted, 600);
}

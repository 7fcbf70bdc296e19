//! Deliveries to holders of grants who came by themselves.

use std::collections::BTreeSet;

use comity_identity::grant::{Chain, Grant};

use super::*;
use crate::ledger::{GrantIssued, OPERATOR};

/// The digest of the first link of a grant of `max_rows`, which the consumer handed out.
async fn handed_out(world: &World, max_rows: u64) -> Digest {
    let now = clock::now();
    let own = &world.consumer.own;
    let grant = Grant {
        v: 1,
        iss: own.org(),
        aud: world.provider.own.org(),
        agr: world.id(),
        sub: "u-1".to_owned(),
        act: Vec::new(),
        roles: BTreeSet::new(),
        amr: BTreeSet::new(),
        cnf: own.keys().issuer.public(),
        cert: Some(Digest::of(b"certificate")),
        tables: None,
        cols: None,
        filter: Vec::new(),
        purpose: ["delay-analysis".to_owned()].into(),
        max_rows: Some(max_rows),
        nbf: now,
        exp: now.saturating_add(Duration::from_secs(600)),
        jti: "g-0".to_owned(),
        prt: None,
    };
    let text = Chain::issue(&grant, &*own.keys().issuer).unwrap();
    let text = text.links().concat();
    let record = GrantIssued {
        jti: grant.jti,
        agreement: world.id(),
        text: text.clone(),
        by: OPERATOR.to_owned(),
        expires: grant.exp,
        at: now,
    };
    let record = Record::GrantIssued(record);
    world.consumer.ledger.commit(&record).await.unwrap();
    Digest::of(text.as_bytes())
}

async fn deliver(world: &World, given: &Given, n: u64, first: Digest) {
    let sent = Delivery {
        direct: Some(first),
        ..world.sent(n)
    };
    let record = Record::Delivery(sent.clone());
    world.provider.ledger.commit(&record).await.unwrap();
    given.delivered(&sent);
    given.make_due(Instant::now()).await.unwrap();
}

/// Regression: each answer was judged by itself, so a provider could state, and
/// charge, any number of rows under a grant of few.
#[tokio::test]
async fn all_answers_under_a_grant_share_its_budget_of_rows() {
    let world = World::new();
    let given = world.given(AT_ONCE).await;
    let (one, other) = (handed_out(&world, 10).await, handed_out(&world, 11).await);
    deliver(&world, &given, 4, one).await;
    assert_eq!(world.settle(&given, 1).await, Ok(true));
    deliver(&world, &given, 6, one).await;
    assert_eq!(world.settle(&given, 2).await, Ok(true), "all ten");
    deliver(&world, &given, 11, other).await;
    assert_eq!(world.settle(&given, 3).await, Ok(true), "another budget");
    deliver(&world, &given, 1, one).await;
    assert_eq!(world.settle(&given, 4).await, Ok(false), "the eleventh");
}

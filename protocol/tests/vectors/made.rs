//! What the vector file holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use comity_identity::envelope::{Compact, General};
use comity_identity::organization::peer_id;
use comity_identity::{Digest, Signer as _};
use comity_protocol::catalog::{DescriptorList, HEAD, Head};
use comity_protocol::checkpoint::Checkpoint;
use comity_protocol::invitation::{INVITATION, Invitation, PREFIX};
use comity_protocol::negotiation::{
    AGREEMENT, Body, FederationTerms, MESSAGE, Message, Negotiation, NegotiationId, Proposal,
    Proposing,
};
use comity_protocol::product::{Column, ColumnType, DESCRIPTOR, Descriptor, Table};
use comity_protocol::receipt::{Answer, Delivered, Receipt, Received, StatedReceipt};
use comity_protocol::results::{
    Check, Extent, Kind, Measure, RESULTS, Results, Status, TableExtent, Target, Threshold,
};
use comity_protocol::revocation::Revocation;
use comity_protocol::terms::{
    Comparison, Limits, Literal, Mask, Predicate, RowFilter, TableTerms, Terms,
};
use serde_json::{Value, json};

use crate::cases::cases;
use crate::world::{DAY, NOW, Organizations, Party};

const SECOND: Duration = Duration::from_secs(1);

/// The whole file.
pub(crate) fn vectors() -> Value {
    let provider = Party::new(1, "Weather Service");
    let consumer = Party::new(17, "Port Authority");
    let organizations = json!({"consumer": consumer.to_json(), "provider": provider.to_json()});
    let keys = Organizations::read(&json!({"organizations": organizations}));
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let contract = catalog(&provider, &consumer, &mut texts);
    let agreement = agreement(&provider, &consumer, &keys, contract, &mut texts);
    federation(&provider, &consumer, &keys, &mut texts);
    after(&provider, &consumer, &keys, agreement, &mut texts);
    json!({
        "about": "Test vectors of spec/3-catalog.md and spec/4-negotiation.md. Keys are public: never use them.",
        "organizations": organizations,
        "digests": {
            "descriptor": Digest::of(texts["descriptor"].as_bytes()),
            "head": Digest::of(texts["head"].as_bytes()),
            "list": Digest::of(texts["list"].as_bytes()),
            "agreement": agreement,
        },
        "cases": cases(&provider, &consumer),
        "texts": texts,
    })
}

/// Descriptor, list and head. Gives the contract's digest.
fn catalog(provider: &Party, consumer: &Party, texts: &mut BTreeMap<String, String>) -> Digest {
    let column = |name: &str, kind| Column {
        name: name.to_owned(),
        kind,
        description: None,
        classification: None,
    };
    let contract = json!({
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": "weather", "status": "active",
        "version": "1.0.0", "name": "Wetter \u{2600}",
    });
    let descriptor = Descriptor {
        v: 1,
        org: provider.org(),
        product: "weather".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        seq: 0,
        prev: None,
        issued_at: NOW,
        expires_at: NOW.saturating_add(7 * DAY),
        contract_digest: Descriptor::digest_of_contract(&contract).unwrap(),
        contract,
        tables: vec![Table {
            name: "weather".parse().unwrap(),
            columns: vec![
                column("origin", ColumnType::Utf8),
                column("temp", ColumnType::Float64),
                column("time_hour", ColumnType::TimestampMicrosUtc),
                column(
                    "precip",
                    ColumnType::Decimal128 {
                        precision: 6,
                        scale: 2,
                    },
                ),
            ],
        }],
        offer: Some(terms(&["origin", "temp"])),
        deprecation: None,
    };
    let text = descriptor.sign(&provider.announce).unwrap();
    let list = DescriptorList::new(vec![Digest::of(text.as_bytes())]);
    let head = Head {
        v: 1,
        org: provider.org(),
        seq: 1,
        issued_at: NOW,
        expires_at: NOW.saturating_add(7 * DAY),
        count: 1,
        list: Digest::of(list.to_text().as_bytes()),
        results: None,
    };
    let mut bad = descriptor.clone();
    bad.contract_digest = Digest::of(b"another contract");
    let forged = Compact::sign(DESCRIPTOR, &bad, &provider.announce).unwrap();
    let mut long = head.clone();
    long.expires_at = NOW.saturating_add(30 * DAY + SECOND);
    let long = Compact::sign(HEAD, &long, &provider.announce).unwrap();
    let mut keep = |name: &str, text| texts.insert(name.to_owned(), text);
    keep("descriptor-other-contract", forged);
    keep(
        "descriptor-by-agree",
        descriptor.sign(&provider.agree).unwrap(),
    );
    keep(
        "descriptor-by-consumer",
        descriptor.sign(&consumer.announce).unwrap(),
    );
    keep("descriptor", text);
    keep("head-31-days", long);
    keep("head-by-agree", head.sign(&provider.agree).unwrap());
    keep("head", head.sign(&provider.announce).unwrap());
    keep("list-spaced", list.to_text().replace('[', "[ "));
    keep("list", list.to_text());
    measured(&descriptor, provider, texts);
    descriptor.contract_digest
}

/// What was measured of the product, twice.
fn measured(descriptor: &Descriptor, provider: &Party, texts: &mut BTreeMap<String, String>) {
    let extent = Extent {
        earliest: -1,
        latest: 1_700_000_000,
    };
    let check = |id: &str, status, column, metric: &str, value| Check {
        id: id.to_owned(),
        kind: Kind::Metric,
        status,
        target: Target::of("weather", column),
        measure: Measure {
            metric: metric.to_owned(),
            value,
            unit: value.map(|_| "percent".to_owned()),
            threshold: Some(Threshold::below(2.5)),
        },
    };
    let first = Results {
        org: provider.org(),
        product: descriptor.address(),
        version: descriptor.version,
        contract_digest: descriptor.contract_digest,
        contract_id: "urn:uuid:weather".to_owned(),
        seq: 1,
        prev: None,
        at: NOW,
        due: Some(NOW.saturating_add(DAY)),
        process: "comity".to_owned(),
        process_version: "0.1.0".to_owned(),
        checks: vec![
            check(
                "temp_known",
                Status::Ok,
                Some("temp"),
                "nullValues",
                Some(1.25),
            ),
            check("rule", Status::Failed, None, "sql", None),
            check("weather.quality.1", Status::Error, None, "sql", None),
        ],
        omitted: 1,
        tables: vec![TableExtent {
            table: "weather".parse().unwrap(),
            rows: 26_115,
            distinct: BTreeMap::from([("carrier".to_owned(), 16)]),
            columns: BTreeMap::from([("time_hour".to_owned(), extent)]),
        }],
    };
    let text = first.sign(&provider.announce).unwrap();
    let mut second = first.clone();
    second.seq = 2;
    second.prev = Some(Digest::of(text.as_bytes()));
    let envelope = Compact::parse(RESULTS, &text).unwrap();
    let honest: Value = envelope.danger_unverified_payload().unwrap();
    let forged = |at: &str, value: Value| {
        let mut payload = honest.clone();
        *payload.pointer_mut(at).unwrap() = value;
        Compact::sign(RESULTS, &payload, &provider.announce).unwrap()
    };
    let mut keep = |name: &str, text| texts.insert(name.to_owned(), text);
    let name = format!("{}@9.9.9", descriptor.product);
    keep(
        "results-two-versions",
        forged("/subject/0/name", json!(name)),
    );
    let mut orphan = honest.clone();
    orphan["predicate"]["comity"]["seq"] = json!(2);
    orphan["predicate"]["id"] = json!(format!("{}/2", descriptor.address()));
    keep(
        "results-no-prev",
        Compact::sign(RESULTS, &orphan, &provider.announce).unwrap(),
    );
    keep("results-by-agree", first.sign(&provider.agree).unwrap());
    keep("results-second", second.sign(&provider.announce).unwrap());
    keep("results", text);
}

fn terms(columns: &[&str]) -> Terms {
    let table = TableTerms {
        columns: columns.iter().map(ToString::to_string).collect(),
        filter: RowFilter(BTreeSet::from([
            Predicate::Compare {
                column: "temp".to_owned(),
                op: Comparison::GtEq,
                value: Literal::Decimal("-40.5".to_owned()),
            },
            Predicate::Any(BTreeSet::from([
                Predicate::In {
                    column: "origin".to_owned(),
                    values: BTreeSet::from(["EWR", "JFK"].map(|t| Literal::Text(t.to_owned()))),
                },
                Predicate::Not(Box::new(Predicate::IsNull {
                    column: "origin".to_owned(),
                })),
            ])),
        ])),
        masks: columns
            .contains(&"origin")
            .then(|| ("origin".to_owned(), Mask::ShowFirst4))
            .into_iter()
            .collect(),
        protection: None,
    };
    Terms {
        tables: BTreeMap::from([("weather".to_owned(), table)]),
        purposes: BTreeSet::from(["operations".to_owned()]),
        limits: Limits {
            max_rows_per_query: Some(100_000),
            ..Limits::default()
        },
        not_before: NOW,
        expires: NOW.saturating_add(90 * DAY),
    }
}

/// What is open for two weeks.
fn proposing(proposal: Proposal, note: &str) -> Proposing {
    Proposing {
        proposal,
        note: note.to_owned(),
        until: NOW.saturating_add(14 * DAY),
    }
}

/// A whole negotiation. Gives the agreement's id.
fn agreement(
    provider: &Party,
    consumer: &Party,
    keys: &Organizations,
    contract: Digest,
    texts: &mut BTreeMap<String, String>,
) -> Digest {
    let descriptor = Digest::of(texts["descriptor"].as_bytes());
    let proposal = |columns: &[&str]| Proposal::Access {
        product: "weather".parse().unwrap(),
        range: "^1.0".parse().unwrap(),
        descriptor,
        contract,
        terms: terms(columns),
        replaces: None,
    };
    let (p, c) = (&provider.agree, &consumer.agree);
    let note = |text: &str| text.to_owned();
    let id = NegotiationId::from_bytes([7; 16]);
    let wide = proposal(&["origin", "temp", "time_hour"]);
    let (mut asks, request) = Negotiation::request(
        id,
        consumer.org(),
        provider.org(),
        proposing(wide, "for the winter schedule"),
        NOW,
        c,
    )
    .unwrap();
    let mut has =
        Negotiation::answer(provider.org(), &consumer.org(), &request, keys, NOW).unwrap();
    let mut keep = |name: &str, text: &str| texts.insert(name.to_owned(), text.to_owned());
    keep("request", &request);
    let first = Compact::parse(MESSAGE, &request).unwrap();
    let first: Message = first.danger_unverified_payload().unwrap();
    let a_year = NOW.saturating_add(365 * DAY);
    for (name, end) in [
        ("request-without-end", None),
        ("request-open-for-a-year", Some(a_year)),
    ] {
        let mut message = first.clone();
        if let Body::Request { until, .. } = &mut message.body {
            *until = end;
        }
        keep(name, &Compact::sign(MESSAGE, &message, c).unwrap());
    }
    let end = has.clone().terminate(note("not now"), NOW, p).unwrap();
    keep("terminate", &end);

    let offer = has
        .offer(proposing(proposal(&["origin"]), "no measurements"), NOW, p)
        .unwrap();
    asks.receive(&offer, keys, NOW).unwrap();
    keep("offer", &offer);
    let counter = asks
        .counter(
            proposing(proposal(&["origin", "temp"]), "at least one"),
            NOW,
            c,
        )
        .unwrap();
    has.receive(&counter, keys, NOW).unwrap();
    keep("counter", &counter);
    let offer = has
        .offer(proposing(proposal(&["temp"]), "this one"), NOW, p)
        .unwrap();
    asks.receive(&offer, keys, NOW).unwrap();
    keep("offer-2", &offer);
    let accept = asks.accept(NOW, c).unwrap();
    has.receive(&accept, keys, NOW).unwrap();
    keep("accept", &accept);

    let heads = (provider.history.head(), consumer.history.head());
    let agree = has.agree(heads, [9; 16], NOW, p).unwrap();
    asks.receive(&agree, keys, NOW).unwrap();
    keep("agree", &agree);
    let verify = asks.verify(NOW, c).unwrap();
    has.receive(&verify, keys, NOW).unwrap();
    keep("verify", &verify);
    let finalize = has.finalize(NOW, p).unwrap();
    asks.receive(&finalize, keys, NOW).unwrap();
    keep("finalize", &finalize);

    let signed = has.document().unwrap();
    keep("agreement", signed.text());
    let envelope = || General::new(AGREEMENT, signed.document()).unwrap();
    keep("agreement-half", &envelope().sign(p).to_text());
    let stranger = envelope().sign(p).sign(&consumer.announce);
    keep("agreement-other-role", &stranger.to_text());
    let third = envelope().sign(p).sign(c).sign(&consumer.announce);
    keep("agreement-third-signature", &third.to_text());
    let mut other = signed.document().clone();
    other.proposal = proposal(&["origin", "temp"]);
    let payload = General::new(AGREEMENT, &other).unwrap().to_text();
    keep(
        "agreement-other-terms",
        &with_payload(signed.text(), &payload),
    );
    signed.digest()
}

/// The signatures of one envelope under the payload of another.
fn with_payload(signatures: &str, payload: &str) -> String {
    let mut mixed: Value = serde_json::from_str(signatures).unwrap();
    let payload: Value = serde_json::from_str(payload).unwrap();
    mixed["payload"] = payload["payload"].clone();
    mixed.to_string()
}

/// The invitation and the federation that follows from it.
fn federation(
    provider: &Party,
    consumer: &Party,
    keys: &Organizations,
    texts: &mut BTreeMap<String, String>,
) {
    let invitation = Invitation {
        v: 1,
        org: provider.org(),
        alias: "weather-service".to_owned(),
        history: provider.history.texts().to_vec(),
        document: provider.document.clone(),
        peer_id: peer_id(&provider.node.public()),
        addresses: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
        secret: "AAECAwQFBgcICQoLDA0ODw".to_owned(),
        expires_at: NOW.saturating_add(DAY),
        roles: Vec::new(),
    };
    let text = invitation.sign(&provider.agree).unwrap();
    let mut elsewhere = invitation.clone();
    elsewhere.peer_id = peer_id(&consumer.node.public());
    let elsewhere = Compact::sign(INVITATION, &elsewhere, &provider.agree).unwrap();
    let by_announce = invitation.sign(&provider.announce).unwrap();

    let proposal = Proposal::Federation {
        invitation: Invitation::id(&text),
        terms: FederationTerms {
            roles: vec!["analyst".to_owned()],
            assurance: vec!["local-token".to_owned()],
            expires: NOW.saturating_add(365 * DAY),
        },
    };
    let (p, c) = (&provider.agree, &consumer.agree);
    let id = NegotiationId::from_bytes([8; 16]);
    let (mut asks, request) = Negotiation::request(
        id,
        consumer.org(),
        provider.org(),
        proposing(proposal, ""),
        NOW,
        c,
    )
    .unwrap();
    let mut has =
        Negotiation::answer(provider.org(), &consumer.org(), &request, keys, NOW).unwrap();
    let heads = (provider.history.head(), consumer.history.head());
    let agree = has.agree(heads, [9; 16], NOW, p).unwrap();
    asks.receive(&agree, keys, NOW).unwrap();
    has.receive(&asks.verify(NOW, c).unwrap(), keys, NOW)
        .unwrap();
    let mut keep = |name: &str, text: String| texts.insert(name.to_owned(), text);
    keep("federation", has.document().unwrap().text().to_owned());
    keep("invitation", text);
    keep("invitation-by-announce", by_announce);
    keep("invitation-other-node", format!("{PREFIX}{elsewhere}"));
}

/// What follows an agreement: a receipt and a revocation.
fn after(
    provider: &Party,
    consumer: &Party,
    keys: &Organizations,
    agreement: Digest,
    texts: &mut BTreeMap<String, String>,
) {
    let delivered = |trace: &str| Delivered {
        trace: trace.to_owned(),
        grant: Digest::of(b"grant"),
        direct: None,
        query: Digest::of(b"SELECT 1"),
        plan: None,
        policy: None,
        snapshot: None,
        rows: 26_115,
        bytes: 1_048_576,
        content: Digest::of(b"content"),
        ended: None,
        at: NOW,
    };
    let mut broken = delivered("fedcba9876543210fedcba9876543210");
    broken.ended = Some("cancelled".to_owned());
    broken.plan = Some(Digest::of(b"plan"));
    broken.policy = Some(Digest::of(b"policy"));
    broken.snapshot = Some("s:00112233445566778899aabbccddeeff".to_owned());
    let receipt = Receipt {
        v: 1,
        agreement,
        seq: 2,
        prev: Some(Digest::of(b"the first receipt")),
        deliveries: vec![delivered("0123456789abcdef0123456789abcdef"), broken],
        at: NOW,
        journal_size: 12,
        journal_root: Digest::of(b"root"),
    };
    let half = receipt.sign(&provider.agree).unwrap();
    let signed = comity_protocol::negotiation::SignedDocument::verify(
        AGREEMENT,
        &texts["agreement"],
        keys,
        NOW,
    )
    .unwrap();
    let of = (agreement, signed.document());
    let received = |trace: &str| Received {
        grant: Digest::of(b"grant"),
        query: Digest::of(b"SELECT 1"),
        rows: 26_115,
        bytes: 1_048_576,
        content: Digest::of(b"content"),
        whole: trace.starts_with('0'),
    };
    let stated = || StatedReceipt::verify(&half, of, keys, NOW).unwrap();
    let answer = stated().answer(
        |trace| Some(received(trace)),
        |_| None,
        &consumer.agree,
        NOW,
    );
    let Answer::Countersigned(whole) = answer.unwrap() else {
        panic!("the receipt is disputed");
    };
    let fewer = |trace: &str| {
        let mut fewer = received(trace);
        fewer.rows -= 1;
        trace.starts_with('0').then_some(fewer)
    };
    let answer = stated().answer(fewer, |_| None, &consumer.agree, NOW);
    let Answer::Disputed(dispute) = answer.unwrap() else {
        panic!("the receipt is countersigned");
    };
    let revocation = Revocation {
        v: 1,
        org: provider.org(),
        peer: consumer.org(),
        agreement,
        at: NOW,
    };
    let mut keep = |name: &str, text: String| texts.insert(name.to_owned(), text);
    keep("receipt-half", half);
    keep("receipt", whole);
    keep("dispute", dispute);
    keep("revocation", revocation.sign(&provider.agree).unwrap());
    keep(
        "revocation-by-consumer",
        revocation.sign(&consumer.agree).unwrap(),
    );
    let checkpoint = Checkpoint {
        v: 1,
        org: provider.org(),
        size: 12,
        root: Digest::of(b"root"),
        at: NOW,
    };
    keep("checkpoint", checkpoint.sign(&provider.agree).unwrap());
    keep(
        "checkpoint-by-consumer",
        checkpoint.sign(&consumer.agree).unwrap(),
    );
    // A message says who speaks; the envelope says who signed.
    let (from, _) = Message::claimed(&texts["accept"]).unwrap();
    assert_eq!(from, consumer.org());
}

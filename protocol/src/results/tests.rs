use std::collections::BTreeMap;

use core::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fixture::{Directory, NOW, Party};

fn check(id: &str, status: Status) -> Check {
    Check {
        id: id.to_owned(),
        kind: check::Kind::Metric,
        status,
        target: Target::of("orders", Some("amount")),
        measure: Measure {
            metric: "nullValues".to_owned(),
            value: Some(12.5),
            unit: Some("percent".to_owned()),
            threshold: Some(Threshold::none()),
        },
    }
}

fn results(org: OrgId) -> Results {
    Results {
        org,
        product: "orders".parse().unwrap(),
        version: "1.4.0".parse().unwrap(),
        contract_digest: Digest::of(b"contract"),
        contract_id: "urn:uuid:1".to_owned(),
        seq: 1,
        prev: None,
        at: NOW,
        due: Some(NOW.saturating_add(Duration::from_secs(3600))),
        process: "comity".to_owned(),
        process_version: "0.1.0".to_owned(),
        checks: vec![check("amount_known", Status::Ok)],
        omitted: 0,
        tables: vec![TableExtent {
            table: "orders".parse().unwrap(),
            rows: 4,
            distinct: BTreeMap::from([("carrier".to_owned(), 16)]),
            columns: BTreeMap::from([(
                "ordered_at".to_owned(),
                Extent {
                    earliest: -5,
                    latest: 7,
                },
            )]),
        }],
    }
}

/// Signs and reads without the checks before signing, as an adversary would.
fn judge(payload: &impl serde::Serialize) -> Result<VerifiedResults, StatementError> {
    let party = Party::new(1);
    let text = Compact::sign(RESULTS, payload, &party.announce)?;
    VerifiedResults::verify(&text, &party.org, &Directory::of(&[&party]), NOW)
}

fn changed(change: impl FnOnce(&mut Results)) -> Result<VerifiedResults, StatementError> {
    let mut results = results(Party::new(1).org);
    change(&mut results);
    judge(&Statement::of(&results))
}

fn payload() -> Value {
    serde_json::to_value(Statement::of(&results(Party::new(1).org))).unwrap()
}

#[test]
fn a_statement_is_in_toto_outside_and_oors_inside() {
    let said = payload();
    assert_eq!(said["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(said["subject"][0]["name"], "orders@1.4.0");
    let hex = said["subject"][0]["digest"]["sha256"].as_str().unwrap();
    assert_eq!(hex.len(), 64);
    let predicate = &said["predicate"];
    assert_eq!(predicate["kind"], "ObservabilityResults");
    assert_eq!(predicate["observedAt"], NOW.to_string());
    assert_eq!(
        predicate["results"][0],
        json!({
            "id": "amount_known",
            "type": "metric",
            "status": "pass",
            "target": {"resourceType": "column", "resourceIdentifier": "orders.amount"},
            "measure": {
                "metric": "nullValues",
                "value": 12.5,
                "unit": "percent",
                "threshold": {"mustBe": 0.0},
            },
        })
    );
    assert_eq!(
        changed(|_| {}).unwrap().results(),
        &results(Party::new(1).org)
    );
}

/// A9
#[test]
fn only_an_announcing_key_of_the_same_organization_counts() {
    let (party, other) = (Party::new(1), Party::new(2));
    let keys = Directory::of(&[&party, &other]);
    let results = results(party.org);
    for key in [&party.agree, &party.none, &other.announce] {
        let text = results.sign(key).unwrap();
        let refused = VerifiedResults::verify(&text, &party.org, &keys, NOW);
        assert_eq!(refused.unwrap_err(), StatementError::NotAnIssuer);
    }
    let text = results.sign(&other.announce).unwrap();
    let refused = VerifiedResults::verify(&text, &other.org, &keys, NOW);
    assert_eq!(refused.unwrap_err(), StatementError::OtherOrganization);
}

#[test]
fn what_is_said_twice_must_be_the_same() {
    let twice = [
        ("/subject/0/name", json!("orders@1.5.0")),
        ("/predicate/observedAt", json!("2020-01-01T00:00:00Z")),
        ("/predicate/id", json!("orders/2")),
        ("/predicate/contract/version", json!("2.0.0")),
        ("/predicate/contract/standard", json!("OTHER")),
        ("/predicate/comity/v", json!(2)),
        ("/predicateType", json!("urn:other")),
        ("/_type", json!("urn:other")),
        ("/subject/0/digest/sha256", json!("00")),
        ("/predicate/results/0/status", json!("skip")),
    ];
    for (at, value) in twice {
        let mut said = payload();
        *said.pointer_mut(at).unwrap() = value;
        assert!(judge(&said).is_err(), "{at}");
    }
    let mut more = payload();
    more["predicate"]["logs"] = json!(["SELECT secret"]);
    assert!(judge(&more).is_err(), "an unknown key");
}

#[test]
fn a_statement_has_limits() {
    let refused = |r: Result<VerifiedResults, _>| matches!(r, Err(StatementError::Rule(_)));
    changed(|r| r.checks = vec![check("x", Status::Ok); MAX_CHECKS]).unwrap();
    assert!(refused(changed(|r| {
        r.checks = vec![check("x", Status::Ok); MAX_CHECKS + 1];
    })));
    let id = "x".repeat(MAX_ID_CHARS);
    changed(|r| r.checks[0].id = id.clone()).unwrap();
    assert!(refused(changed(|r| r.checks[0].id = format!("{id}x"))));
    assert!(refused(changed(
        |r| r.checks[0].id = "a\u{1b}[2J".to_owned()
    )));
    assert!(refused(changed(|r| {
        r.checks[0].measure.metric = "SELECT 1".to_owned();
    })));
    assert!(refused(changed(|r| {
        r.checks[0].target = Target::Column("orders".to_owned());
    })));
    changed(|r| r.checks[0].measure.value = Some(9_007_199_254_740_991.0)).unwrap();
    assert!(refused(changed(|r| {
        r.checks[0].measure.value = Some(9_007_199_254_740_992.0);
    })));
    assert!(refused(changed(|r| r.seq = 0)));
    assert!(refused(changed(|r| r.prev = Some(Digest::of(b"x")))));
    assert!(refused(changed(|r| r.seq = 2)));
    assert!(refused(changed(|r| r.due = Some(r.at))));
    assert!(refused(changed(|r| r.process = "a program".to_owned())));
    changed(|r| {
        r.at = NOW.saturating_add(MAX_SKEW);
        r.due = None;
    })
    .unwrap();
    let late = changed(|r| {
        r.at = NOW.saturating_add(MAX_SKEW + Duration::from_secs(1));
        r.due = None;
    });
    assert_eq!(late.unwrap_err(), StatementError::Time);
}

/// The longest texts, the most verdicts: a statement that was checked is
/// small enough to be signed.
#[test]
fn the_usual_largest_statement_fits_its_envelope() {
    let mut results = results(Party::new(1).org);
    let id = "column_of_a_usual_length.nullValues";
    results.checks = vec![check(id, Status::Failed); MAX_CHECKS];
    let text = results.sign(&Party::new(1).announce).unwrap();
    assert!(text.len() <= RESULTS.limit(), "{}", text.len());
}

#[test]
fn a_chain_goes_on_or_is_rewritten() {
    let (known, other) = (Digest::of(b"known"), Digest::of(b"other"));
    let known = (5, known);
    let at = |seq, prev, digest| link(seq, Some(prev), digest, known);
    assert_eq!(at(5, other, known.1), Link::Same);
    assert_eq!(at(5, known.1, other), Link::Rewritten);
    assert_eq!(at(6, known.1, other), Link::Next);
    assert_eq!(at(6, other, other), Link::Rewritten);
    assert_eq!(at(8, other, other), Link::Gap(2));
    assert_eq!(at(4, other, other), Link::Older);
}

#[test]
fn a_list_has_one_form() {
    let entry = |name: &str| (name.parse().unwrap(), Digest::of(name.as_bytes()));
    let list = ResultsList::new([entry("orders@2"), entry("orders"), entry("flights")]);
    let text = list.to_text();
    let read = |text: &str| ResultsList::read(text, &Digest::of(text.as_bytes()));
    assert_eq!(read(&text).unwrap(), list);
    ResultsList::read(&text, &Digest::of(b"other")).unwrap_err();
    read(&text.replace(',', ", ")).unwrap_err();
    read(&text.replace("flights", "zebras")).unwrap_err();
    read(&text.replace("flights", "No Name")).unwrap_err();
    read("[]").unwrap_err();
    read(&" ".repeat(2 + 1024 * 151 + 1)).unwrap_err();
    assert_eq!(read("{}").unwrap(), ResultsList::default());
}

#[test]
fn operators_without_numbers_promise_nothing_that_can_be_kept() {
    assert_eq!(Threshold::of(&json!({"unit": "rows"})), Ok(None));
    for rule in [
        json!({"mustBe": "many"}),
        json!({"mustBeBetween": [1]}),
        json!({"mustBeBetween": 3}),
        json!({"mustBe": 1, "mustBeLessThan": "x"}),
    ] {
        assert_eq!(Threshold::of(&rule), Err(NotAThreshold), "{rule}");
    }
    let both = json!({"mustBeGreaterThan": 1, "mustBeBetween": [1, 5], "other": 2});
    let both = Threshold::of(&both).unwrap().unwrap();
    assert_eq!(both.to_string(), "> 1 and between 1 and 5");
    assert!(both.holds(5.0) && !both.holds(1.0) && !both.holds(5.5));
    assert!(!Threshold::default().holds(f64::NAN));
}

/// What each operator says, from its name.
fn said(operator: &str, value: f64, bounds: [f64; 2]) -> bool {
    let [a, b] = bounds;
    match operator {
        "mustBe" => value == a,
        "mustNotBe" => value != a,
        "mustBeGreaterThan" => value > a,
        "mustBeGreaterOrEqualTo" => value >= a,
        "mustBeLessThan" => value < a,
        "mustBeLessOrEqualTo" => value <= a,
        "mustBeBetween" => a <= value && value <= b,
        _ => value < a || value > b,
    }
}

proptest! {
    #[test]
    fn an_operator_holds_as_its_name_says(
        value in -6i32..6, a in -5i32..5, wide in 0i32..4, which in 0usize..8,
    ) {
        let operator = [
            "mustBe", "mustNotBe", "mustBeGreaterThan", "mustBeGreaterOrEqualTo",
            "mustBeLessThan", "mustBeLessOrEqualTo", "mustBeBetween", "mustNotBeBetween",
        ][which];
        let bounds = [f64::from(a), f64::from(a + wide)];
        let operand = if which < 6 { json!(a) } else { json!(bounds) };
        let threshold = Threshold::of(&json!({ operator: operand })).unwrap().unwrap();
        let value = f64::from(value);
        prop_assert_eq!(threshold.holds(value), said(operator, value, bounds));
        let text = serde_json::to_string(&threshold).unwrap();
        prop_assert_eq!(serde_json::from_str::<Threshold>(&text).unwrap(), threshold);
    }
}

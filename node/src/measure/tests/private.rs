//! What is not told to others of a measurement.

use super::super::plan::may_be_told;
use super::*;

/// Levels of every moment of [`rows`], which all hold.
fn levels() -> Value {
    json!([
        {"id": "fresh", "property": "freshness", "value": 3, "unit": "h", "element": "orders.at"},
        {"id": "kept", "property": "retention", "value": 2, "unit": "d", "element": "orders.at"},
    ])
}

#[tokio::test]
async fn the_age_of_a_column_that_is_not_for_everybody_is_the_owners_alone() {
    let open = json!([{"name": "at", "classification": "internal"}]);
    let told = judge(&product(open.clone(), json!([]), levels()), &[]).await;
    assert_eq!(verdict_of(&told, "fresh"), (Status::Ok, Some(7200.0)));
    assert_eq!(verdict_of(&told, "kept"), (Status::Ok, Some(90_000.0)));
    assert!(told.kept.is_empty() && told.tables[0].columns.contains_key("at"));

    let restricted = json!([{"name": "at", "classification": "restricted"}]);
    let restricted = product(restricted, json!([]), levels());
    let mut elsewhere = product(open.clone(), json!([]), levels());
    let offer = elsewhere.descriptor.offer.as_mut().unwrap();
    let terms = offer.tables.get_mut("orders").unwrap();
    terms.columns.remove("at");
    let mut nobody = product(open, json!([]), levels());
    nobody.descriptor.offer = None;
    for product in [restricted, elsewhere, nobody] {
        let verdicts = judge(&product, &[]).await;
        for id in ["fresh", "kept"] {
            assert_eq!(
                verdict_of(&verdicts, id),
                (Status::Ok, None),
                "{verdicts:?}"
            );
        }
        assert!(verdicts.tables[0].columns.is_empty(), "{verdicts:?}");
        assert_eq!(
            verdicts.kept,
            BTreeMap::from([("fresh".to_owned(), 7200.0), ("kept".to_owned(), 90_000.0)])
        );
    }
}

#[test]
fn a_run_of_a_pipeline_tells_nothing_of_columns_that_are_hidden() {
    let properties =
        json!([{"name": "id", "required": true}, {"name": "at", "classification": "restricted"}]);
    let quality = json!([
        {"id": "pairs", "type": "library", "metric": "duplicateValues", "mustBe": 0,
         "arguments": {"properties": ["id", "salary"]}},
    ]);
    let product = product(properties, quality, levels());
    let check = |kind: &str, field: Option<&str>, more: Value| {
        let mut check = json!({"type": kind, "model": "orders", "field": field, "result": "passed",
            "diagnostics": {"value": 4, "age_seconds": 7200}});
        for (key, value) in more.as_object().unwrap() {
            check[key] = value.clone();
        }
        check
    };
    let run = json!({"dryRun": false, "checks": [
        check("field_required", Some("id"), json!({})),
        check("servicelevel_freshness", Some("at"), json!({})),
        check("model_duplicate_values", None, json!({"qualityId": "pairs"})),
        check("field_required", Some("salary"), json!({})),
        check("field_type", Some("salary"), json!({})),
    ]});
    let run = Run::read(run.to_string().as_bytes()).unwrap();
    let taken = ingest(&run, &product.descriptor, None, NOW);
    assert_eq!((taken.left_out, taken.measurement.omitted), (2, 0));
    let said: BTreeMap<&str, Option<f64>> = taken
        .measurement
        .checks
        .iter()
        .map(|c| (c.id.as_str(), c.measure.value))
        .collect();
    let expected = [
        ("fresh", None),
        ("orders.id.required", Some(4.0)),
        ("pairs", None),
    ];
    assert_eq!(said, BTreeMap::from(expected));
}

#[test]
fn moments_of_columns_that_are_not_for_everybody_are_not_told() {
    let told = |property: Value, more: Value| {
        let mut product = product(json!([property]), json!([]), json!([]));
        for (key, value) in more.as_object().unwrap() {
            product.descriptor.contract[key] = value.clone();
        }
        may_be_told(&product.descriptor, "orders", "at")
    };
    let plain = json!({"name": "at", "id": "p7"});
    assert!(told(plain.clone(), json!({})));
    assert!(told(
        json!({"name": "at", "classification": "internal"}),
        json!({})
    ));
    assert!(!told(
        json!({"name": "at", "classification": "Confidential"}),
        json!({})
    ));
    let mask = json!([{"property": "comityMask", "value": "replace-with-null"}]);
    assert!(!told(
        json!({"name": "at", "customProperties": mask}),
        json!({})
    ));
    let restrictions = json!({"orders": {"required-column-projections": [{"property-id": "p7"}]}});
    let roles = json!([{"customProperties": [{"property": "comityReadRestrictions", "value": restrictions}]}]);
    assert!(!told(plain, json!({ "roles": roles })));
    assert!(
        !told(json!({"name": "other"}), json!({})),
        "not in the contract"
    );
}

//! Rules that the probe does not reach, both ways where they have two.

use serde_json::{Value, json};

use super::{compare, edition, orders, pushed, removed, set, with};
use crate::compatibility::{Comparison, Finding, Kind};
use crate::fixture::terms;
use crate::product::{Column, ColumnType, Table};
use crate::terms::Mask;
use crate::version::Bump::{self, Major, Minor, Patch};

/// The bump and whether a second look is needed, from the example to `new` and back.
fn both_ways(new: &Value) -> [(Option<Bump>, bool); 2] {
    let old = orders();
    [compare(&old, new), compare(new, &old)].map(|c| (c.bump(), c.second_looks().next().is_some()))
}

#[test]
fn more_for_the_consumer_is_a_second_look_and_less_is_a_major() {
    let wider = [(Some(Minor), true), (Some(Major), false)];
    let purposes = "/roles/0/customProperties/1/value";
    let terms = "/customProperties/4/value";
    for (what, new) in [
        ("purpose", pushed(purposes, json!("research"))),
        (
            "class",
            set("/schema/0/properties/3/classification", "internal"),
        ),
        (
            "default mask",
            removed("/schema/0/properties/1/customProperties", 1),
        ),
        (
            "onward transfer",
            set(&format!("{terms}/onwardTransfer"), true),
        ),
        ("derived use", set(&format!("{terms}/derivedUse"), "any")),
        (
            "retention",
            set(&format!("{terms}/retentionAfterEnd"), "P1Y"),
        ),
        (
            "limit",
            set("/roles/0/customProperties/2/value/maxRowsPerDay", 2_000_000),
        ),
        (
            "audience",
            pushed("/customProperties/1/value/describe", json!("any")),
        ),
        (
            "filter",
            set(
                "/roles/0/customProperties/0/value/orders/required-row-filter",
                true,
            ),
        ),
        ("restrictions", removed("/roles/1/customProperties", 0)),
        (
            "role",
            pushed("/roles", json!({"role": "third", "access": "read"})),
        ),
        (
            "mask",
            set(
                "/roles/0/customProperties/0/value/orders/required-column-projections",
                json!([]),
            ),
        ),
    ] {
        assert_eq!(both_ways(&new), wider, "{what}");
    }
    let group = set("/roles/0/customProperties/2/value/minGroupSize", 5);
    assert_eq!(
        both_ways(&group),
        [(Some(Major), false), (Some(Minor), true)]
    );
}

#[test]
fn a_promise_that_goes_is_a_major_and_one_that_comes_a_minor() {
    let column = "/schema/0/properties/3";
    for (what, new) in [
        ("unique", set("/schema/0/properties/0/unique", false)),
        ("key", set("/schema/0/properties/0/primaryKey", false)),
        (
            "minimum",
            set(&format!("{column}/logicalTypeOptions/minimum"), -1),
        ),
        (
            "pattern",
            with("/schema/0/properties/2", |c| {
                c.as_object_mut().unwrap().remove("logicalTypeOptions");
            }),
        ),
        ("threshold", set("/schema/0/quality/0/mustBeGreaterThan", 1)),
        (
            "private rule's threshold",
            set(
                "/schema/0/quality/1/customProperties/0/value/mustBeLessOrEqualTo",
                50,
            ),
        ),
        ("severity", set("/schema/0/quality/0/severity", "warning")),
        ("latency", set("/slaProperties/3/value", 3)),
        ("notice", set("/slaProperties/5/value", 30)),
        ("port", removed("/customProperties/0/value", 1)),
        (
            "compatibility",
            set("/customProperties/2/value", "BACKWARD"),
        ),
        ("table", removed("/schema", 0)),
    ] {
        let [there, back] = both_ways(&new);
        assert_eq!(there.0, Some(Major), "{what}");
        assert_eq!(back.0, Some(Minor), "{what}");
        assert!(!there.1, "{what}");
    }
}

#[test]
fn a_service_level_is_compared_with_its_unit() {
    let entry = |value: Value, unit: &str| {
        with("/slaProperties/0", |sla| {
            sla["value"] = value;
            sla["unit"] = json!(unit);
        })
    };
    let bump = |new: &Value| compare(&orders(), new).bump();
    assert_eq!(
        bump(&entry(json!(1500), "m")),
        Some(Patch),
        "25 hours in minutes"
    );
    assert_eq!(bump(&entry(json!(1), "d")), Some(Minor));
    assert_eq!(bump(&entry(json!(2), "d")), Some(Major));
    assert_eq!(
        bump(&entry(json!(1), "fortnight")),
        Some(Major),
        "cannot be said"
    );
    let comparison = compare(&orders(), &entry(json!(2), "d"));
    let finding = &comparison.findings()[0];
    assert_eq!(finding.path, "slaProperties.freshness.value");
    assert_eq!(
        (&finding.old, &finding.new),
        (&Some(json!("25 h")), &Some(json!("2 d")))
    );
}

/// Regression: a notice period of no days, where none was stated, counted as one promise more.
#[test]
fn a_contract_without_a_notice_period_promises_ninety_days() {
    let unstated = removed("/slaProperties", 5);
    let days = |days: u64| set("/slaProperties/5/value", days);
    let bump = |old: &Value, new: &Value| compare(old, new).bump();
    assert_eq!(bump(&unstated, &days(0)), Some(Major));
    assert_eq!(bump(&unstated, &days(89)), Some(Major));
    assert_eq!(bump(&unstated, &days(90)), Some(Patch));
    assert_eq!(bump(&unstated, &days(91)), Some(Minor));
    assert_eq!(bump(&days(91), &unstated), Some(Major));
}

#[test]
fn words_that_bind_or_measure_are_more_than_words() {
    let amount = "/schema/0/properties/3/description";
    let cases = [
        (set(amount, "The order's value, in EUR"), Patch),
        (set(amount, "Value of the order in 1000 EUR."), Major),
        (
            set(
                "/description/purpose",
                "One row per order that the Acme web shop accepted.",
            ),
            Patch,
        ),
        (
            set(
                "/description/limitations",
                "No re-identification; no marketing to the data subjects; no onward transfer",
            ),
            Patch,
        ),
        (
            set(
                "/schema/0/dataGranularityDescription",
                "One row per order line",
            ),
            Major,
        ),
        (
            set(
                "/authoritativeDefinitions/1/url",
                "https://acme.example/legal/terms-2027.pdf",
            ),
            Major,
        ),
        (set("/support/0/url", "mailto:help@acme.example"), Patch),
        (set("/tags/1", "sales"), Patch),
    ];
    for (new, bump) in cases {
        let comparison = compare(&orders(), &new);
        assert_eq!(
            comparison.bump(),
            Some(bump),
            "{:#?}",
            comparison.findings()
        );
    }
    let untagged = removed("/schema/0/properties/1/tags", 0);
    assert_eq!(
        both_ways(&untagged)[0],
        (Some(Patch), true),
        "a tag that protects"
    );
}

/// Whatever the projection may publish one day: a field without a rule never passes.
#[test]
fn a_change_that_no_rule_knows_counts_as_breaking() {
    for pointer in [
        "",
        "/schema/0",
        "/schema/0/properties/3",
        "/schema/0/quality/0",
        "/roles/0",
        "/slaProperties/0",
    ] {
        let new = with(pointer, |v| v["zzz"] = json!("?"));
        let comparison = compare(&orders(), &new);
        assert_eq!(comparison.findings().len(), 1, "{pointer}");
        assert_eq!(both_ways(&new), [(Some(Major), true); 2], "{pointer}");
    }
    let extension = pushed(
        "/customProperties",
        json!({"property": "comityNew", "value": 1}),
    );
    assert_eq!(both_ways(&extension), [(Some(Major), true); 2]);
}

#[test]
fn another_order_is_a_patch_and_not_nothing() {
    for list in [
        "/schema/0/properties",
        "/slaProperties",
        "/roles",
        "/tags",
        "/customProperties/0/value",
    ] {
        let new = with(list, |v| v.as_array_mut().unwrap().reverse());
        assert_eq!(both_ways(&new), [(Some(Patch), false); 2], "{list}");
    }
}

fn table(name: &str, columns: &[(&str, ColumnType)]) -> Table {
    let column = |(name, kind): &(&str, ColumnType)| Column {
        name: (*name).to_owned(),
        kind: kind.clone(),
        description: None,
        classification: None,
    };
    Table {
        name: name.parse().unwrap(),
        columns: columns.iter().map(column).collect(),
    }
}

fn graded(comparison: &Comparison) -> Vec<(Kind, &str, Bump, bool)> {
    let grade = |f: &'_ Finding| (f.kind, f.impact, f.second_look);
    let findings = comparison.findings().iter();
    findings
        .map(|f| (grade(f).0, f.path.as_str(), grade(f).1, grade(f).2))
        .collect()
}

/// The same contract over data of another width is another product on the wire.
#[test]
fn what_is_on_the_wire_counts_beside_the_contract() {
    let contract = orders();
    let served = |kind| {
        [table(
            "orders",
            &[("order_id", ColumnType::Utf8), ("amount", kind)],
        )]
    };
    let (narrow, wide) = (served(ColumnType::Float32), served(ColumnType::Float64));
    let with = |tables| crate::compatibility::Edition {
        tables: Some(tables),
        ..edition(&contract)
    };
    let comparison = Comparison::of(&with(&narrow), &with(&wide));
    assert_eq!(
        graded(&comparison),
        [(
            Kind::Change,
            "tables.orders.properties.amount.type",
            Major,
            false
        )]
    );
}

/// A column that the contract drops is one finding, not three.
#[test]
fn the_contract_the_wire_and_the_offer_tell_one_change_once() {
    let (old, new) = (orders(), removed("/schema/0/properties", 3));
    let full = [table(
        "orders",
        &[
            ("order_id", ColumnType::Utf8),
            ("amount", ColumnType::Float64),
        ],
    )];
    let less = [table("orders", &[("order_id", ColumnType::Utf8)])];
    let offer = |columns: &[&str]| {
        let mut offer = terms(columns);
        let table = offer.tables.remove("weather").unwrap();
        offer.tables.insert("orders".to_owned(), table);
        offer
    };
    let (before, after) = (offer(&["order_id", "amount"]), offer(&["order_id"]));
    let old = crate::compatibility::Edition {
        tables: Some(&full),
        offer: Some(&before),
        ..edition(&old)
    };
    let new = crate::compatibility::Edition {
        tables: Some(&less),
        offer: Some(&after),
        ..edition(&new)
    };
    let there = Comparison::of(&old, &new);
    assert_eq!(
        graded(&there),
        [(
            Kind::Remove,
            "schema.orders.properties.amount",
            Major,
            false
        )]
    );
    let back = Comparison::of(&new, &old);
    assert_eq!(
        graded(&back),
        [(Kind::Add, "schema.orders.properties.amount", Minor, false)]
    );
}

#[test]
fn an_offer_that_narrows_breaks_and_one_that_widens_is_looked_at_twice() {
    let contract = orders();
    let (narrow, mut wide) = (terms(&["temp"]), terms(&["origin", "temp"]));
    wide.purposes.insert("research".to_owned());
    let served = [table(
        "weather",
        &[("origin", ColumnType::Utf8), ("temp", ColumnType::Float64)],
    )];
    let offered = |offer| crate::compatibility::Edition {
        tables: Some(&served),
        offer,
        ..edition(&contract)
    };
    let compare = |old, new| Comparison::of(&offered(old), &offered(new));
    let wider = compare(Some(&narrow), Some(&wide));
    assert_eq!(
        graded(&wider),
        [
            (Kind::Add, "offer.weather.origin", Minor, true),
            (Kind::Add, "offer.purposes", Minor, true)
        ]
    );
    assert_eq!(compare(Some(&wide), Some(&narrow)).bump(), Some(Major));
    let mut masked = narrow.clone();
    let table = masked.tables.get_mut("weather").unwrap();
    table.masks.insert("temp".to_owned(), Mask::ReplaceWithNull);
    assert_eq!(compare(Some(&narrow), Some(&masked)).bump(), Some(Major));
    assert!(graded(&compare(Some(&masked), Some(&narrow)))[0].3);
    assert_eq!(compare(Some(&narrow), None).bump(), Some(Major));
    assert_eq!(compare(None, Some(&narrow)).bump(), Some(Minor));
    // Every announcement renews the offer's times: they are no change of the product.
    let mut later = narrow.clone();
    later.expires = later.expires.saturating_add(crate::fixture::DAY);
    assert_eq!(compare(Some(&narrow), Some(&later)).bump(), None);
}

//! 23 single changes. The common tool lets 14 of them pass; here each has the
//! number that it costs, and what must be looked at twice is.

use serde_json::{Value, json};

use super::{compare, orders, pushed, removed, set, with};
use crate::version::Bump::{self, Major, Minor};

const COLUMNS: &str = "/schema/0/properties";
const AMOUNT: &str = "/schema/0/properties/3";
const EMAIL: &str = "/schema/0/properties/1";
const PARTNER: &str = "/roles/0/customProperties";

/// What a change is, the later contract, its bump, whether the producer's
/// checks may fail, and whether it needs a second look.
type Case = (&'static str, Value, Bump, bool, bool);

fn column(required: bool) -> Value {
    json!({"id": "channel", "name": "channel", "logicalType": "string", "required": required})
}

fn cases() -> Vec<Case> {
    let at = |base: &str, below: &str| format!("{base}{below}");
    vec![
        ("drop column", removed(COLUMNS, 3), Major, false, false),
        (
            "rename column",
            set(&at(AMOUNT, "/name"), "value"),
            Major,
            false,
            false,
        ),
        (
            "number to integer",
            set(&at(AMOUNT, "/logicalType"), "integer"),
            Major,
            false,
            false,
        ),
        (
            "physicalType to text",
            set(&at(AMOUNT, "/physicalType"), "text"),
            Major,
            false,
            false,
        ),
        (
            "required to optional",
            set(&at(AMOUNT, "/required"), false),
            Major,
            false,
            false,
        ),
        (
            "quality rule removed",
            removed("/schema/0/quality", 0),
            Major,
            false,
            false,
        ),
        (
            "freshness 25 h to 48 h",
            set("/slaProperties/0/value", 48),
            Major,
            false,
            false,
        ),
        (
            "add optional column",
            pushed(COLUMNS, column(false)),
            Minor,
            false,
            false,
        ),
        (
            "add required column",
            pushed(COLUMNS, column(true)),
            Minor,
            true,
            false,
        ),
        (
            "availability 99.5 to 90",
            set("/slaProperties/2/value", 90),
            Major,
            false,
            false,
        ),
        (
            "retention 3 y to 1 y",
            set("/slaProperties/1/value", 1),
            Major,
            false,
            false,
        ),
        (
            "endOfSupport a year earlier",
            set("/slaProperties/4/value", "2026-12-31T00:00:00Z"),
            Major,
            false,
            false,
        ),
        (
            "classification restricted to public",
            set(&at(EMAIL, "/classification"), "public"),
            Minor,
            false,
            true,
        ),
        (
            "mask removed from a role",
            removed(
                &at(PARTNER, "/0/value/orders/required-column-projections"),
                0,
            ),
            Minor,
            false,
            true,
        ),
        (
            "row filter changed",
            set(
                &at(PARTNER, "/0/value/orders/required-row-filter/term"),
                "amount",
            ),
            Major,
            false,
            true,
        ),
        ("role removed", removed("/roles", 1), Major, false, false),
        (
            "purpose removed",
            removed(&at(PARTNER, "/1/value"), 0),
            Major,
            false,
            false,
        ),
        (
            "price 0 to 5",
            set("/price/priceAmount", 5),
            Major,
            false,
            false,
        ),
        (
            "limitations text",
            set(
                "/description/limitations",
                "No marketing to the data subjects.",
            ),
            Major,
            false,
            true,
        ),
        (
            "output port removed",
            with("/customProperties/0/value", |ports| {
                ports.as_array_mut().unwrap().remove(1);
            }),
            Major,
            false,
            false,
        ),
        (
            "description EUR to cents",
            set(&at(AMOUNT, "/description"), "Value of the order in cents."),
            Major,
            false,
            false,
        ),
        (
            "status active to deprecated",
            set("/status", "deprecated"),
            Minor,
            false,
            false,
        ),
        (
            "property id changed",
            set(&at(AMOUNT, "/id"), "amount-2"),
            Major,
            false,
            false,
        ),
    ]
}

#[test]
fn every_single_change_has_its_grade() {
    let (old, cases) = (orders(), cases());
    assert_eq!(cases.len(), 23);
    for (name, new, bump, producer, second_look) in cases {
        let comparison = compare(&old, &new);
        let findings = comparison.findings();
        assert_eq!(findings.len(), 1, "{name}: {findings:#?}");
        assert_eq!(comparison.bump(), Some(bump), "{name}: {findings:#?}");
        assert_eq!(findings[0].producer, producer, "{name}: {findings:#?}");
        assert_eq!(
            findings[0].second_look, second_look,
            "{name}: {findings:#?}"
        );
        assert!(comparison.is_too_low(), "{name}: 1.4.0 again is too low");
        let suggested = match bump {
            Major => "2.0.0",
            Minor => "1.5.0",
            Bump::Patch => "1.4.1",
        };
        assert_eq!(comparison.suggested().to_string(), suggested, "{name}");
    }
}

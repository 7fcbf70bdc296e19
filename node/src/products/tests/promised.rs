//! Promises that nobody could judge are named before anybody relies on them.

use super::super::*;
use super::minimal;
use super::refusals::refused;

/// Orders with one service level and one quality rule.
fn orders(level: &str, rule: &str) -> String {
    let columns = "      - { name: at, logicalType: timestamp, physicalType: timestamp_ntz }\n";
    let text = minimal().replace("classification: restricted", "classification: public");
    let text = text.replace(
        "roles:\n",
        &format!("{columns}    quality: [ {rule} ]\nslaProperties: [ {level} ]\nroles:\n"),
    );
    assert!(text.contains(columns), "{text}");
    text
}

fn parse(text: &str) -> Result<Contract, Problems> {
    Contract::parse(std::path::Path::new("a.odcs.yaml"), text.as_bytes())
}

#[test]
fn a_service_level_that_can_never_be_judged_is_refused() {
    let level = |key: &str, value: &str| {
        let good = "{ property: freshness, value: 24, unit: h, element: people.at }";
        let from = match key {
            "value" => "value: 24",
            "unit" => "unit: h",
            _ => "element: people.at",
        };
        orders(&good.replace(from, &format!("{key}: {value}")), "")
    };
    for (text, message, instead) in [
        (
            level("value", "many"),
            "freshness needs a number of at least 0, not \"many\"",
            "P1D",
        ),
        (level("value", "-1"), "not -1", "value: 24"),
        (
            level("unit", "fortnights"),
            "fortnights cannot be the unit",
            "unit: d, h or m",
        ),
        (
            level("unit", "s"),
            "s cannot be the unit",
            "unit: d, h or m",
        ),
        (
            level("element", "people.att"),
            "people.att is no column",
            "element: people.at",
        ),
        (
            level("element", "people"),
            "people is no column",
            "element: people.at",
        ),
        (
            level("element", "people.id"),
            "no timestamps",
            "element: people.at",
        ),
    ] {
        refused(&text, "slaProperties", message, instead);
    }
    let contract = parse(&level("unit", "m")).unwrap();
    assert_eq!(contract.doubts(), []);
}

#[test]
fn what_may_be_meant_so_is_a_doubt_and_no_refusal() {
    let doubts = |level: &str, rule: &str| {
        let contract = parse(&orders(level, rule)).unwrap_or_else(|e| panic!("{e}"));
        let said = contract.doubts().iter();
        said.map(|d| (d.line, d.to_string())).collect::<Vec<_>>()
    };
    for (level, rule, message) in [
        (
            "{ property: freshnes, value: 1, unit: d, element: people.at }",
            "",
            "write: property: freshness",
        ),
        (
            "{ property: freshness, value: 1, unit: d }",
            "",
            "of no column",
        ),
        (
            "",
            "{ type: sql, query: \"SELEC count(*) FROM ${table}\", mustBe: 0 }",
            "SELEC",
        ),
        (
            "",
            "{ type: sql, query: \"SELECT count(* FROM ${table}\", mustBe: 0 }",
            "Expected: )",
        ),
        (
            "",
            "{ type: sql, query: \"DELETE FROM ${table}\", mustBe: 0 }",
            "not a query",
        ),
    ] {
        let said = doubts(level, rule);
        assert!(
            said.len() == 1 && said[0].0 > 10 && said[0].1.contains(message),
            "{said:?}"
        );
    }
    for (level, rule) in [
        ("{ property: availability, value: 99.5, unit: percent }", ""),
        ("{ property: teaBreaks, value: 2 }", ""),
        (
            "",
            "{ type: sql, query: \"SELECT count(*) FROM ${table} WHERE id < 0\", mustBe: 0 }",
        ),
    ] {
        assert_eq!(doubts(level, rule), []);
    }
}

#[test]
fn an_operator_without_a_number_is_named_itself() {
    for (rule, message, instead) in [
        (
            "metric: rowCount, mustBeGreaterThan: none",
            "mustBeGreaterThan needs a number, not \"none\"",
            "mustBeGreaterThan: 0",
        ),
        (
            "metric: rowCount, mustBeBetween: [1]",
            "mustBeBetween needs two numbers, not [1]",
            "[0, 100]",
        ),
        (
            "metric: rowCount, mustBe: \"3\"",
            "mustBe needs a number",
            "mustBe: 0",
        ),
    ] {
        let text = orders("", &format!("{{ type: library, {rule} }}"));
        refused(&text, "quality:", message, instead);
        let problems = parse(&text).unwrap_err();
        assert_eq!(problems.as_slice().len(), 1, "{problems}");
    }
}

#[test]
fn a_query_may_be_compared_with_anything_by_another_tool() {
    let rule = "{ type: sql, query: \"SELECT 'green'\", mustBe: green }";
    let contract = parse(&orders("", rule)).unwrap_or_else(|e| panic!("{e}"));
    let said: Vec<&str> = contract
        .doubts()
        .iter()
        .map(|d| d.message.as_str())
        .collect();
    assert_eq!(said, ["mustBe needs a number, not \"green\""]);
}

#[test]
fn what_was_announced_before_stays_announced() {
    let level = "{ property: freshness, value: many, unit: h, element: people.at }";
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("a.odcs.yaml");
    std::fs::write(&copy, orders(level, "")).unwrap();
    assert!(read(&copy).is_err());
    assert!(read_copy(&copy, &copy).unwrap().is_ok());
}

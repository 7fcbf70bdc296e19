//! What is refused, on which line, and what the author is told to write instead.

use std::path::Path;

use comity_protocol::terms::{Limit, Literal, Mask, Measure, Predicate, Window};
use proptest::prelude::*;

use super::super::yaml::Document;
use super::super::*;
use super::{ORDERS, example_text, minimal};

#[test]
fn what_cannot_be_enforced_is_refused_not_widened() {
    let one_server = ORDERS.replacen("  - { server: lake,", "  # - { server: lake,", 1);
    let orders = |from: &str, to: &str| one_server.replacen(from, to, 1);
    for (from, to, message, instead) in [
        (
            "value: sha-256-query-local }      #",
            "value: truncate-to-month }      #",
            "truncate-to-month cannot mask customer_email, which is Utf8",
            "replace-with-null",
        ),
        (
            "property-id: customer_email, action: sha-256-query-local",
            "property-id: country, action: replace-with-null",
            "country is required, so replace-with-null cannot mask it",
            "required: false",
        ),
        (
            "property-id: customer_email, action: sha-256-query-local",
            "property-id: amount, action: sha-256-global",
            "sha-256-global cannot mask amount, which is Float64",
            "mask-to-fixed-value",
        ),
        ("{ claim: peer.country }", "{ claim: weather }", "", ""),
        (
            "term: country, value: { claim: peer.country }",
            "term: amount, value: { claim: peer.country }",
            "cannot be compared with amount",
            "a value of the column's type",
        ),
        (
            "minGroupSize: 0",
            "minGroupSize: 5",
            "nothing says whom a row is about",
            "comityProtection",
        ),
    ] {
        let text = orders(from, to);
        assert_ne!(text, one_server, "{from}");
        let problems = Contract::parse(Path::new("a"), text.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(
            problems.contains(message) && problems.contains(instead),
            "{problems}"
        );
    }
}

/// The example of the design, with its masks, claims and limits.
#[test]
fn masks_claims_and_limits_of_an_offer_become_terms() {
    let text = ORDERS.replacen("  - { server: lake,", "  # - { server: lake,", 1);
    let contract = Contract::parse(Path::new("a"), text.as_bytes()).unwrap();
    let offer = contract.offer().unwrap();
    let orders = &offer.tables["orders"];
    assert_eq!(orders.masks["customer_email"], Mask::Sha256QueryLocal);
    let claim = Literal::Claim("peer.country".to_owned());
    let by_claim = |p: &Predicate| matches!(p, Predicate::Compare { value, .. } if *value == claim);
    assert!(orders.filter.0.iter().all(by_claim) && orders.filter.0.len() == 1);
    let limit = Limit::Per(Window::Day, Measure::Rows);
    assert_eq!(offer.limits.get(limit), Some(1_000_000));
}

#[test]
fn a_protection_of_an_offer_hides_its_unit() {
    let text = ORDERS.replacen("  - { server: lake,", "  # - { server: lake,", 1);
    let guard = |value: &str| {
        let line = format!(
            "      - {{ property: comityProtection, value: {value} }}\n      - {{ property: comityPurposes, value: [forecasting"
        );
        let text = text.replacen(
            "      - { property: comityPurposes, value: [forecasting",
            &line,
            1,
        );
        Contract::parse(Path::new("a"), text.as_bytes())
    };
    let good = "{ orders: { unit: order_id, minUnits: 10, groupBy: [country], aggregates: [count, avg] } }";
    let contract = guard(good).unwrap();
    let orders = &contract.offer().unwrap().tables["orders"];
    let protection = orders.protection.as_ref().unwrap();
    assert_eq!(
        (protection.unit.as_str(), protection.min_units),
        ("order_id", 10)
    );
    assert!(!orders.columns.contains("order_id") && orders.columns.contains("amount"));
    for (bad, message) in [
        (
            "{ others: { unit: order_id, minUnits: 10, groupBy: [], aggregates: [count] } }",
            "no table has the id others",
        ),
        (
            "{ orders: { unit: who, minUnits: 10, groupBy: [], aggregates: [count] } }",
            "no column with the id who",
        ),
        (
            "{ orders: { unit: order_id, minUnits: 1, groupBy: [], aggregates: [count] } }",
            "minUnits",
        ),
        (
            "{ orders: { unit: order_id, minUnits: 10, groupBy: [order_id], aggregates: [count] } }",
            "order_id is not among the columns",
        ),
        (
            "{ orders: { unit: order_id, minUnits: 10, groupBy: [], aggregates: [max] } }",
            "aggregates",
        ),
        (
            "{ orders: { minUnits: 10, groupBy: [], aggregates: [count] } }",
            "unit",
        ),
    ] {
        let problems = guard(bad).unwrap_err().to_string();
        assert!(problems.contains(message), "{problems}");
    }
}

#[test]
fn a_restricted_column_without_mask_or_decision_is_refused() {
    refused(&minimal(), "", "email is restricted", "comityMask");
}

#[test]
fn a_key_without_a_value_is_empty_and_no_tilde() {
    let good = example_text("weather-service/weather");
    for empty in ["status:", "status: # soon", "status:   "] {
        let text = good.replacen("status: active", empty, 1);
        refused(
            &text,
            "status",
            "there is no value here",
            "leave the key out",
        );
        let problems = Contract::parse(Path::new("a.odcs.yaml"), text.as_bytes()).unwrap_err();
        assert!(!problems.to_string().contains('~'), "{problems}");
    }
    let tilde = good.replacen("status: active", "status: ~", 1);
    refused(&tilde, "status", "parsers disagree whether ~", "null");
}

#[test]
fn bad_files_get_a_line_and_what_to_write_instead() {
    let good = example_text("weather-service/weather");
    let edit = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    for (text, at, message, instead) in [
        (
            edit("classification: restricted", "clasification: restricted"),
            "clasification",
            "not a key of ODCS",
            "classification",
        ),
        (
            edit("status: active", "stauts: active"),
            "stauts",
            "not a key of ODCS",
            "status",
        ),
        (
            edit("status: active", "status: live"),
            "status",
            "live is not a state",
            "active",
        ),
        (
            edit("apiVersion: v3.1.0", "apiVersion: v2.2.2"),
            "apiVersion",
            "reads ODCS v3.0.0, v3.0.1, v3.0.2, v3.1.0, v3.2.0",
            "apiVersion: v3.1.0",
        ),
        (
            edit("version: \"1.0.0\"", "version: \"2.1\""),
            "version:",
            "major.minor.patch",
            "\"2.1.0\"",
        ),
        (
            edit("version: \"1.0.0\"", "version: 1.0"),
            "version:",
            "",
            "\"1.0.0\"",
        ),
        (
            edit("version: \"1.0.0\"", "version: 2"),
            "version:",
            "type string",
            "\"2.0.0\"",
        ),
        (
            edit("version: \"1.0.0\"", "version: 1.10"),
            "1.10",
            "shortest decimal",
            "\"1.10.0\"",
        ),
        (
            edit("name: weather", "name: Weather"),
            "name: Weather",
            "a product's name",
            "name: weather",
        ),
        (
            edit("domain: aviation", "domain: no"),
            "domain",
            "disagree",
            "\"no\"",
        ),
        (
            edit("domain: aviation", "domain: &a aviation"),
            "domain",
            "anchors",
            "without &",
        ),
        (
            edit("domain: aviation", "domain: !x aviation"),
            "domain",
            "tags",
            "without !",
        ),
        (
            edit("domain: aviation", "domain: aviation\ndomain: b"),
            "domain: b",
            "the key domain occurs twice: first in line",
            "domain once",
        ),
        (
            edit("domain: aviation", "domain: \"a\\u202eb\""),
            "domain",
            "invisible",
            "without them",
        ),
        (
            edit("domain: aviation", "tags: [ 1 ]"),
            "tags",
            "type string",
            "\"1\"",
        ),
        (
            edit("logicalType: number", "logicalType: numbr"),
            "numbr",
            "not one of the allowed",
            "number",
        ),
        (
            edit("comityPurposes", "comityPurpose"),
            "comityPurpose",
            "not a property of Comity",
            "comityPurposes",
        ),
        (
            edit("comityVisibility", "comityMask"),
            "comityMask",
            "belongs to a column",
            "column",
        ),
        (
            edit("derivedUse: internal", "derivedUses: internal"),
            "derivedUses",
            "not a key",
            "",
        ),
        (
            edit("columns: [origin,", "columns: [orgin,"),
            "orgin",
            "no column with the id orgin",
            "id",
        ),
        (
            edit("purpose: Hourly", "porpose: Hourly"),
            "porpose",
            "not a key of description",
            "purpose",
        ),
        (
            edit("format: parquet", "format: avro"),
            "format: avro",
            "cannot read the format avro",
            "parquet",
        ),
        (
            edit(
                "type: local\n    path: ../../data",
                "type: sftp\n    location: sftp://data",
            ),
            "servers",
            "reads servers of type",
            "type: local",
        ),
        (
            edit(
                "path: ../../data/weather.parquet",
                "path: ${HOME}/x.parquet",
            ),
            "path: $",
            "variables",
            "path itself",
        ),
        (
            edit("usage: Operations", "usage: ${OPS}"),
            "usage: $",
            "variable stands in the published part",
            "value itself",
        ),
    ] {
        refused(&text, at, message, instead);
    }
}

#[test]
fn a_key_that_occurs_twice_is_named_with_the_line_of_its_first() {
    let text = "a: b\nc:\n  d: 1\n  e: 2\n  d: 3\n";
    let problems = Document::parse(Path::new("a"), text.as_bytes()).unwrap_err();
    let problem = &problems.as_slice()[0];
    assert_eq!((problem.line, problem.path.as_str()), (5, "/c/d"));
    assert_eq!(problem.message, "the key d occurs twice: first in line 3");
}

#[test]
fn a_mask_that_is_none_is_refused_with_those_that_are() {
    let mask =
        "classification: restricted, customProperties: [ { property: comityMask, value: hide } ]";
    let text = minimal().replace("classification: restricted", mask);
    refused(
        &text,
        "comityMask",
        "not one of the allowed",
        "replace-with-null",
    );
}

#[test]
fn aliases_documents_directives_and_garbage_are_refused() {
    for (text, message) in [
        ("a: *b\n", "aliases"),
        ("a: b\n---\na: c\n", "one contract"),
        ("%YAML 1.1\n---\na: b\n", "irective"),
        ("- a\n", "not a mapping"),
        ("", "empty"),
        ("? [a]\n: b\n", "a key must be text"),
        ("1: b\n", "a key must be text"),
        ("a: {b\n", ""),
    ] {
        let problems = Document::parse(Path::new("a"), text.as_bytes()).unwrap_err();
        assert!(problems.to_string().contains(message), "{text}: {problems}");
    }
    let problems = Document::parse(Path::new("a"), b"a: b\nc: \xff\n").unwrap_err();
    assert_eq!(problems.as_slice()[0].line, 2);
}

#[test]
fn size_depth_and_count_are_bounded_on_both_sides() {
    let padded = |bytes: usize| format!("a: b\n#{}", "x".repeat(bytes - 6)).into_bytes();
    assert!(Document::parse(Path::new("a"), &padded(MAX_FILE_BYTES)).is_ok());
    assert!(Document::parse(Path::new("a"), &padded(MAX_FILE_BYTES + 1)).is_err());

    let nested = |depth: usize| format!("a: {}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Document::parse(Path::new("a"), nested(MAX_DEPTH - 1).as_bytes()).is_ok());
    assert!(Document::parse(Path::new("a"), nested(MAX_DEPTH).as_bytes()).is_err());
    assert!(Document::parse(Path::new("a"), nested(100_000).as_bytes()).is_err());

    // The mapping, the key and the list are three nodes.
    let list = |items: usize| format!("a: [{}]", "b,".repeat(items));
    assert!(Document::parse(Path::new("a"), list(MAX_NODES - 3).as_bytes()).is_ok());
    assert!(Document::parse(Path::new("a"), list(MAX_NODES - 2).as_bytes()).is_err());
}

#[test]
fn a_missing_file_says_so() {
    let problems = read(Path::new("no-such.odcs.yaml")).unwrap_err();
    assert!(
        problems
            .to_string()
            .starts_with("no-such.odcs.yaml: there is no such file"),
        "{problems}"
    );
}

#[test]
fn the_server_that_holds_the_data_is_the_only_one_or_the_one_that_is_named() {
    let local = "{ server: files, type: local, path: people.parquet, format: parquet }";
    let database =
        "{ server: db, type: postgres, host: db.corp, port: 5432, database: shop, schema: hr }";
    let servers = |list: &str| {
        minimal()
            .replacen(local, list, 1)
            .replace("classification: restricted", "classification: public")
    };
    let parse = |text: &str| Contract::parse(Path::new("a.odcs.yaml"), text.as_bytes());
    let both = servers(&format!("{local}, {database}"));
    refused(&both, "server: db", "which one does", "comityServer");
    let named = |name: &str| {
        format!("{both}customProperties: [ {{ property: comityServer, value: {name} }} ]\n")
    };
    refused(&named("lake"), "servers", "names no server", "");
    let contract = parse(&named("db")).unwrap();
    let SourceSpec::Postgres(spec) = &contract.sources()["people"] else {
        panic!("the named one");
    };
    assert_eq!((spec.server.port, spec.table.as_str()), (5432, "people"));
    assert!(!contract.public().to_string().contains("comityServer"));
    for (from, to, message) in [
        ("port: 5432", "port: 0", "needs its port"),
        (
            "host: db.corp",
            "host: \"${DB_HOST}\"",
            "variables are not replaced",
        ),
    ] {
        let text = servers(&database.replacen(from, to, 1));
        let problems = parse(&text).unwrap_err().to_string();
        assert!(problems.contains(message), "{problems}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// No byte sequence makes the front door panic.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Contract::parse(Path::new("a"), &bytes);
    }

    /// Nor does any cut or broken contract.
    #[test]
    fn any_damaged_contract_is_read_or_refused(at in 0..ORDERS.len(), with in "[\\[\\]{}:,&*!|>'\"%@`#~ \\n-]{0,3}", cut in 0_usize..40) {
        let mut bytes = ORDERS.as_bytes().to_vec();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, with.bytes());
        let _ = Contract::parse(Path::new("a"), &bytes);
    }
}

/// Asserts that a text is refused on the line that holds `at`, with a message and a remedy.
#[track_caller]
pub(super) fn refused(text: &str, at: &str, message: &str, instead: &str) {
    let problems = Contract::parse(Path::new("a.odcs.yaml"), text.as_bytes()).expect_err(message);
    let Some(problem) = problems
        .as_slice()
        .iter()
        .find(|problem| problem.message.contains(message))
    else {
        panic!("no problem says \"{message}\":\n{problems}");
    };
    let line = text
        .lines()
        .nth(problem.line.saturating_sub(1))
        .unwrap_or_default();
    assert!(
        line.contains(at),
        "line {} is {line}, without {at}:\n{problems}",
        problem.line
    );
    let remedy = problem.instead.as_deref().unwrap_or_default();
    assert!(
        remedy.contains(instead),
        "\"{remedy}\" does not say {instead}"
    );
}

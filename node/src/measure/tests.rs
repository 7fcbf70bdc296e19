mod history;
mod private;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::TimestampMicrosecondArray;
use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use comity_identity::{Digest, OrgId, Timestamp};
use comity_protocol::product::{Column, Descriptor, Table};
use comity_protocol::results::Status;
use comity_protocol::terms::{Limits, RowFilter, TableTerms, Terms};
use datafusion::catalog::{MemTable, TableProvider};
use serde_json::{Value, json};

use super::*;
use crate::catalog::{OwnProduct, types};
use crate::products::SqlRule;
use crate::query::{Engine, EngineSettings};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const TIMEOUT: Duration = Duration::from_secs(60);

/// Six orders: two without an amount, two with one number, one of Nowhere.
fn rows() -> RecordBatch {
    let seconds = |ago: i64| Some((1_800_000_000 - ago) * 1_000_000);
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "id",
            Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5, 5])) as _,
        ),
        (
            "country",
            Arc::new(StringArray::from(vec![
                Some("DE"),
                Some("DE"),
                Some("FR"),
                Some("it's"),
                Some("n/a"),
                None,
            ])) as _,
        ),
        (
            "amount",
            Arc::new(Float64Array::from(vec![
                Some(1.0),
                None,
                Some(3.0),
                None,
                Some(5.0),
                Some(6.5),
            ])) as _,
        ),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from(vec![
                seconds(7200),
                seconds(90_000),
                None,
                seconds(9000),
                seconds(8000),
                seconds(7500),
            ])) as _,
        ),
        (
            "born",
            Arc::new(Date32Array::from(vec![
                Some(0),
                None,
                Some(1),
                None,
                None,
                Some(2),
            ])) as _,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .unwrap()
}

/// A product over [`rows`]; `properties` and `quality` are those of its table.
fn product(properties: Value, quality: Value, levels: Value) -> OwnProduct {
    let batch = rows();
    let contract = json!({
        "id": "c", "name": "orders", "slaProperties": levels,
        "schema": [{"name": "orders", "properties": properties, "quality": quality}],
    });
    let columns: Vec<Column> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| Column {
            name: field.name().clone(),
            kind: types::from_arrow(field.data_type()).unwrap(),
            description: None,
            classification: None,
        })
        .collect();
    let everything = TableTerms {
        columns: columns.iter().map(|c| c.name.clone()).collect(),
        filter: RowFilter::default(),
        masks: BTreeMap::new(),
        protection: None,
    };
    let source = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    let source: Arc<dyn TableProvider> = Arc::new(source);
    OwnProduct {
        descriptor: Descriptor {
            v: 1,
            org: OrgId::from_inception(Digest::of(b"shop")),
            product: "orders".parse().unwrap(),
            version: "2.1.0".parse().unwrap(),
            seq: 1,
            prev: None,
            issued_at: NOW,
            expires_at: NOW.saturating_add(TIMEOUT),
            contract_digest: Descriptor::digest_of_contract(&contract).unwrap(),
            contract,
            tables: vec![Table {
                name: "orders".parse().unwrap(),
                columns,
            }],
            offer: Some(Terms {
                tables: BTreeMap::from([("orders".to_owned(), everything)]),
                purposes: BTreeSet::new(),
                limits: Limits::default(),
                not_before: NOW,
                expires: NOW,
            }),
            deprecation: None,
        },
        text: String::new(),
        digest: Digest::of(b"descriptor"),
        file: "none".into(),
        file_digest: Digest::of(b"file"),
        sources: BTreeMap::from([("orders".to_owned(), Ok(source))]),
    }
}

fn engine() -> Engine {
    Engine::start(EngineSettings::default()).unwrap()
}

async fn judge(product: &OwnProduct, rules: &[SqlRule]) -> Verdicts {
    measure(&engine(), "shop", product, rules, TIMEOUT, NOW).await
}

fn verdict_of(verdicts: &Verdicts, id: &str) -> (Status, Option<f64>) {
    let check = verdicts.checks.iter().find(|c| c.id == id);
    let check = check.unwrap_or_else(|| panic!("no verdict about {id}: {verdicts:?}"));
    (check.status, check.measure.value)
}

fn rule(metric: &str, more: Value) -> Value {
    let mut rule = json!({"id": "rule", "type": "library", "metric": metric});
    for (key, value) in more.as_object().unwrap() {
        rule[key] = value.clone();
    }
    rule
}

#[tokio::test]
async fn library_metrics_count_as_the_datacontract_command_does() {
    use Status::{Error, Failed, Ok};
    let cases = [
        ("amount", "nullValues", json!({"mustBe": 2}), Ok, Some(2.0)),
        (
            "amount",
            "nullValues",
            json!({"mustBeLessThan": 2}),
            Failed,
            Some(2.0),
        ),
        (
            "amount",
            "nullValues",
            json!({"mustBeLessThan": 34, "unit": "percent"}),
            Ok,
            Some(33.333_333),
        ),
        (
            "country",
            "missingValues",
            json!({"mustBe": 2, "arguments": {"missingValues": ["n/a", null]}}),
            Ok,
            Some(2.0),
        ),
        (
            "country",
            "missingValues",
            json!({"mustBe": 1}),
            Ok,
            Some(1.0),
        ),
        (
            "country",
            "invalidValues",
            json!({"mustBe": 2, "arguments": {"validValues": ["DE", "FR", null]}}),
            Ok,
            Some(2.0),
        ),
        (
            "country",
            "invalidValues",
            json!({"mustBe": 1, "arguments": {"validValues": ["DE", "FR", "it's"]}}),
            Ok,
            Some(1.0),
        ),
        (
            "country",
            "invalidValues",
            json!({"mustBe": 2, "arguments": {"pattern": "^[A-Z]{2}$"}}),
            Ok,
            Some(2.0),
        ),
        (
            "country",
            "invalidValues",
            json!({"mustBe": 5, "arguments": {"validValues": []}}),
            Ok,
            Some(5.0),
        ),
        (
            "id",
            "invalidValues",
            json!({"mustBe": 3, "arguments": {"validValues": [1, 2, 3]}}),
            Ok,
            Some(3.0),
        ),
        ("id", "duplicateValues", json!({"mustBe": 1}), Ok, Some(1.0)),
        (
            "country",
            "duplicateValues",
            json!({"mustBe": 1}),
            Ok,
            Some(1.0),
        ),
        // Beyond telling.
        (
            "country",
            "invalidValues",
            json!({"mustBe": 0}),
            Error,
            None,
        ),
        ("country", "rowCount", json!({"mustBe": 6}), Error, None),
        ("country", "unheardOf", json!({"mustBe": 0}), Error, None),
        (
            "country",
            "nullValues",
            json!({"mustBe": "few"}),
            Error,
            None,
        ),
        (
            "id",
            "duplicateValues",
            json!({"mustBe": 0, "unit": "percent"}),
            Error,
            None,
        ),
        ("absent", "nullValues", json!({"mustBe": 0}), Error, None),
        (
            "country",
            "invalidValues",
            json!({"mustBe": 0, "arguments": {"pattern": "["}}),
            Error,
            None,
        ),
    ];
    for (column, metric, more, status, value) in cases {
        let shown = format!("{metric} of {column}: {more}");
        let properties = json!([{"name": column, "quality": [rule(metric, more)]}]);
        let verdicts = judge(&product(properties, json!([]), json!([])), &[]).await;
        assert_eq!(
            verdict_of(&verdicts, "rule"),
            (status, value),
            "{shown}: {:?}",
            verdicts.reasons
        );
        assert_eq!(
            verdicts.reasons.contains_key("rule"),
            status == Error,
            "{shown}"
        );
    }
}

#[tokio::test]
async fn keys_tables_and_service_levels_are_promises_too() {
    let properties = json!([
        {"name": "id", "primaryKey": true, "primaryKeyPosition": 2},
        {"name": "country", "primaryKey": true, "primaryKeyPosition": 1, "required": true},
        {"name": "amount", "unique": true},
        {"name": "at"},
        {"name": "born", "customProperties": [{"property": "comityDistinct", "value": true}]},
    ]);
    let quality = json!([
        rule("rowCount", json!({"mustBeBetween": [6, 7]})),
        {"type": "library", "metric": "duplicateValues", "mustBe": 1, "arguments": {"properties": ["id"]}},
        {"type": "library", "metric": "rowCount"},
    ]);
    let levels = json!([
        {"id": "fresh", "property": "freshness", "value": 3, "unit": "h", "element": "orders.at"},
        {"property": "freshness", "value": 1, "unit": "d", "element": "orders.born"},
        {"id": "kept", "property": "retention", "value": 1, "unit": "d", "element": "orders.at"},
        {"id": "odd", "property": "freshness", "value": 3, "unit": "s", "element": "orders.at"},
        {"id": "up", "property": "availability", "value": 99.5, "unit": "percent"},
    ]);
    let verdicts = judge(&product(properties, quality, levels), &[]).await;
    use Status::{Error, Failed, Ok};
    for (id, expected) in [
        ("orders.id.required", (Ok, Some(0.0))),
        ("orders.country.required", (Failed, Some(1.0))),
        ("orders.amount.unique", (Ok, Some(0.0))),
        ("orders.primaryKey", (Ok, Some(0.0))),
        ("rule", (Ok, Some(6.0))),
        ("orders.quality.1", (Ok, Some(1.0))),
        ("fresh", (Ok, Some(7200.0))),
        (
            "orders.born.freshness",
            // Of dates nothing is told but the verdict.
            (Failed, None),
        ),
        ("kept", (Failed, Some(90_000.0))),
        ("odd", (Error, None)),
    ] {
        assert_eq!(
            verdict_of(&verdicts, id),
            expected,
            "{id}: {:?}",
            verdicts.reasons
        );
    }
    assert_eq!(
        verdicts.checks.len(),
        10,
        "availability and a rule without an operator have no number"
    );
    let extent = &verdicts.tables[0];
    assert_eq!(extent.rows, 6);
    assert_eq!(
        extent.columns.keys().collect::<Vec<_>>(),
        ["at"],
        "dates are not told"
    );
    assert_eq!(extent.columns["at"].latest, 1_800_000_000 - 7200);
    let told = BTreeMap::from([("born".to_owned(), 4)]);
    assert_eq!(extent.distinct, told, "about three, where the owner tells");
}

fn sql(query: &str) -> (OwnProduct, [SqlRule; 1]) {
    let quality = json!([{
        "id": "rule", "type": "text", "description": "in words",
        "customProperties": [{"property": "comityThreshold", "value": {"mustBe": 2}}],
    }]);
    let rule = SqlRule {
        table: "orders".to_owned(),
        column: None,
        index: 0,
        query: query.to_owned(),
        pointer: String::new(),
    };
    (product(json!([{"name": "id"}]), quality, json!([])), [rule])
}

#[tokio::test]
async fn a_rule_in_sql_reads_its_product_and_nothing_else() {
    for (query, status) in [
        (
            "SELECT count(*) FROM ${table} WHERE amount IS NULL",
            Status::Ok,
        ),
        (
            "SELECT count(*) FILTER (WHERE amount IS NULL) FROM {model} t",
            Status::Ok,
        ),
        ("SELECT 2.0", Status::Ok),
        ("SELECT count(*) FROM ${schema}.${table}", Status::Failed),
    ] {
        let (product, rules) = sql(query);
        let verdicts = judge(&product, &rules).await;
        assert_eq!(
            verdict_of(&verdicts, "rule"),
            (status, None),
            "{query}: {:?}",
            verdicts.reasons
        );
    }
    // No verdict is not a pass: whatever cannot be asked.
    for query in [
        "SELECT count(*) FROM other",
        "SELECT count(*) FROM information_schema.tables",
        "SELECT count(*) FROM '/etc/passwd'",
        "DELETE FROM ${table}",
        "INSERT INTO ${table} SELECT * FROM ${table}",
        "COPY ${table} TO '/tmp/x'",
        "SELECT 2; SELECT 2",
        "CREATE TABLE t AS SELECT 2",
        "SELECT id FROM ${table}",
        "SELECT 2, 2",
        "SELECT 'two'",
        "SELECT NULL",
        "SELECT max(amount) FROM ${table} WHERE false",
        "SELECT 2 FROM ${table} WHERE false",
        "SELECT 1/0",
        "",
    ] {
        let (product, rules) = sql(query);
        let verdicts = judge(&product, &rules).await;
        let said = serde_json::to_string(&verdicts.checks).unwrap();
        let (status, value) = verdict_of(&verdicts, "rule");
        assert!(status != Status::Ok && value.is_none(), "{query}: {said}");
        assert!(!said.contains("SELECT") && !said.contains("tmp"), "{said}");
    }
    let (product, _) = sql("");
    let verdicts = judge(&product, &[]).await;
    assert_eq!(
        verdict_of(&verdicts, "rule").0,
        Status::Error,
        "a rule of another tool"
    );
}

#[tokio::test]
async fn what_cannot_be_read_in_time_or_at_all_has_no_verdict() {
    let quality = json!([rule("rowCount", json!({"mustBe": 6}))]);
    let mut product = product(json!([{"name": "id", "unique": true}]), quality, json!([]));
    let late = measure(&engine(), "shop", &product, &[], Duration::ZERO, NOW).await;
    product
        .sources
        .insert("orders".to_owned(), Err("the disk is at sea".to_owned()));
    let gone = judge(&product, &[]).await;
    for (verdicts, why) in [(late, "too long"), (gone, "at sea")] {
        assert_eq!(verdicts.checks.len(), 2);
        assert!(verdicts.checks.iter().all(|c| c.status == Status::Error));
        assert!(
            verdicts.reasons["rule"].contains(why),
            "{:?}",
            verdicts.reasons
        );
        assert!(verdicts.tables.is_empty());
    }
}

#[test]
fn ids_are_the_authors_unless_two_promises_would_have_one() {
    let properties = json!([{"name": "id", "quality": [
        rule("nullValues", json!({"mustBe": 0})),
        rule("nullValues", json!({"mustBe": 1})),
        rule("nullValues", json!({"mustBe": 2, "id": "two\nlines"})),
    ]}]);
    let contract = product(properties, json!([]), json!([]))
        .descriptor
        .contract;
    let ids: Vec<String> = promises(&contract).into_iter().map(|p| p.id).collect();
    assert_eq!(ids, ["rule", "orders.id.quality.1", "orders.id.quality.2"]);
}

//! What the server is asked for, and what stays here.

use comity_protocol::terms::{Comparison, Literal, Mask, Predicate, TableTerms};

use super::*;
use crate::sources::fixture::governed;

#[tokio::test]
async fn the_server_gets_columns_filters_and_limit_and_gives_groups() {
    let postgres = Postgres::start().unwrap();
    postgres
        .sql(
            "CREATE TABLE t AS SELECT (ARRAY['EWR','JFK','LGA'])[1 + i % 3] AS origin, \
             1 + (i / 3) % 12 AS month, (i % 61 - 30)::int AS arr_delay, 'x' || i AS tail \
             FROM generate_series(1, 1200) i",
        )
        .unwrap();
    let columns = [
        ("origin", "logicalType: string"),
        ("month", "logicalType: integer, physicalType: int"),
        ("arr_delay", "logicalType: integer, physicalType: int"),
    ];
    let source = open(&postgres, &columns).await.unwrap();
    let only = Predicate::Compare {
        column: "origin".to_owned(),
        op: Comparison::NotEq,
        value: Literal::Text("LGA".to_owned()),
    };
    let view = view(&source, RowFilter([only].into()));
    let asked =
        "SELECT origin, avg(arr_delay) FROM t WHERE month = 6 GROUP BY origin ORDER BY origin";
    let answer = rows(&view, asked).await.unwrap();
    assert_eq!(answer.len(), 2, "{answer:?}");
    assert_eq!(
        postgres.copies().last().unwrap(),
        "SELECT \"origin\" COLLATE \"C\" AS \"c0\", \
         CAST(sum(\"arr_delay\") AS float8) / CAST(count(\"arr_delay\") AS float8) AS \"c1\" \
         FROM \"public\".\"t\" WHERE (\"origin\" COLLATE \"C\" <> 'LGA'::text) AND (\"month\" = 6) GROUP BY 1"
    );
    rows(&view, "SELECT month FROM t WHERE arr_delay > -5 LIMIT 3")
        .await
        .unwrap();
    assert_eq!(
        postgres.copies().last().unwrap(),
        "SELECT \"month\" FROM \"public\".\"t\" WHERE (\"origin\" COLLATE \"C\" <> 'LGA'::text) \
         AND (\"arr_delay\" > (-5)) LIMIT 3"
    );
    // What is not pushed is said, to the owner.
    let prepared = ENGINE
        .prepare(
            Arc::clone(&view),
            "SELECT month + 1, count(*) FROM t GROUP BY month + 1",
        )
        .await
        .unwrap();
    assert_eq!(prepared.kept(), ["it groups by an expression"]);
    let prepared = ENGINE
        .prepare(view, "SELECT count(*) FROM t WHERE month % 2 = 0")
        .await
        .unwrap();
    assert_eq!(prepared.kept(), ["a condition can only be tested here"]);
}

#[tokio::test]
async fn floats_are_aggregated_at_the_server() {
    let postgres = Postgres::start().unwrap();
    postgres
        .sql(
            "CREATE TABLE t (k text, f float8, g real); \
             INSERT INTO t SELECT 'plain', i / 7.0, i / 7.0 FROM generate_series(1, 10000) i; \
             INSERT INTO t VALUES ('nan', 'NaN', 'NaN'), ('nan', 1, 1), ('inf', 'Infinity', 2), \
             ('inf', 1, 3), ('null', NULL, NULL), ('wide', 1e308, 3e38), ('wide', 1e308, 3e38), \
             ('large', 1e200, 1), ('large', 2e200, 1)",
        )
        .unwrap();
    let columns = [
        ("k", "logicalType: string"),
        ("f", "logicalType: number"),
        ("g", "logicalType: number, physicalType: real"),
    ];
    let source = open(&postgres, &columns).await.unwrap();
    let view = view(&source, RowFilter::default());
    let ask = async |measures: &str, k: &str| {
        let sql = format!("SELECT {measures} FROM t WHERE k = '{k}'");
        let prepared = ENGINE.prepare(Arc::clone(&view), &sql).await.unwrap();
        assert!(prepared.kept().is_empty(), "{:?}", prepared.kept());
        rows(&view, &sql).await
    };
    let plain = ask("avg(f), sum(f), min(f), max(g)", "plain")
        .await
        .unwrap();
    let plain: Vec<f64> = plain[0].split('|').map(|v| v.parse().unwrap()).collect();
    let wanted = [
        5000.5 / 7.0,
        50_005_000.0 / 7.0,
        1.0 / 7.0,
        f64::from(10_000.0_f32 / 7.0),
    ];
    for (found, wanted) in plain.iter().zip(wanted) {
        assert!((found / wanted - 1.0).abs() < 1e-7, "{found} {wanted}");
    }
    // Above all numbers (spec/5-data-plane.md#D-154).
    let all = "min(f), max(f), sum(f), avg(g)";
    assert_eq!(ask(all, "nan").await.unwrap(), ["1.0|NaN|NaN|NaN"]);
    assert_eq!(ask(all, "inf").await.unwrap(), ["1.0|inf|inf|2.5"]);
    assert_eq!(ask(all, "null").await.unwrap(), ["|||"]);
    // What is beyond the range is an error, and narrow floats are summed as wide ones.
    let error = ask("sum(f)", "wide").await.unwrap_err();
    assert_eq!(error.code(), "source-unavailable");
    // Of numbers whose squares are beyond the range (the server's own average is an error).
    assert_eq!(ask("avg(f)", "large").await.unwrap(), ["1.5e200"]);
    assert_eq!(ask("sum(g)", "wide").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_masked_column_is_never_grouped_at_the_server() {
    let postgres = Postgres::start().unwrap();
    postgres
        .sql("CREATE TABLE t AS SELECT i AS id, i % 2 AS m FROM generate_series(1, 10) i")
        .unwrap();
    let columns = [
        ("id", "logicalType: integer, physicalType: int"),
        ("m", "logicalType: integer, physicalType: int"),
    ];
    let source = open(&postgres, &columns).await.unwrap();
    let terms = TableTerms {
        columns: ["id", "m"].map(str::to_owned).into(),
        filter: RowFilter::default(),
        masks: [("m".to_owned(), Mask::ReplaceWithNull)].into(),
        protection: None,
    };
    let view = governed(&source, &terms);
    for sql in [
        "SELECT m, count(*) FROM t GROUP BY m",
        "SELECT sum(m) FROM t",
    ] {
        let prepared = ENGINE.prepare(Arc::clone(&view), sql).await.unwrap();
        assert_eq!(prepared.kept(), ["the terms mask the column m"], "{sql}");
    }
    assert_eq!(
        rows(&view, "SELECT m, count(*) FROM t GROUP BY m")
            .await
            .unwrap(),
        ["|10"]
    );
    assert_eq!(
        rows(&view, "SELECT max(id) FROM t WHERE m IS NULL")
            .await
            .unwrap(),
        ["10"]
    );
}

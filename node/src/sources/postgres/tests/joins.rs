//! What the server joins is what this node's engine would join over the server's rows.

use comity_protocol::terms::{Comparison, Literal, Mask, Predicate, TableTerms};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};

use super::laws::{RowsOnly, alike};
use super::*;
use crate::query::View;
use crate::sources::fixture::{all, tables};

const CASES: u32 = 24;

/// What happened, many to one thing; nothing in it is unique.
const FACTS: &[(&str, &str, &str)] = &[
    ("id", "bigint", "logicalType: integer"),
    (
        "k",
        "smallint",
        "logicalType: integer, physicalType: smallint",
    ),
    ("s", "text", "logicalType: string"),
    ("u", "text", "logicalType: string"),
    ("c", "char(4)", "logicalType: string"),
    ("f", "float8", "logicalType: number"),
    ("day", "date", "logicalType: date"),
    ("d", "numeric(9,2)", MONEY),
    ("at", "timestamptz", "logicalType: timestamp"),
    ("m", "mood", "logicalType: string"),
];
const MONEY: &str = "logicalType: number, physicalType: \"decimal(9,2)\"";

/// Things, each column unique.
const THINGS: &[(&str, &str, &str)] = &[
    ("k", "bigint PRIMARY KEY", "logicalType: integer"),
    ("s", "text COLLATE loose UNIQUE", "logicalType: string"),
    ("u", "uuid UNIQUE", "logicalType: string"),
    ("c", "text UNIQUE", "logicalType: string"),
    ("f", "float8 UNIQUE", "logicalType: number"),
    ("day", "date UNIQUE", "logicalType: date"),
    ("d", "numeric(9,2) UNIQUE", MONEY),
    ("at", "timestamptz UNIQUE", "logicalType: timestamp"),
    ("m", "name UNIQUE", "logicalType: string"),
    ("name", "text", "logicalType: string"),
];

const VALUES: &[(&str, &[&str])] = &[
    ("k", &["-1", "0", "1", "2", "NULL"]),
    (
        "s",
        &["'a'", "'A'", "'b'", "'\u{e9}'", "'e\u{301}'", "NULL"],
    ),
    (
        "u",
        &[
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
            "'00000000-0000-0000-0000-000000000000'",
            "NULL",
        ],
    ),
    ("c", &["'a'", "'b '", "''", "NULL"]),
    ("f", &["0", "'-0'", "'NaN'", "1.5", "NULL"]),
    ("day", &["'2013-02-28'", "'1969-12-31'", "NULL"]),
    ("d", &["0", "-1.5", "12.34", "NULL"]),
    (
        "at",
        &["'2013-02-28 00:00:00Z'", "'2013-02-28 01:00:00+01'", "NULL"],
    ),
    ("m", &["'sad'", "'happy'", "NULL"]),
];

/// Of two facts, one joined thing each, or several tables.
const QUESTIONS: &[&str] = &[
    "SELECT facts.id, things.name FROM facts JOIN things ON {on} WHERE {where}",
    "SELECT name, facts.s, things.s FROM things JOIN facts ON {on} WHERE {where}",
    "SELECT facts.id, things.name FROM facts LEFT JOIN things ON {on}",
    "SELECT facts.id FROM facts LEFT JOIN things ON {on} WHERE things.k IS NULL",
    "SELECT facts.id, things.name FROM facts RIGHT JOIN things ON {on}",
    "SELECT id FROM facts WHERE EXISTS (SELECT 1 FROM things WHERE {on} AND {where})",
    "SELECT id FROM facts WHERE NOT EXISTS (SELECT 1 FROM things WHERE {on} AND {where})",
    "SELECT id FROM facts WHERE k IN (SELECT k FROM things WHERE {where})",
    "SELECT id FROM facts WHERE k NOT IN (SELECT k FROM things WHERE {where})",
    "SELECT count(*) FROM facts, things WHERE {on} AND {where}",
    "SELECT things.name, count(*), sum(facts.k), avg(facts.k), max(facts.id) FROM facts JOIN things ON {on} WHERE {where} GROUP BY things.name",
    "SELECT t.name, o.name, facts.id FROM facts JOIN things t ON facts.k = t.k JOIN things o ON facts.day = o.day",
    "SELECT o.name, count(t.s) FROM facts JOIN things t ON facts.k = t.k LEFT JOIN things o ON t.c = o.c GROUP BY o.name",
    "SELECT facts.id, other.id FROM facts JOIN facts other ON facts.day = other.day",
    "SELECT facts.id, things.name FROM facts JOIN things ON {on} AND facts.id > things.k",
    "SELECT things.name, count(*) FROM facts JOIN things ON {on} GROUP BY things.name HAVING count(*) > 1 ORDER BY 2 LIMIT 100",
    "SELECT facts.id FROM facts JOIN things ON {on} WHERE {where} UNION ALL SELECT facts.id FROM facts JOIN things ON {on}",
    "WITH j AS (SELECT facts.id, things.name AS n FROM facts JOIN things ON {on}) SELECT a.n, b.id FROM j a JOIN j b ON a.id = b.id",
];

fn question() -> impl Strategy<Value = String> {
    let on = subsequence(&["k", "s", "u", "c", "f", "day", "d", "at", "m"][..], 1..3);
    const CONDITIONS: &[&str] = &[
        "things.name <> 'x'",
        "things.k > 0",
        "things.s = 'a'",
        "things.name IS NULL OR things.k < 2",
        "things.k % 2 = 0",
    ];
    (select(QUESTIONS), on, select(CONDITIONS)).prop_map(|(question, on, condition)| {
        let on = on.iter().map(|k| format!("facts.{k} = things.{k}"));
        let on = on.collect::<Vec<_>>().join(" AND ");
        question
            .replace("{on}", &on)
            .replace("{where}", &format!("({condition})"))
    })
}

/// Rows of both tables; those that a unique index refuses are left out.
fn content() -> impl Strategy<Value = String> {
    let row = || {
        VALUES
            .iter()
            .map(|(_, values)| select(*values))
            .collect::<Vec<_>>()
    };
    let names = select(&["'x'", "'y'", "NULL"][..]);
    (vec(row(), 0..30), vec((row(), names), 0..8)).prop_map(|(facts, things)| {
        let mut sql = "TRUNCATE facts; TRUNCATE things;".to_owned();
        for (id, row) in facts.iter().enumerate() {
            sql.push_str(&format!(
                "INSERT INTO facts VALUES ({id}, {});",
                row.join(", ")
            ));
        }
        for (row, name) in &things {
            sql.push_str(&format!(
                "INSERT INTO things VALUES ({}, {name}) ON CONFLICT DO NOTHING;",
                row.join(", ")
                    .replacen("NULL", "7", usize::from(row[0] == "NULL"))
            ));
        }
        sql
    })
}

fn compare(column: &str, op: Comparison, value: Literal) -> RowFilter {
    let column = column.to_owned();
    RowFilter([Predicate::Compare { column, op, value }].into())
}

/// A filter of the owner's for each table, or none.
fn policies() -> impl Strategy<Value = (RowFilter, RowFilter)> {
    let facts = [
        RowFilter::default(),
        compare("id", Comparison::NotEq, Literal::Int(3)),
    ];
    let things = [
        RowFilter::default(),
        compare("s", Comparison::NotEq, Literal::Text("a".into())),
    ];
    (select(facts.to_vec()), select(things.to_vec()))
}

type Source = Arc<dyn TableProvider>;

async fn sources(postgres: &Postgres) -> (Source, Source) {
    let create = |name: &str, columns: &[(&str, &str, &str)]| {
        let columns = columns
            .iter()
            .map(|(name, kind, _)| format!("{name} {kind}"));
        let columns = columns.collect::<Vec<_>>().join(", ");
        postgres
            .sql(&format!("CREATE TABLE {name} ({columns})"))
            .unwrap();
    };
    postgres
        .sql("CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")
        .unwrap();
    create("facts", FACTS);
    create("things", THINGS);
    let servers = servers(access(), postgres);
    let mut opened = Vec::new();
    for (name, columns) in [("facts", FACTS), ("things", THINGS)] {
        let columns: Vec<_> = columns
            .iter()
            .map(|(name, _, odcs)| (*name, *odcs))
            .collect();
        let (spec, table) = contract_of(postgres, name, &columns);
        opened.push(servers.open(&spec, &table).await.unwrap());
    }
    let things = opened.pop().unwrap();
    (opened.pop().unwrap(), things)
}

fn joinable((facts, things): &(Source, Source), policies: &(RowFilter, RowFilter)) -> Arc<View> {
    tables([
        ("facts", facts, &all(facts, policies.0.clone())),
        ("things", things, &all(things, policies.1.clone())),
    ])
}

#[test]
fn what_the_server_joins_is_what_this_engine_would() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let postgres = Postgres::start().unwrap();
    let (facts, things) = runtime.block_on(sources(&postgres));
    let rows_only = |source: &Source| Arc::new(RowsOnly(Arc::clone(source))) as Source;
    let plain = (rows_only(&facts), rows_only(&things));
    let pushing = (facts, things);
    let mut runner = TestRunner::new(Config::with_cases(CASES));
    let cases = (content(), policies(), vec(question(), 8));
    runner
        .run(&cases, |(content, policies, questions)| {
            postgres.sql(&content).unwrap();
            let pushed = joinable(&pushing, &policies);
            let kept = joinable(&plain, &policies);
            for sql in questions {
                runtime.block_on(alike(&pushed, &kept, &sql))?;
            }
            Ok(())
        })
        .unwrap();
    let copies = postgres.copies();
    for expected in [
        " AS l JOIN ",
        " AS l LEFT JOIN ",
        " WHERE EXISTS ",
        " WHERE NOT EXISTS ",
        "AS joined GROUP BY",
    ] {
        assert!(copies.iter().any(|c| c.contains(expected)), "{expected}");
    }
}

#[tokio::test]
async fn the_rows_that_leave_the_server_are_the_joined_ones() {
    let postgres = Postgres::start().unwrap();
    let sources = sources(&postgres).await;
    postgres
        .sql(
            "INSERT INTO facts SELECT i, i % 3, 'a', NULL, 'x', i, '2013-01-01', i, now(), 'sad' FROM generate_series(1, 1000) i; \
             INSERT INTO things (k, s, name) VALUES (0, 'a', 'zero'), (1, 'b', 'one'), (9, 'c', 'nine')",
        )
        .unwrap();
    let hidden = compare("name", Comparison::NotEq, Literal::Text("one".into()));
    let view = joinable(&sources, &(RowFilter::default(), hidden));
    let asked = "SELECT things.name, avg(facts.f) FROM facts JOIN things ON facts.k = things.k WHERE facts.id > 10 GROUP BY things.name";
    assert_eq!(rows(&view, asked).await.unwrap(), ["zero|505.5"]);
    assert_eq!(
        postgres.copies().last().unwrap(),
        "SELECT \"c3\" COLLATE \"C\" AS \"c0\", sum(CAST(\"c1\" AS float8)) / CAST(count(\"c1\") AS float8) AS \"c1\" FROM \
         (SELECT l.\"k\" AS \"c0\", l.\"f\" AS \"c1\", r.\"k\" AS \"c2\", r.\"name\" AS \"c3\" FROM \
         (SELECT \"k\", \"f\" FROM \"public\".\"facts\" WHERE (\"id\" > 10)) AS l JOIN \
         (SELECT \"k\", \"name\" FROM \"public\".\"things\" WHERE (\"name\" COLLATE \"C\" <> 'one'::text)) AS r \
         ON l.\"k\" = r.\"k\") AS joined GROUP BY 1"
    );
    let asked = "SELECT facts.id, things.name FROM facts JOIN things ON facts.k = things.k WHERE facts.id < 7 LIMIT 2";
    assert_eq!(rows(&view, asked).await.unwrap().len(), 2);
    assert_eq!(
        postgres.copies().last().unwrap(),
        "SELECT \"c0\", \"c3\" FROM \
         (SELECT l.\"id\" AS \"c0\", l.\"k\" AS \"c1\", r.\"k\" AS \"c2\", r.\"name\" AS \"c3\" FROM \
         (SELECT \"id\", \"k\" FROM \"public\".\"facts\" WHERE (\"id\" < 7)) AS l JOIN \
         (SELECT \"k\", \"name\" FROM \"public\".\"things\" WHERE (\"name\" COLLATE \"C\" <> 'one'::text)) AS r \
         ON l.\"k\" = r.\"k\") AS joined LIMIT 2"
    );
}

#[tokio::test]
async fn a_join_stays_here_for_a_reason_that_the_owner_is_told() {
    let postgres = Postgres::start().unwrap();
    let (facts, things) = sources(&postgres).await;
    let other = Postgres::start().unwrap();
    let (_, far) = self::sources(&other).await;
    let masked = TableTerms {
        masks: [("name".to_owned(), Mask::ReplaceWithNull)].into(),
        ..all(&things, RowFilter::default())
    };
    let everything = |source| all(source, RowFilter::default());
    let view = tables([
        ("facts", &facts, &everything(&facts)),
        ("things", &things, &everything(&things)),
        ("masked", &things, &masked),
        ("far", &far, &everything(&far)),
    ]);
    for (sql, why) in [
        (
            "SELECT facts.id FROM facts JOIN facts o ON facts.k = o.k",
            "no unique index says that it does not multiply rows",
        ),
        (
            "SELECT facts.id FROM facts JOIN far ON facts.k = far.k",
            "the tables are of two servers",
        ),
        (
            "SELECT facts.id, masked.name FROM facts JOIN masked ON facts.k = masked.k",
            "the terms mask the column name",
        ),
        (
            "SELECT facts.id FROM facts JOIN things ON facts.f = things.f",
            "f and f are compared here only",
        ),
        (
            "SELECT facts.id FROM facts JOIN things ON facts.id + 1 = things.k",
            "it compares an expression",
        ),
        (
            "SELECT facts.id FROM facts JOIN things ON facts.k = things.k AND facts.s < things.s",
            "it is not of equal columns alone",
        ),
        (
            "SELECT facts.id FROM facts FULL JOIN things ON facts.k = things.k",
            "a Full join is made here only",
        ),
        (
            "SELECT facts.id FROM facts JOIN things ON facts.k = things.k WHERE facts.k % 2 = 0",
            "a condition can only be tested here",
        ),
    ] {
        let prepared = ENGINE.prepare(Arc::clone(&view), sql).await.unwrap();
        assert_eq!(prepared.kept(), [format!("a join: {why}")], "{sql}");
    }
}

//! What the server answers is what this node's engine answers over the server's rows.

use async_trait::async_trait;
use comity_protocol::terms::{Comparison, Literal, Predicate};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::query::View;

const CASES: u32 = 40;

/// Column, type there, type in the contract, values, literals here.
type Law = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const LAWS: [Law; 13] = [
    (
        "i",
        "bigint",
        "logicalType: integer",
        &["-9223372036854775808", "-5", "0", "7"],
        &["-5", "0", "9223372036854775807"],
    ),
    (
        "j",
        "smallint",
        "logicalType: integer",
        &["-3", "0", "3"],
        &["-3", "0", "70000"],
    ),
    (
        "f",
        "float8",
        "logicalType: number",
        &["'-0'", "0", "1.5", "'NaN'", "'-Infinity'", "1e20"],
        &["0.0", "1.5", "-0.25", "1e20"],
    ),
    (
        "g",
        "real",
        "logicalType: number, physicalType: real",
        &["0.1", "'-0'", "'NaN'"],
        &["arrow_cast(0.1, 'Float32')", "arrow_cast(2, 'Float32')"],
    ),
    (
        "d",
        "numeric(9,2)",
        "logicalType: number",
        &["-12.34", "0", "12.34"],
        &["-12.34", "0", "12.34", "12.345"],
    ),
    (
        "s",
        "text",
        "logicalType: string",
        &[
            "''",
            "'a'",
            "'B'",
            "'ä'",
            "'it''s'",
            "'a\\b'",
            "'\u{e9}'",
            "'e\u{301}'",
            "'ß'",
        ],
        &["''", "'a'", "'B'", "'z'", "'it''s'", "'a\\b'", "'\u{e9}'"],
    ),
    (
        "k",
        "text COLLATE loose",
        "logicalType: string",
        &["'a'", "'A'", "'\u{e9}'", "'e\u{301}'"],
        &["'a'", "'A'", "'\u{e9}'"],
    ),
    (
        "c",
        "char(3)",
        "logicalType: string",
        &["'a'", "'a b'", "''"],
        &["'a'", "'a  '", "'a b'", "''"],
    ),
    (
        "u",
        "uuid",
        "logicalType: string",
        &[
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
            "'00000000-0000-0000-0000-000000000000'",
        ],
        &[
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
            "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
            "'b'",
        ],
    ),
    (
        "e",
        "mood",
        "logicalType: string",
        &["'sad'", "'happy'"],
        &["'sad'", "'happy'", "'no such'"],
    ),
    (
        "b",
        "boolean",
        "logicalType: boolean",
        &["true", "false"],
        &["true", "false"],
    ),
    (
        "day",
        "date",
        "logicalType: date",
        &["'1969-12-31'", "'2013-02-28'", "'0044-03-15 BC'"],
        &["DATE '1969-12-31'", "DATE '2013-02-28'"],
    ),
    (
        "at",
        "timestamptz",
        "logicalType: timestamp",
        &["'1969-12-31 23:59:59.999999Z'", "'2013-02-28 00:00:00+01'"],
        &[
            "TIMESTAMP '1970-01-01T00:00:00Z'",
            "arrow_cast('2013-02-27T23:00:00Z', 'Timestamp(Microsecond, Some(\"UTC\"))')",
        ],
    ),
];

/// A source that answers nothing itself.
#[derive(Debug)]
pub(super) struct RowsOnly(pub(super) Arc<dyn TableProvider>);

#[async_trait]
impl TableProvider for RowsOnly {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.scan(state, projection, &[], None).await
    }
}

/// Both views answer, with the same rows in some order.
pub(super) async fn alike(
    pushed: &Arc<View>,
    kept: &Arc<View>,
    sql: &str,
) -> Result<(), TestCaseError> {
    let sorted = |mut rows: Vec<String>| {
        rows.sort();
        rows
    };
    let (a, b) = (rows(pushed, sql).await, rows(kept, sql).await);
    let (a, b) = (a.map(sorted), b.map(sorted));
    prop_assert_eq!(&a, &b, "{}", sql);
    prop_assert!(a.is_ok(), "{}: {:?}", sql, a);
    Ok(())
}

fn condition() -> impl Strategy<Value = String> {
    let leaf = select(&LAWS[..]).prop_flat_map(|(column, _, _, _, literals)| {
        let operators = select(&["=", "<>", "<", "<=", ">", ">="][..]);
        (operators, vec(select(literals), 3), 0..8u8).prop_map(move |(op, l, form)| match form {
            0 => format!("{column} IN ({}, {})", l[0], l[1]),
            1 => format!("{column} NOT IN ({}, {}, {})", l[0], l[1], l[2]),
            2 => format!("{column} BETWEEN {} AND {}", l[0], l[1]),
            3 => format!("{column} IS NULL"),
            4 => format!("{column} IS NOT NULL"),
            5 => format!("{} {op} {column}", l[0]),
            _ => format!("{column} {op} {}", l[0]),
        })
    });
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|c| format!("NOT ({c})")),
            vec(inner.clone(), 2..4).prop_map(|c| format!("({})", c.join(") AND ("))),
            vec(inner, 2..4).prop_map(|c| format!("({})", c.join(") OR ("))),
        ]
    })
}

/// A filter of the owner's that hides some rows, and in half of the cases none.
fn policy() -> impl Strategy<Value = RowFilter> {
    let compare = |column: &str, op, value| Predicate::Compare {
        column: column.to_owned(),
        op,
        value,
    };
    let filters = vec![
        RowFilter::default(),
        RowFilter([compare("s", Comparison::GtEq, Literal::Text("a".into()))].into()),
        RowFilter([compare("f", Comparison::Lt, Literal::Decimal("1.5".into()))].into()),
    ];
    select(filters)
}

/// A value of each column by its number; the number after the last is null.
fn table() -> impl Strategy<Value = String> {
    vec(vec(any::<prop::sample::Index>(), LAWS.len()), 0..40).prop_map(|rows| {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                let values = LAWS.iter().zip(row).map(|((_, _, _, values, _), index)| {
                    let value = values.get(index.index(values.len() + 1));
                    value.copied().unwrap_or("NULL")
                });
                format!("({})", values.collect::<Vec<_>>().join(", "))
            })
            .collect();
        match rows.is_empty() {
            true => "TRUNCATE t".to_owned(),
            false => format!("TRUNCATE t; INSERT INTO t VALUES {}", rows.join(", ")),
        }
    })
}

/// No maximum of floats: this engine's own depends on the order of the rows once there is a NaN.
const MEASURES: &[&str] = &[
    "count(*)",
    "count(s)",
    "sum(j)",
    "avg(j)",
    "min(i)",
    "max(i)",
    "sum(d)",
    "avg(d)",
    "min(d)",
    "min(s)",
    "max(k)",
    "max(c)",
    "min(u)",
    "max(e)",
    "min(day)",
    "max(at)",
    "count(f)",
    "min(b)",
    "count(DISTINCT s)",
    "count(DISTINCT k)",
];

fn questions() -> impl Strategy<Value = String> {
    let keys = select(
        &[
            "", "s", "k", "c", "u", "e", "b", "day", "at", "d", "j", "f", "s, b", "k, j",
        ][..],
    );
    (
        condition(),
        keys,
        proptest::sample::subsequence(MEASURES, 1..4),
    )
        .prop_map(|(condition, keys, measures)| {
            let measures = measures.join(", ");
            match keys {
                "" => format!("SELECT {measures} FROM t WHERE {condition}"),
                keys => {
                    format!("SELECT {keys}, {measures} FROM t WHERE {condition} GROUP BY {keys}")
                }
            }
        })
}

#[test]
fn what_the_server_filters_and_groups_is_what_this_engine_would() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let postgres = Postgres::start().unwrap();
    let columns: Vec<_> = LAWS
        .iter()
        .map(|(name, kind, ..)| format!("{name} {kind}"))
        .collect();
    postgres
        .sql(&format!(
            "CREATE TYPE mood AS ENUM ('sad', 'happy'); \
             CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false); \
             CREATE TABLE t ({})",
            columns.join(", ")
        ))
        .unwrap();
    let columns: Vec<_> = LAWS
        .iter()
        .map(|(name, _, odcs, ..)| (*name, *odcs))
        .collect();
    let source = runtime.block_on(open(&postgres, &columns)).unwrap();
    let plain: Arc<dyn TableProvider> = Arc::new(RowsOnly(Arc::clone(&source)));
    let mut runner = TestRunner::new(Config::with_cases(CASES));
    let cases = (table(), policy(), vec(condition(), 4), vec(questions(), 4));
    runner
        .run(&cases, |(rows_sql, policy, conditions, questions)| {
            postgres.sql(&rows_sql).unwrap();
            let pushed = view(&source, policy.clone());
            let kept = view(&plain, policy);
            let names: Vec<_> = LAWS.iter().map(|(name, ..)| *name).collect();
            let scans = conditions
                .iter()
                .map(|c| format!("SELECT {} FROM t WHERE {c}", names.join(", ")));
            for sql in scans.chain(questions) {
                runtime.block_on(alike(&pushed, &kept, &sql))?;
            }
            Ok(())
        })
        .unwrap();
    // It was the server that did it, and not each time this engine.
    let copies = postgres.copies();
    for expected in [
        " WHERE ",
        " GROUP BY 1",
        " COLLATE \"C\" = ",
        "::uuid",
        "sum(",
    ] {
        assert!(copies.iter().any(|c| c.contains(expected)), "{expected}");
    }
}

//! Laws over random tables and predicates: governed and partner tables answer as a plain engine does.

use std::fmt::Write;

use arrow::array::{
    BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, TimestampMicrosecondArray,
};
use arrow::util::display::array_value_to_string;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{StreamExt, stream};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proptest::test_runner::{Config, TestRunner};

use super::*;

pub(super) const COLUMNS: [&str; 8] = ["i", "j", "f", "d", "s", "b", "day", "at"];
const TEXTS: [&str; 8] = [
    "",
    "it's",
    "a\\b",
    "50%",
    "5_",
    "Zürich 🦀",
    "\"x\" -- y",
    "a\nb",
];
const CASES: u32 = 24;

/// A row as one choice from each column's pool; the last of a pool is null.
pub(super) type Row = [Index; 8];

fn pick<T: Copy>(pool: &[T], index: &Index) -> Option<T> {
    pool.get(index.index(pool.len() + 1)).copied()
}

pub(super) fn table(rows: &[Row]) -> RecordBatch {
    macro_rules! column {
        ($array:ty, $at:expr, $pool:expr) => {
            rows.iter()
                .map(|r| pick($pool, &r[$at]))
                .collect::<$array>()
        };
    }
    let i = column!(Int64Array, 0, &[i64::MIN, -5, 0, 7, i64::MAX]);
    let j = column!(Int32Array, 1, &[-3, 0, 3]);
    let f = column!(Float64Array, 2, &[-0.25, 0.0, 1.5, 1e20, f64::NAN]);
    let d = column!(Decimal128Array, 3, &[-1234, 0, 1234])
        .with_precision_and_scale(9, 2)
        .unwrap();
    let s = column!(StringArray, 4, &TEXTS);
    let b = column!(BooleanArray, 5, &[true, false]);
    let day = column!(Date32Array, 6, &[-1, 0, 15_764]);
    let at = column!(
        TimestampMicrosecondArray,
        7,
        &[-1, 0, 1_362_009_600_000_001]
    )
    .with_timezone("UTC");
    let arrays: [ArrayRef; 8] = [
        Arc::new(i),
        Arc::new(j),
        Arc::new(f),
        Arc::new(d),
        Arc::new(s),
        Arc::new(b),
        Arc::new(day),
        Arc::new(at),
    ];
    let named = COLUMNS.iter().zip(arrays).map(|(n, a)| (*n, a, true));
    RecordBatch::try_from_iter_with_nullable(named).unwrap()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn literal(column: &'static str) -> BoxedStrategy<String> {
    let of = |pool: &'static [&'static str]| select(pool).prop_map(str::to_owned).boxed();
    match column {
        "i" => of(&[
            "-5",
            "0",
            "7",
            "9223372036854775807",
            "-9223372036854775807",
        ]),
        "j" => of(&["-3", "0", "3", "70000"]),
        "f" => of(&["-0.25", "0.0", "1.5", "1e20"]),
        "d" => of(&["-12.34", "0", "12.34", "12.345"]),
        "s" => select(&TEXTS[..]).prop_map(quoted).boxed(),
        "b" => of(&["true", "false"]),
        "day" => of(&["DATE '1969-12-31'", "DATE '2013-02-28'"]),
        _ => of(&[
            "TIMESTAMP '1970-01-01T00:00:00Z'",
            "arrow_cast('2013-02-28T00:00:00.000001Z', 'Timestamp(Microsecond, Some(\"UTC\"))')",
        ]),
    }
}

/// One condition of a caller, as SQL.
fn leaf() -> impl Strategy<Value = String> {
    let compared = select(&COLUMNS[..]).prop_flat_map(|column| {
        let operators = &["=", "<>", "<", "<=", ">", ">="][..];
        (select(operators), vec(literal(column), 3), 0..6u8).prop_map(move |(op, l, form)| {
            match form {
                0 => format!("{column} IN ({}, {})", l[0], l[1]),
                1 => format!("{column} NOT IN ({}, {}, {})", l[0], l[1], l[2]),
                2 => format!("{column} BETWEEN {} AND {}", l[0], l[1]),
                3 => format!("{} {op} {column}", l[0]),
                _ => format!("{column} {op} {}", l[0]),
            }
        })
    });
    let null = (select(&COLUMNS[..]), any::<bool>())
        .prop_map(|(c, not)| format!("{c} IS {}NULL", if not { "NOT " } else { "" }));
    let other = select(
        &[
            "s LIKE '5\\_'",
            "s LIKE '5_'",
            "s LIKE '50\\%'",
            "s NOT LIKE 'a\\\\%'",
            "s LIKE '%''%'",
            "s ILIKE 'ZÜ%'",
            "j + 1 > 0",
            "i % 2 = 1",
            "length(s) > 2",
            "b",
            "b IS NOT TRUE",
            "CAST(j AS text) = s",
        ][..],
    )
    .prop_map(str::to_owned);
    prop_oneof![4 => compared, 1 => null, 2 => other]
}

pub(super) fn condition() -> impl Strategy<Value = String> {
    leaf().prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|c| format!("NOT ({c})")),
            vec(inner.clone(), 2..4).prop_map(|c| format!("({})", c.join(") AND ("))),
            vec(inner, 2..4).prop_map(|c| format!("({})", c.join(") OR ("))),
        ]
    })
}

/// One predicate of terms, and the same in SQL, written by hand.
pub(super) fn policy() -> impl Strategy<Value = (Predicate, String)> {
    let comparison = prop_oneof![
        Just((Comparison::Eq, "=")),
        Just((Comparison::NotEq, "<>")),
        Just((Comparison::Lt, "<")),
        Just((Comparison::GtEq, ">=")),
    ];
    let value = prop_oneof![
        select(&[-5i64, 0, 7][..]).prop_map(|n| ("i", Literal::Int(n), n.to_string())),
        select(&TEXTS[..]).prop_map(|t| ("s", Literal::Text(t.into()), quoted(t))),
        select(&["-12.34", "0.5"][..]).prop_map(|t| (
            "d",
            Literal::Decimal(t.into()),
            t.to_owned()
        )),
        any::<bool>().prop_map(|b| ("b", Literal::Bool(b), b.to_string())),
        Just((
            "day",
            Literal::Date("1970-01-01".into()),
            "DATE '1970-01-01'".to_owned()
        )),
    ];
    let leaf = prop_oneof![
        (comparison, value.clone()).prop_map(|((op, sign), (c, value, sql))| (
            Predicate::Compare {
                column: c.into(),
                op,
                value
            },
            format!("{c} {sign} {sql}")
        )),
        value.prop_map(|(c, value, sql)| (
            Predicate::In {
                column: c.into(),
                values: BTreeSet::from([value])
            },
            format!("{c} IN ({sql})")
        )),
        select(&COLUMNS[..]).prop_map(|c| (
            Predicate::IsNull { column: c.into() },
            format!("{c} IS NULL")
        )),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        let joined = |parts: &[(Predicate, String)], joint: &str| {
            let sql: Vec<_> = parts.iter().map(|p| format!("({})", p.1)).collect();
            sql.join(joint)
        };
        let set = |parts: Vec<(Predicate, String)>| parts.into_iter().map(|p| p.0).collect();
        prop_oneof![
            inner
                .clone()
                .prop_map(|(p, sql)| (Predicate::Not(Box::new(p)), format!("NOT ({sql})"))),
            vec(inner.clone(), 1..4).prop_map(move |parts| {
                let sql = joined(&parts, " OR ");
                (Predicate::Any(set(parts)), sql)
            }),
            vec(inner, 1..4).prop_map(move |parts| {
                let sql = joined(&parts, " AND ");
                (Predicate::All(set(parts)), sql)
            }),
        ]
    })
}

pub(super) fn rows_of() -> impl Strategy<Value = Vec<Row>> {
    vec(any::<Row>(), 0..40)
}

/// Each row as text, sorted: answers are sets.
pub(super) fn sorted(batches: &[RecordBatch]) -> Vec<String> {
    let mut all = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let mut line = String::new();
            for c in batch.columns() {
                let null = if c.is_null(row) { "null" } else { "" };
                let _ = write!(line, "{null}{:?}|", array_value_to_string(c, row).unwrap());
            }
            all.push(line);
        }
    }
    all.sort();
    all
}

pub(super) fn plain(tables: &[(&str, &RecordBatch)]) -> SessionContext {
    let mut config = SessionConfig::new();
    // As this node's engine is set: its own check fails on sound statements.
    let execution = &mut config.options_mut().execution;
    execution.skip_physical_aggregate_schema_check = true;
    let context = SessionContext::new_with_config(config);
    let schema = MemorySchemaProvider::new();
    for (name, batch) in tables {
        let table = MemTable::try_new(batch.schema(), vec![vec![(*batch).clone()]]).unwrap();
        schema
            .register_table((*name).to_owned(), Arc::new(table))
            .unwrap();
    }
    let catalog = context.catalog("datafusion").unwrap();
    catalog.register_schema("p", Arc::new(schema)).unwrap();
    context
}

pub(super) async fn plainly(context: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    context.sql(sql).await.unwrap().collect().await.unwrap()
}

fn governed(batch: &RecordBatch, columns: &[&str], filter: Option<Predicate>) -> GovernedTable {
    let source = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]).unwrap();
    let terms = TableTerms {
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        filter: RowFilter(filter.into_iter().collect()),
        masks: BTreeMap::new(),
        protection: None,
    };
    GovernedTable::new(Arc::new(source), &terms).unwrap()
}

fn named(table: &str) -> TableName {
    TableName {
        catalog: "own".into(),
        schema: "p".into(),
        table: table.into(),
    }
}

/// A partner that runs the text it is asked on an engine without any of our code.
struct Plain {
    context: SessionContext,
    asked: Mutex<Vec<String>>,
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain")
    }
}

#[async_trait::async_trait]
impl Partner for Plain {
    fn name(&self) -> &str {
        "plain"
    }

    async fn open(&self, question: Question) -> Result<Opened, QueryError> {
        let Question { sql, expected, .. } = question;
        self.asked.lock().unwrap().push(sql.clone());
        let answer = self
            .context
            .sql(&sql)
            .await
            .map_err(|e| QueryError::of(&e))?;
        let batches = answer.collect().await.map_err(|e| QueryError::of(&e))?;
        let out = Arc::clone(&expected);
        let batches = batches
            .into_iter()
            .map(move |b| Ok(schema::relabel(&b, &out)?));
        let rows = stream::iter(batches).boxed();
        let rows: SendableRecordBatchStream =
            Box::pin(RecordBatchStreamAdapter::new(expected, rows));
        Ok(rows.into())
    }
}

fn partner(context: SessionContext) -> Arc<Plain> {
    Arc::new(Plain {
        context,
        asked: Mutex::default(),
    })
}

fn remote(partner: &Arc<impl Partner + 'static>, table: &str, batch: &RecordBatch) -> PartnerTable {
    let remote = RemoteTable {
        product: "p".into(),
        table: table.into(),
    };
    PartnerTable::new(Arc::clone(partner) as _, remote, batch.schema())
}

pub(super) fn law<S: Strategy>(strategy: S, holds: impl AsyncFn(S::Value)) {
    law_of(CASES, strategy, holds);
}

/// As [`law`], with `cases`, or as many as `PROPTEST_CASES` asks for.
pub(super) fn law_of<S: Strategy>(cases: u32, strategy: S, holds: impl AsyncFn(S::Value)) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cases = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default().cases,
        None => cases,
    };
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    });
    runner
        .run(&strategy, |case| {
            runtime.block_on(holds(case));
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_governed_table_answers_as_its_filter_does_on_a_plain_engine() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let columns = subsequence(COLUMNS.to_vec(), 1..=8);
    law(
        (rows_of(), policy(), condition(), columns, 0..30usize),
        async |(rows, (filter, filter_sql), user, columns, limit)| {
            let batch = table(&rows);
            let there = plain(&[("t", &batch)]);
            let permitted = governed(&batch, &columns, Some(filter.clone()));
            let whole = governed(&batch, &COLUMNS, Some(filter));
            let view = View::builder("own")
                .governed(named("some"), permitted)
                .governed(named("t"), whole)
                .build();
            let list = columns.join(", ");
            let all = ask(&engine, &view, "SELECT * FROM some").await.unwrap();
            let expected = plainly(
                &there,
                &format!("SELECT {list} FROM p.t WHERE {filter_sql}"),
            )
            .await;
            assert_eq!(sorted(&all), sorted(&expected), "{filter_sql}");

            let sql = format!("SELECT {list} FROM t WHERE {user}");
            let chosen = sorted(&ask(&engine, &view, &sql).await.unwrap());
            let both = format!("SELECT {list} FROM p.t WHERE ({filter_sql}) AND ({user})");
            assert_eq!(chosen, sorted(&plainly(&there, &both).await), "{both}");

            let some = sorted(
                &ask(&engine, &view, &format!("{sql} LIMIT {limit}"))
                    .await
                    .unwrap(),
            );
            assert_eq!(some.len(), chosen.len().min(limit), "{sql}");
            assert!(some.iter().all(|row| chosen.contains(row)), "{sql}");
        },
    );
}

#[test]
fn what_a_partner_is_asked_means_the_same_at_the_partner() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let columns = subsequence(COLUMNS.to_vec(), 1..=8);
    law(
        (rows_of(), condition(), columns),
        async |(rows, user, columns)| {
            let batch = table(&rows);
            let far = partner(plain(&[("t", &batch)]));
            let own = View::builder("own")
                .governed(named("t"), governed(&batch, &COLUMNS, None))
                .build();
            let gated = Arc::new(Loopback {
                engine: Engine::start(EngineSettings::default()).unwrap(),
                view: Arc::clone(&own),
                asked: Mutex::default(),
                refuses: false,
            });
            let near = View::builder("own")
                .partner(named("plain"), remote(&far, "t", &batch))
                .partner(named("gated"), remote(&gated, "t", &batch))
                .build();
            let list = columns.join(", ");
            let expected = plainly(
                &far.context,
                &format!("SELECT {list} FROM p.t WHERE {user}"),
            )
            .await;
            for name in ["plain", "gated"] {
                let sql = format!("SELECT {list} FROM {name} WHERE {user}");
                let there = ask(&engine, &near, &sql).await.unwrap();
                let asked = far.asked.lock().unwrap().join("\n");
                assert_eq!(sorted(&there), sorted(&expected), "{sql}\n{asked}");
            }
        },
    );
}

#[tokio::test]
async fn every_plain_type_of_literal_travels() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let batch = table(&[]);
    let far = partner(plain(&[("t", &batch)]));
    let near = View::builder("own")
        .partner(named("t"), remote(&far, "t", &batch))
        .build();
    for (condition, text) in [
        ("i = 7", "(\"i\" = 7)"),
        ("i > -5", "(\"i\" > arrow_cast('-5', 'Int64'))"),
        ("j = 3", "(\"j\" = arrow_cast('3', 'Int32'))"),
        ("f < -0.25", "(\"f\" < arrow_cast('-0.25', 'Float64'))"),
        ("s = 'it''s \\ \"x\"'", "(\"s\" = 'it''s \\ \"x\"')"),
        (
            "day >= DATE '2013-02-28'",
            "(\"day\" >= arrow_cast('2013-02-28', 'Date32'))",
        ),
        ("i NOT IN (1, 2, 3, 4, 5)", "(\"i\" NOT IN (1, 2, 3, 4, 5))"),
        ("s IS NULL", "(\"s\" IS NULL)"),
        (
            "d = CAST(12.34 AS DECIMAL(9,2))",
            "(\"d\" = arrow_cast('12.34', 'Decimal128(9, 2)'))",
        ),
    ] {
        let sql = format!("SELECT i FROM t WHERE {condition}");
        ask(&engine, &near, &sql).await.unwrap();
        let asked = far.asked.lock().unwrap().pop().unwrap();
        assert!(asked.ends_with(&format!("WHERE {text}")), "{asked}");
    }
}

#[test]
fn a_join_of_own_and_partner_tables_is_the_join_of_the_data() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    law(
        (
            rows_of(),
            rows_of(),
            rows_of(),
            condition(),
            select(&["", "LEFT ", "FULL "][..]),
        ),
        async |(a, b, c, user, kind)| {
            let (a, b, c) = (table(&a), table(&b), table(&c));
            let there = plain(&[("a", &a), ("b", &b), ("c", &c)]);
            let (first, second) = (partner(plain(&[("b", &b)])), partner(plain(&[("c", &c)])));
            let near = View::builder("own")
                .governed(named("a"), governed(&a, &COLUMNS, None))
                .partner(named("b"), remote(&first, "b", &b))
                .partner(named("c"), remote(&second, "c", &c))
                .build();
            let sql = format!(
                "SELECT a.i, a.s, x.day, c.f FROM p.a AS a \
                 {kind}JOIN (SELECT * FROM p.b WHERE {user}) AS x ON a.j = x.j AND a.b = x.b \
                 {kind}JOIN p.c AS c ON x.s = c.s WHERE a.i IS NULL OR a.i < 100"
            );
            let here = ask(&engine, &near, &sql).await.unwrap();
            assert_eq!(sorted(&here), sorted(&plainly(&there, &sql).await), "{sql}");
        },
    );
}

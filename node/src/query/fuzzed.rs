//! The law of the SQL gate (A17, A20, A31, A49): any text is refused or becomes a plan,
//! the same each time; what passes keeps every limit, reads only tables of its
//! view, and no hidden value comes out.
//!
//! The first byte: `t` the text itself, `w` one word of [`WORDS`] for each byte, which
//! finds long chains and deep nesting faster than letters do.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;
use comity_protocol::terms::{Comparison, Literal, Predicate, RowFilter, TableTerms};
use datafusion::datasource::MemTable;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::visit_relations;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::Tokenizer;
use futures::TryStreamExt as _;
use tokio::runtime::Runtime;

use super::gate::{Gate, MAX_BYTES, MAX_TABLES};
use super::{Engine, EngineSettings, GovernedTable, TableName, View};

/// What a chain of the grammar is made of. Its order is part of the seeds: append only.
const WORDS: &[&str] = &[
    "SELECT",
    "x",
    "FROM",
    "t",
    "WHERE",
    "AND",
    "OR",
    "NOT",
    "(",
    ")",
    "1",
    "'a'",
    ",",
    "*",
    "+",
    "-",
    "/",
    "%",
    "||",
    "=",
    "<",
    ">",
    "<>",
    "<=",
    "IS NULL",
    "IN",
    "BETWEEN",
    "LIKE",
    "CASE WHEN",
    "THEN",
    "ELSE",
    "END",
    "UNION ALL",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "JOIN",
    "LEFT JOIN",
    "ON",
    "USING",
    "GROUP BY",
    "HAVING",
    "ORDER BY",
    "LIMIT",
    "OFFSET",
    "WITH c AS (",
    "c",
    "AS",
    "count",
    "sum(",
    "avg(",
    "min(",
    "max(",
    "abs(",
    "lower(",
    "concat(",
    "coalesce(",
    "substr(",
    "CAST(",
    "AS BIGINT)",
    "AS VARCHAR)",
    "::INT",
    "NULL",
    "TRUE",
    "FALSE",
    "s",
    "EXISTS (",
    "VALUES",
    "OVER (",
    "PARTITION BY",
    "ROWS BETWEEN 1 PRECEDING AND CURRENT ROW",
    "DISTINCT",
    "ALL",
    "ANY(",
    "LATERAL",
    "UNNEST(",
    "[",
    "]",
    "{",
    "}",
    "->",
    ".",
    ";",
    "--\n",
    "/*",
    "*/",
    "\"T\"",
    "own.p.t",
    "$1",
    "?",
    ":a",
    "INTERVAL '1' DAY",
    "DATE '2020-01-01'",
    "EXTRACT(YEAR FROM",
    "RECURSIVE",
    "INTO",
    "FOR UPDATE",
    "INSERT INTO t",
    "COPY",
    "EXPLAIN",
    "SET",
    "repeat(",
    "read_csv(",
    "generate_series(",
    "GROUPING SETS (",
    "CUBE(",
    "ROLLUP(",
    "QUALIFY",
    "FETCH FIRST 1 ROW ONLY",
    "TABLESAMPLE",
    "PIVOT",
    "|>",
    "COLLATE",
    "ESCAPE",
    "SIMILAR TO",
    "1e308",
    "9223372036854775807",
    "-9223372036854775808",
    "0",
    "''",
    "E'\\n'",
    "X'00'",
    "tenant",
    "U&'\\0041'",
];

/// How long a statement may run here; it is over four rows.
const DEADLINE: Duration = Duration::from_secs(5);

/// More tables make a product that only fills the time.
const MAX_TABLES_TO_RUN: usize = 3;

pub(crate) fn law(data: &[u8]) {
    let Some((first, body)) = data.split_first() else {
        return;
    };
    match first {
        b't' => {
            if let Ok(sql) = core::str::from_utf8(body) {
                holds(sql);
            }
        }
        b'w' => {
            let word = |byte: &u8| WORDS[usize::from(*byte) % WORDS.len()];
            holds(&body.iter().map(word).collect::<Vec<_>>().join(" "));
        }
        _ => {}
    }
}

fn holds(sql: &str) {
    let world = &*WORLD;
    let gate = Gate::new(&[]);
    // On the stack that statements are read on; the main thread's is smaller.
    let parsed = world.runtime.block_on(async {
        let (gate, sql) = (gate, sql.to_owned());
        let once = tokio::spawn(async move {
            let parse = || gate.parse(&sql, 0).map_err(|e| e.code());
            (parse(), parse())
        });
        once.await.expect("the gate panicked")
    });
    let (parsed, again) = parsed;
    let text = |s: &Result<Statement, _>| s.as_ref().map(ToString::to_string).map_err(|c| *c);
    assert_eq!(text(&parsed), text(&again), "the gate is of two minds");
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location();
    let prepared = world
        .runtime
        .block_on(world.engine.prepare(world.view.clone(), sql));
    let Ok(statement) = parsed else {
        assert!(prepared.is_err(), "planned in spite of the gate");
        return;
    };
    assert!(sql.len() <= MAX_BYTES);
    super::gate::within(&tokens.expect("it was parsed")).expect("within the limits");
    assert!(relations(&statement) <= MAX_TABLES);
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            assert_ne!(error.code(), "internal", "planning panicked: {error:?}");
            return;
        }
    };
    assert!(prepared.tables().iter().all(|table| *table == name()));
    let again = world
        .runtime
        .block_on(world.engine.prepare(world.view.clone(), sql));
    let again = again.expect("it was planned before");
    assert_eq!(again.schema(), prepared.schema(), "two plans of one text");
    if relations(&statement) > MAX_TABLES_TO_RUN {
        return;
    }
    let rows = world.runtime.block_on(async {
        let rows = prepared.run().await.map_err(|e| e.code())?;
        let rows: Result<Vec<_>, _> = rows.try_collect().await;
        rows.map_err(|e| super::QueryError::of(&e).code())
    });
    match rows {
        Ok(rows) => {
            let shown = pretty_format_batches(&rows).map(|t| t.to_string());
            let hidden = shown.is_ok_and(|text| text.contains(&*HIDDEN));
            assert!(!hidden || sql.contains(&*HIDDEN), "a hidden value came out");
        }
        Err(code) => assert_ne!(code, "internal", "the query panicked"),
    }
}

/// The tables that a statement names.
fn relations(statement: &Statement) -> usize {
    let Statement::Statement(inner) = statement else {
        return 0;
    };
    let mut count = 0;
    let _: ControlFlow<()> = visit_relations(inner.as_ref(), |_| {
        count += 1;
        ControlFlow::Continue(())
    });
    count
}

/// The value of the rows that nobody may see. Made here, so that no table of the
/// fuzzer's comparisons holds it.
static HIDDEN: LazyLock<String> = LazyLock::new(|| {
    let digest = comity_identity::Digest::of(b"a hidden value");
    digest.short()
});

struct World {
    runtime: Runtime,
    engine: Engine,
    view: Arc<View>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| World {
    runtime: tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        // As the engine's own.
        .thread_stack_size(16 << 20)
        .enable_all()
        .build()
        .expect("a runtime"),
    engine: engine(),
    view: view(),
});

/// An engine for few rows and little time.
pub(crate) fn engine() -> Engine {
    Engine::start(EngineSettings {
        partitions: 1,
        memory_bytes: 64 << 20,
        disk_bytes: 0,
        deadline: DEADLINE,
        max_rows: 100_000,
        ..EngineSettings::default()
    })
    .expect("an engine")
}

/// One table of four rows; two of them are visible.
pub(crate) fn view() -> Arc<View> {
    let tenant: ArrayRef = Arc::new(StringArray::from(vec!["A", "B", "A", "B"]));
    let x: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(4)]));
    let hidden = HIDDEN.as_str();
    let s: ArrayRef = Arc::new(StringArray::from(vec!["a", hidden, "b", hidden]));
    let rows = RecordBatch::try_from_iter([("tenant", tenant), ("x", x), ("s", s)]);
    let rows = rows.expect("columns of one length");
    let source = MemTable::try_new(rows.schema(), vec![vec![rows]]).expect("one schema");
    let terms = TableTerms {
        columns: BTreeSet::from(["x".to_owned(), "s".to_owned()]),
        filter: RowFilter(BTreeSet::from([Predicate::Compare {
            column: "tenant".to_owned(),
            op: Comparison::Eq,
            value: Literal::Text("A".to_owned()),
        }])),
        masks: BTreeMap::new(),
        protection: None,
    };
    let governed = GovernedTable::new(Arc::new(source), &terms).expect("terms that fit");
    View::builder("own").governed(name(), governed).build()
}

/// Whether a text has the hidden value in it.
pub(crate) fn has_hidden(bytes: &[u8]) -> bool {
    let hidden = HIDDEN.as_bytes();
    bytes.windows(hidden.len()).any(|part| part == hidden)
}

fn name() -> TableName {
    TableName {
        catalog: "own".to_owned(),
        schema: "p".to_owned(),
        table: "t".to_owned(),
    }
}

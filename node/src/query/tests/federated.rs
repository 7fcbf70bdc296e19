//! Statements over several organizations: each part is asked where its tables
//! are, and the answer is that of one database.

use arrow::array::UInt64Array;
use arrow::compute::{concat_batches, take_record_batch};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use proptest::prelude::*;

use super::generated::statement;
use super::laws::{law_of, plain, plainly, rows_of, sorted, table};
use super::*;

/// How many statements are made; each has about ten parts.
const STATEMENTS: u32 = 200;

pub(super) fn named(table: &str) -> TableName {
    TableName {
        catalog: "own".into(),
        schema: "p".into(),
        table: table.into(),
    }
}

pub(super) fn open(batch: &RecordBatch) -> GovernedTable {
    let source = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]).unwrap();
    let fields = batch.schema();
    let columns = fields.fields().iter().map(|f| f.name().clone());
    let terms = TableTerms {
        columns: columns.collect(),
        filter: RowFilter(BTreeSet::new()),
        masks: BTreeMap::new(),
        protection: None,
    };
    GovernedTable::new(Arc::new(source), &terms).unwrap()
}

/// An organization with these tables, behind its own gate.
pub(super) fn organization(tables: &[(&str, &RecordBatch)]) -> Arc<Loopback> {
    let mut view = View::builder("own");
    for (name, batch) in tables {
        view = view.governed(named(name), open(batch));
    }
    Arc::new(Loopback {
        engine: Engine::start(EngineSettings::default()).unwrap(),
        view: view.build(),
        asked: Mutex::default(),
        refuses: false,
    })
}

/// A table of another organization.
pub(super) fn remote(partner: &Arc<Loopback>, name: &str, batch: &RecordBatch) -> PartnerTable {
    let remote = RemoteTable {
        product: "p".into(),
        table: name.into(),
    };
    PartnerTable::new(Arc::clone(partner) as _, remote, batch.schema())
}

/// What was asked since the last time.
pub(super) fn asked(partner: &Loopback) -> Vec<String> {
    std::mem::take(&mut partner.asked.lock().unwrap())
}

#[test]
fn a_statement_over_organizations_answers_as_over_one_database() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let parts = Mutex::new(0);
    law_of(
        STATEMENTS,
        (
            (rows_of(), rows_of(), rows_of()),
            // Mostly of one organization, so that there is something to ask.
            statement(&["a", "b", "a", "b", "c", "d"]),
            any::<bool>(),
        ),
        async |((a, b, c), sql, refuses)| {
            let (a, b, c) = (table(&a), table(&b), table(&c));
            let mut first = organization(&[("a", &a), ("b", &b)]);
            // A partner that computes nothing gives its rows.
            Arc::get_mut(&mut first).unwrap().refuses = refuses;
            let second = organization(&[("c", &c)]);
            let view = View::builder("own")
                .partner(named("a"), remote(&first, "a", &a))
                .partner(named("b"), remote(&first, "b", &b))
                .partner(named("c"), remote(&second, "c", &c))
                .governed(named("d"), open(&b))
                .build();
            let there = plain(&[("a", &a), ("b", &b), ("c", &c), ("d", &b)]);
            let here = ask(&engine, &view, &sql).await.expect(&sql);
            let all = [asked(&first), asked(&second)].concat();
            let expected = plainly(&there, &sql).await;
            let text = all.join("\n");
            assert_eq!(sorted(&here), sorted(&expected), "{sql}\nasked:\n{text}");
            *parts.lock().unwrap() += all.iter().filter(|sql| sql.contains("FROM (")).count();
        },
    );
    let parts = *parts.lock().unwrap();
    // A few in ten are; so that a law about nothing does not pass.
    assert!(parts > 10, "only {parts} statements were more than scans");
}

/// The numbers below a hundred, as numbers and as texts.
pub(super) fn hundred() -> RecordBatch {
    RecordBatch::try_from_iter([
        (
            "k",
            Arc::new(Int64Array::from_iter_values(0..100)) as ArrayRef,
        ),
        (
            "s",
            Arc::new(StringArray::from_iter_values(
                (0..100).map(|n| n.to_string()),
            )),
        ),
    ])
    .unwrap()
}

/// The columns of an explained statement as text, one line for each row.
pub(super) async fn explained(engine: &Engine, view: &Arc<View>, sql: &str) -> Vec<[String; 5]> {
    let batches = ask(engine, view, sql).await.unwrap();
    let mut lines = Vec::new();
    for batch in &batches {
        let shown = |column: &str, row: usize| {
            let column = batch.column_by_name(column).unwrap();
            arrow::util::display::array_value_to_string(column, row).unwrap()
        };
        lines.extend((0..batch.num_rows()).map(|row| {
            ["partner", "statement", "rows", "note", "keys_told"].map(|column| shown(column, row))
        }));
    }
    lines
}

#[tokio::test]
async fn explain_says_what_is_asked_and_analyze_what_came() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let rows = hundred();
    for refuses in [false, true] {
        let mut far = organization(&[("a", &rows)]);
        Arc::get_mut(&mut far).unwrap().refuses = refuses;
        let tables = || {
            View::builder("own")
                .partner(named("a"), remote(&far, "a", &rows))
                .governed(named("d"), open(&rows))
        };
        let sql = "SELECT count(*) FROM p.a AS a JOIN p.d AS d ON a.k = d.k WHERE length(a.s) > 1";
        let view = tables().explaining().build();
        let plan = explained(&engine, &view, &format!("EXPLAIN {sql}")).await;
        assert!(asked(&far).is_empty(), "a plan asks nobody");
        let [[partner, statement, came, ..]] = plan.as_slice() else {
            panic!("{plan:?}");
        };
        assert_eq!((partner.as_str(), came.as_str()), ("loopback", ""));
        assert!(statement.contains("character_length"), "{statement}");
        let ran = explained(&engine, &view, &format!("EXPLAIN ANALYZE {sql}")).await;
        let last = ran.last().unwrap();
        assert_eq!(asked(&far), [last[1].clone()]);
        match refuses {
            false => assert_eq!((ran.len(), last[2].as_str()), (1, "90")),
            true => {
                assert_eq!((ran.len(), last[2].as_str()), (2, "100"));
                assert!(ran[0][3].contains("does not compute it"), "{ran:?}");
            }
        }
        for refused in [
            format!("EXPLAIN VERBOSE {sql}"),
            format!("EXPLAIN (FORMAT TREE) {sql}"),
            format!("EXPLAIN EXPLAIN {sql}"),
            "EXPLAIN DROP TABLE p.a".to_owned(),
        ] {
            let error = ask(&engine, &view, &refused).await.unwrap_err();
            assert!(
                ["not-permitted", "bad-sql"].contains(&error.code()),
                "{error:?}"
            );
        }
        // Not for partners, who would learn of sources.
        let view = tables().build();
        let error = ask(&engine, &view, &format!("EXPLAIN {sql}"))
            .await
            .unwrap_err();
        assert_eq!(error.code(), "not-permitted");
    }
}

/// A partner whose rows come in no order that anybody asked for.
#[derive(Debug)]
struct Backwards(Arc<Loopback>);

#[async_trait::async_trait]
impl Partner for Backwards {
    fn name(&self) -> &str {
        "backwards"
    }

    async fn open(&self, question: Question) -> Result<Opened, QueryError> {
        let expected = Arc::clone(&question.expected);
        let rows = self.0.open(question).await?.rows;
        let batches: Vec<_> = rows.try_collect().await.map_err(|e| QueryError::of(&e))?;
        let all = concat_batches(&expected, &batches).unwrap();
        let back: UInt64Array = (0..all.num_rows() as u64).rev().collect();
        let back = take_record_batch(&all, &back).unwrap();
        let rows = futures::stream::iter([Ok(back)]);
        let rows: SendableRecordBatchStream =
            Box::pin(RecordBatchStreamAdapter::new(expected, rows));
        Ok(rows.into())
    }
}

/// Regression: a projection above the order took it to the partner, which need not keep it.
#[tokio::test]
async fn the_order_of_an_answer_is_made_here() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let rows = hundred();
    let far = organization(&[("a", &rows)]);
    let remote = RemoteTable {
        product: "p".into(),
        table: "a".into(),
    };
    let partner: Arc<dyn Partner> = Arc::new(Backwards(Arc::clone(&far)));
    let view = View::builder("own")
        .partner(
            named("a"),
            PartnerTable::new(partner, remote, rows.schema()),
        )
        .build();
    for sql in [
        "SELECT s FROM p.a ORDER BY k DESC LIMIT 5",
        "SELECT s FROM (SELECT s, k FROM p.a ORDER BY k DESC LIMIT 5) AS t WHERE length(s) > 0",
        "SELECT concat(s, '') FROM p.a WHERE length(s) > 1 ORDER BY k DESC LIMIT 5",
        "SELECT s FROM p.a ORDER BY k DESC LIMIT 3 OFFSET 0",
    ] {
        let answer = ask(&engine, &view, sql).await.unwrap();
        let asked = asked(&far).join("\n");
        let first: Vec<_> = answer
            .iter()
            .flat_map(|b| b.column(0).as_string::<i32>().iter().flatten())
            .collect();
        assert_eq!(first[..3], ["99", "98", "97"], "{sql}\n{asked}");
        assert!(asked.contains("LIMIT"), "{asked}");
    }
}

/// The rows of an answer as lines.
async fn lines(engine: &Engine, view: &Arc<View>, sql: &str) -> Vec<String> {
    let lines = sorted(&ask(engine, view, sql).await.expect(sql));
    let plain = lines
        .iter()
        .map(|line| line.replace(['"', '|'], " ").trim().to_owned());
    plain.collect()
}

#[tokio::test]
async fn information_schema_is_what_the_member_can_name() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let rows = hundred();
    let far = organization(&[("a", &rows)]);
    let tables = || {
        View::builder("own")
            .partner(
                TableName {
                    catalog: "far".into(),
                    ..named("a")
                },
                remote(&far, "a", &rows),
            )
            .governed(named("d"), open(&rows))
    };
    let view = tables().explaining().build();
    let all = "SELECT concat(table_catalog, '.', table_schema, '.', table_name) FROM information_schema.tables";
    assert_eq!(lines(&engine, &view, all).await, ["far.p.a", "own.p.d"]);
    let columns = "SELECT c.column_name, c.ordinal_position, c.data_type FROM information_schema.columns AS c \
                   JOIN own.information_schema.tables AS t USING (table_catalog, table_schema, table_name) \
                   WHERE c.table_catalog = 'own'";
    let found = lines(&engine, &view, columns).await;
    assert_eq!(found.len(), 2);
    assert!(
        found[0].contains('k') && found[0].contains("Int64"),
        "{found:?}"
    );
    let schemata = "SELECT count(*) FROM information_schema.schemata WHERE schema_name = 'p'";
    assert_eq!(lines(&engine, &view, schemata).await, ["2"]);
    assert!(asked(&far).is_empty(), "nobody is asked");
    // What the engine has besides is not there, and partners have none of it.
    for missing in ["df_settings", "routines", "parameters", "views"] {
        let sql = format!("SELECT * FROM information_schema.{missing}");
        assert_eq!(
            ask(&engine, &view, &sql).await.unwrap_err().code(),
            "bad-sql"
        );
    }
    let partner = tables().build();
    assert_eq!(
        ask(&engine, &partner, all).await.unwrap_err().code(),
        "bad-sql"
    );
    // A product of that name is one like others.
    let view = tables().explaining().governed(
        TableName {
            schema: "information_schema".into(),
            ..named("tables")
        },
        open(&rows),
    );
    let counted = "SELECT count(*) FROM information_schema.tables";
    assert_eq!(lines(&engine, &view.build(), counted).await, ["100"]);
}

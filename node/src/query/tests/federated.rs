//! Statements over several organizations: each part is asked where its tables
//! are, and the answer is that of one database.

use proptest::prelude::*;

use super::generated::statement;
use super::laws::{law_of, plain, plainly, rows_of, sorted, table};
use super::*;

/// How many statements are made; each has about ten parts.
const STATEMENTS: u32 = 200;

fn named(table: &str) -> TableName {
    TableName {
        catalog: "own".into(),
        schema: "p".into(),
        table: table.into(),
    }
}

fn open(batch: &RecordBatch) -> GovernedTable {
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
fn organization(tables: &[(&str, &RecordBatch)]) -> Arc<Loopback> {
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
fn remote(partner: &Arc<Loopback>, name: &str, batch: &RecordBatch) -> PartnerTable {
    let remote = RemoteTable {
        product: "p".into(),
        table: name.into(),
    };
    PartnerTable::new(Arc::clone(partner) as _, remote, batch.schema())
}

/// What was asked since the last time.
fn asked(partner: &Loopback) -> Vec<String> {
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
    assert!(parts > 50, "only {parts} statements were more than scans");
}

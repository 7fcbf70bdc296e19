//! What a join at the server relies on, and what it may cost there.

use super::*;
use crate::query::View;
use crate::sources::fixture::{all, tables};

type Source = Arc<dyn TableProvider>;

async fn opened(postgres: &Postgres, table: &str, columns: &[(&str, &str)]) -> Source {
    let (spec, table) = contract_of(postgres, table, columns);
    servers(access(), postgres)
        .open(&spec, &table)
        .await
        .unwrap()
}

/// Everything of the tables `t` and `o`, with these columns.
async fn two(postgres: &Postgres, t: &[(&str, &str)], o: &[(&str, &str)]) -> Arc<View> {
    let servers = servers(access(), postgres);
    let mut view = Vec::new();
    for (table, columns) in [("t", t), ("o", o)] {
        let (spec, contract) = contract_of(postgres, table, columns);
        let source: Source = servers.open(&spec, &contract).await.unwrap();
        let terms = all(&source, RowFilter::default());
        view.push((table, source, terms));
    }
    tables(
        view.iter()
            .map(|(table, source, terms)| (*table, source, terms)),
    )
}

const ID: (&str, &str) = ("id", "logicalType: integer");

#[tokio::test]
async fn a_key_of_a_table_that_others_inherit_from_is_none() {
    let postgres = Postgres::start().unwrap();
    postgres
        .sql(
            "CREATE TABLE parent (id bigint PRIMARY KEY); CREATE TABLE child () INHERITS (parent); \
             CREATE TABLE parts (id bigint PRIMARY KEY) PARTITION BY RANGE (id); \
             CREATE TABLE part PARTITION OF parts DEFAULT; \
             INSERT INTO parent VALUES (1); INSERT INTO child SELECT 1 FROM generate_series(1, 9)",
        )
        .unwrap();
    let servers = servers(access(), &postgres);
    for (table, kept) in [("parent", 1), ("parts", 0)] {
        let (spec, contract) = contract_of(&postgres, table, &[ID]);
        let source: Source = servers.open(&spec, &contract).await.unwrap();
        let view = tables([(table, &source, &all(&source, RowFilter::default()))]);
        let sql = format!("SELECT a.id FROM {table} a JOIN {table} b ON a.id = b.id");
        let prepared = ENGINE.prepare(view, &sql).await.unwrap();
        assert_eq!(prepared.kept().len(), kept, "{table}");
    }
}

#[tokio::test]
async fn a_join_is_not_made_there_once_its_unique_index_is_gone() {
    let postgres = Postgres::start().unwrap();
    postgres
        .sql("CREATE TABLE t (id bigint PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 5)")
        .unwrap();
    let source = opened(&postgres, "t", &[ID]).await;
    let view = view(&source, RowFilter::default());
    let asked = "SELECT a.id FROM t a JOIN t b ON a.id = b.id WHERE a.id > 3";
    assert_eq!(rows(&view, asked).await.unwrap().len(), 2);
    assert_eq!(postgres.copies().len(), 1);
    postgres
        .sql("ALTER TABLE t DROP CONSTRAINT t_pkey")
        .unwrap();
    let error = rows(&view, asked).await.unwrap_err();
    assert_eq!(error.code(), "source-unavailable");
    assert!(
        error.owner_detail().unwrap().contains("unique index"),
        "{error:?}"
    );
    assert_eq!(postgres.copies().len(), 1, "nothing was read");
    // From now on it is joined here, of two scans.
    assert_eq!(rows(&view, asked).await.unwrap().len(), 2);
    assert_eq!(postgres.copies().len(), 3);
    postgres
        .sql("ALTER TABLE t ALTER COLUMN id TYPE text")
        .unwrap();
    assert_eq!(
        rows(&view, asked).await.unwrap_err().code(),
        "source-unavailable"
    );
}

#[tokio::test]
async fn a_type_that_changed_is_noticed_though_it_is_not_read() {
    let postgres = Postgres::start().unwrap();
    postgres
        .sql("CREATE TABLE t (id bigint PRIMARY KEY, day date); CREATE TABLE o (day date)")
        .unwrap();
    let day = ("day", "logicalType: date");
    let view = two(&postgres, &[ID, day], &[day]).await;
    let asked = "SELECT id FROM t WHERE day IN (SELECT day FROM o)";
    assert!(rows(&view, asked).await.unwrap().is_empty());
    postgres
        .sql("ALTER TABLE o ALTER COLUMN day TYPE timestamp")
        .unwrap();
    let error = rows(&view, asked).await.unwrap_err();
    assert_eq!(error.code(), "source-unavailable");
    assert!(
        error.owner_detail().unwrap().contains("column day"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_limit_does_not_make_the_server_compare_every_row_with_every_row() {
    let postgres = Postgres::start().unwrap();
    postgres
        .sql(
            "CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 20000) i; \
             CREATE TABLE o AS SELECT -i AS id FROM generate_series(1, 20000) i; ANALYZE",
        )
        .unwrap();
    let id = ("id", "logicalType: integer, physicalType: int");
    let view = two(&postgres, &[id], &[id]).await;
    let asked = "SELECT id FROM t WHERE id IN (SELECT id FROM o) LIMIT 1";
    assert!(rows(&view, asked).await.unwrap().is_empty());
    let sql = postgres.copies().pop().unwrap();
    assert!(sql.ends_with(" LIMIT 1"), "{sql}");
    let loops = |setting: &str| {
        let plan = postgres.sql(&format!("{setting}; EXPLAIN {sql}")).unwrap();
        plan.contains("Nested Loop")
    };
    assert!(loops("RESET ALL"), "the server would");
    assert!(!loops("SET enable_nestloop = off"));
    let log = postgres.log();
    let (before, _) = log.rsplit_once(&sql).unwrap();
    assert!(before.contains("SET LOCAL enable_nestloop = off"));
}

#[tokio::test]
async fn a_statement_joins_a_few_tables_and_no_more() {
    let postgres = Postgres::start().unwrap();
    postgres
        .sql("CREATE TABLE t (id bigint PRIMARY KEY)")
        .unwrap();
    let source = opened(&postgres, "t", &[ID]).await;
    let view = view(&source, RowFilter::default());
    let chain = |tables: usize| {
        let joins = (1..tables).map(|n| format!(" JOIN t t{n} ON t0.id = t{n}.id"));
        format!("SELECT t0.id FROM t t0{}", joins.collect::<String>())
    };
    let four = ENGINE.prepare(Arc::clone(&view), &chain(4)).await.unwrap();
    assert!(four.kept().is_empty(), "{:?}", four.kept());
    let five = ENGINE.prepare(view, &chain(5)).await.unwrap();
    assert_eq!(
        five.kept(),
        ["a join: one statement joins at most 4 tables"]
    );
}

#[tokio::test]
async fn texts_of_another_encoding_are_compared_here() {
    let postgres = Postgres::start().unwrap();
    postgres
        .sql("CREATE DATABASE japan ENCODING 'EUC_JP' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
        .unwrap();
    let made = postgres
        .client()
        .args([
            "-d",
            "japan",
            "-c",
            "CREATE TABLE t (id text PRIMARY KEY); GRANT SELECT ON t TO PUBLIC",
        ])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let (mut spec, contract) = contract_of(&postgres, "t", &[("id", "logicalType: string")]);
    spec.server.database = "japan".to_owned();
    let source: Source = servers(access(), &postgres)
        .open(&spec, &contract)
        .await
        .unwrap();
    let view = view(&source, RowFilter::default());
    for sql in [
        "SELECT a.id FROM t a JOIN t b ON a.id = b.id",
        "SELECT id, count(*) FROM t GROUP BY id",
    ] {
        let prepared = ENGINE.prepare(Arc::clone(&view), sql).await.unwrap();
        assert_eq!(prepared.kept().len(), 1, "{sql}");
        assert!(rows(&view, sql).await.unwrap().is_empty());
    }
}

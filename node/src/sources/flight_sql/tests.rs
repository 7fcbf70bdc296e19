//! Over a server on loopback: what it is asked, what is read, and what fails how.

mod upstream;

use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::ArrayRef;
use comity_protocol::terms::{Comparison, Literal, Predicate, RowFilter};
use datafusion::prelude::SessionContext;
use futures::TryStreamExt as _;

use self::upstream::{Manner, batch, serve};
use super::*;
use crate::config::Source;
use crate::products::FlightSqlDialect;
use crate::query::QueryError;
use crate::sources::fixture::{rows, view};

/// A contract over [`batch`].
fn contract() -> Table {
    let text = "apiVersion: v3.1.0
kind: DataContract
id: t-1
name: t
version: \"1.0.0\"
status: active
servers:
  - server: lake
    type: custom
    host: localhost
    port: 1
    customProperties: [ { property: comityProtocol, value: arrow-flight-sql } ]
schema:
  - name: t
    properties:
      - { name: id, logicalType: integer }
      - { name: name, logicalType: string }
      - { name: price, logicalType: number, physicalType: \"decimal(10,2)\" }
      - { name: at, logicalType: timestamp }
";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let contract = crate::products::read(file.path()).unwrap_or_else(|e| panic!("{e}"));
    contract.tables()[0].clone()
}

async fn ask(source: &Arc<dyn TableProvider>, sql: &str) -> Result<Vec<String>, QueryError> {
    rows(&view(source, RowFilter::default()), sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_filters_and_limits_travel_and_the_answer_is_this_engines() {
    let upstream = serve(None).await;
    let source = upstream.open().await.unwrap();
    let local = SessionContext::new();
    local.register_batch("t", batch()).unwrap();
    for (sql, asked) in [
        (
            "SELECT id FROM t WHERE id > 95",
            "SELECT \"id\" FROM \"t\" WHERE (\"id\" > 95)",
        ),
        (
            "SELECT count(*) FROM t",
            "SELECT CAST(count(*) AS BIGINT) AS \"c0\" FROM \"t\"",
        ),
        (
            "SELECT id FROM t LIMIT 3",
            "SELECT \"id\" FROM \"t\" LIMIT 3",
        ),
        (
            "SELECT id FROM t WHERE price >= 2.50 LIMIT 100",
            "SELECT \"id\" FROM \"t\" WHERE (\"price\" >= CAST('2.50' AS DECIMAL(10, 2))) LIMIT 100",
        ),
        // Found by the server in any collation, and judged again here.
        (
            "SELECT id FROM t WHERE name = 'Äpfel' LIMIT 100",
            "SELECT \"id\", \"name\" FROM \"t\" WHERE (\"name\" = 'Äpfel')",
        ),
        (
            "SELECT id FROM t WHERE name = 'it''s'",
            "SELECT \"id\", \"name\" FROM \"t\"",
        ),
        (
            "SELECT name FROM t WHERE name > 'b'",
            "SELECT \"name\" FROM \"t\"",
        ),
        (
            "SELECT at FROM t WHERE at > TIMESTAMP '1970-01-01 00:00:00.000097'",
            "SELECT \"at\" FROM \"t\"",
        ),
        (
            "SELECT min(price), count(name) FROM t WHERE id < 50",
            "SELECT CAST(min(\"price\") AS DECIMAL(10, 2)) AS",
        ),
        ("SELECT sum(id) FROM t", "SELECT \"id\" FROM \"t\""),
    ] {
        let mut found = ask(&source, sql).await.unwrap();
        assert!(
            upstream.asked().starts_with(asked),
            "{sql}: {}",
            upstream.asked()
        );
        let direct = local.sql(sql).await.unwrap().collect().await.unwrap();
        let mut expected = Vec::new();
        for batch in direct {
            for row in 0..batch.num_rows() {
                let shown =
                    |c: &ArrayRef| arrow::util::display::array_value_to_string(c, row).unwrap();
                expected.push(
                    batch
                        .columns()
                        .iter()
                        .map(shown)
                        .collect::<Vec<_>>()
                        .join("|"),
                );
            }
        }
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policys_rows_are_all_that_is_counted() {
    let upstream = serve(None).await;
    let source = upstream.open().await.unwrap();
    let value = Literal::Int(50);
    let filter = Predicate::Compare {
        column: "id".to_owned(),
        op: Comparison::GtEq,
        value,
    };
    let view = view(&source, RowFilter([filter].into()));
    let found = rows(&view, "SELECT count(*) FROM t WHERE id < 60").await;
    assert_eq!(found.unwrap(), ["9"]);
    assert!(
        upstream.asked().contains("(\"id\" >= 50)"),
        "{}",
        upstream.asked()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_is_read_and_no_other_server_is_asked() {
    let upstream = serve(None).await;
    let source = upstream.open().await.unwrap();
    upstream.is(Manner::Parts(3));
    assert_eq!(ask(&source, "SELECT name FROM t").await.unwrap().len(), 300);
    upstream.is(Manner::Elsewhere("grpc://127.0.0.1:9"));
    let error = ask(&source, "SELECT name FROM t").await.unwrap_err();
    assert_eq!(error.code(), "source-unavailable");
    assert!(error.owner_detail().unwrap().contains("127.0.0.1:9"));
    upstream.is(Manner::Elsewhere("arrow-flight-reuse-connection://?"));
    assert_eq!(ask(&source, "SELECT name FROM t").await.unwrap().len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_an_error_and_says_what() {
    let upstream = serve(None).await;
    let source = upstream.open().await.unwrap();
    for (manner, code, detail) in [
        (Manner::BreaksOff, "source-unavailable", "broken"),
        (Manner::Stuck, "budget", "in time"),
        (Manner::Silent, "budget", "not begun"),
        (
            Manner::Refuses(tonic::Code::ResourceExhausted),
            "busy",
            "not now",
        ),
        (
            Manner::Refuses(tonic::Code::Internal),
            "source-unavailable",
            "not now",
        ),
        (
            Manner::Runs("SELECT 'x' AS name"),
            "source-unavailable",
            "name of type Utf8",
        ),
        (
            Manner::Runs("SELECT 1 AS name"),
            "source-unavailable",
            "published as Utf8",
        ),
        (
            Manner::Runs("SELECT 'x' AS other"),
            "source-unavailable",
            "other",
        ),
        (
            Manner::Runs("SELECT 'x' AS name, 1"),
            "source-unavailable",
            "more columns",
        ),
    ] {
        upstream.is(manner.clone());
        let answer = ask(&source, "SELECT name FROM t").await;
        if manner == Manner::Runs("SELECT 'x' AS name") {
            // Another text type is read as before.
            assert_eq!(answer.unwrap(), ["x"]);
            continue;
        }
        let error = answer.unwrap_err();
        assert_eq!(error.code(), code, "{manner:?}: {error:?}");
        let said = error.owner_detail().unwrap();
        assert!(said.contains(detail), "{manner:?}: {said}");
    }
    // A value without a place, in a column that fits.
    upstream.is(Manner::Runs(
        "SELECT CAST(1 AS TIMESTAMP) + INTERVAL '1 nanosecond' AS at",
    ));
    let error = ask(&source, "SELECT at FROM t").await.unwrap_err();
    assert!(
        error.owner_detail().unwrap().contains("column at"),
        "{error:?}"
    );
    // A server that goes in the middle of it.
    upstream.is(Manner::Stuck);
    let view = view(&source, RowFilter::default());
    let asking = tokio::spawn(async move { rows(&view, "SELECT name FROM t").await });
    drop(upstream);
    let error = asking.await.unwrap().unwrap_err();
    assert!(
        ["source-unavailable", "budget"].contains(&error.code()),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_ends_the_statement() {
    let upstream = serve(None).await;
    let source = upstream.open().await.unwrap();
    upstream.is(Manner::Stuck);
    let dropped = Arc::clone(&upstream.upstream.dropped);
    // Those of the answers that were read to their end.
    while tokio::time::timeout(Duration::from_millis(1), dropped.notified())
        .await
        .is_ok()
    {}
    let prepared = crate::sources::fixture::ENGINE
        .prepare(view(&source, RowFilter::default()), "SELECT name FROM t")
        .await
        .unwrap();
    let mut stream = prepared.run().await.unwrap();
    assert_eq!(stream.try_next().await.unwrap().unwrap().num_rows(), 100);
    drop(stream);
    tokio::time::timeout(Duration::from_secs(30), dropped.notified())
        .await
        .expect("the server sees that nobody listens");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_names_for_texts_is_not_read() {
    let upstream = serve(None).await;
    upstream.is(Manner::Texts);
    let error = upstream.open().await.unwrap_err();
    assert!(!matches!(error, FlightSqlError::Connect { .. }), "{error}");
    assert!(
        matches!(
            error,
            FlightSqlError::Quotes { .. } | FlightSqlError::Broken { .. }
        ),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_have_no_columns_where_it_has_no_rows() {
    let upstream = serve(None).await;
    upstream.is(Manner::NoColumns);
    let source = upstream.open().await.unwrap();
    let none = ask(&source, "SELECT id FROM t WHERE id > 1000").await;
    assert!(none.unwrap().is_empty());
    assert_eq!(ask(&source, "SELECT id FROM t").await.unwrap().len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_given_once_and_again_when_it_has_run_out() {
    let upstream = serve(Some(("reader", "hunter2"))).await;
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("secret"), "hunter2\n").unwrap();
    let access = |user: Option<&str>| Source {
        username: user.map(str::to_owned),
        password_file: Some("secret".into()),
        ..Source::default()
    };
    let open = |access| upstream.open_as(access, home.path(), FlightSqlDialect::DataFusion);
    let source = open(access(Some("reader"))).await.unwrap();
    assert_eq!(ask(&source, "SELECT max(id) FROM t").await.unwrap(), ["98"]);
    assert_eq!(upstream.upstream.logins.load(Ordering::Relaxed), 1);

    let refused = open(access(Some("other"))).await.unwrap_err();
    assert!(matches!(refused, FlightSqlError::Login { .. }), "{refused}");
    // Without a name, the file is a token.
    let refused = open(access(None)).await.unwrap_err();
    assert!(matches!(refused, FlightSqlError::Login { .. }), "{refused}");
    assert!(!format!("{refused} {refused:?}").contains("hunter2"));
    std::fs::write(home.path().join("secret"), "t0ken").unwrap();
    assert!(open(access(None)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_asked_at_a_time_than_the_owner_says() {
    let upstream = serve(None).await;
    let source = upstream.open().await.unwrap();
    upstream.is(Manner::Stuck);
    let engine = &crate::sources::fixture::ENGINE;
    let mut held = Vec::new();
    for _ in 0..Source::default().connections {
        let view = view(&source, RowFilter::default());
        let prepared = engine.prepare(view, "SELECT name FROM t").await.unwrap();
        let mut stream = prepared.run().await.unwrap();
        stream.try_next().await.unwrap();
        held.push(stream);
    }
    let before = upstream.upstream.asked.lock().unwrap().len();
    let waiting = {
        let source = Arc::clone(&source);
        tokio::spawn(async move { ask(&source, "SELECT id FROM t LIMIT 1").await })
    };
    tokio::task::yield_now().await;
    assert_eq!(upstream.upstream.asked.lock().unwrap().len(), before);
    upstream.is(Manner::Honest);
    drop(held);
    assert_eq!(waiting.await.unwrap().unwrap().len(), 1);
}

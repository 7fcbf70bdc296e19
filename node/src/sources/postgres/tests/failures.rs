//! A server that refuses, is away, changes or breaks off: clear, and never a half answer.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures::StreamExt;

use super::*;
use crate::query::QueryError;

const COLUMNS: [(&str, &str); 2] = [("id", "logicalType: integer"), ("s", "logicalType: string")];
/// More than all buffers on the way hold.
const ROWS: usize = 400_000;

fn create(postgres: &Postgres) {
    let sql = format!(
        "CREATE TABLE t AS SELECT i::bigint AS id, repeat('x', 50) AS s FROM generate_series(1, {ROWS}) i"
    );
    postgres.sql(&sql).unwrap();
}

/// Asks until the server says `expected`.
async fn until(postgres: &Postgres, sql: &str, expected: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while postgres.sql(sql).unwrap() != expected {
        assert!(Instant::now() < deadline, "{sql} is not {expected}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const RUNNING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'comity' AND state = 'active'";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_or_is_away_is_named_to_the_owner_and_to_nobody_else() {
    let mut postgres = Postgres::start().unwrap();
    create(&postgres);
    let (spec, table) = contract(&postgres, &COLUMNS);
    let source = servers(access(), &postgres)
        .open(&spec, &table)
        .await
        .unwrap();
    let view = view(&source, RowFilter::default());

    let wrong = servers(access(), &postgres);
    std::fs::write(postgres.dir().join("password"), "guess").unwrap();
    let error = wrong.open(&spec, &table).await.unwrap_err();
    assert!(
        error.to_string().contains("password authentication failed"),
        "{error}"
    );
    assert!(!error.to_string().contains("guess"));
    std::fs::write(postgres.dir().join("password"), Postgres::PASSWORD).unwrap();

    postgres.down();
    let error = rows(&view, "SELECT count(*) FROM t").await.unwrap_err();
    assert_eq!(error.code(), "source-unavailable");
    assert!(!error.to_string().contains("127.0.0.1"));
    assert!(error.owner_detail().unwrap().contains("127.0.0.1"));

    // The connections of before are of no use, and the table is.
    postgres.up().unwrap();
    let count = rows(&view, "SELECT count(*) FROM t").await.unwrap();
    assert_eq!(count, [ROWS.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_another_shape_is_not_read_as_the_old_one() {
    let postgres = Postgres::start().unwrap();
    create(&postgres);
    let source = open(&postgres, &COLUMNS).await.unwrap();
    let view = view(&source, RowFilter::default());
    for (change, detail) in [
        // Eight bytes as before.
        ("ALTER TABLE t ALTER id TYPE double precision", "float8"),
        ("ALTER TABLE t RENAME id TO number", "does not exist"),
        ("DROP TABLE t", "does not exist"),
    ] {
        postgres.sql(change).unwrap();
        let error = rows(&view, "SELECT id FROM t LIMIT 1").await.unwrap_err();
        assert_eq!(error.code(), "source-unavailable", "{change}");
        let said = error.owner_detail().unwrap();
        assert!(said.contains(detail), "{change}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_rewritten_while_it_is_waited_for_is_read_whole() {
    let postgres = Postgres::start().unwrap();
    create(&postgres);
    let source = open(&postgres, &COLUMNS).await.unwrap();
    let view = view(&source, RowFilter::default());
    let mut writer = postgres.client().stdin(Stdio::piped()).spawn().unwrap();
    let mut input = writer.stdin.take().unwrap();
    let locked = "BEGIN; LOCK TABLE t; CREATE TABLE locked AS SELECT 1; \
                  ALTER TABLE t ADD n double precision DEFAULT random();\n";
    input.write_all(locked.as_bytes()).unwrap();
    let held = "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass AND granted AND mode = 'AccessExclusiveLock'";
    until(&postgres, held, "1").await;
    let asked = tokio::spawn(async move { rows(&view, "SELECT count(id) FROM t").await });
    let waiting = "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass AND NOT granted";
    until(&postgres, waiting, "1").await;
    input.write_all(b"COMMIT;\n").unwrap();
    drop(input);
    assert!(writer.wait().unwrap().success());
    assert_eq!(asked.await.unwrap().unwrap(), [ROWS.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_ends_with_an_error_and_one_that_is_left_stops_the_server() {
    let postgres = Postgres::start().unwrap();
    create(&postgres);
    let source = open(&postgres, &COLUMNS).await.unwrap();
    let view = view(&source, RowFilter::default());
    let prepared = ENGINE.prepare(view, "SELECT id, s FROM t").await.unwrap();

    let mut stream = prepared.run().await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    until(&postgres, RUNNING, "1").await;
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'comity' AND state = 'active'";
    assert_eq!(postgres.sql(kill).unwrap(), "1");
    let (mut seen, mut error) = (first.num_rows(), None);
    while let Some(batch) = stream.next().await {
        match batch {
            Ok(batch) => seen += batch.num_rows(),
            Err(e) => error = Some(QueryError::of(&e)),
        }
    }
    assert!(seen < ROWS, "{seen}");
    assert_eq!(error.unwrap().code(), "source-unavailable");

    let mut stream = prepared.run().await.unwrap();
    stream.next().await.unwrap().unwrap();
    until(&postgres, RUNNING, "1").await;
    drop(stream);
    until(&postgres, RUNNING, "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_beyond_its_time_is_ended_by_the_server_and_the_pool_is_bounded() {
    let postgres = Postgres::start().unwrap();
    postgres
        .sql("CREATE VIEW t AS SELECT 1::bigint AS id, 'x' AS s FROM generate_series(1, 2) i WHERE pg_sleep(30) IS NOT NULL")
        .unwrap();
    let (spec, table) = contract(&postgres, &COLUMNS);
    let access = Source {
        timeout_seconds: 1,
        connections: 1,
        ..access()
    };
    let source = servers(access, &postgres)
        .open(&spec, &table)
        .await
        .unwrap();
    let view = view(&source, RowFilter::default());
    let asked = futures::future::join(
        rows(&view, "SELECT id FROM t"),
        rows(&view, "SELECT s FROM t"),
    );
    let (mut asked, mut most) = (std::pin::pin!(asked), 0);
    let (one, other) = loop {
        tokio::select! {
            answers = &mut asked => break answers,
            () = tokio::time::sleep(Duration::from_millis(10)) => {
                most = most.max(postgres.sql(RUNNING).unwrap().parse::<u32>().unwrap());
            }
        }
    };
    assert_eq!(most, 1);
    let error = one.unwrap_err();
    assert_eq!(other.unwrap_err().code(), "budget");
    assert_eq!(error.code(), "budget", "{error:?}");
    let detail = error.owner_detail().unwrap();
    assert!(detail.contains("statement timeout"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sessions_of_a_node_cannot_write() {
    let postgres = Postgres::start().unwrap();
    postgres
        .sql(
            "CREATE TABLE seen (n int); GRANT ALL ON seen TO reader; \
             CREATE FUNCTION public.f() RETURNS bigint LANGUAGE sql AS 'INSERT INTO public.seen VALUES (1) RETURNING 1::bigint'; \
             CREATE VIEW t AS SELECT f() AS id, 'x' AS s",
        )
        .unwrap();
    let source = open(&postgres, &COLUMNS).await.unwrap();
    let error = rows(&view(&source, RowFilter::default()), "SELECT id FROM t").await;
    let error = error.unwrap_err();
    assert!(
        error
            .owner_detail()
            .unwrap()
            .contains("read-only transaction"),
        "{error:?}"
    );
    assert_eq!(postgres.sql("SELECT count(*) FROM seen").unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_server_is_believed_by_its_authority_only() {
    let postgres = Postgres::start().unwrap();
    let authority = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        (rcgen::Issuer::new(params, key), pem)
    };
    let ((issuer, own), (_, other)) = (authority("own"), authority("other"));
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    postgres.file("server.crt", &leaf.pem()).unwrap();
    postgres.file("server.key", &key.serialize_pem()).unwrap();
    for (name, pem) in [("own.pem", own), ("other.pem", other)] {
        std::fs::write(postgres.dir().join(name), pem).unwrap();
    }
    for (name, file) in [
        ("ssl_cert_file", "server.crt"),
        ("ssl_key_file", "server.key"),
    ] {
        let file = postgres.dir().join(file);
        let set = format!("ALTER SYSTEM SET {name} = '{}'", file.display());
        postgres.sql(&set).unwrap();
    }
    postgres.sql("ALTER SYSTEM SET ssl = on").unwrap();
    postgres.sql("SELECT pg_reload_conf()").unwrap();
    postgres
        .sql("CREATE VIEW t AS SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        .unwrap();
    let (spec, table) = contract(&postgres, &[("ssl", "logicalType: boolean")]);
    let with = |ca: &str| Source {
        tls: Some(true),
        ca_file: Some(ca.into()),
        ..access()
    };
    let error = servers(with("other.pem"), &postgres)
        .open(&spec, &table)
        .await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    let source = servers(with("own.pem"), &postgres)
        .open(&spec, &table)
        .await
        .unwrap();
    let view = view(&source, RowFilter::default());
    assert_eq!(rows(&view, "SELECT ssl FROM t").await.unwrap(), ["true"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_draft_is_said_with_what_to_do() {
    let mut postgres = Postgres::start().unwrap();
    postgres
        .sql(
            "CREATE TABLE orders (id bigint); CREATE TABLE secret_t (id bigint); \
             CREATE SCHEMA closed; CREATE TABLE closed.t (id bigint); \
             GRANT SELECT ON orders TO PUBLIC; REVOKE ALL ON secret_t FROM PUBLIC, reader",
        )
        .unwrap();
    let (spec, _) = contract(&postgres, &COLUMNS);
    let of = |schema: &str, table: &str| PostgresSpec {
        schema: schema.to_owned(),
        table: table.to_owned(),
        ..spec.clone()
    };
    let warehouse = servers(access(), &postgres);
    for (spec, expected) in [
        (
            of("public", "secret_t"),
            "permission denied for table secret_t",
        ),
        (
            of("public", "secret_t"),
            "GRANT SELECT ON \"public\".\"secret_t\" TO \"reader\"",
        ),
        (
            of("closed", "t"),
            "GRANT USAGE ON SCHEMA \"closed\" TO \"reader\"",
        ),
        (of("public", "order"), "the user can read public.orders"),
        (of("sales", "orders"), "the user can read public.orders"),
        (
            of("public", "nothing_like_it"),
            "the user can read public.orders",
        ),
    ] {
        let error = warehouse.describe(&spec).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("public.secret_t"), "{error}");
    }
    let mut elsewhere = spec.clone();
    elsewhere.server.database = "shoop".to_owned();
    let error = warehouse.describe(&elsewhere).await.unwrap_err();
    assert!(matches!(error, PostgresError::NoDatabase { .. }), "{error}");
    assert!(error.is_of_contract());

    std::fs::write(postgres.dir().join("password"), "guess").unwrap();
    let error = warehouse.describe(&spec).await.unwrap_err();
    assert!(!error.is_of_contract(), "the login is not in the contract");
    let error = error.to_string();
    assert!(error.contains("DATACONTRACT_POSTGRES_PASSWORD"), "{error}");
    assert!(!error.contains("guess"), "{error}");
    std::fs::write(postgres.dir().join("password"), Postgres::PASSWORD).unwrap();

    postgres.down();
    let error = warehouse.describe(&spec).await.unwrap_err();
    assert!(!error.is_of_contract(), "the server may come back");
    assert!(error.to_string().contains("is it running"), "{error}");
}

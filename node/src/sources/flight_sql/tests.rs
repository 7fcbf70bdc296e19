//! Over a server on loopback that answers with an engine, or lies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arrow::array::{
    ArrayRef, Decimal128Array, Int64Array, LargeStringArray, RecordBatch, TimestampNanosecondArray,
};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::server::FlightSqlService;
use arrow_flight::sql::{
    CommandStatementQuery, ProstMessageExt as _, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, Ticket,
};
use comity_protocol::terms::{Comparison, Literal, Predicate, RowFilter};
use datafusion::prelude::SessionContext;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::config::Source;
use crate::products::{FlightSqlDialect, FlightSqlServer};
use crate::query::QueryError;
use crate::sources::fixture::{rows, view};

/// How a server behaves.
#[derive(Clone, Debug, Default, PartialEq)]
enum Manner {
    /// Answers.
    #[default]
    Honest,
    /// Answers in as many parts, each the whole.
    Parts(usize),
    /// Says that the answer lies elsewhere.
    Elsewhere(&'static str),
    /// Plans, and never answers.
    Silent,
    /// Answers one batch and then nothing.
    Stuck,
    /// Answers one batch and then an error.
    BreaksOff,
    /// Takes names for texts.
    Texts,
    /// Has no columns where it has no rows, as ROAPI.
    NoColumns,
    /// Runs another statement.
    Runs(&'static str),
    /// Refuses.
    Refuses(tonic::Code),
}

#[derive(Clone, Default)]
struct Upstream {
    engine: SessionContext,
    manner: Arc<Mutex<Manner>>,
    asked: Arc<Mutex<Vec<String>>>,
    /// Name and password, and how often they were given.
    login: Option<(&'static str, &'static str)>,
    logins: Arc<AtomicU32>,
    /// When an answer was dropped before its end.
    dropped: Arc<Notify>,
}

const TOKEN: &str = "Bearer t0ken";

impl Upstream {
    fn manner(&self) -> Manner {
        self.manner.lock().unwrap().clone()
    }

    fn allows<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let given = request.metadata().get("authorization");
        let right = self.login.is_none() || given.is_some_and(|g| g == TOKEN);
        right
            .then_some(())
            .ok_or_else(|| Status::unauthenticated("who are you?"))
    }
}

#[tonic::async_trait]
impl FlightSqlService for Upstream {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<
        Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>,
        Status,
    > {
        self.logins.fetch_add(1, Ordering::Relaxed);
        let (user, password) = self
            .login
            .ok_or_else(|| Status::unimplemented("no logins"))?;
        let expected = data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes());
        let given = request.metadata().get("authorization");
        if given.is_none_or(|g| *g != format!("Basic {expected}")) {
            return Err(Status::unauthenticated("another name, or another password"));
        }
        let empty: Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(futures::stream::empty());
        let mut response = Response::new(empty);
        response
            .metadata_mut()
            .insert("authorization", TOKEN.parse().unwrap());
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.allows(&request)?;
        self.asked.lock().unwrap().push(query.query.clone());
        let mut endpoint = FlightEndpoint::new();
        let mut parts = 1;
        match self.manner() {
            Manner::Refuses(code) => return Err(Status::new(code, "not now")),
            Manner::Elsewhere(location) => endpoint = endpoint.with_location(location),
            Manner::Parts(n) => parts = n,
            _ => {}
        }
        let statement_handle = query.query.into();
        let ticket = TicketStatementQuery { statement_handle };
        let endpoint = endpoint.with_ticket(Ticket::new(ticket.as_any().encode_to_vec()));
        let info = (0..parts).fold(FlightInfo::new(), |info, _| {
            info.with_endpoint(endpoint.clone())
        });
        Ok(Response::new(info))
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        self.allows(&request)?;
        let mut sql = String::from_utf8(ticket.statement_handle.to_vec()).unwrap();
        let manner = self.manner();
        match manner {
            Manner::Runs(other) => sql = other.to_owned(),
            Manner::Texts => sql = sql.replace('"', "'").replace("FROM 't'", "FROM t"),
            Manner::Silent => futures::future::pending().await,
            _ => {}
        }
        let failed = |e: DataFusionError| Status::invalid_argument(e.to_string());
        let answer = self.engine.sql(&sql).await.map_err(failed)?;
        let schema = Arc::new(answer.schema().as_arrow().clone());
        let batches = answer.collect().await.map_err(failed)?;
        let empty = batches.iter().all(|b| b.num_rows() == 0);
        let schema = match manner == Manner::NoColumns && empty {
            true => Arc::new(Schema::empty()),
            false => schema,
        };
        let batches = batches.into_iter().filter(|b| b.num_rows() > 0);
        let after: Vec<Result<RecordBatch, FlightError>> = match manner {
            Manner::BreaksOff => vec![Err(FlightError::Tonic(Box::new(Status::internal(
                "broken",
            ))))],
            _ => Vec::new(),
        };
        let rest = futures::stream::iter(batches.map(Ok).chain(after));
        let guard = Dropped(Arc::clone(&self.dropped));
        let rest = match manner {
            Manner::Stuck => rest.chain(futures::stream::pending()).boxed(),
            _ => rest.boxed(),
        };
        let rest = rest.inspect(move |_| _ = &guard);
        let messages = FlightDataEncoderBuilder::new()
            .with_schema(schema)
            .build(rest);
        Ok(Response::new(messages.map_err(Status::from).boxed()))
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}

struct Dropped(Arc<Notify>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// A server over the table `t` of [`batch`], until it is dropped.
struct Running {
    upstream: Upstream,
    at: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn batch() -> RecordBatch {
    let id: ArrayRef = Arc::new(Int64Array::from_iter(
        (0..100).map(|i| (i % 10 != 9).then_some(i)),
    ));
    let name = (0..100).map(|i| Some(["a b", "Äpfel", "it's", ""][i % 4]));
    let name: ArrayRef = Arc::new(LargeStringArray::from_iter(name));
    let price = Decimal128Array::from_iter_values((0..100).map(|i| i * 25 - 500));
    let price: ArrayRef = Arc::new(price.with_precision_and_scale(10, 2).unwrap());
    let at = TimestampNanosecondArray::from_iter_values((0..100).map(|i| i * 1_000));
    RecordBatch::try_from_iter([
        ("id", id),
        ("name", name),
        ("price", price),
        ("at", Arc::new(at) as _),
    ])
    .unwrap()
}

async fn serve(login: Option<(&'static str, &'static str)>) -> Running {
    let upstream = Upstream {
        login,
        ..Upstream::default()
    };
    upstream.engine.register_batch("t", batch()).unwrap();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = incoming.local_addr().unwrap();
    let service = FlightServiceServer::new(upstream.clone());
    let server = tonic::transport::Server::builder().add_service(service);
    let task = tokio::spawn(async move {
        let _ = server.serve_with_incoming(incoming).await;
    });
    Running { upstream, at, task }
}

impl Running {
    async fn open_as(
        &self,
        access: Source,
        home: &std::path::Path,
        dialect: FlightSqlDialect,
    ) -> Result<Arc<dyn TableProvider>, FlightSqlError> {
        let server = FlightSqlServer {
            name: "lake".to_owned(),
            host: self.at.ip().to_string(),
            port: self.at.port(),
        };
        let spec = FlightSqlSpec {
            server,
            path: vec!["t".to_owned()],
            dialect,
        };
        let access = BTreeMap::from([("lake".to_owned(), access)]);
        let servers = Servers::new(access, home.to_owned());
        servers.open(&spec, &contract()).await
    }

    async fn open(&self) -> Result<Arc<dyn TableProvider>, FlightSqlError> {
        let access = Source {
            timeout_seconds: 2,
            ..Source::default()
        };
        let home = std::path::Path::new("/");
        self.open_as(access, home, FlightSqlDialect::Plain).await
    }

    fn is(&self, manner: Manner) {
        *self.upstream.manner.lock().unwrap() = manner;
    }

    /// What was asked last.
    fn asked(&self) -> String {
        self.upstream.asked.lock().unwrap().last().unwrap().clone()
    }
}

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

//! A server on loopback that answers with an engine, or lies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{
    ArrayRef, Decimal128Array, Int64Array, LargeStringArray, RecordBatch, TimestampNanosecondArray,
};
use arrow::datatypes::Schema;
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
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::super::{FlightSqlError, Server, Servers};
use super::contract;
use crate::config::Source;
use crate::products::{FlightSqlDialect, FlightSqlServer, FlightSqlSpec};
/// How a server behaves.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Manner {
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
pub(super) struct Upstream {
    engine: SessionContext,
    manner: Arc<Mutex<Manner>>,
    pub(super) asked: Arc<Mutex<Vec<String>>>,
    /// Name and password, and how often they were given.
    login: Option<(&'static str, &'static str)>,
    pub(super) logins: Arc<AtomicU32>,
    /// When an answer was dropped before its end.
    pub(super) dropped: Arc<Notify>,
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
pub(super) struct Running {
    pub(super) upstream: Upstream,
    at: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn batch() -> RecordBatch {
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

pub(super) async fn serve(login: Option<(&'static str, &'static str)>) -> Running {
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
    pub(super) async fn open_as(
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
        let servers = Servers::<Server>::new(access, home.to_owned());
        servers.open(&spec, &contract()).await
    }

    pub(super) async fn open(&self) -> Result<Arc<dyn TableProvider>, FlightSqlError> {
        let access = Source {
            timeout_seconds: 2,
            ..Source::default()
        };
        let home = std::path::Path::new("/");
        self.open_as(access, home, FlightSqlDialect::Plain).await
    }

    pub(super) fn is(&self, manner: Manner) {
        *self.upstream.manner.lock().unwrap() = manner;
    }

    /// What was asked last.
    pub(super) fn asked(&self) -> String {
        self.upstream.asked.lock().unwrap().last().unwrap().clone()
    }
}

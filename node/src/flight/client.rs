//! Asking a partner's node: mutual TLS, and a proof bound to the connection.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt as _};
use arrow_flight::{FlightDescriptor, FlightInfo};
use comity_identity::binding::{Channel as Bound, EXPORTER_BYTES, EXPORTER_LABEL};
use comity_identity::{Digest, Signer};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt as _, TryStreamExt as _};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::{AGREEMENT, BINDING, CODE, GRANT, MAX_MESSAGE_BYTES, PURPOSE, TRACE};
use crate::query::QueryError;

/// How long a connection may take, TLS included.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How long a partner may take to plan.
const PLAN_TIME: Duration = Duration::from_secs(30);

/// Receive windows: the download window belongs to the client, and the
/// defaults hold a stream across a continent to 20 MB/s.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// The way to one partner's peer listener. One connection, made when it is
/// first needed and made again when it breaks.
#[derive(Debug)]
pub struct PeerClient {
    alias: String,
    tls: Arc<ClientConfig>,
    holder: Arc<dyn Signer>,
    leaf: LeafOf,
    live: Mutex<Option<Live>>,
}

/// Gives the certificate that this node presents now, DER.
pub(crate) struct LeafOf(pub(crate) Box<dyn Fn() -> Vec<u8> + Send + Sync>);

impl std::fmt::Debug for LeafOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeafOf")
    }
}

/// Wraps the lookup of the present certificate.
pub(crate) fn leaf_of(leaf: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> LeafOf {
    LeafOf(Box::new(leaf))
}

/// A connection with what a proof on it is bound to.
#[derive(Clone, Debug)]
struct Live {
    service: FlightServiceClient<Channel>,
    exporter: [u8; EXPORTER_BYTES],
    leaf: Vec<u8>,
    address: String,
}

/// One question to a partner.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The agreement that permits it.
    pub agreement: Digest,
    /// The grant chain of whoever asks.
    pub grant: Vec<String>,
    /// The purpose.
    pub purpose: Option<String>,
    /// The trace id.
    pub trace: String,
    /// The statement.
    pub sql: String,
}

/// Why a partner gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No connection.
    #[error("{alias} cannot be reached at {address}: {reason}")]
    Unreachable {
        /// The partner.
        alias: String,
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// The partner refused, with its stable code.
    #[error("{alias} refused: {code}")]
    Refused {
        /// The partner.
        alias: String,
        /// The code.
        code: String,
        /// What it said besides.
        message: String,
    },
    /// The answer made no sense.
    #[error("{alias} answered something that cannot be read: {reason}")]
    Broken {
        /// The partner.
        alias: String,
        /// What.
        reason: String,
    },
}

impl From<ClientError> for QueryError {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::Refused { alias, code, .. } => Self::partner_refused(alias, code),
            ClientError::Unreachable { alias, .. } | ClientError::Broken { alias, .. } => {
                Self::partner_unavailable(alias, error.to_string())
            }
        }
    }
}

impl PeerClient {
    /// A client of the partner called `alias`. `tls` dials its organization
    /// and no other; `holder` is the key that its grants name.
    pub(crate) fn new(
        alias: String,
        tls: Arc<ClientConfig>,
        holder: Arc<dyn Signer>,
        leaf: LeafOf,
    ) -> Self {
        Self {
            alias,
            tls,
            holder,
            leaf,
            live: Mutex::new(None),
        }
    }

    /// Asks the partner at one of `addresses` (`host:port`) and gives the
    /// schema and the rows of its answer.
    ///
    /// A connection that turned out to be dead, or whose proof was refused
    /// because it had been renewed, is made again once; nothing has been read
    /// at that point.
    pub async fn query(
        &self,
        addresses: &[String],
        asked: &Asked,
    ) -> Result<(SchemaRef, SendableRecordBatchStream), ClientError> {
        let mut again = true;
        loop {
            let live = self.connection(addresses).await?;
            match self.ask(live, asked).await {
                Ok(answer) => return Ok(answer),
                Err(status) if again && is_stale(&status) => {
                    *self.live.lock().await = None;
                    again = false;
                }
                Err(status) => return Err(self.refused(&status)),
            }
        }
    }

    async fn ask(
        &self,
        mut live: Live,
        asked: &Asked,
    ) -> Result<(SchemaRef, SendableRecordBatchStream), Status> {
        let command = CommandStatementQuery {
            query: asked.sql.clone(),
            transaction_id: None,
        };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let mut plan = self.signed(descriptor, &live, asked)?;
        plan.set_timeout(PLAN_TIME);
        let info: FlightInfo = live.service.get_flight_info(plan).await?.into_inner();
        let ticket = info
            .endpoint
            .into_iter()
            .next()
            .and_then(|e| e.ticket)
            .ok_or_else(|| Status::internal("the partner gave no ticket"))?;
        let get = self.signed(ticket, &live, asked)?;
        let messages = live.service.do_get(get).await?.into_inner();
        let mut rows = FlightRecordBatchStream::new_from_flight_data(
            messages.map_err(|status| FlightError::Tonic(Box::new(status))),
        );
        // The schema is the first message; the batch that may come with it is kept.
        let first = rows.next().await.transpose().map_err(from_flight)?;
        let schema = rows
            .schema()
            .cloned()
            .ok_or_else(|| Status::internal("the partner sent no schema"))?;
        let alias = self.alias.clone();
        let rest = futures::stream::iter(first.map(Ok))
            .chain(rows)
            .map_err(move |e| {
                let error = error_of(&alias, &from_flight(e));
                DataFusionError::External(Box::new(QueryError::from(error)))
            });
        let stream = RecordBatchStreamAdapter::new(Arc::clone(&schema), rest);
        Ok((schema, Box::pin(stream)))
    }

    /// A request with the claims and the proof for this connection.
    fn signed<T>(&self, message: T, live: &Live, asked: &Asked) -> Result<Request<T>, Status> {
        let last = asked
            .grant
            .last()
            .ok_or_else(|| Status::internal("no grant"))?;
        let bound = Bound {
            exporter: &live.exporter,
            leaf: &live.leaf,
            grant: Digest::of(last.as_bytes()),
        };
        let proof = bound.prove(&*self.holder);
        let mut request = Request::new(message);
        let headers = request.metadata_mut();
        for (name, value) in [
            (AGREEMENT, Some(asked.agreement.to_string())),
            (GRANT, Some(asked.grant.join(" "))),
            (PURPOSE, asked.purpose.clone()),
            (TRACE, Some(asked.trace.clone())),
        ] {
            let Some(value) = value else { continue };
            let value = value
                .parse()
                .map_err(|_| Status::internal("a claim is not a header"))?;
            headers.insert(name, value);
        }
        headers.insert_bin(BINDING, MetadataValue::from_bytes(&proof));
        Ok(request)
    }

    async fn connection(&self, addresses: &[String]) -> Result<Live, ClientError> {
        let mut live = self.live.lock().await;
        if let Some(live) = live.as_ref().filter(|l| addresses.contains(&l.address)) {
            return Ok(live.clone());
        }
        let mut failed = ClientError::Unreachable {
            alias: self.alias.clone(),
            address: "nowhere".to_owned(),
            reason: "its document names no address".to_owned(),
        };
        for address in addresses {
            match self.dial(address).await {
                Ok(made) => {
                    *live = Some(made.clone());
                    return Ok(made);
                }
                Err(reason) => {
                    failed = ClientError::Unreachable {
                        alias: self.alias.clone(),
                        address: address.clone(),
                        reason,
                    };
                }
            }
        }
        Err(failed)
    }

    /// One connection. TLS is made here and handed to tonic whole, because the
    /// proof needs the exporter of exactly this connection.
    async fn dial(&self, address: &str) -> Result<Live, String> {
        let connect = async {
            let tcp = TcpStream::connect(address)
                .await
                .map_err(|e| e.to_string())?;
            tcp.set_nodelay(true).map_err(|e| e.to_string())?;
            // The name is not checked: the verifier looks at the organization instead.
            let name = ServerName::try_from("comity.invalid").map_err(|e| e.to_string())?;
            let connector = TlsConnector::from(Arc::clone(&self.tls));
            connector
                .connect(name, tcp)
                .await
                .map_err(|e| e.to_string())
        };
        let tls = tokio::time::timeout(CONNECT_TIME, connect)
            .await
            .map_err(|_| "no connection in time".to_owned())??;
        let (_, session) = tls.get_ref();
        let exporter = session
            .export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, None)
            .map_err(|e| e.to_string())?;
        let leaf = (self.leaf.0)();
        let once = Arc::new(std::sync::Mutex::new(Some(tls)));
        let connector = tower::service_fn(move |_| {
            let taken = once.lock().ok().and_then(|mut slot| slot.take());
            async move {
                taken.map(TokioIo::new).ok_or_else(|| {
                    // A second connection would have another exporter.
                    std::io::Error::other("the connection has ended")
                })
            }
        });
        let channel = Endpoint::from_static("http://comity.invalid")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_while_idle(true)
            .connect_with_connector(connector)
            .await
            .map_err(|e| e.to_string())?;
        let service = FlightServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES + 1024 * 1024);
        Ok(Live {
            service,
            exporter,
            leaf,
            address: address.to_owned(),
        })
    }

    fn refused(&self, status: &Status) -> ClientError {
        error_of(&self.alias, status)
    }
}

fn error_of(alias: &str, status: &Status) -> ClientError {
    let code = status.metadata().get(CODE).and_then(|c| c.to_str().ok());
    match code {
        Some(code) => ClientError::Refused {
            alias: alias.to_owned(),
            code: code.to_owned(),
            message: status.message().to_owned(),
        },
        None => ClientError::Broken {
            alias: alias.to_owned(),
            reason: status.to_string(),
        },
    }
}

/// Whether a new connection may help: the old one is dead, or the proof was
/// for another one. Nothing was read, so asking again reads nothing twice.
fn is_stale(status: &Status) -> bool {
    let code = status.metadata().get(CODE).and_then(|c| c.to_str().ok());
    match code {
        Some(code) => code == "not-bound" || code == "expired-ticket",
        None => matches!(
            status.code(),
            tonic::Code::Unavailable
                | tonic::Code::Unknown
                | tonic::Code::Cancelled
                | tonic::Code::Internal
        ),
    }
}

fn from_flight(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        error => Status::internal(error.to_string()),
    }
}

//! A small client of a workbench listener, for `comity sql` and the tests.

use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt as _, TryStreamExt as _};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use super::{MAX_MESSAGE_BYTES, MISSING, PARTIAL, PARTITION, PURPOSE, SNAPSHOT};
use crate::query::Partition;

/// A connection to a workbench listener, as one member.
#[derive(Clone, Debug)]
pub struct SqlClient {
    service: FlightSqlServiceClient<Channel>,
}

/// One question to a workbench.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inquiry<'a> {
    /// The statement.
    pub statement: &'a str,
    /// Why it is asked.
    pub purpose: Option<&'a str>,
    /// Whether rows of partners that do not answer may be missing.
    pub partial: bool,
    /// The partition of the answer that is wanted; without, all of it.
    pub partition: Option<Partition>,
}

/// What a workbench answers.
pub struct Reply {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub rows: SendableRecordBatchStream,
    /// What is told after the last of them.
    pub ending: Ending,
}

/// What is known of an answer after its last row.
#[derive(Clone, Debug, Default)]
pub struct Ending(Arc<OnceLock<MetadataMap>>);

impl Ending {
    /// Whose rows are missing, each with the code of why: `PARTNER CODE`.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.told(MISSING)
            .into_iter()
            .flat_map(|all| all.split(','))
    }

    /// The name of the states of the sources that were read, if they have one.
    pub fn snapshot(&self) -> Option<&str> {
        self.told(SNAPSHOT)
    }

    fn told(&self, name: &str) -> Option<&str> {
        self.0.get()?.get(name)?.to_str().ok()
    }
}

/// Why a statement gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// No connection.
    #[error("the workbench at {uri} cannot be reached: {reason}")]
    Unreachable {
        /// Where.
        uri: String,
        /// Why.
        reason: String,
    },
    /// The node refused the statement.
    #[error("{0}")]
    Refused(String),
}

impl SqlClient {
    /// Connects to `uri` (`grpc+tls://host:port` or `grpc://host:port`) with
    /// the organization's CA and a member's token.
    pub async fn connect(uri: &str, ca: Option<&str>, token: &str) -> Result<Self, SqlError> {
        let failed = |reason: String| SqlError::Unreachable {
            uri: uri.to_owned(),
            reason,
        };
        let (scheme, address) = uri
            .split_once("://")
            .ok_or_else(|| failed("it is not a URI".to_owned()))?;
        let channel = match scheme {
            "grpc+tls" => match vouched(ca.unwrap_or_default()) {
                Ok(config) => secure(address, config).await,
                Err(reason) => Err(reason),
            },
            _ => plain(address).await,
        };
        let inner = FlightServiceClient::new(channel.map_err(failed)?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES + 1024 * 1024);
        let mut service = FlightSqlServiceClient::new_from_inner(inner);
        service.set_token(token.to_owned());
        Ok(Self { service })
    }

    /// The Flight service at the other end, without the token.
    pub fn service(&self) -> FlightServiceClient<Channel> {
        self.service.inner().clone()
    }

    /// Runs `statement` and gives the schema and the rows.
    ///
    /// # Errors
    /// The node's refusal.
    pub async fn query(
        &self,
        statement: &str,
        purpose: Option<&str>,
    ) -> Result<(SchemaRef, SendableRecordBatchStream), SqlError> {
        let inquiry = Inquiry {
            statement,
            purpose,
            ..Inquiry::default()
        };
        let reply = self.inquire(&inquiry).await?;
        Ok((reply.schema, reply.rows))
    }

    /// Asks, and gives what the node begins to answer.
    ///
    /// # Errors
    /// The node's refusal.
    pub async fn inquire(&self, inquiry: &Inquiry<'_>) -> Result<Reply, SqlError> {
        let mut service = self.service.clone();
        if let Some(purpose) = inquiry.purpose {
            service.set_header(PURPOSE, purpose);
        }
        if inquiry.partial {
            service.set_header(PARTIAL, "true");
        }
        if let Some(partition) = inquiry.partition {
            service.set_header(PARTITION, partition.to_string());
        }
        let info = service
            .execute(inquiry.statement.to_owned(), None)
            .await
            .map_err(|e| SqlError::Refused(said(&e)))?;
        let ticket = info.endpoint.into_iter().next().and_then(|e| e.ticket);
        let ticket =
            ticket.ok_or_else(|| SqlError::Refused("the node gave no ticket".to_owned()))?;
        let mut rows = service
            .do_get(ticket)
            .await
            .map_err(|e| SqlError::Refused(said(&e)))?;
        let first = rows
            .try_next()
            .await
            .map_err(|e| SqlError::Refused(said(&e)))?;
        let schema = rows.schema().cloned();
        let schema =
            schema.ok_or_else(|| SqlError::Refused("the node sent no schema".to_owned()))?;
        let ending = Ending::default();
        let rest = futures::stream::unfold((rows, ending.clone()), |(mut rows, ending)| async {
            let Some(batch) = rows.next().await else {
                if let Some(trailers) = rows.trailers() {
                    let _ = ending.0.set(trailers);
                }
                return None;
            };
            let batch = batch.map_err(|e| DataFusionError::External(said(&e).into()));
            Some((batch, (rows, ending)))
        });
        let all = futures::stream::iter(first.map(Ok)).chain(rest);
        Ok(Reply {
            schema: Arc::clone(&schema),
            rows: Box::pin(RecordBatchStreamAdapter::new(schema, all)),
            ending,
        })
    }
}

/// A connection to `address` (`host:port`) that everybody on the way can read.
pub(crate) async fn plain(address: &str) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|e| e.to_string())?;
    let endpoint = endpoint.tcp_nodelay(true);
    endpoint.connect().await.map_err(|e| chain(&e))
}

/// What takes only servers for which `ca`, in PEM, vouches.
fn vouched(ca: &str) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in rustls_pki_types::CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots
            .add(certificate.map_err(|e| e.to_string())?)
            .map_err(|e| e.to_string())?;
    }
    let config = ClientConfig::builder_with_provider(comity_identity::tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| e.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A connection to `address` (`host:port`), whose certificate `config` judges.
pub(crate) async fn secure(address: &str, mut config: ClientConfig) -> Result<Channel, String> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let host = address
        .rsplit_once(':')
        .map_or(address, |(host, _)| host)
        .trim_matches(['[', ']'])
        .to_owned();
    let target = address.to_owned();
    let connector = tower::service_fn(move |_| {
        let (config, host, target) = (Arc::clone(&config), host.clone(), target.clone());
        async move {
            let tcp = TcpStream::connect(&target).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
            let tls = TlsConnector::from(config).connect(name, tcp).await?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(tls))
        }
    });
    Endpoint::from_static("http://workbench.invalid")
        .connect_with_connector(connector)
        .await
        .map_err(|e| chain(&e))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// The node's own sentence, without the layers around it.
fn said(error: &arrow_flight::error::FlightError) -> String {
    match error {
        arrow_flight::error::FlightError::Tonic(status) => status.message().to_owned(),
        error => error.to_string(),
    }
}

//! Asking a partner's node: mutual TLS, and a proof bound to the connection.

use std::sync::Arc;

use comity_identity::Signer;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt as _;
use rustls::ClientConfig;
use tokio::sync::Mutex;
use tonic::Status;

use super::{Asked, CODE, PeerChannel, Taker, Workers};
use crate::network::DialPolicy;
use crate::query::{Opened, QueryError};

/// The way to one partner's peer listener. One connection, made when it is
/// first needed and made again when it breaks.
#[derive(Debug)]
pub struct PeerClient {
    alias: String,
    tls: Arc<ClientConfig>,
    holder: Arc<dyn Signer>,
    leaf: LeafOf,
    epoch: Epoch,
    dial: DialPolicy,
    workers: Arc<Workers>,
    live: Mutex<Option<(u64, PeerChannel)>>,
}

/// Gives the certificate that this node presents now, DER.
pub(crate) struct LeafOf(pub(crate) Box<dyn Fn() -> Vec<u8> + Send + Sync>);

impl std::fmt::Debug for LeafOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeafOf")
    }
}

/// Gives a number that rises whenever something is learned about an organization.
pub(crate) struct Epoch(pub(crate) Box<dyn Fn() -> u64 + Send + Sync>);

impl std::fmt::Debug for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Epoch")
    }
}

/// Wraps the lookup of the keyring's epoch.
pub(crate) fn epoch_of(epoch: impl Fn() -> u64 + Send + Sync + 'static) -> Epoch {
    Epoch(Box::new(epoch))
}

/// Wraps the lookup of the present certificate.
pub(crate) fn leaf_of(leaf: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> LeafOf {
    LeafOf(Box::new(leaf))
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
    /// and no other, where `dial` permits, on one of `workers`; `holder` is the key that its grants name.
    pub(crate) fn new(
        alias: String,
        tls: Arc<ClientConfig>,
        holder: Arc<dyn Signer>,
        leaf: LeafOf,
        epoch: Epoch,
        (dial, workers): (DialPolicy, Arc<Workers>),
    ) -> Self {
        Self {
            alias,
            tls,
            holder,
            leaf,
            epoch,
            dial,
            workers,
            live: Mutex::new(None),
        }
    }

    /// Asks the partner at one of `addresses` (`host:port`) and gives what it
    /// begins to answer.
    ///
    /// A connection that turned out to be dead, or whose proof was refused
    /// because it had been renewed, is made again once; nothing has been read
    /// at that point.
    pub async fn query(
        &self,
        addresses: &[String],
        asked: &Asked,
        taker: &Arc<dyn Taker>,
    ) -> Result<Opened, ClientError> {
        let mut again = true;
        loop {
            let live = self.connection(addresses).await?;
            match self.ask(live, asked, taker).await {
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
        live: PeerChannel,
        asked: &Asked,
        taker: &Arc<dyn Taker>,
    ) -> Result<Opened, Status> {
        let answered = live.ask(asked, &*self.holder, taker).await?;
        let alias = self.alias.clone();
        let rows = answered.rows.map_err(move |status| {
            let error = error_of(&alias, &status);
            DataFusionError::External(Box::new(QueryError::from(error)))
        });
        Ok(Opened {
            rows: Box::pin(RecordBatchStreamAdapter::new(answered.schema, rows)),
            snapshot: answered.snapshot,
        })
    }

    async fn connection(&self, addresses: &[String]) -> Result<PeerChannel, ClientError> {
        let mut live = self.live.lock().await;
        // The handshake judged what was known then. When more became known, a
        // key revoked or the organization frozen, it judges anew (I-27, A30).
        let epoch = (self.epoch.0)();
        if let Some((judged, live)) = live.as_ref()
            && *judged == epoch
            && addresses.iter().any(|a| a == live.address())
        {
            return Ok(live.clone());
        }
        let mut failed = ClientError::Unreachable {
            alias: self.alias.clone(),
            address: "nowhere".to_owned(),
            reason: "its document names no address".to_owned(),
        };
        for address in addresses {
            let leaf = (self.leaf.0)();
            match PeerChannel::dial(&self.workers, &self.tls, leaf, address, self.dial).await {
                Ok(made) => {
                    *live = Some((epoch, made.clone()));
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

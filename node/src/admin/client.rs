//! The command line's side of the admin API: HTTP over the node's Unix socket,
//! or with a member's token over loopback TCP.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::api::Failure;

/// The most bytes of an answer that the command line reads: a long catalog.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The longest that any admin call takes: a negotiation with a slow partner.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A client of one node's admin API. Each call opens a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    way: Way,
}

#[derive(Clone)]
enum Way {
    /// As the owner.
    Socket(PathBuf),
    /// As whoever holds the token.
    Token { at: SocketAddr, token: String },
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => f.debug_tuple("Socket").field(path).finish(),
            // The token is a secret.
            Self::Token { at, .. } => f.debug_tuple("Token").field(at).finish(),
        }
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nothing answers on the socket.
    #[error("no node answers at {at}: {source}")]
    NotRunning {
        /// The socket or address tried.
        at: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The node refused, with a reason.
    #[error("{}", .0.message)]
    Refused(Failure),
    /// The connection broke or the answer made no sense.
    #[error("the node's answer could not be read: {0}")]
    Broken(String),
}

impl ClientError {
    /// What the person can do about it.
    pub fn next(&self) -> Option<String> {
        match self {
            Self::NotRunning { .. } => Some(
                "start the node with 'comity up', or name its home folder with --home".to_owned(),
            ),
            Self::Refused(failure) => failure.next.clone(),
            Self::Broken(_) => Some("look at the node's log".to_owned()),
        }
    }

    /// A stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::NotRunning { .. } => "not-running",
            Self::Refused(failure) => &failure.code,
            Self::Broken(_) => "broken-answer",
        }
    }
}

impl Client {
    /// A client of the node that listens on `socket`.
    pub fn new(socket: impl AsRef<Path>) -> Self {
        Self {
            way: Way::Socket(socket.as_ref().to_owned()),
        }
    }

    /// A client of the node whose admin API listens on `at`, as the member who
    /// holds `token`. None unless `at` is of this machine: the token would be
    /// readable on the way.
    pub fn with_token(at: SocketAddr, token: String) -> Option<Self> {
        let way = Way::Token { at, token };
        at.ip().is_loopback().then_some(Self { way })
    }

    /// `GET path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// `POST path` with `body` as JSON.
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|e| ClientError::Broken(e.to_string()))?;
        self.call(Method::POST, path, body.into()).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let call = self.exchange(method, path, body);
        let (status, bytes) = tokio::time::timeout(CALL_TIMEOUT, call)
            .await
            .map_err(|_| ClientError::Broken("no answer within a minute".to_owned()))??;
        if !status.is_success() {
            let failure = serde_json::from_slice(&bytes).unwrap_or_else(|_| Failure {
                code: "http".to_owned(),
                message: format!("the node answered {status}"),
                next: None,
            });
            return Err(ClientError::Refused(failure));
        }
        serde_json::from_slice(&bytes).map_err(|e| ClientError::Broken(e.to_string()))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json");
        let not_running = |at: String| move |source| ClientError::NotRunning { at, source };
        match &self.way {
            Way::Socket(socket) => {
                let at = socket.display().to_string();
                let stream = UnixStream::connect(socket).await.map_err(not_running(at))?;
                Self::talk(stream, request, body).await
            }
            Way::Token { at, token } => {
                let stream = TcpStream::connect(at).await;
                let stream = stream.map_err(not_running(at.to_string()))?;
                let request = request.header("authorization", format!("Bearer {token}"));
                Self::talk(stream, request, body).await
            }
        }
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        stream: S,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let broken = |e: &dyn std::fmt::Display| ClientError::Broken(e.to_string());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| broken(&e))?;
        // Ends with the sender; its error is the request's error too.
        let driver = tokio::spawn(connection);
        let request = request.body(Full::new(body)).map_err(|e| broken(&e))?;
        let answer = sender.send_request(request).await.map_err(|e| broken(&e))?;
        let status = answer.status();
        let bytes = Limited::new(answer.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|e| broken(&e))?
            .to_bytes();
        driver.abort();
        Ok((status, bytes))
    }
}

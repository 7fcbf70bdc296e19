//! The way to one Flight SQL server: encryption, login, a bound on how much is
//! asked at a time, and statements that can only read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt as _};
use arrow_flight::{FlightDescriptor, FlightEndpoint, HandshakeRequest, Ticket};
use data_encoding::BASE64;
use prost::Message as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use zeroize::Zeroizing;

use super::error::{FlightSqlError, said};
use crate::config::Source;
use crate::flight::sql_client::{plain, secure};
use crate::products::FlightSqlServer;
use crate::sources::access::{authorities, file, is_local, secret, variable};
use crate::sources::servers;

/// How long a connection may take to be made, and a login.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a statement waits for the end of another one.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How much later than this node a server ends a call.
const SERVER_GRACE: Duration = Duration::from_secs(5);
/// The largest message of a server, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// The most parts of one answer.
const MAX_ENDPOINTS: usize = 10_000;
/// The location of a part that is to be had where the plan was (Flight's own form).
const REUSE_CONNECTION: &str = "arrow-flight-reuse-connection://";
/// Where the login is read that the configuration does not name.
const USER_VARIABLE: &str = "COMITY_FLIGHT_SQL_USERNAME";
const PASSWORD_VARIABLE: &str = "COMITY_FLIGHT_SQL_PASSWORD";
const TOKEN_VARIABLE: &str = "COMITY_FLIGHT_SQL_TOKEN";

/// One server and how this node connects to it.
pub(in crate::sources) struct Server {
    at: FlightSqlServer,
    access: Source,
    /// Where relative paths of the configuration start.
    home: PathBuf,
    /// As many as the configuration says may be asked at a time.
    room: Arc<Semaphore>,
    live: Mutex<Option<Live>>,
}

/// A connection with the login that it was made with: a changed password makes a new one.
#[derive(Clone)]
struct Live {
    login: Login,
    service: FlightServiceClient<Channel>,
    /// What every call carries.
    authorization: Option<AsciiMetadataValue>,
}

/// As whom the server is asked.
#[derive(Clone, PartialEq, Eq)]
enum Login {
    Nobody,
    Token(Zeroizing<String>),
    Password {
        user: String,
        password: Zeroizing<String>,
    },
}

/// A statement that the server has planned.
pub(super) struct Asked {
    live: Live,
    /// The parts of the answer.
    pub(super) tickets: Vec<Ticket>,
    /// When the whole answer must have been read.
    pub(super) deadline: Instant,
    _room: OwnedSemaphorePermit,
}

impl servers::Server for Server {
    type At = FlightSqlServer;

    fn name(at: &FlightSqlServer) -> &str {
        &at.name
    }

    fn new(at: FlightSqlServer, access: Source, home: PathBuf) -> Self {
        let room = usize::try_from(access.connections).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            at,
            access,
            home,
            room: Arc::new(Semaphore::new(room)),
            live: Mutex::default(),
        }
    }
}

impl Server {
    /// The server's name in the contract.
    pub(super) fn name(&self) -> &str {
        &self.at.name
    }

    /// Has the server plan `sql`, a query over `table` that this node wrote
    /// (`spec/5-data-plane.md#D-192`).
    pub(super) async fn ask(&self, sql: &str, table: &str) -> Result<Asked, FlightSqlError> {
        let room = timeout(WAIT_TIMEOUT, Arc::clone(&self.room).acquire_owned()).await;
        let Ok(Ok(room)) = room else {
            let server = self.at.name.clone();
            let reason = format!(
                "all of its {} connections are in use; raise `connections` in [sources.{server}] of comity.toml if it has room",
                self.access.connections
            );
            return Err(FlightSqlError::Busy { server, reason });
        };
        let allowed = Duration::from_secs(self.access.timeout_seconds.into());
        let deadline = Instant::now() + allowed;
        let mut again = true;
        loop {
            let live = self.live().await?;
            let command = CommandStatementQuery {
                query: sql.to_owned(),
                transaction_id: None,
            };
            let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
            let call = live.request(descriptor, deadline);
            let late = |_| Status::deadline_exceeded("it has not planned the statement");
            let mut service = live.service.clone();
            let info = timeout_at(deadline, service.get_flight_info(call)).await;
            let info = info.map_err(late).flatten();
            match info.map(tonic::Response::into_inner) {
                // A login of before the server was started anew, or that has run out.
                Err(status) if again && status.code() == Code::Unauthenticated => {
                    self.forget();
                    again = false;
                }
                Err(status) => return Err(FlightSqlError::call(&self.at.name, table, &status)),
                Ok(info) => {
                    return Ok(Asked {
                        live,
                        tickets: self.tickets(info.endpoint, table)?,
                        deadline,
                        _room: room,
                    });
                }
            }
        }
    }

    /// The parts of an answer, all of which this server has: its own word for
    /// where they are would send our login, and our node, anywhere
    /// (A28, `spec/5-data-plane.md#D-193`).
    fn tickets(
        &self,
        parts: Vec<FlightEndpoint>,
        table: &str,
    ) -> Result<Vec<Ticket>, FlightSqlError> {
        let broken = |what: &str| FlightSqlError::Broken {
            table: table.to_owned(),
            what: what.to_owned(),
        };
        if parts.is_empty() || parts.len() > MAX_ENDPOINTS {
            return Err(broken("it has no part, or more than are read"));
        }
        let mut tickets = Vec::with_capacity(parts.len());
        for part in parts {
            let here = part.location.is_empty() || part.location.iter().any(|l| self.is(&l.uri));
            if !here {
                let locations = part.location.iter().take(1);
                let to = locations.map(|l| l.uri.chars().take(200).collect());
                let to: Vec<String> = to.collect();
                let server = self.at.name.clone();
                let to = to.join(", ");
                return Err(FlightSqlError::Redirect { server, to });
            }
            tickets.push(part.ticket.ok_or_else(|| broken("a part has no ticket"))?);
        }
        Ok(tickets)
    }

    /// Whether a location is this server.
    fn is(&self, location: &str) -> bool {
        let Some((scheme, at)) = location.split_once("://") else {
            return false;
        };
        let address = at.trim_end_matches('/');
        location.starts_with(REUSE_CONNECTION)
            || (scheme.starts_with("grpc") && address == self.address())
    }

    fn address(&self) -> String {
        let (host, port) = (&self.at.host, self.at.port);
        match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        }
    }

    async fn live(&self) -> Result<Live, FlightSqlError> {
        let login = self.login()?;
        let known = self.lock().clone();
        if let Some(live) = known.filter(|live| live.login == login) {
            return Ok(live);
        }
        // Several at a time may do so; the last one is kept, and each works.
        let made = timeout(CONNECT_TIMEOUT, self.connect(login)).await;
        let live = made.map_err(|_| self.away("it does not answer".to_owned()))??;
        *self.lock() = Some(live.clone());
        Ok(live)
    }

    fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self, login: Login) -> Result<Live, FlightSqlError> {
        // spec/5-data-plane.md#D-184
        let encrypted = self.access.tls.unwrap_or_else(|| !is_local(&self.at.host));
        let address = self.address();
        let channel = match encrypted {
            true => secure(&address, self.tls()?).await,
            false => plain(&address).await,
        };
        let channel = channel.map_err(|reason| self.away(reason))?;
        let mut service =
            FlightServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let authorization = match &login {
            Login::Nobody => None,
            Login::Token(token) => Some(self.header("Bearer", token)?),
            Login::Password { user, password } => {
                let both = Zeroizing::new(format!("{user}:{}", password.as_str()));
                let basic = Zeroizing::new(BASE64.encode(both.as_bytes()));
                let given = self.header("Basic", &basic)?;
                Some(self.handshake(&mut service, given).await?)
            }
        };
        Ok(Live {
            login,
            service,
            authorization,
        })
    }

    /// Gives name and password for a token.
    async fn handshake(
        &self,
        service: &mut FlightServiceClient<Channel>,
        given: AsciiMetadataValue,
    ) -> Result<AsciiMetadataValue, FlightSqlError> {
        let refused = |reason: String| FlightSqlError::Login {
            server: self.at.name.clone(),
            reason,
        };
        let empty = HandshakeRequest::default();
        let mut call = Request::new(futures::stream::iter([empty]));
        call.metadata_mut().insert("authorization", given);
        let answer = service.handshake(call).await;
        let answer = answer.map_err(|status| refused(said(&status)))?;
        if let Some(token) = answer.metadata().get("authorization") {
            let mut token = token.clone();
            token.set_sensitive(true);
            return Ok(token);
        }
        let first = answer.into_inner().message().await;
        let first = first.map_err(|status| refused(said(&status)))?;
        let token = first.map(|first| first.payload).unwrap_or_default();
        let token = std::str::from_utf8(&token).unwrap_or_default();
        if token.is_empty() {
            return Err(refused("it gave no token".to_owned()));
        }
        self.header("Bearer", token)
    }

    fn header(&self, scheme: &str, secret: &str) -> Result<AsciiMetadataValue, FlightSqlError> {
        let text = Zeroizing::new(format!("{scheme} {secret}"));
        let header = AsciiMetadataValue::try_from(text.as_str());
        let mut header = header.map_err(|_| FlightSqlError::Login {
            server: self.at.name.clone(),
            reason: "the token is not of printable characters".to_owned(),
        })?;
        header.set_sensitive(true);
        Ok(header)
    }

    fn login(&self) -> Result<Login, FlightSqlError> {
        let of_file = self.access.password_file.as_ref();
        let of_file = of_file.map(|path| {
            secret(&self.home.join(path)).map_err(|e| self.unusable(path, e.to_string()))
        });
        let of_file = of_file.transpose()?;
        let user = self.access.username.clone();
        let configured = user.is_some() || of_file.is_some();
        let user = user.or_else(|| variable(USER_VARIABLE).filter(|_| !configured));
        Ok(match (user, of_file) {
            (Some(user), password) => {
                let password = password.or_else(|| variable(PASSWORD_VARIABLE).map(Zeroizing::new));
                let password = password.unwrap_or_default();
                Login::Password { user, password }
            }
            (None, Some(token)) => Login::Token(token),
            (None, None) => match variable(TOKEN_VARIABLE) {
                Some(token) => Login::Token(Zeroizing::new(token)),
                None => Login::Nobody,
            },
        })
    }

    /// What checks the server's certificate: the authorities of the configuration,
    /// else those of the system.
    fn tls(&self) -> Result<ClientConfig, FlightSqlError> {
        let roots = match &self.access.ca_file {
            Some(path) => {
                let pem = file(&self.home.join(path)).map_err(|e| e.to_string());
                let roots = pem.and_then(|pem| authorities(&pem));
                roots.map_err(|reason| self.unusable(path, reason))?
            }
            None => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            }
        };
        let provider = comity_identity::tls::provider();
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| self.away(e.to_string()))?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }

    fn unusable(&self, path: &Path, reason: String) -> FlightSqlError {
        FlightSqlError::File {
            server: self.at.name.clone(),
            path: path.to_owned(),
            reason,
        }
    }

    fn away(&self, reason: String) -> FlightSqlError {
        FlightSqlError::Connect {
            server: self.at.name.clone(),
            at: self.address(),
            reason,
        }
    }
}

impl Live {
    /// A call that the server itself ends soon after the deadline, too.
    fn request<T>(&self, message: T, deadline: Instant) -> Request<T> {
        let mut request = Request::new(message);
        // Longer than ours, or the client's own clock would end it with another status.
        let left = deadline.saturating_duration_since(Instant::now());
        request.set_timeout(left + SERVER_GRACE);
        if let Some(authorization) = &self.authorization {
            let headers = request.metadata_mut();
            headers.insert("authorization", authorization.clone());
        }
        request
    }
}

impl Asked {
    /// One part of the answer. Dropping it ends the statement at the server.
    pub(super) async fn part(
        &self,
        ticket: Ticket,
    ) -> Result<Streaming<arrow_flight::FlightData>, Status> {
        let call = self.live.request(ticket, self.deadline);
        let mut service = self.live.service.clone();
        let late = |_| Status::deadline_exceeded("it has not begun to answer");
        let part = timeout_at(self.deadline, service.do_get(call)).await;
        Ok(part.map_err(late)??.into_inner())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, access: Source, home: &Path) -> Server {
        let at = FlightSqlServer {
            name: "lake".to_owned(),
            host: host.to_owned(),
            port: 32010,
        };
        Server::new(at, access, home.to_owned())
    }

    #[test]
    fn a_location_is_the_server_itself_or_another_one() {
        let home = Path::new("/");
        let lake = server("lake.example.org", Source::default(), home);
        for (location, here) in [
            ("grpc+tls://lake.example.org:32010", true),
            ("grpc://lake.example.org:32010/", true),
            ("arrow-flight-reuse-connection://?", true),
            ("grpc+tls://lake.example.org:32011", false),
            ("grpc+tls://lake.example.org", false),
            ("grpc+tls://lake.example.org:32010@other:1", false),
            ("grpc+tls://169.254.169.254:80", false),
            ("http://lake.example.org:32010", false),
            ("", false),
        ] {
            assert_eq!(lake.is(location), here, "{location}");
        }
        let six = server("::1", Source::default(), home);
        assert!(six.is("grpc://[::1]:32010"));
    }

    #[test]
    fn no_secret_shows_where_a_server_is_shown() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("secret"), "hunter2\n").unwrap();
        let mut access = Source {
            password_file: Some("secret".into()),
            ..Source::default()
        };
        let token = server("localhost", access.clone(), home.path());
        assert!(matches!(token.login(), Ok(Login::Token(t)) if **t == *"hunter2"));
        access.username = Some("reader".to_owned());
        let named = server("localhost", access, home.path());
        assert!(matches!(named.login(), Ok(Login::Password { user, .. }) if user == "reader"));
        let header = named.header("Bearer", "hunter2").unwrap();
        assert!(!format!("{named:?} {header:?}").contains("hunter2"));
        let wrong = named.header("Bearer", "hunter2\n").unwrap_err();
        assert!(!format!("{wrong:?} {wrong}").contains("hunter2"));
    }
}

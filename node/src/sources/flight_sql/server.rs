//! The way to one Flight SQL server: a connection, a bound on how much is asked
//! at a time, and statements that can only read.

mod login;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt as _};
use arrow_flight::{FlightDescriptor, FlightEndpoint, Ticket};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use self::login::Login;
use super::error::FlightSqlError;
use crate::config::Source;
use crate::flight::sql_client::{plain, secure};
use crate::products::FlightSqlServer;
use crate::sources::access::is_local;
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
        let authorization = self.authorize(&login, &mut service).await?;
        Ok(Live {
            login,
            service,
            authorization,
        })
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

    pub(super) fn server(host: &str, access: Source, home: &Path) -> Server {
        let at = FlightSqlServer {
            name: "lake".to_owned(),
            host: host.to_owned(),
            port: 32010,
        };
        servers::Server::new(at, access, home.to_owned())
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
}

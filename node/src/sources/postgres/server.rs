//! The way to one database: login, encryption, a bounded pool, and read-only sessions.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use rustls::ClientConfig;
use tokio::runtime::Handle;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{CancelToken, Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

use super::error::{PostgresError, said};
use crate::config::Source;
use crate::products::PostgresServer;
use crate::sources::access::{authorities, file, is_local, secret, variable};
use crate::sources::servers;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a query waits for a connection that another one uses.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Where the user and the password are read that the configuration does not
/// name, as the `datacontract` command reads them.
const USER_VARIABLE: &str = "DATACONTRACT_POSTGRES_USERNAME";
const PASSWORD_VARIABLE: &str = "DATACONTRACT_POSTGRES_PASSWORD";

/// One database and how this node connects to it.
pub(in crate::sources) struct Server {
    at: PostgresServer,
    access: Source,
    /// Where relative paths of the configuration start.
    home: PathBuf,
    pool: Mutex<Option<Connected>>,
}

/// A pool with the login that it was made with: a changed password makes a new one.
#[derive(Clone)]
struct Connected {
    login: Login,
    pool: Pool,
    tls: Tls,
}

#[derive(Clone, PartialEq, Eq)]
struct Login {
    user: String,
    password: Option<Zeroizing<String>>,
}

#[derive(Clone)]
enum Tls {
    Off,
    On(MakeRustlsConnect),
}

impl servers::Server for Server {
    type At = PostgresServer;

    fn name(at: &PostgresServer) -> &str {
        &at.name
    }

    fn new(at: PostgresServer, access: Source, home: PathBuf) -> Self {
        Self {
            at,
            access,
            home,
            pool: Mutex::default(),
        }
    }
}

impl Server {
    /// The server's name in the contract.
    pub(super) fn name(&self) -> &str {
        &self.at.name
    }

    /// The failure of a statement over `table`.
    pub(super) fn failure(&self, table: &str, error: &tokio_postgres::Error) -> PostgresError {
        let user = self.user();
        PostgresError::statement(self.name(), user.as_deref(), table, error)
    }

    /// Begins a transaction that can only read, for so long at most
    /// (`spec/5-data-plane.md#D-150`).
    ///
    /// The rows of one moment (`spec/5-data-plane.md#D-156`), but not REPEATABLE
    /// READ: its snapshot is taken before the first statement waits for the
    /// table's lock, and a table that was rewritten meanwhile looks empty in it.
    /// One statement is one snapshot here as well, and the lock that the
    /// description of a statement takes is held until its copy has its own.
    pub(super) async fn begin(&self) -> Result<Session, PostgresError> {
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; \
             SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL TimeZone = 'UTC'; \
             SET LOCAL statement_timeout = '{}s'",
            self.access.timeout_seconds
        );
        let connected = self.connected()?;
        let mut closed = None;
        // Every connection of the pool may be left over from before the server was started anew.
        for _ in 0..=self.access.connections {
            let client = connected.pool.get().await.map_err(|e| self.refused(&e))?;
            let session = Session {
                token: client.cancel_token(),
                client: Some(client),
                tls: connected.tls.clone(),
                runtime: Handle::current(),
            };
            match session.client()?.batch_execute(&begin).await {
                Ok(()) => return Ok(session),
                Err(e) if e.is_closed() => {
                    session.discard();
                    closed = Some(e);
                }
                Err(e) => return Err(self.unconnected(&e)),
            }
        }
        let reason = closed.map(|e| said(&e)).unwrap_or_default();
        Err(self.failed(reason))
    }

    fn connected(&self) -> Result<Connected, PostgresError> {
        let login = self.login()?;
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connected) = pool.as_ref().filter(|c| c.login == login) {
            return Ok(connected.clone());
        }
        let connected = self.connect(login)?;
        Ok(pool.insert(connected).clone())
    }

    fn connect(&self, login: Login) -> Result<Connected, PostgresError> {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&self.at.host)
            .port(self.at.port)
            .dbname(&self.at.database)
            .user(&login.user)
            .application_name("comity")
            .connect_timeout(CONNECT_TIMEOUT);
        if let Some(password) = &login.password {
            config.password(password.as_bytes());
        }
        let settings = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let encrypted = self.access.tls.unwrap_or_else(|| !is_local(&self.at.host));
        let tls = match encrypted {
            true => Tls::On(MakeRustlsConnect::new(self.authorities()?)),
            false => Tls::Off,
        };
        let manager = match &tls {
            Tls::On(tls) => {
                config.ssl_mode(SslMode::Require);
                Manager::from_config(config, tls.clone(), settings)
            }
            Tls::Off => {
                config.ssl_mode(SslMode::Disable);
                Manager::from_config(config, NoTls, settings)
            }
        };
        let pool = Pool::builder(manager)
            .max_size(usize::try_from(self.access.connections).unwrap_or(usize::MAX))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .build()
            .map_err(|e| self.failed(e.to_string()))?;
        Ok(Connected { login, pool, tls })
    }

    fn user(&self) -> Option<String> {
        let user = self.access.username.clone();
        user.or_else(|| variable(USER_VARIABLE))
    }

    fn login(&self) -> Result<Login, PostgresError> {
        let Some(user) = self.user() else {
            return Err(PostgresError::NoUser {
                server: self.at.name.clone(),
            });
        };
        let password = match &self.access.password_file {
            Some(file) => {
                let password = secret(&self.home.join(file));
                Some(password.map_err(|e| self.unusable(file, e.to_string()))?)
            }
            None => variable(PASSWORD_VARIABLE).map(Zeroizing::new),
        };
        Ok(Login { user, password })
    }

    /// What checks the server's certificate: the authorities of the
    /// configuration and no others, so that no public one can vouch for it.
    fn authorities(&self) -> Result<ClientConfig, PostgresError> {
        let Some(path) = &self.access.ca_file else {
            return Err(PostgresError::NoAuthority {
                server: self.at.name.clone(),
            });
        };
        let unusable = |reason: String| self.unusable(path, reason);
        let pem = file(&self.home.join(path)).map_err(|e| unusable(e.to_string()))?;
        let roots = authorities(&pem).map_err(unusable)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| unusable(e.to_string()))?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }

    fn unusable(&self, path: &Path, reason: String) -> PostgresError {
        PostgresError::File {
            server: self.at.name.clone(),
            path: path.to_owned(),
            reason,
        }
    }

    fn refused(&self, error: &PoolError) -> PostgresError {
        use deadpool_postgres::TimeoutType;
        match error {
            PoolError::Timeout(TimeoutType::Wait) => PostgresError::Busy {
                server: self.at.name.clone(),
            },
            PoolError::Backend(error) => self.unconnected(error),
            other => self.failed(other.to_string()),
        }
    }

    /// Why there is no connection.
    fn unconnected(&self, error: &tokio_postgres::Error) -> PostgresError {
        /// The driver's own words, for which it has no code.
        const NO_PASSWORD: &str = "password missing";
        let (server, at, reason) = (self.at.name.clone(), self.at(), said(error));
        let state = error.code();
        let not_let_in = [
            SqlState::INVALID_PASSWORD,
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        ];
        if state.is_some_and(|state| not_let_in.contains(state)) || reason.contains(NO_PASSWORD) {
            return PostgresError::Login {
                server,
                at,
                user: self.user().unwrap_or_default(),
                reason,
            };
        }
        if state == Some(&SqlState::INVALID_CATALOG_NAME) {
            return PostgresError::NoDatabase { server, at, reason };
        }
        self.failed(reason)
    }

    fn failed(&self, reason: String) -> PostgresError {
        PostgresError::Connect {
            server: self.at.name.clone(),
            at: self.at(),
            reason,
        }
    }

    fn at(&self) -> String {
        format!("{}:{}/{}", self.at.host, self.at.port, self.at.database)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// One transaction on a connection of the pool. Dropped before its end, the
/// statement is cancelled and the connection closed, never used again.
pub(super) struct Session {
    client: Option<Object>,
    token: CancelToken,
    tls: Tls,
    runtime: Handle,
}

impl Session {
    /// The connection.
    pub(super) fn client(&self) -> Result<&Client, PostgresError> {
        // Taken by `end` and by dropping only.
        self.client
            .as_deref()
            .map(|c| &**c)
            .ok_or(PostgresError::Broken {
                table: String::new(),
                what: "its session has ended",
            })
    }

    /// Ends the transaction and gives the connection back.
    pub(super) async fn end(mut self) -> Result<(), tokio_postgres::Error> {
        if let Some(client) = &self.client {
            client.batch_execute("COMMIT").await?;
        }
        drop(self.client.take());
        Ok(())
    }

    /// Closes a connection on which nothing runs.
    fn discard(mut self) {
        drop(self.client.take().map(Object::take));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else {
            return;
        };
        // Out of the pool: what it is still sending belongs to nobody.
        drop(Object::take(client));
        let (token, tls) = (self.token.clone(), self.tls.clone());
        self.runtime.spawn(async move {
            let cancelled = async {
                match tls {
                    Tls::Off => token.cancel_query(NoTls).await,
                    Tls::On(tls) => token.cancel_query(tls).await,
                }
            };
            // The server may be gone, and with it the statement.
            let _ = tokio::time::timeout(CONNECT_TIMEOUT, cancelled).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, access: Source, home: &Path) -> Server {
        let at = PostgresServer {
            name: "warehouse".to_owned(),
            host: host.to_owned(),
            port: 5432,
            database: "shop".to_owned(),
        };
        servers::Server::new(at, access, home.to_owned())
    }

    #[test]
    fn another_machine_is_not_spoken_to_in_the_clear_unless_told() {
        let home = Path::new("/");
        let connect = |host: &str, access: Source| {
            let login = Login {
                user: "u".to_owned(),
                password: None,
            };
            server(host, access, home).connect(login)
        };
        let refused = connect("db.example.org", Source::default());
        assert!(matches!(refused, Err(PostgresError::NoAuthority { .. })));
        let told = Source {
            tls: Some(false),
            ..Source::default()
        };
        assert!(matches!(
            connect("db.example.org", told),
            Ok(Connected { tls: Tls::Off, .. })
        ));
        for local in ["localhost", "127.0.0.1", "::1", "/run/postgresql"] {
            let connected = connect(local, Source::default());
            assert!(matches!(connected, Ok(Connected { tls: Tls::Off, .. })));
        }
    }

    #[test]
    fn no_password_shows_where_a_server_is_shown() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("secret"), "hunter2\n").unwrap();
        let access = Source {
            username: Some("reader".to_owned()),
            password_file: Some("secret".into()),
            ..Source::default()
        };
        let server = server("localhost", access, home.path());
        let connected = server.connected().unwrap();
        assert_eq!(**connected.login.password.as_ref().unwrap(), *"hunter2");
        assert!(!format!("{server:?} {:?}", connected.pool.manager()).contains("hunter2"));
        std::fs::write(home.path().join("secret"), "rotated").unwrap();
        assert!(server.connected().unwrap().login != connected.login);
    }
}

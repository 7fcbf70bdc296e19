//! As whom a server is asked, and who vouches for it
//! (`spec/5-data-plane.md#D-184`).

use arrow_flight::HandshakeRequest;
use arrow_flight::flight_service_client::FlightServiceClient;
use data_encoding::BASE64;
use rustls::{ClientConfig, RootCertStore};
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use super::Server;
use crate::sources::access::{authorities, file, secret, variable};
use crate::sources::flight_sql::error::{FlightSqlError, said};

/// Where the login is read that the configuration does not name.
const USER_VARIABLE: &str = "COMITY_FLIGHT_SQL_USERNAME";
const PASSWORD_VARIABLE: &str = "COMITY_FLIGHT_SQL_PASSWORD";
const TOKEN_VARIABLE: &str = "COMITY_FLIGHT_SQL_TOKEN";

/// As whom the server is asked.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    Nobody,
    Token(Zeroizing<String>),
    Password {
        user: String,
        password: Zeroizing<String>,
    },
}

impl Server {
    /// What every call carries.
    pub(super) async fn authorize(
        &self,
        login: &Login,
        service: &mut FlightServiceClient<Channel>,
    ) -> Result<Option<AsciiMetadataValue>, FlightSqlError> {
        Ok(match login {
            Login::Nobody => None,
            Login::Token(token) => Some(self.header("Bearer", token)?),
            Login::Password { user, password } => {
                let both = Zeroizing::new(format!("{user}:{}", password.as_str()));
                let basic = Zeroizing::new(BASE64.encode(both.as_bytes()));
                let given = self.header("Basic", &basic)?;
                Some(self.handshake(service, given).await?)
            }
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

    /// As the configuration, else the environment, says.
    pub(super) fn login(&self) -> Result<Login, FlightSqlError> {
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
    pub(super) fn tls(&self) -> Result<ClientConfig, FlightSqlError> {
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
}

#[cfg(test)]
mod tests {
    use super::super::tests::server;
    use super::*;
    use crate::config::Source;

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

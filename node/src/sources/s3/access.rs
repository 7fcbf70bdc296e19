//! Who may be asked for objects, and with what credentials
//! (`spec/5-data-plane.md#D-184`).

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::products::S3Spec;

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait for one request, its answer included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a request is repeated, and until when.
const RETRIES: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of a file with credentials.
const MAX_FILE_BYTES: u64 = 16 * 1024;

/// As the `datacontract` command reads them.
const KEY_ID: &str = "DATACONTRACT_S3_ACCESS_KEY_ID";
const SECRET: &str = "DATACONTRACT_S3_SECRET_ACCESS_KEY";
const TOKEN: &str = "DATACONTRACT_S3_SESSION_TOKEN";
const REGION: &str = "DATACONTRACT_S3_REGION";
/// A TOML file with `access_key_id`, `secret_access_key` and, if need be,
/// `session_token` and `region`, instead of the four above.
const FILE: &str = "COMITY_S3_CREDENTIALS_FILE";
/// `allow`, to send requests in the clear to servers that are not on loopback.
const PLAIN_HTTP: &str = "COMITY_S3_PLAIN_HTTP";

/// Why a server is not asked. Holds no credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// There are none. Those of the machine itself are never used: they may be another's.
    #[error("there are no credentials for S3; set {KEY_ID} and {SECRET}, or {FILE}")]
    NoCredentials,
    /// The file with them is not one.
    #[error("the credentials in {path}: {reason}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong; no part of the file.
        reason: String,
    },
    /// The requests and their answers could be read on the way.
    #[error(
        "{endpoint} is not https; only a server on loopback may be asked in the clear, or any with {PLAIN_HTTP}=allow"
    )]
    Plain {
        /// The address of the contract.
        endpoint: String,
    },
    /// The address cannot be used.
    #[error("{endpoint} cannot be asked: {reason}", endpoint = endpoint.as_deref().unwrap_or("S3"))]
    Endpoint {
        /// The address of the contract.
        endpoint: Option<String>,
        /// What is wrong with it.
        reason: String,
    },
}

/// The credentials for S3-compatible stores, and where they may be sent.
#[derive(Default)]
pub struct Access {
    credentials: Option<Credentials>,
    file: Option<PathBuf>,
    plain_http: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    #[serde(deserialize_with = "secret")]
    access_key_id: SecretString,
    #[serde(deserialize_with = "secret")]
    secret_access_key: SecretString,
    #[serde(default, deserialize_with = "some_secret")]
    session_token: Option<SecretString>,
    region: Option<String>,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    String::deserialize(from).map(SecretString::from)
}

fn some_secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    secret(from).map(Some)
}

impl Access {
    /// Takes them from variables. A file is read anew for each source that is opened.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let secret = |name| {
            variable(name)
                .filter(|v| !v.is_empty())
                .map(SecretString::from)
        };
        let both = secret(KEY_ID).zip(secret(SECRET));
        Self {
            credentials: both.map(|(access_key_id, secret_access_key)| Credentials {
                access_key_id,
                secret_access_key,
                session_token: secret(TOKEN),
                region: variable(REGION),
            }),
            file: variable(FILE).map(PathBuf::from),
            plain_http: variable(PLAIN_HTTP).as_deref() == Some("allow"),
        }
    }

    pub(super) fn connect(&self, spec: &S3Spec) -> Result<Arc<dyn ObjectStore>, AccessError> {
        let plain = spec
            .endpoint
            .as_deref()
            .filter(|e| !e.starts_with("https://"));
        if let Some(endpoint) = plain.filter(|e| !self.plain_http && !is_loopback(e)) {
            let endpoint = endpoint.to_owned();
            return Err(AccessError::Plain { endpoint });
        }
        let of_file = self.file.as_ref().map(read).transpose()?;
        let credentials = of_file.as_ref().or(self.credentials.as_ref());
        let credentials = credentials.ok_or(AccessError::NoCredentials)?;
        let options = ClientOptions::new()
            .with_allow_http(plain.is_some())
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_timeout(REQUEST_TIMEOUT);
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: RETRIES,
            retry_timeout: RETRY_TIMEOUT,
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&spec.bucket)
            .with_access_key_id(credentials.access_key_id.expose_secret())
            .with_secret_access_key(credentials.secret_access_key.expose_secret())
            .with_region(credentials.region.as_deref().unwrap_or("us-east-1"))
            .with_client_options(options)
            .with_retry(retry);
        if let Some(token) = &credentials.session_token {
            builder = builder.with_token(token.expose_secret());
        }
        if let Some(endpoint) = &spec.endpoint {
            builder = builder
                .with_endpoint(endpoint)
                .with_allow_http(plain.is_some());
        }
        let store = builder.build().map_err(|e| AccessError::Endpoint {
            endpoint: spec.endpoint.clone(),
            reason: e.to_string(),
        })?;
        Ok(Arc::new(store))
    }
}

// Says that there are credentials, and none of them.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("credentials", &self.credentials.is_some())
            .field("file", &self.file)
            .field("plain_http", &self.plain_http)
            .finish()
    }
}

fn read(path: &PathBuf) -> Result<Credentials, AccessError> {
    use std::io::Read;
    use std::os::unix::fs::MetadataExt;
    let wrong = |reason: String| AccessError::File {
        path: path.clone(),
        reason,
    };
    let file = std::fs::File::open(path).map_err(|e| wrong(e.to_string()))?;
    let mode = file.metadata().map_err(|e| wrong(e.to_string()))?.mode();
    if mode & 0o077 != 0 {
        return Err(wrong("others may read the file; chmod 600".to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    let read = file.take(MAX_FILE_BYTES).read_to_string(&mut text);
    read.map_err(|e| wrong(e.to_string()))?;
    // The parser's own message shows the line at fault, which may hold the secret.
    toml::from_str(&text).map_err(|_| {
        wrong("not TOML with access_key_id, secret_access_key, session_token, region".to_owned())
    })
}

/// Whether an address names this machine, by its number or as `localhost`; any
/// other name may lead elsewhere.
fn is_loopback(endpoint: &str) -> bool {
    let authority = endpoint.strip_prefix("http://").unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(host, _)| host),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::products::{Content, Format};

    fn spec(endpoint: &str) -> S3Spec {
        S3Spec {
            endpoint: Some(endpoint.to_owned()),
            bucket: "bucket".to_owned(),
            key: String::new(),
            content: Content::Files(Format::Parquet),
        }
    }

    fn variables(name: &str) -> Option<String> {
        [KEY_ID, SECRET]
            .contains(&name)
            .then(|| "canary".to_owned())
    }

    #[test]
    fn only_loopback_is_asked_in_the_clear_unless_the_owner_allows_it() {
        let access = Access::from_variables(variables);
        let allowed = |name: &str| match name {
            PLAIN_HTTP => Some("allow".to_owned()),
            _ => variables(name),
        };
        let allowed = Access::from_variables(allowed);
        for (endpoint, clear) in [
            ("https://s3.example.com", true),
            ("http://127.0.0.1:9000", true),
            ("http://[::1]:9000", true),
            ("http://localhost:9000", true),
            ("http://s3.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("http://localhost.example.com", false),
            ("http://10.0.0.7:9000", false),
        ] {
            let asked = access.connect(&spec(endpoint));
            let refused = matches!(asked, Err(AccessError::Plain { .. }));
            assert_eq!(refused, !clear, "{endpoint}");
            assert!(allowed.connect(&spec(endpoint)).is_ok(), "{endpoint}");
        }
    }

    #[test]
    fn a_file_with_credentials_is_the_owners_alone_and_never_quoted() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("s3.toml");
        let variable = |name: &str| (name == FILE).then(|| path.display().to_string());
        let access = Access::from_variables(variable);
        let good = "access_key_id = \"a\"\nsecret_access_key = \"canary\"\n";
        for (text, mode, reads) in [
            (good.to_owned(), 0o600, true),
            (good.to_owned(), 0o640, false),
            (good.to_owned(), 0o604, false),
            (format!("{good}other = \"canary\""), 0o600, false),
            (good.replace('=', ":"), 0o600, false),
        ] {
            std::fs::write(&path, &text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            match access.connect(&spec("https://s3.example.com")) {
                Ok(_) => assert!(reads, "{text} {mode:o}"),
                Err(error) => {
                    assert!(!reads, "{text} {mode:o}: {error}");
                    assert!(
                        !format!("{error} {error:?}").contains("canary"),
                        "{error:?}"
                    );
                }
            }
        }
    }
}

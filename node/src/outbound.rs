//! HTTP to a place that the owner named: the issuer of members' tokens, the
//! webhook.

use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};

/// How long an endpoint may take for one answer: a member or a notice waits for it.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// What the authorities of this machine vouch for.
pub(crate) fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// A client that goes where it is sent and nowhere else: no answer sends this
/// node on to another place (A19), and no variable of the environment to a proxy.
///
/// # Errors
/// Why there is none: the settings of TLS do not fit, or the resolver's.
pub(crate) fn client(roots: RootCertStore) -> Result<Client, String> {
    let tls = ClientConfig::builder_with_provider(comity_identity::tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .use_preconfigured_tls(tls)
        .redirect(Policy::none())
        .timeout(ANSWER_TIME)
        .no_proxy()
        .build()
        .map_err(|e| e.to_string())
}

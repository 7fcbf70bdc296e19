//! The workbench listener: Flight SQL for the organization's own members.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;

use super::accept::accept;
use super::prepared::Prepared;
use super::serving::{judged, serve_on};
use super::{Gate, Workers};
use crate::query::Engine;

/// Serves the workbench on `listener` until `stop`, on the threads of `workers`; without
/// `tls` in the clear.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    gate: Arc<dyn Gate>,
    engine: Arc<Engine>,
    workers: Arc<Workers>,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let prepared = Prepared::new(judged(Arc::clone(&gate), engine), gate);
    let accepted = accept(listener, tls, &workers, stop.clone());
    serve_on(accepted, Routes::new(prepared), stop).await
}

/// The token of a call (`spec/5-data-plane.md#D-104`), however the client writes it: `Bearer TOKEN`, `Basic`
/// with any user name and the token as password (Tableau can do nothing else),
/// or the bare token.
pub fn token(metadata: &MetadataMap) -> Option<String> {
    let value = metadata.get("authorization")?.to_str().ok()?.trim();
    let scheme = |name: &str| {
        let (head, rest) = value.split_once(' ')?;
        head.eq_ignore_ascii_case(name).then(|| rest.trim())
    };
    if let Some(token) = scheme("bearer") {
        return Some(token.to_owned());
    }
    if let Some(basic) = scheme("basic") {
        // Clients differ in whether they pad.
        let bytes = STANDARD
            .decode(basic)
            .or_else(|_| STANDARD_NO_PAD.decode(basic))
            .ok()?;
        let text = String::from_utf8(bytes).ok()?;
        return text
            .split_once(':')
            .map(|(_, password)| password.to_owned());
    }
    (!value.contains(' ')).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<String> {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", value.parse().unwrap());
        token(&metadata)
    }

    #[test]
    fn every_clients_way_of_sending_a_token_is_understood() {
        let padded = STANDARD.encode("anyone:comity_x");
        let bare = STANDARD_NO_PAD.encode("anyone:comity_x");
        for value in [
            "Bearer comity_x",
            "bearer  comity_x",
            "comity_x",
            &format!("Basic {padded}"),
            &format!("basic {bare}"),
        ] {
            assert_eq!(read(value).as_deref(), Some("comity_x"), "{value}");
        }
        for value in [
            "Basic !",
            "Digest comity_x",
            &format!("Basic {}", STANDARD.encode("no-colon")),
        ] {
            assert_eq!(read(value), None, "{value}");
        }
    }
}

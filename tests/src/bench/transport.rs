//! Servers and clients of the same batches, to compare how they cross.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use comity_identity::tls::{
    Authority, CurrentLeaf, LeafRequest, PeerName, TlsKey, workbench_server_config,
};
use comity_identity::{Digest, OrgId};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::transport::server::Connected;

use super::Outcome;

/// Rows of a batch, as DataFusion makes them.
const BATCH_ROWS: usize = 8192;

/// Different batches; they are sent again and again.
pub const BATCHES: usize = 16;

/// Batches of one of the two tables, about `bytes` of them together: eight
/// columns of numbers, or a number and two texts of 8 to 64 bytes. The tables
/// `one` and `megabyte` are one row and 16,384 rows of numbers.
pub fn batches(table: &str, bytes: usize) -> Outcome<Vec<RecordBatch>> {
    if matches!(table, "one" | "megabyte") {
        let mut numbers = batches("numbers", 1)?;
        numbers.truncate(2);
        if table == "one" {
            numbers = numbers.iter().take(1).map(|b| b.slice(0, 1)).collect();
        }
        return Ok(numbers);
    }
    let one = |n: usize| -> Outcome<RecordBatch> {
        let rows = || (n * BATCH_ROWS..(n + 1) * BATCH_ROWS).map(scattered);
        let numbers =
            || Arc::new(Int64Array::from_iter_values(rows().map(|r| r as i64))) as ArrayRef;
        let columns: Vec<(&str, ArrayRef)> = match table {
            "numbers" => (0..8)
                .map(|c| {
                    let floats = || Float64Array::from_iter_values(rows().map(|r| r as f64 / 7.0));
                    let column = if c < 4 { numbers() } else { Arc::new(floats()) };
                    (["a", "b", "c", "d", "e", "f", "g", "h"][c], column)
                })
                .collect(),
            _ => {
                let text = |salt: usize| -> ArrayRef {
                    let text = |r: u64| {
                        let r = scattered(r as usize + salt);
                        format!("{r:064x}").split_off(56 - (r % 57) as usize)
                    };
                    Arc::new(StringArray::from_iter_values(rows().map(text)))
                };
                vec![("n", numbers()), ("s", text(1)), ("t", text(2))]
            }
        };
        Ok(RecordBatch::try_from_iter(columns)?)
    };
    let distinct = (0..BATCHES).map(one).collect::<Outcome<Vec<_>>>()?;
    let size: usize = distinct
        .iter()
        .map(RecordBatch::get_array_memory_size)
        .sum();
    let times = (bytes / size).max(1) * BATCHES;
    Ok(distinct.into_iter().cycle().take(times).collect())
}

/// A number that does not compress.
fn scattered(n: usize) -> u64 {
    (n as u64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(31)
}

/// The columns of a table.
pub fn schema(batches: &[RecordBatch]) -> Outcome<SchemaRef> {
    Ok(batches.first().ok_or("no batch")?.schema())
}

/// TLS of a server, as a node's workbench has it.
pub fn server_tls() -> Outcome<Arc<ServerConfig>> {
    let now = comity::clock::now();
    let org = OrgId::from_inception(Digest::of(b"benchmark"));
    let authority = Authority::create(org, TlsKey::generate()?, now)?;
    let key = TlsKey::generate()?;
    let peer = PeerName {
        org,
        node: "node-1".parse()?,
    };
    let request = LeafRequest {
        peer,
        spki: key.spki(),
        dns: Vec::new(),
        ips: Vec::new(),
        at: now,
    };
    let leaf = CurrentLeaf::new(&authority.issue(&request)?, &key)?;
    let clock = Arc::new(rustls::time_provider::DefaultTimeProvider);
    Ok(Arc::new(workbench_server_config(Arc::new(leaf), clock)?))
}

/// TLS of a client that believes whoever it reaches: on loopback, of a server
/// that the benchmark started itself.
pub fn client_tls() -> Outcome<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ED25519,
        ]
    }
}

/// A connection to a server on this machine.
pub async fn dial(port: u16) -> Outcome<tokio_rustls::client::TlsStream<TcpStream>> {
    let connector = TlsConnector::from(client_tls()?);
    let name = ServerName::try_from("benchmark.invalid")?;
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    tcp.set_nodelay(true)?;
    Ok(connector.connect(name, tcp).await?)
}

/// One accepted connection, for tonic.
pub struct Accepted(TlsStream<TcpStream>);

impl Accepted {
    /// The next connection of `listener`.
    pub async fn next(listener: &TcpListener, tls: &TlsAcceptor) -> std::io::Result<Self> {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        tls.accept(tcp).await.map(Self)
    }

    /// The connection itself.
    pub fn into_inner(self) -> TlsStream<TcpStream> {
        self.0
    }
}

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

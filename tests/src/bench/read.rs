//! Clients to compare, each of which reads everything that a server has.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::Arc;

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt as _};
use arrow_flight::{FlightDescriptor, Ticket};
use comity::flight::{PeerChannel, Taker, Workers};
use comity::network::{Area, DialPolicy};
use comity_identity::SecretKey;
use futures::TryStreamExt as _;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

use super::served::{self, Nobody, Running, asked};
use super::{Outcome, transport};

/// What is read.
pub const SQL: &str = "SELECT * FROM bench.t";

/// A connection to a raw server.
pub trait Raw: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Raw for T {}

/// Connects to the raw server at `port`.
///
/// # Errors
/// No connection.
pub async fn raw(port: u16, tls: bool) -> Outcome<Box<dyn Raw>> {
    if tls {
        return Ok(Box::new(transport::dial(port).await?));
    }
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    tcp.set_nodelay(true)?;
    Ok(Box::new(tcp))
}

/// Copies `bytes` from a raw server, and hashes them if `hashed`.
///
/// # Errors
/// The copy broke off.
pub async fn copy(stream: &mut dyn Raw, bytes: usize, hashed: bool) -> Outcome {
    stream.write_u8(1).await?;
    stream.flush().await?;
    let (mut left, mut buffer) = (bytes, vec![0; 256 << 10]);
    let mut hasher = hashed.then(blake3::Hasher::new);
    while left > 0 {
        let most = buffer.len().min(left);
        let read = stream.read(&mut buffer[..most]).await?;
        if read == 0 {
            return Err("the copy broke off".into());
        }
        if let Some(hasher) = &mut hasher {
            hasher.update(&buffer[..read]);
        }
        left -= read;
    }
    hasher.map(|hasher| std::hint::black_box(hasher.finalize()));
    Ok(())
}

/// arrow-flight's own client, with its defaults.
///
/// # Errors
/// No connection.
pub async fn connected(port: u16, tls: bool) -> Outcome<FlightServiceClient<Channel>> {
    let channel = if tls {
        let connector = tower::service_fn(move |_| async move {
            // Made into text at once: what it is need not be sent between threads.
            let stream = transport::dial(port).await.map_err(|e| e.to_string());
            let stream = stream.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        });
        let endpoint = Endpoint::from_static("http://benchmark.invalid");
        endpoint.connect_with_connector(connector).await?
    } else {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?;
        endpoint.tcp_nodelay(true).connect().await?
    };
    Ok(FlightServiceClient::new(channel).max_decoding_message_size(64 << 20))
}

/// The rows that a ticket gives.
///
/// # Errors
/// What the server says.
pub async fn stock_rows(client: &FlightServiceClient<Channel>, ticket: Ticket) -> Outcome<usize> {
    let messages = client.clone().do_get(ticket).await?.into_inner();
    let messages = messages.map_err(|e| FlightError::Tonic(Box::new(e)));
    let rows = FlightRecordBatchStream::new_from_flight_data(messages);
    let rows = rows.try_fold(0, |n, b| async move { Ok(n + b.num_rows()) });
    Ok(rows.await?)
}

/// The rows of a statement, in two calls.
///
/// # Errors
/// What the server says.
pub async fn foreign_rows(client: &FlightServiceClient<Channel>, sql: &str) -> Outcome<usize> {
    let command = CommandStatementQuery {
        query: sql.to_owned(),
        transaction_id: None,
    };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let info = client.clone().get_flight_info(descriptor).await?;
    let ticket = info.into_inner().endpoint.into_iter().next();
    let ticket = ticket.and_then(|e| e.ticket).ok_or("no ticket")?;
    stock_rows(client, ticket).await
}

/// The node's own client of a server.
///
/// # Errors
/// No connection.
pub async fn peer_of(workers: &Workers, port: u16) -> Outcome<PeerChannel> {
    let loopback = DialPolicy::only(&[Area::Loopback]);
    let address = format!("127.0.0.1:{port}");
    let tls = transport::client_tls()?;
    Ok(PeerChannel::dial(workers, &tls, Vec::new(), &address, loopback).await?)
}

/// The rows of a statement, by the node's own client.
///
/// # Errors
/// What the server says.
pub async fn peer_rows(peer: &PeerChannel, sql: &str) -> Outcome<usize> {
    let holder = SecretKey::from_seed(&[7; 32]);
    let taker: Arc<dyn Taker> = Arc::new(Nobody);
    let answered = peer.ask(&asked(sql.to_owned()), &holder, &taker).await?;
    let rows = answered
        .rows
        .try_fold(0, |n, b| async move { Ok(n + b.num_rows()) });
    Ok(rows.await?)
}

/// pyarrow's client, in a process of its own.
#[derive(Debug)]
pub struct Reader {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Reader {
    /// Connects to `of`, which is asked with a statement if `sql` says so, and
    /// with any ticket else.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(of: &Running, tls: bool, sql: Option<&str>) -> Outcome<Self> {
        let (port, tls) = (of.port.to_string(), if tls { "tls" } else { "plain" });
        let mut program = served::python()?;
        let mut child = served::spawned(program.args(["read", tls, &port]).args(sql))?;
        Ok(Self {
            input: child.stdin.take().ok_or("no input")?,
            output: BufReader::new(child.stdout.take().ok_or("no output")?),
            child,
        })
    }

    /// Reads everything once, and gives the rows.
    ///
    /// # Errors
    /// It says nothing.
    pub fn rows(&mut self) -> Outcome<usize> {
        writeln!(self.input)?;
        self.input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        served::end(&mut self.child);
    }
}

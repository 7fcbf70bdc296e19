//! Servers to compare, each a process of its own: the benchmark's own program,
//! started once more with `serve`, or pyarrow's or ROAPI's.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use async_trait::async_trait;
use comity::flight::{
    Asked, Denied, End, Gate, Moved, PeerChannel, Recorder, Right, Served, Session, Taker,
    Unlimited, Workers, workbench,
};
use comity::ledger::Reserved;
use comity::query::{
    Engine, EngineSettings, GovernedTable, Opened, Partner, PartnerTable, QueryError, Question,
    RemoteTable, TableName, View,
};
use comity_identity::{Digest, SecretKey};
use comity_protocol::terms::{RowFilter, TableTerms};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use super::arrow_server::Stock;
use super::{Outcome, read, transport};

/// What every server of this program gives out.
pub const BYTES: usize = 512 << 20;

/// A server that is this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As many bytes as the arrays have, from where they lie.
    Raw,
    /// The same, with a BLAKE3 hash over them.
    Hashed,
    /// The crate arrow-flight.
    Stock,
    /// A governed table at a listener of Comity's.
    Comity,
    /// A table of the server at another port, at a listener of Comity's.
    Relay(u16),
    /// As many bytes as the server at another port gives.
    Copied(u16),
}

impl Kind {
    fn words(self) -> [String; 2] {
        let (name, port) = match self {
            Self::Raw => ("raw", 0),
            Self::Hashed => ("hashed", 0),
            Self::Stock => ("stock", 0),
            Self::Comity => ("comity", 0),
            Self::Relay(port) => ("relay", port),
            Self::Copied(port) => ("copied", port),
        };
        [name.to_owned(), port.to_string()]
    }

    fn of(name: &str, port: &str) -> Outcome<Self> {
        let port = port.parse()?;
        Ok(match name {
            "raw" => Self::Raw,
            "hashed" => Self::Hashed,
            "stock" => Self::Stock,
            "comity" => Self::Comity,
            "relay" => Self::Relay(port),
            "copied" => Self::Copied(port),
            _ => return Err("an unknown kind of server".into()),
        })
    }
}

/// What a server gives out, and how.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// A table of [`transport::batches`], or `one` of a single row.
    pub table: &'a str,
    /// Whether over TLS.
    pub tls: bool,
}

/// Serves, if this program was started to do that, until the other end of its
/// input is gone.
///
/// # Errors
/// Arguments of another form; no socket.
pub async fn serve_if_told() -> Outcome<bool> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, serve, kind, port, table, tls] = &arguments[..] else {
        return Ok(false);
    };
    if serve != "serve" {
        return Err("arguments that nobody knows".into());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    tokio::task::spawn_blocking(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let tls = match tls.as_str() {
        "tls" => Some(transport::server_tls()?),
        _ => None,
    };
    let batches = || transport::batches(table, BYTES);
    match Kind::of(kind, port)? {
        kind @ (Kind::Raw | Kind::Hashed) => {
            let hashed = kind == Kind::Hashed;
            raw(listener, tls.map(TlsAcceptor::from), batches()?, hashed).await?;
        }
        Kind::Copied(port) => copied(listener, tls.map(TlsAcceptor::from), port).await?,
        Kind::Stock => Stock::serve(listener, tls.map(TlsAcceptor::from), batches()?).await?,
        kind => {
            let settings = EngineSettings {
                partitions: 1,
                ..EngineSettings::default()
            };
            let workers = Arc::new(Workers::start()?);
            let view = match kind {
                Kind::Relay(port) => relayed(port, &workers, table).await?,
                _ => governed(batches()?)?,
            };
            let gate = Arc::new(Everybody {
                view,
                // Between partners what moves is counted and hashed; what a
                // relay gives out goes to a member, and so does all in the clear.
                member: kind != Kind::Comity || tls.is_none(),
            });
            let engine = Arc::new(Engine::start(settings)?);
            let stop = CancellationToken::new();
            workbench::serve(listener, tls, gate, engine, workers, stop).await?;
        }
    }
    Ok(true)
}

/// A connection, encrypted or not.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

async fn next(listener: &TcpListener, tls: Option<&TlsAcceptor>) -> Outcome<Box<dyn Wire>> {
    let (tcp, _) = listener.accept().await?;
    tcp.set_nodelay(true)?;
    Ok(match tls {
        Some(tls) => Box::new(tls.accept(tcp).await?),
        None => Box::new(tcp),
    })
}

async fn raw(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    batches: Vec<RecordBatch>,
    hashed: bool,
) -> Outcome {
    let batches = Arc::new(batches);
    loop {
        let mut stream = next(&listener, tls.as_ref()).await?;
        let batches = Arc::clone(&batches);
        tokio::spawn(async move {
            while stream.read_u8().await.is_ok() {
                give(&mut *stream, &batches, hashed).await?;
            }
            std::io::Result::Ok(())
        });
    }
}

async fn give(stream: &mut dyn Wire, batches: &[RecordBatch], hashed: bool) -> std::io::Result<()> {
    let mut hasher = hashed.then(blake3::Hasher::new);
    for column in batches.iter().flat_map(|batch| batch.columns()) {
        for buffer in column.to_data().buffers() {
            if let Some(hasher) = &mut hasher {
                hasher.update(buffer);
            }
            stream.write_all(buffer).await?;
        }
    }
    // Else it would not be computed.
    hasher.map(|hasher| std::hint::black_box(hasher.finalize()));
    stream.flush().await
}

/// What lies between two raw connections: bytes in, bytes out.
async fn copied(listener: TcpListener, tls: Option<TlsAcceptor>, port: u16) -> Outcome {
    loop {
        let mut near = next(&listener, tls.as_ref()).await?;
        let mut far = transport::dial(port).await?;
        tokio::spawn(async move {
            let size = 256 << 10;
            tokio::io::copy_bidirectional_with_sizes(&mut near, &mut far, 1024, size).await
        });
    }
}

const COLUMNS: [&str; 3] = ["own", "bench", "t"];

fn name(catalog: &str) -> TableName {
    let [_, schema, table] = COLUMNS.map(str::to_owned);
    TableName {
        catalog: catalog.to_owned(),
        schema,
        table,
    }
}

fn governed(batches: Vec<RecordBatch>) -> Outcome<Arc<View>> {
    let schema = transport::schema(&batches)?;
    let columns = schema.fields().iter().map(|f| f.name().clone());
    let terms = TableTerms {
        columns: columns.collect(),
        filter: RowFilter(BTreeSet::new()),
        masks: Default::default(),
        protection: None,
    };
    let table = MemTable::try_new(schema, vec![batches])?;
    let table = GovernedTable::new(Arc::new(table), &terms)?;
    Ok(View::builder("own").governed(name("own"), table).build())
}

/// The table of the server at `port`, as a partner's.
async fn relayed(port: u16, workers: &Arc<Workers>, table: &str) -> Outcome<Arc<View>> {
    let batches = transport::batches(table, 1)?;
    let way = Arc::new(Way(read::peer_of(workers, port).await?));
    let remote = RemoteTable {
        product: "bench".to_owned(),
        table: "t".to_owned(),
    };
    let table = PartnerTable::new(way, remote, transport::schema(&batches)?);
    Ok(View::builder("own").partner(name("own"), table).build())
}

/// The connection to the other server.
#[derive(Debug)]
struct Way(PeerChannel);

#[async_trait]
impl Partner for Way {
    fn name(&self) -> &str {
        "other"
    }

    async fn open(&self, question: Question) -> Result<Opened, QueryError> {
        let holder = SecretKey::from_seed(&[7; 32]);
        let taker: Arc<dyn Taker> = Arc::new(Nobody);
        let asked = asked(question.sql);
        let answered = self.0.ask(&asked, &holder, &taker).await;
        let answered =
            answered.map_err(|e| QueryError::partner_unavailable("other", e.to_string()))?;
        let rows = answered.rows;
        let rows = rows.map_err(|e| DataFusionError::External(Box::new(e)));
        Ok(Opened {
            rows: Box::pin(RecordBatchStreamAdapter::new(answered.schema, rows)),
            snapshot: answered.snapshot,
        })
    }
}

/// A question as partners ask them; nobody here looks at the claims.
pub fn asked(sql: String) -> Asked {
    Asked {
        agreement: Digest::of(b"agreement"),
        grant: vec!["grant".to_owned()],
        purpose: None,
        trace: "0123456789abcdef".to_owned(),
        sql,
        partition: None,
    }
}

/// Lets everybody in.
struct Everybody {
    view: Arc<View>,
    member: bool,
}

impl Gate for Everybody {
    fn admit(&self, request: &Request<()>) -> Result<Session, Denied> {
        let trace = request.metadata().get(comity::flight::TRACE);
        let trace = trace
            .and_then(|t| t.to_str().ok())
            .unwrap_or("0123456789abcdef");
        Ok(Session {
            key: "reader".to_owned(),
            view: Arc::clone(&self.view),
            stop: CancellationToken::new(),
            right: Arc::new(Always(watch::Sender::default())),
            member: self.member,
            allowance: Arc::new(Unlimited),
            trace: format!("{trace}fedcba9876543210"),
            recorder: Arc::new(Nobody),
            token: None,
        })
    }
}

#[derive(Debug)]
struct Always(watch::Sender<u64>);

impl Right for Always {
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn changes(&self) -> Vec<watch::Receiver<u64>> {
        vec![self.0.subscribe()]
    }
}

/// Writes nothing down.
#[derive(Debug)]
pub struct Nobody;

#[async_trait]
impl Recorder for Nobody {
    async fn started(&self, _: &Served, _: Option<Reserved>) -> Result<(), Denied> {
        Ok(())
    }
    fn refused(&self, _: &'static str, _: &str) {}
    fn ended(&self, _: &Served, _: Moved, _: Option<&'static str>) {}
}

impl Taker for Nobody {
    fn took(&self, _: String, _: Moved, _: End) {}
}

/// A server's process, which ends with this.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Where it listens.
    pub port: u16,
}

impl Running {
    /// Starts this program as a server.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(kind: Kind, of: Of<'_>) -> Outcome<Self> {
        let [name, port] = kind.words();
        let tls = if of.tls { "tls" } else { "plain" };
        let mut program = Command::new(std::env::current_exe()?);
        Self::told(spawned(
            program.args(["serve", &name, &port, of.table, tls]),
        )?)
    }

    /// pyarrow's server of the same batches, which come over its input.
    ///
    /// # Errors
    /// It does not start, or cannot be told.
    pub fn pyarrow(of: Of<'_>) -> Outcome<Self> {
        let batches = transport::batches(of.table, BYTES)?;
        let distinct = batches.get(..transport::BATCHES).ok_or("few batches")?;
        let times = (batches.len() / distinct.len()).to_string();
        let tls = if of.tls { "tls" } else { "plain" };
        let mut child = spawned(python()?.args(["serve", tls, &times]))?;
        let input = child.stdin.take().ok_or("no input")?;
        let schema = transport::schema(distinct)?;
        let mut writer = StreamWriter::try_new(input, &schema)?;
        for batch in distinct {
            writer.write(batch)?;
        }
        writer.finish()?;
        drop(writer);
        Self::told(child)
    }

    /// ROAPI (`COMITY_ROAPI`) over a file of the same batches in `folder`, in the clear.
    ///
    /// # Errors
    /// There is none, or it does not start.
    pub fn roapi(table: &str, folder: &std::path::Path) -> Outcome<Self> {
        let batches = transport::batches(table, BYTES)?;
        let path = folder.join("t.arrow");
        let file = std::fs::File::create(&path)?;
        let mut writer = FileWriter::try_new(file, &*transport::schema(&batches)?)?;
        for batch in &batches {
            writer.write(batch)?;
        }
        writer.finish()?;
        let free = || -> Outcome<u16> {
            Ok(std::net::TcpListener::bind("127.0.0.1:0")?
                .local_addr()?
                .port())
        };
        let (port, http, postgres) = (free()?, free()?, free()?);
        let at = |port: u16| format!("127.0.0.1:{port}");
        let mut program = Command::new(std::env::var("COMITY_ROAPI")?);
        let program = program
            .args(["--addr-flight-sql", &at(port), "--addr-http", &at(http)])
            .args(["--addr-postgres", &at(postgres), "--table"])
            .arg(format!("t={},format=arrow", path.display()))
            .stderr(Stdio::null());
        let child = spawned(program)?;
        // It reads the whole table before it listens.
        for _ in 0..300 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(Self { child, port });
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let mut child = child;
        end(&mut child);
        Err("ROAPI does not listen".into())
    }

    fn told(mut child: Child) -> Outcome<Self> {
        let mut line = String::new();
        let out = child.stdout.take().ok_or("no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let port = line.trim().parse()?;
        Ok(Self { child, port })
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

pub(super) fn spawned(program: &mut Command) -> std::io::Result<Child> {
    let program = program.stdin(Stdio::piped()).stdout(Stdio::piped());
    program.spawn()
}

pub(super) fn python() -> Outcome<Command> {
    let python = std::env::var("COMITY_PYTHON")?;
    let mut program = Command::new(python);
    program.arg(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/bench/pyarrow_flight.py"
    ));
    Ok(program)
}

/// Only what was started here.
pub(super) fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

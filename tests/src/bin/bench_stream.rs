//! How one answer crosses, beside the same batches over other servers and a copy
//! of as many bytes: `bench/stream.md`.
//!
//! Each server is a process of its own: this program, started with `serve`.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow_flight::Ticket;
use arrow_flight::flight_service_client::FlightServiceClient;
use comity::flight::PeerChannel;
use comity_tests::bench::read::{self, Raw, Reader, SQL};
use comity_tests::bench::served::{BYTES, Kind, Of, Running, serve_if_told};
use comity_tests::bench::{self, Bound, Goal, Outcome, cpu, transport};
use comity_tests::workers;
use tonic::transport::Channel;

/// As a node has it: what threads free for each other is used again.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Interleaved rounds.
const ROUNDS: usize = 9;

fn main() -> Outcome {
    tokio::runtime::Runtime::new()?.block_on(async {
        match serve_if_told().await? {
            true => Ok(()),
            false => measure().await,
        }
    })
}

fn goal(table: &str, measured: &Measured, (way, base, least): (&str, &str, f64)) -> Goal {
    Goal {
        what: format!("{table}: {way}, of {base}"),
        bound: Bound::AtLeast(least),
        figure: measured.ratio(way, base),
    }
}

/// What is measured.
const TABLES: [&str; 2] = ["numbers", "texts"];

/// The names of ways that others are compared with, or that have goals.
const RAW: &str = "raw";
const HASHED: &str = "raw, hashed";
const PYARROW: &str = "pyarrow, both";
const PEER: &str = "Comity, its peer client";
const FOREIGN: &str = "Comity, pyarrow's client";
const COPY: &str = "raw, through a copy of bytes";
const DIRECT: &str = "Comity, direct";
const RELAY: &str = "Comity, through a node";

const LEFT: &str = "\n## What is left\n\n\
     Between two nodes an answer crosses as fast as a bare copy that is hashed at both ends: what is missing to a bare copy \
     is the hash, about 0.13 s of a processor for each GB and end, which is what receipts compare. With two processors for \
     both processes it cannot be hidden on another one. The same hash is most of what one's own node takes over a copy of \
     bytes on the way; beside it texts are checked to be UTF-8 there, since a member's client would believe them. \
     arrow-flight's own client copies each message twice and takes frames of 16 KiB.\n";

/// Who reads.
enum Client {
    Raw(Box<dyn Raw>, bool),
    Stock(FlightServiceClient<Channel>),
    /// arrow-flight's client of a server that wants a statement.
    Sql(FlightServiceClient<Channel>),
    Peer(Box<PeerChannel>),
    /// A process of its own.
    Python(Reader),
}

/// One way of an answer, and what it took over all rounds.
struct Way {
    name: &'static str,
    client: Client,
    /// The processes of servers.
    pids: Vec<u32>,
    times: Vec<Duration>,
    /// Processor time of the servers, one after the other, and of the client.
    cpu: Vec<f64>,
}

impl Way {
    fn new(name: &'static str, servers: &[&Running], client: Client) -> Self {
        Self {
            name,
            client,
            pids: servers.iter().map(|s| s.id()).collect(),
            times: Vec::new(),
            cpu: vec![0.0; servers.len() + 1],
        }
    }

    /// A copy of bytes from the last of `servers`.
    async fn raw(
        name: &'static str,
        servers: &[&Running],
        (tls, hashed): (bool, bool),
    ) -> Outcome<Self> {
        let port = servers.last().ok_or("no server")?.port;
        let client = Client::Raw(read::raw(port, tls).await?, hashed);
        Ok(Self::new(name, servers, client))
    }

    /// pyarrow's client of the last of `servers`.
    fn python(
        name: &'static str,
        servers: &[&Running],
        (tls, sql): (bool, Option<&str>),
    ) -> Outcome<Self> {
        let server = servers.last().ok_or("no server")?;
        let client = Client::Python(Reader::start(server, tls, sql)?);
        Ok(Self::new(name, servers, client))
    }

    async fn rows(&mut self, (rows, bytes): (usize, usize)) -> Outcome<usize> {
        match &mut self.client {
            Client::Raw(stream, hashed) => {
                read::copy(&mut **stream, bytes, *hashed).await?;
                Ok(rows)
            }
            Client::Stock(client) => read::stock_rows(client, Ticket::new("t")).await,
            Client::Sql(client) => read::foreign_rows(client, SQL).await,
            Client::Peer(peer) => read::peer_rows(peer, SQL).await,
            Client::Python(reader) => reader.rows(),
        }
    }

    async fn measure(&mut self, whole: (usize, usize), counts: bool) -> Outcome {
        let client = match &self.client {
            Client::Python(reader) => reader.id(),
            _ => std::process::id(),
        };
        let pids: Vec<u32> = self.pids.iter().copied().chain([client]).collect();
        let before: Vec<f64> = pids.iter().copied().map(cpu).collect();
        let began = Instant::now();
        let read = self.rows(whole).await?;
        let took = began.elapsed();
        if read != whole.0 {
            return Err(format!("{} gave {read} rows of {}", self.name, whole.0).into());
        }
        if counts {
            self.times.push(took);
            let spent = pids.into_iter().map(cpu).zip(before);
            for (sum, (after, before)) in self.cpu.iter_mut().zip(spent) {
                *sum += after - before;
            }
        }
        Ok(())
    }
}

async fn measure() -> Outcome {
    let mut report = format!(
        "# One answer\n\nMade by `make bench-stream`. {}\n\
         {} MiB of arrays in batches of 8,192 rows, on loopback, each server and the client in a process, one \
         connection. *Raw* is a copy of as many bytes, and *raw, hashed* the same with a BLAKE3 hash at both ends, \
         which is what an answer between partners has for its receipt. *arrow-flight*, *pyarrow* and *ROAPI* are plain \
         servers of those names. Comity serves a governed table. Medians of {ROUNDS} interleaved rounds; a ratio is the \
         median of each round's. CPU is of each process on the way, the client last, in seconds for each GB.\n",
        bench::machine(),
        BYTES >> 20
    );
    let mut goals = Vec::new();
    for table in TABLES {
        let measured = encrypted(table).await?;
        report.push_str(&measured.text);
        for (way, base, least) in [
            (PEER, RAW, 0.9),
            (PEER, HASHED, 0.9),
            (PEER, PYARROW, 1.4),
            (FOREIGN, PYARROW, 1.0),
        ] {
            goals.push(goal(table, &measured, (way, base, least)));
        }
    }
    for table in TABLES {
        report.push_str(&plain(table).await?.text);
    }
    for table in TABLES {
        let measured = relayed(table).await?;
        report.push_str(&measured.text);
        goals.push(goal(table, &measured, (RELAY, COPY, 0.9)));
    }
    report.push_str(&bench::goals(&goals));
    report.push_str(LEFT);
    bench::report("stream", &report)
}

/// Between two partners, and from a listener to an ordinary client.
async fn encrypted(table: &str) -> Outcome<Measured> {
    let of = Of { table, tls: true };
    let raw = Running::start(Kind::Raw, of)?;
    let hashed = Running::start(Kind::Hashed, of)?;
    let stock = Running::start(Kind::Stock, of)?;
    let comity = Running::start(Kind::Comity, of)?;
    let pyarrow = Running::pyarrow(of)?;
    let peer = Box::new(read::peer_of(workers(), comity.port).await?);
    let foreign = read::connected(comity.port, true).await?;
    let plain = read::connected(stock.port, true).await?;
    let ways = [
        Way::raw(RAW, &[&raw], (true, false)).await?,
        Way::raw(HASHED, &[&hashed], (true, true)).await?,
        Way::new("arrow-flight, both", &[&stock], Client::Stock(plain)),
        Way::new(PEER, &[&comity], Client::Peer(peer)),
        Way::new(
            "Comity, arrow-flight's client",
            &[&comity],
            Client::Sql(foreign),
        ),
        Way::python(FOREIGN, &[&comity], (true, Some(SQL)))?,
        Way::python(PYARROW, &[&pyarrow], (true, None))?,
    ];
    let bases = [RAW, HASHED, PYARROW];
    of_table(&format!("{table}, TLS 1.3"), table, ways.into(), &bases).await
}

/// From a workbench on loopback without TLS, to members: nothing is hashed.
async fn plain(table: &str) -> Outcome<Measured> {
    let of = Of { table, tls: false };
    let folder = tempfile::tempdir()?;
    let raw = Running::start(Kind::Raw, of)?;
    let stock = Running::start(Kind::Stock, of)?;
    let comity = Running::start(Kind::Comity, of)?;
    let pyarrow = Running::pyarrow(of)?;
    let roapi = Running::roapi(table, folder.path())?;
    let foreign = read::connected(comity.port, false).await?;
    let plain = read::connected(stock.port, false).await?;
    let ways = [
        Way::raw(RAW, &[&raw], (false, false)).await?,
        Way::new("arrow-flight, both", &[&stock], Client::Stock(plain)),
        Way::new(
            "Comity, arrow-flight's client",
            &[&comity],
            Client::Sql(foreign),
        ),
        Way::python(FOREIGN, &[&comity], (false, Some(SQL)))?,
        Way::python(PYARROW, &[&pyarrow], (false, None))?,
        Way::python(
            "ROAPI, pyarrow's client",
            &[&roapi],
            (false, Some("SELECT * FROM t")),
        )?,
    ];
    let bases = [RAW, PYARROW];
    of_table(
        &format!("{table}, in the clear"),
        table,
        ways.into(),
        &bases,
    )
    .await
}

/// Through one's own node, both legs over TLS.
async fn relayed(table: &str) -> Outcome<Measured> {
    let of = Of { table, tls: true };
    let raw = Running::start(Kind::Raw, of)?;
    let copied = Running::start(Kind::Copied(raw.port), of)?;
    let comity = Running::start(Kind::Comity, of)?;
    let relay = Running::start(Kind::Relay(comity.port), of)?;
    let direct = Box::new(read::peer_of(workers(), comity.port).await?);
    let through = Box::new(read::peer_of(workers(), relay.port).await?);
    let ways = [
        Way::raw("raw, direct", &[&raw], (true, false)).await?,
        Way::raw(COPY, &[&raw, &copied], (true, false)).await?,
        Way::new(DIRECT, &[&comity], Client::Peer(direct)),
        Way::new(RELAY, &[&comity, &relay], Client::Peer(through)),
        Way::python(
            "Comity, through a node, pyarrow's client",
            &[&comity, &relay],
            (true, Some(SQL)),
        )?,
    ];
    let bases = [COPY, DIRECT];
    of_table(
        &format!("{table}, through one's own node"),
        table,
        ways.into(),
        &bases,
    )
    .await
}

/// A table of ways, and of each the median of its ratios to each base.
struct Measured {
    text: String,
    ratios: Vec<(&'static str, String, f64)>,
}

impl Measured {
    fn ratio(&self, way: &str, base: &str) -> f64 {
        let mut all = self.ratios.iter();
        let found = all.find(|(name, of, _)| *name == way && of == base);
        found.map_or(f64::NAN, |(_, _, ratio)| *ratio)
    }
}

async fn of_table(
    title: &str,
    table: &str,
    mut ways: Vec<Way>,
    bases: &[&str],
) -> Outcome<Measured> {
    let batches = transport::batches(table, BYTES)?;
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let buffers = batches
        .iter()
        .flat_map(|b| b.columns())
        .map(|c| c.to_data());
    let bytes: usize = buffers
        .flat_map(|data| data.buffers().to_vec())
        .map(|buffer| buffer.len())
        .sum();
    drop(batches);
    // The first round warms up.
    for round in 0..=ROUNDS {
        for way in &mut ways {
            way.measure((rows, bytes), round > 0).await?;
        }
    }
    let gb = bytes as f64 / 1e9;
    let of = |name: &str| {
        ways.iter()
            .find(|w| w.name == name)
            .map(|w| w.times.clone())
    };
    let heads: String = bases.iter().map(|base| format!(" of {base} |")).collect();
    let lines = "---|".repeat(bases.len());
    let mut text =
        format!("\n## {title}\n\n| way | GB/s |{heads} CPU s/GB |\n|---|---|{lines}---|\n");
    let mut all_ratios = Vec::new();
    for way in &ways {
        let seconds: Vec<f64> = way.times.iter().map(Duration::as_secs_f64).collect();
        let of_bases: Vec<f64> = bases
            .iter()
            .map(|base| {
                let base = of(base).unwrap_or_default();
                let ratios = base.iter().zip(&seconds).map(|(b, s)| b.as_secs_f64() / s);
                bench::median(ratios.collect())
            })
            .collect();
        for (base, ratio) in bases.iter().zip(&of_bases) {
            all_ratios.push((way.name, (*base).to_owned(), *ratio));
        }
        let ratios = of_bases.iter().map(|ratio| format!(" {ratio:.2} |"));
        let cpu = way.cpu.iter().map(|cpu| {
            let each = cpu / (gb * seconds.len() as f64);
            format!("{each:.2}")
        });
        text.push_str(&format!(
            "| {} | {:.2} |{} {} |\n",
            way.name,
            gb / bench::median(seconds.clone()),
            ratios.collect::<String>(),
            cpu.collect::<Vec<_>>().join(" + "),
        ));
    }
    Ok(Measured {
        text,
        ratios: all_ratios,
    })
}

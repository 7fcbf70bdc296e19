//! Many questions: one after the other for one row, and many at once:
//! `bench/calls.md`.
//!
//! Each server is a process of its own: this program, started with `serve`.

use std::time::{Duration, Instant};

use arrow_flight::Ticket;
use comity_tests::bench::read::{self, SQL};
use comity_tests::bench::served::{Kind, Of, Running, serve_if_told};
use comity_tests::bench::{self, Bound, Goal, Outcome};
use comity_tests::workers;

/// As a node has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Questions for one row.
const QUESTIONS: usize = 2_000;

/// How long clients ask at once.
const SPAN: Duration = Duration::from_secs(5);

const PEER: &str = "a partner's node, one call";

/// Rows of one answer of many clients: a megabyte.
const ROWS: usize = 2 * 8_192;

fn main() -> Outcome {
    tokio::runtime::Runtime::new()?.block_on(async {
        match serve_if_told().await? {
            true => Ok(()),
            false => measure().await,
        }
    })
}

async fn measure() -> Outcome {
    let mut report = format!(
        "# Many questions\n\nMade by `make bench-calls`. {}\n\
         Over TLS 1.3 on loopback, each server in a process. Grants are not verified here and nothing is journalled; \
         `bench/exchange.md` has both.\n",
        bench::machine()
    );
    let (text, ratio) = one_row().await?;
    report.push_str(&text);
    report.push_str(&at_once().await?);
    report.push_str(&bench::goals(&[Goal {
        what: "one row: a partner's node, of a bare call".to_owned(),
        bound: Bound::AtMost(2.0),
        figure: ratio,
    }]));
    bench::report("calls", &report)
}

/// Questions for one row, one after the other, over warm connections.
async fn one_row() -> Outcome<(String, f64)> {
    let of = Of {
        table: "one",
        tls: true,
    };
    let stock = Running::start(Kind::Stock, of)?;
    let comity = Running::start(Kind::Comity, of)?;
    let relay = Running::start(Kind::Relay(comity.port), of)?;
    let plain = read::connected(stock.port, true).await?;
    let peer = read::peer_of(workers(), comity.port).await?;
    let two = read::connected(comity.port, true).await?;
    let own = read::connected(relay.port, true).await?;
    let names = [
        "arrow-flight, one call",
        PEER,
        "an ordinary client, two calls",
        "an ordinary client through its own node, two calls",
    ];
    let mut times = vec![Vec::new(); names.len()];
    for n in 0..QUESTIONS {
        for (way, times) in times.iter_mut().enumerate() {
            let began = Instant::now();
            let rows = match way {
                0 => read::stock_rows(&plain, Ticket::new("t")).await?,
                1 => read::peer_rows(&peer, SQL).await?,
                2 => read::foreign_rows(&two, SQL).await?,
                _ => read::foreign_rows(&own, SQL).await?,
            };
            let took = began.elapsed();
            if rows != 1 {
                return Err(format!("{rows} rows").into());
            }
            if n >= QUESTIONS / 10 {
                times.push(took);
            }
        }
    }
    let mut text = format!(
        "\n## One row\n\n{QUESTIONS} questions in turns over warm connections, the first tenth not counted. *arrow-flight* \
         is a server that plans nothing and gives a batch that lies there.\n\n\
         | way | p50 | p99 | of arrow-flight, p50 |\n|---|---|---|---|\n"
    );
    let (mut base, mut of_peer) = (None, f64::NAN);
    for (name, times) in names.into_iter().zip(&mut times) {
        let (p50, p99) = (at(times, 50), at(times, 99));
        let base = *base.get_or_insert(p50.as_secs_f64());
        if name == PEER {
            of_peer = p50.as_secs_f64() / base;
        }
        text.push_str(&format!(
            "| {name} | {} µs | {} µs | {:.1} |\n",
            p50.as_micros(),
            p99.as_micros(),
            p50.as_secs_f64() / base
        ));
    }
    Ok((text, of_peer))
}

fn at(times: &mut [Duration], part: usize) -> Duration {
    times.sort();
    let at = times.get(times.len() * part / 100);
    at.copied().unwrap_or_default()
}

/// Clients that ask for a megabyte again and again, each on a connection of its own.
async fn at_once() -> Outcome<String> {
    let of = Of {
        table: "megabyte",
        tls: true,
    };
    let servers = [
        ("arrow-flight", Running::start(Kind::Stock, of)?),
        ("Comity", Running::start(Kind::Comity, of)?),
    ];
    let mut text = format!(
        "\n## Many clients\n\narrow-flight's client, each on a connection of its own, asks for {ROWS} rows (1 MiB) again and \
         again for {} s. *Fairness* is the answers of the client with the fewest over those of the one with the most.\n\n\
         | clients | server | answers/s | p50 | p99 | fairness |\n|---|---|---|---|---|---|\n",
        SPAN.as_secs()
    );
    for clients in [1, 8, 64] {
        for (name, server) in &servers {
            let mut asking = Vec::new();
            let began = Instant::now();
            for _ in 0..clients {
                let client = read::connected(server.port, true).await?;
                let plans = *name == "Comity";
                asking.push(tokio::spawn(async move {
                    let mut times = Vec::new();
                    while began.elapsed() < SPAN {
                        let asked = Instant::now();
                        let rows = match plans {
                            true => read::foreign_rows(&client, SQL).await,
                            false => read::stock_rows(&client, Ticket::new("t")).await,
                        };
                        match rows {
                            Ok(ROWS) => times.push(asked.elapsed()),
                            Ok(rows) => return Err(format!("{rows} rows")),
                            Err(error) => return Err(error.to_string()),
                        }
                    }
                    Ok(times)
                }));
            }
            let mut each = Vec::new();
            for asking in asking {
                each.push(asking.await??);
            }
            let took = began.elapsed().as_secs_f64();
            let (most, fewest) = (
                each.iter().map(Vec::len).max().unwrap_or(0),
                each.iter().map(Vec::len).min().unwrap_or(0),
            );
            let mut all: Vec<Duration> = each.into_iter().flatten().collect();
            let (p50, p99) = (at(&mut all, 50), at(&mut all, 99));
            text.push_str(&format!(
                "| {clients} | {name} | {:.0} | {:.1} ms | {:.1} ms | {:.2} |\n",
                all.len() as f64 / took,
                p50.as_secs_f64() * 1000.0,
                p99.as_secs_f64() * 1000.0,
                fewest as f64 / most.max(1) as f64,
            ));
        }
    }
    Ok(text)
}

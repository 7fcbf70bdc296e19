//! From a request to rows, and a node with nothing to do: `bench/exchange.md`.
//!
//! * from `comity request` to the first row, with agreement by rule: p50 and p95 over 50 runs;
//! * one governed query, warm, through both nodes, against the same query over
//!   the own node's table: a ratio of medians, interleaved in one run;
//! * a node's memory and processor time when nothing happens.

use std::error::Error;
use std::time::{Duration, Instant};

use comity_tests::{Three, ask, bench, reaches, workbench};
use futures::TryStreamExt as _;

/// Runs of the request-to-first-row figure.
const RUNS: usize = 50;

/// Interleaved pairs of the warm query figure.
const PAIRS: usize = 50;

/// How long an idle node is watched.
const IDLE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let three = Three::meet().await?;
    let mut report = format!(
        "# Exchange\n\nMade by `make bench-exchange`. {}",
        bench::machine()
    );

    let first_row = request_to_first_row(&three).await?;
    report.push_str(&format!(
        "\n## From `comity request` to the first row\n\n\
         Agreement by rule at the provider, both signatures journalled and fsynced on both nodes, then one governed row over mTLS. {RUNS} runs on loopback.\n\n\
         | p50 | p95 | min | max |\n|---|---|---|---|\n| {} | {} | {} | {} |\n",
        ms(at(&first_row, 50)), ms(at(&first_row, 95)), ms(at(&first_row, 0)), ms(at(&first_row, 100)),
    ));

    let (near, far) = warm_queries(&three).await?;
    let ratio = at(&far, 50).as_secs_f64() / at(&near, 50).as_secs_f64();
    report.push_str(&format!(
        "\n## One aggregate over 26,115 rows, warm\n\n\
         `SELECT origin, max(wind_speed) … GROUP BY origin`, {PAIRS} interleaved pairs: at the provider's own workbench, and through the consumer's node.\n\n\
         | | p50 | p95 |\n|---|---|---|\n| own node | {} | {} |\n| through both nodes | {} | {} |\n| ratio of medians | {ratio:.2} | |\n",
        ms(at(&near, 50)), ms(at(&near, 95)), ms(at(&far, 50)), ms(at(&far, 95)),
    ));

    let idle = idle(&three).await?;
    report.push_str(&format!(
        "\n## An idle node\n\n\
         Federated with two partners, connected, {} s watched.\n\n\
         | node | RSS | CPU of one core |\n|---|---|---|\n{idle}",
        IDLE.as_secs()
    ));

    bench::report("exchange", &report)
}

async fn request_to_first_row(three: &Three) -> Result<Vec<Duration>, Box<dyn Error>> {
    let client = workbench(&three.port).await?;
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let began = Instant::now();
        let n = ask(&three.port, "weather-service", "weather").await?;
        if n.state != "FINALIZED" {
            reaches(&three.port, &n.id, "FINALIZED").await?;
        }
        let statement = r#"SELECT * FROM "weather-service".weather.weather LIMIT 1"#;
        let (_, mut rows) = client.query(statement, None).await?;
        let first = rows.try_next().await?;
        times.push(began.elapsed());
        assert_eq!(first.map(|b| b.num_rows()), Some(1), "a row came back");
    }
    times.sort();
    Ok(times)
}

async fn warm_queries(three: &Three) -> Result<(Vec<Duration>, Vec<Duration>), Box<dyn Error>> {
    let near_client = workbench(&three.weather).await?;
    let far_client = workbench(&three.port).await?;
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        for (client, times) in [(&near_client, &mut near), (&far_client, &mut far)] {
            let began = Instant::now();
            let statement = r#"SELECT origin, max(wind_speed) FROM "weather-service".weather.weather GROUP BY origin"#;
            let (_, rows) = client.query(statement, None).await?;
            let batches: Vec<_> = rows.try_collect().await?;
            times.push(began.elapsed());
            assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 3);
        }
    }
    near.sort();
    far.sort();
    Ok((near, far))
}

async fn idle(three: &Three) -> Result<String, Box<dyn Error>> {
    let nodes = [&three.port, &three.weather, &three.registry];
    let before: Vec<u64> = nodes.iter().map(|n| ticks(n.pid())).collect();
    tokio::time::sleep(IDLE).await;
    let mut text = String::new();
    for (node, before) in nodes.iter().zip(before) {
        let used = ticks(node.pid()).saturating_sub(before);
        // 100 ticks a second on Linux, for every architecture that this runs on.
        let share = used as f64 / 100.0 / IDLE.as_secs_f64() * 100.0;
        text.push_str(&format!(
            "| {} | {} MiB | {share:.2} % |\n",
            node.alias(),
            bench::memory(node.pid(), "VmRSS")
        ));
    }
    Ok(text)
}

/// User and system time of a process, in clock ticks (proc(5), fields 14 and 15 of stat).
fn ticks(pid: Option<u32>) -> u64 {
    let stat = pid.and_then(|p| std::fs::read_to_string(format!("/proc/{p}/stat")).ok());
    let stat = stat.unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split(' ')
        .collect();
    let field = |n: usize| {
        fields
            .get(n)
            .and_then(|f| f.parse::<u64>().ok())
            .unwrap_or(0)
    };
    field(12) + field(13)
}

/// The value at `percent` of sorted `times`.
fn at(times: &[Duration], percent: usize) -> Duration {
    let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(index).copied().unwrap_or_default()
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

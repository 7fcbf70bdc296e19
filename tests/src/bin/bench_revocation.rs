//! From `comity revoke` to the last byte: `bench/revocation.md`.
//!
//! * 50 answers under way between two nodes, each slowed by its reader: the time
//!   from the start of the command to the last batch at each reader;
//! * a partner that is away when the command runs, and one more with the
//!   revoking node killed and restarted in between: the time from the moment when
//!   the partner's node answers again until it says that the agreement is revoked.

use std::time::{Duration, Instant};

use comity::lab::Org;
use comity_tests::agreements;
use comity_tests::bench::{self, Outcome};
use comity_tests::streams::{Two, agree, begun};
use comity_tests::workbench;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt as _;

/// Answers under way at one time.
const STREAMS: usize = 50;

/// Times that they are cut, for each side.
const ROUNDS: usize = 5;

/// How long a reader pauses after each batch: none reads as fast as it could.
const PAUSE: Duration = Duration::from_millis(25);

/// The scale of `lineitem`: 1,200,000 rows, about 160 MB for each answer.
const SCALE: f64 = 0.2;

/// The longest that a reader waits for its answer to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Room for all of them at once.
const CONCURRENT: u32 = 128;

#[tokio::main]
async fn main() -> Outcome {
    let mut two = Two::meet(SCALE, CONCURRENT).await?;
    let mut report = format!(
        "# Revocation\n\nMade by `make bench-revocation`. {}\n\
         ## From the command to the last byte\n\n\
         {STREAMS} answers under way through two nodes, all of `lineitem` at {SCALE} GB scale each; every reader \
         pauses {} ms after each batch. The clock starts before the process of `comity revoke agreement` does and \
         stops, for each answer, at its last batch. {ROUNDS} rounds for each side. The goal is 250 ms, the bound 1 s, at the 99th percentile.\n\n\
         | taken back by | p50 | p99 | longest | the command itself, median |\n|---|---|---|---|---|\n",
        bench::machine(),
        PAUSE.as_millis(),
    );
    for by_provider in [true, false] {
        let (mut last, mut commands) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (times, command) = cut(&two, by_provider).await?;
            last.extend(times);
            commands.push(command);
            two.agreement = agree(&two.consumer).await?;
        }
        last.sort();
        commands.sort();
        report.push_str(&format!(
            "| the {} | {} | {} | {} | {} |\n",
            if by_provider { "provider" } else { "consumer" },
            ms(at(&last, 50)),
            ms(at(&last, 99)),
            ms(at(&last, 100)),
            ms(at(&commands, 50)),
        ));
    }
    report.push_str(
        "\n## A partner that is away\n\n\
         The consumer's node is stopped, the provider takes the agreement back, the consumer's node starts. From \
         the moment when its node answers until it says that the agreement is revoked.\n\n\
         | | time |\n|---|---|\n",
    );
    for restarted in [false, true] {
        let took = away(&mut two, restarted).await?;
        let what = if restarted {
            "the provider's node killed and restarted in between"
        } else {
            "the provider's node up all the time"
        };
        report.push_str(&format!("| {what} | {} |\n", ms(took)));
        two.agreement = agree(&two.consumer).await?;
    }
    bench::report("revocation", &report)
}

/// One round: the time to the last batch of each answer, and of the command.
async fn cut(two: &Two, by_provider: bool) -> Outcome<(Vec<Duration>, Duration)> {
    let client = workbench(&two.consumer).await?;
    // Each is read from its beginning on: all share one connection between the
    // nodes, and answers that nobody reads would fill its window.
    let (first, mut firsts) = tokio::sync::mpsc::channel(STREAMS);
    let readers: Vec<_> = (0..STREAMS)
        .map(|_| {
            let (client, first) = (client.clone(), first.clone());
            tokio::spawn(async move {
                let rows = begun(&client).await.map_err(|e| e.to_string())?;
                let _ = first.send(()).await;
                Ok::<_, String>(slowly(rows).await)
            })
        })
        .collect();
    for _ in 0..STREAMS {
        tokio::time::timeout(PATIENCE, firsts.recv()).await?;
    }
    // All of them read for a while before anything happens.
    tokio::time::sleep(PAUSE * 5).await;
    let org = if by_provider {
        &two.provider
    } else {
        &two.consumer
    };
    let began = Instant::now();
    revoke(org, two).await?;
    let command = began.elapsed();
    let mut times = Vec::new();
    for reader in readers {
        let (last, ended) = tokio::time::timeout(PATIENCE, reader).await???;
        if !ended {
            return Err("an answer came to its end: it was too short to be cut".into());
        }
        times.push(last.saturating_duration_since(began));
    }
    Ok((times, command))
}

/// Reads with pauses: when the last batch came, and whether the answer was cut.
async fn slowly(mut rows: SendableRecordBatchStream) -> (Instant, bool) {
    let mut last = Instant::now();
    while let Some(batch) = rows.next().await {
        if batch.is_err() {
            return (last, true);
        }
        last = Instant::now();
        tokio::time::sleep(PAUSE).await;
    }
    (last, false)
}

async fn away(two: &mut Two, restarted: bool) -> Outcome<Duration> {
    two.consumer.stop().await?;
    revoke(&two.provider, two).await?;
    if restarted {
        two.provider.kill().await;
        two.provider.start().await?;
    }
    two.consumer.start().await?;
    let began = Instant::now();
    let key = two.agreement.to_string();
    two.consumer
        .until("the notice of revocation", || async {
            let known = agreements(&two.consumer).await?;
            Ok(known.get(&key).filter(|a| a.state == "revoked").map(|_| ()))
        })
        .await?;
    Ok(began.elapsed())
}

async fn revoke(org: &Org, two: &Two) -> Outcome {
    let id = two.agreement.to_string().replace("sha256:", "");
    org.run(&["revoke", "agreement", &id]).await?;
    Ok(())
}

fn at(sorted: &[Duration], percent: usize) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get(last * percent / 100)
        .copied()
        .unwrap_or_default()
}

fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

//! Readers that are slower than what is read.

use std::time::Duration;

use comity_tests::bench::memory;
use comity_tests::streams::{Two, begun, to_the_end};
use comity_tests::{Outcome, workbench};
use futures::StreamExt as _;

/// 1.2 million rows, about 220 MiB of arrays.
const SCALE: f64 = 0.2;

/// How much a node may grow for one answer: the window of its connection, some
/// batches at each step, and what readers of Parquet hold. An answer that is
/// taken in whole is more.
const MOST_MIB: u64 = 120;

/// What both nodes have, in MiB.
fn both(two: &Two) -> [u64; 2] {
    [&two.provider, &two.consumer].map(|org| memory(org.pid(), "VmRSS"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_costs_both_nodes_little_and_misses_nothing() -> Outcome {
    let two = Two::meet(SCALE, 16).await?;
    let client = workbench(&two.consumer).await?;
    // Once to the end: what a node keeps for later answers is no cost of this one.
    let (all, ended) = to_the_end(begun(&client).await?).await;
    assert_eq!(ended, None);
    let before = both(&two);
    let grown = || {
        let now = both(&two).into_iter().zip(before);
        now.map(|(now, before)| now.saturating_sub(before)).max()
    };
    let mut rows = begun(&client).await?;
    let mut most = grown();
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(grown());
    }
    let (mut read, mut batches) = (0, 0_usize);
    while let Some(batch) = rows.next().await {
        read += batch?.num_rows();
        batches += 1;
        if batches.is_multiple_of(16) {
            most = most.max(grown());
        }
    }
    // The first batch of each was read before the count began.
    assert_eq!(read, all);
    assert!(most.is_some_and(|most| most < MOST_MIB), "{most:?} MiB");
    Ok(())
}

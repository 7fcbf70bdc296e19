//! Statements that compute without an end (A50): each is over when its deadline
//! is, or when nobody waits for it, and gives its place back.

use super::*;

/// Rows that all join with each other: a billion pairs.
fn bomb() -> Arc<View> {
    view(rows(batch(std::iter::repeat_n(1, 32_768))))
}

const JOINS: [&str; 3] = [
    // No pair passes the condition, so nothing ever leaves the join.
    "SELECT count(*) FROM t AS a JOIN t AS b ON a.x = b.x AND a.x + b.x < 0",
    "SELECT a.x + b.x, count(*) FROM t AS a JOIN t AS b ON a.x = b.x GROUP BY 1",
    "SELECT a.x + b.x, count(*) FROM t AS a CROSS JOIN t AS b GROUP BY 1",
];

/// So many rows that a single batch beside all of them takes minutes.
fn mountain() -> Arc<View> {
    view(rows(batch(0..4_000_000)))
}

/// Joins that compare everything with everything and yield nothing, or nothing until the end.
const LOOPS: [&str; 6] = [
    "SELECT count(*) FROM t AS a JOIN t AS b ON a.x + b.x < 0",
    "SELECT count(*) FROM t AS a LEFT JOIN t AS b ON a.x * b.x < 0",
    "SELECT count(*) FROM t AS a FULL JOIN t AS b ON a.x + b.x < 0",
    "SELECT count(*) FROM t AS a WHERE EXISTS (SELECT 1 FROM t AS b WHERE b.x + a.x < 0)",
    "SELECT count(*) FROM t AS a WHERE NOT EXISTS (SELECT 1 FROM t AS b WHERE b.x + a.x < 0)",
    "SELECT count(*) FROM t AS a WHERE EXISTS (SELECT 1 FROM t AS b)",
];

#[tokio::test]
async fn the_deadline_ends_joins_that_are_too_large_or_produce_no_row() {
    let engine = engine(|s| (s.deadline, s.max_rows) = (SOON, u64::MAX));
    for sql in JOINS {
        assert_eq!(code(&engine, &bomb(), sql).await, "budget");
        idle(&engine).await;
    }
}

/// A nested loop join asked nobody until one batch had met all rows of the other side.
#[tokio::test]
async fn the_deadline_ends_a_nested_loop_within_a_batch() {
    let engine = engine(|s| (s.deadline, s.max_rows) = (SOON, u64::MAX));
    let mountain = mountain();
    for sql in LOOPS {
        assert_eq!(code(&engine, &mountain, sql).await, "budget", "{sql}");
        idle(&engine).await;
    }
}

#[tokio::test]
async fn dropping_the_answer_stops_busy_joins() {
    let engine = engine(|s| s.max_rows = u64::MAX);
    for sql in JOINS {
        let prepared = engine.prepare(bomb(), sql).await.unwrap();
        drop(prepared.run().await.unwrap());
        idle(&engine).await;
    }
}

#[tokio::test]
async fn dropping_the_answer_stops_a_nested_loop_within_a_batch() {
    let engine = engine(|s| s.max_rows = u64::MAX);
    let mountain = mountain();
    for sql in LOOPS {
        let prepared = engine.prepare(Arc::clone(&mountain), sql).await.unwrap();
        let answer = prepared.run().await.unwrap();
        // Time to fill the side that is kept, so that the loop has begun.
        tokio::time::sleep(SOON / 2).await;
        drop(answer);
        idle(&engine).await;
    }
}

//! Answers without the rows of a partner that does not answer: a part of the
//! whole answer, or none.

use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt as _;
use proptest::prelude::*;

use super::federated::{named, open, organization, remote};
use super::laws::{law_of, plain, plainly, rows_of, sorted, table};
use super::reduced::{Always, joins};
use super::*;

/// How many statements are made.
const STATEMENTS: u32 = 150;

/// A partner that breaks off after so many batches; with none it does not answer.
#[derive(Debug)]
struct Failing(Arc<Loopback>, usize);

#[async_trait::async_trait]
impl Partner for Failing {
    fn name(&self) -> &str {
        "failing"
    }

    async fn open(&self, question: Question) -> Result<Opened, QueryError> {
        let expected = Arc::clone(&question.expected);
        let gone = || QueryError::partner_unavailable("failing", "gone");
        let rows = self.0.open(question).await?.rows;
        if self.1 == 0 {
            return Err(gone());
        }
        let rows = rows.take(self.1);
        let rows = rows.chain(futures::stream::iter([Err(gone().into())]));
        let rows: SendableRecordBatchStream =
            Box::pin(RecordBatchStreamAdapter::new(expected, rows));
        Ok(rows.into())
    }
}

fn failing(far: &Arc<Loopback>, batches: usize, table: &str, rows: &RecordBatch) -> PartnerTable {
    let remote = RemoteTable {
        product: "p".into(),
        table: table.into(),
    };
    let partner: Arc<dyn Partner> = Arc::new(Failing(Arc::clone(far), batches));
    PartnerTable::new(partner, remote, rows.schema())
}

/// Takes each row of `some` out of `all` once.
fn is_part(mut some: Vec<String>, mut all: Vec<String>) -> bool {
    some.sort();
    all.sort();
    let mut all = all.into_iter();
    some.iter().all(|row| all.any(|other| other == *row))
}

#[test]
fn what_comes_without_a_partner_is_a_part_of_the_whole_answer() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let sums = Mutex::new([0; 3]);
    law_of(
        STATEMENTS,
        (
            (rows_of(), rows_of(), rows_of()),
            joins(),
            0_usize..3,
            any::<bool>(),
        ),
        async |((a, b, c), sql, batches, tells)| {
            let (a, b, c) = (table(&a), table(&b), table(&c));
            let first = organization(&[("a", &a), ("b", &b)]);
            let second = organization(&[("c", &c)]);
            let form = if tells {
                KeyForm::Plain
            } else {
                KeyForm::Never
            };
            let view = View::builder("own")
                .partner(named("a"), remote(&first, "a", &a))
                .partner(named("b"), remote(&first, "b", &b))
                .partner(named("c"), failing(&second, batches, "c", &c))
                .governed(named("d"), open(&b))
                .telling(Arc::new(Always(form)))
                .partial()
                .build();
            let there = plain(&[("a", &a), ("b", &b), ("c", &c), ("d", &b)]);
            let whole = sorted(&plainly(&there, &sql).await);
            let missing = || view.missing().unwrap().all();
            let end = match ask(&engine, &view, &sql).await {
                Ok(some) => {
                    let some = sorted(&some);
                    assert!(is_part(some.clone(), whole.clone()), "{sql}");
                    assert!(some == whole || missing().len() == 1, "{sql}");
                    usize::from(some != whole)
                }
                Err(error) => {
                    assert_eq!(error.code(), "partner-unavailable", "{sql}");
                    2
                }
            };
            sums.lock().unwrap()[end] += 1;
        },
    );
    let sums = *sums.lock().unwrap();
    assert!(sums.iter().all(|n| *n > 5), "whole, part, none: {sums:?}");
}

#[tokio::test]
async fn a_count_over_fewer_rows_is_no_answer() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let rows = super::federated::hundred();
    let far = organization(&[("c", &rows)]);
    let view = || {
        View::builder("own")
            .partner(named("c"), failing(&far, 0, "c", &rows))
            .governed(named("d"), open(&rows))
            .partial()
            .build()
    };
    let both = "SELECT k FROM p.c UNION ALL SELECT k FROM p.d";
    for sql in [
        format!("SELECT count(*) FROM ({both}) AS t"),
        format!("SELECT * FROM ({both}) AS t ORDER BY k DESC LIMIT 5"),
        "SELECT d.k FROM p.d AS d LEFT JOIN p.c AS c ON c.k = d.k".to_owned(),
        "SELECT k FROM p.d AS d WHERE NOT EXISTS (SELECT 1 FROM p.c AS c WHERE c.k = d.k)"
            .to_owned(),
        "SELECT k, (SELECT max(k) FROM p.c) AS m FROM p.d".to_owned(),
    ] {
        let view = view();
        let error = ask(&engine, &view, &sql).await.unwrap_err();
        assert_eq!(error.code(), "partner-unavailable", "{sql}");
        assert!(view.missing().unwrap().all().is_empty(), "{sql}");
    }
    // Groups of each organization by itself are whole, or missing.
    let sql = "SELECT 'c' AS o, count(*) AS n FROM p.c UNION ALL SELECT 'd', count(*) FROM p.d";
    let view = view();
    let answer = ask(&engine, &view, sql).await.unwrap();
    assert_eq!(answer.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    let missing = view.missing().unwrap().all();
    assert_eq!(missing[0].code, "partner-unavailable");
}

/// Regression: a partner that was asked after another one had failed was said to be
/// missing in its place, in an answer that could not be without the other.
#[tokio::test]
async fn a_side_that_fails_is_not_the_other_sides_failure() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let rows = super::federated::hundred();
    let (gone, there) = (organization(&[("c", &rows)]), organization(&[("a", &rows)]));
    let view = View::builder("own")
        .partner(named("c"), failing(&gone, 0, "c", &rows))
        .partner(named("a"), remote(&there, "a", &rows))
        .governed(named("d"), open(&rows))
        .telling(Arc::new(Always(KeyForm::Plain)))
        .partial()
        .build();
    let sql = "SELECT a.s FROM p.a AS a JOIN (SELECT k FROM (SELECT k FROM p.c UNION ALL SELECT k FROM p.d) AS u \
               GROUP BY k HAVING count(*) > 1) AS x ON x.k = a.k";
    let error = ask(&engine, &view, sql).await.unwrap_err();
    assert_eq!(error.code(), "partner-unavailable");
    assert!(error.to_string().contains("failing"), "{error}");
    assert!(view.missing().unwrap().all().is_empty());
}

/// A partner that takes its time, and notes who still waits.
#[derive(Debug, Default)]
struct Slow {
    /// Whether it answers at once, with rows that never come.
    begins: bool,
    waiting: Arc<std::sync::atomic::AtomicUsize>,
}

struct Waits(Arc<std::sync::atomic::AtomicUsize>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl Partner for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn scope(&self) -> Option<String> {
        Some("slow".to_owned())
    }

    async fn open(&self, question: Question) -> Result<Opened, QueryError> {
        let expected = question.expected;
        self.waiting
            .fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let waits = Waits(Arc::clone(&self.waiting));
        if !self.begins {
            std::future::pending::<()>().await;
        }
        let rows = futures::stream::once(async move {
            let _waits = waits;
            std::future::pending().await
        });
        let rows: SendableRecordBatchStream =
            Box::pin(RecordBatchStreamAdapter::new(expected, rows));
        Ok(rows.into())
    }
}

#[tokio::test]
async fn a_partner_is_not_waited_for_when_nobody_waits_here() {
    let engine = Engine::start(EngineSettings::default()).unwrap();
    let rows = super::federated::hundred();
    for begins in [false, true] {
        for sql in [
            "SELECT k FROM p.c",
            "SELECT count(*) FROM p.c AS a JOIN p.c AS b ON a.k = b.k",
            "SELECT c.k FROM p.d JOIN p.c ON c.k = d.k",
        ] {
            let waiting = Arc::default();
            let slow = Slow {
                begins,
                waiting: Arc::clone(&waiting),
            };
            let remote = RemoteTable {
                product: "p".into(),
                table: "c".into(),
            };
            let table = PartnerTable::new(Arc::new(slow), remote, rows.schema());
            let view = View::builder("own")
                .partner(named("c"), table)
                .governed(named("d"), open(&rows))
                .build();
            let plan = engine.prepare(view, sql).await.unwrap();
            let mut answer = plan.run().await.unwrap();
            let asked = || waiting.load(std::sync::atomic::Ordering::SeqCst);
            while asked() == 0 {
                let soon = std::time::Duration::from_millis(10);
                let _ = tokio::time::timeout(soon, answer.next()).await;
            }
            drop(answer);
            let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while asked() > 0 {
                assert!(std::time::Instant::now() < end, "{sql} (begins: {begins})");
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    }
}

//! Rows that are let go as long as the right to them stands.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::RecordBatch;
use comity_identity::Timestamp;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::session::{Right, Session};
use crate::clock;

/// The rows of an answer, and a watchman of its own who lets go of them the
/// moment that the right ends (`spec/5-data-plane.md#D-126`).
///
/// An answer is only looked at when its reader takes something. One whose reader
/// has stopped reading would keep its source, its memory and its place for as
/// long as the reader likes, revoked or not (A30): hence the watchman, and not
/// only a look before each batch.
pub(super) struct Leash {
    rows: Arc<Mutex<Option<SendableRecordBatchStream>>>,
    ended: oneshot::Receiver<&'static str>,
    _watchman: DropGuard,
}

impl Leash {
    /// Puts `rows` on the leash of `session`'s right. On a tokio runtime only.
    pub(super) fn of(session: &Session, rows: SendableRecordBatchStream) -> Self {
        let rows = Arc::new(Mutex::new(Some(rows)));
        let (tell, ended) = oneshot::channel();
        let gone = CancellationToken::new();
        let (held, dropped) = (Arc::clone(&rows), gone.clone());
        let end = right_ends(session.stop.clone(), Arc::clone(&session.right));
        tokio::spawn(async move {
            let code = tokio::select! {
                code = end => code,
                () = dropped.cancelled() => return,
            };
            // First why, then nothing: whoever finds no rows knows the reason.
            let _ = tell.send(code);
            drop(lock(&held).take());
        });
        Self {
            rows,
            ended,
            _watchman: gone.drop_guard(),
        }
    }

    /// The stable code once the right has ended; wakes the caller when it does.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<&'static str> {
        match Pin::new(&mut self.ended).poll(cx) {
            Poll::Ready(Ok(code)) => Poll::Ready(code),
            // Without a watchman nobody knows whether the right stands: it does not.
            Poll::Ready(Err(_)) => Poll::Ready("unavailable"),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The next batch.
    pub(super) fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<RecordBatch, DataFusionError>>> {
        match lock(&self.rows).as_mut() {
            Some(rows) => rows.poll_next_unpin(cx),
            // Let go since [`Leash::poll_ended`] was asked, which wakes the caller.
            None => Poll::Pending,
        }
    }
}

/// Waits until the right ends, and says why.
async fn right_ends(stop: CancellationToken, right: Arc<dyn Right>) -> &'static str {
    // Before the first look: what changes after it is seen.
    let mut changes = right.changes();
    loop {
        if stop.is_cancelled() {
            return "revoked";
        }
        if let Err(code) = right.check() {
            return code;
        }
        let changed = changes.iter_mut().map(|c| Box::pin(c.changed()));
        let changed = futures::future::select_all(changed);
        let silent = tokio::select! {
            () = stop.cancelled() => None,
            () = moment(right.until()) => None,
            (changed, which, _) = changed => changed.is_err().then_some(which),
        };
        // Nobody is left who could change this.
        silent.map(|which| changes.swap_remove(which));
        while changes.is_empty() {
            tokio::select! {
                () = stop.cancelled() => return "revoked",
                () = moment(right.until()) => {}
            }
            if let Err(code) = right.check() {
                return code;
            }
        }
    }
}

/// Waits until `at`, or for ever. Not less than a second, of which the clock
/// knows no part: one that was set back must not keep this busy.
async fn moment(at: Option<Timestamp>) {
    match at {
        Some(at) => {
            let left = at.since(clock::now()).max(Duration::from_secs(1));
            tokio::time::sleep(left).await;
        }
        None => std::future::pending().await,
    }
}

fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(super) mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicBool, Ordering};

    use arrow::datatypes::{Schema, SchemaRef};
    use async_trait::async_trait;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use futures::stream;
    use tokio::sync::watch;

    use super::*;
    use crate::flight::session::{Denied, Recorder, Served, Unlimited};
    use crate::flight::tally::Moved;
    use crate::ledger::Reserved;
    use crate::query::View;

    #[derive(Debug)]
    pub(in crate::flight) struct Standing {
        pub(in crate::flight) stands: AtomicBool,
        changes: watch::Sender<u64>,
    }

    impl Right for Standing {
        fn check(&self) -> Result<(), &'static str> {
            let stands = self.stands.load(Ordering::Acquire);
            stands.then_some(()).ok_or("grant-invalid")
        }

        fn changes(&self) -> Vec<watch::Receiver<u64>> {
            vec![self.changes.subscribe()]
        }
    }

    #[derive(Debug)]
    struct Nobody;

    #[async_trait]
    impl Recorder for Nobody {
        async fn started(&self, _: &Served, _: Option<Reserved>) -> Result<(), Denied> {
            Ok(())
        }
        fn refused(&self, _: &'static str, _: &str) {}
        fn ended(&self, _: &Served, _: Moved, _: Option<&'static str>) {}
    }

    pub(in crate::flight) fn session() -> (Session, Arc<Standing>) {
        let right = Arc::new(Standing {
            stands: AtomicBool::new(true),
            changes: watch::Sender::default(),
        });
        let session = Session {
            key: "a partner".to_owned(),
            view: View::builder("weather-service").build(),
            stop: CancellationToken::new(),
            right: Arc::clone(&right) as _,
            member: false,
            allowance: Arc::new(Unlimited),
            trace: String::new(),
            recorder: Arc::new(Nobody),
            token: None,
        };
        (session, right)
    }

    /// Rows that never come, and a token that fires when nobody waits for them.
    fn slow() -> (SendableRecordBatchStream, CancellationToken) {
        let let_go = CancellationToken::new();
        let held = let_go.clone().drop_guard();
        let schema: SchemaRef = Arc::new(Schema::empty());
        let never = stream::once(async move {
            let _held = held;
            std::future::pending::<Result<RecordBatch, DataFusionError>>().await
        });
        let rows = RecordBatchStreamAdapter::new(schema, never);
        (Box::pin(rows), let_go)
    }

    #[tokio::test]
    async fn a30_an_answer_that_waits_for_its_source_is_woken_when_the_right_ends() {
        let (session, right) = session();
        let (rows, _) = slow();
        let mut leash = Leash::of(&session, rows);
        let wait = tokio::spawn(async move {
            poll_fn(|cx| match leash.poll_ended(cx) {
                Poll::Ready(code) => Poll::Ready(code),
                Poll::Pending => leash.poll_batch(cx).map(|_| "rows"),
            })
            .await
        });
        // Something changed that does not concern it.
        right.changes.send_modify(|n| *n += 1);
        tokio::task::yield_now().await;
        assert!(!wait.is_finished());
        right.stands.store(false, Ordering::Release);
        right.changes.send_modify(|n| *n += 1);
        assert_eq!(wait.await.unwrap(), "grant-invalid");
    }

    #[tokio::test]
    async fn a30_the_source_is_let_go_though_the_reader_takes_nothing() {
        let (session, _right) = session();
        let (rows, let_go) = slow();
        // Never polled: as a reader that stopped reading.
        let mut leash = Leash::of(&session, rows);
        session.stop.cancel();
        let_go.cancelled().await;
        let code = poll_fn(|cx| leash.poll_ended(cx)).await;
        assert_eq!(code, "revoked");
    }

    #[tokio::test]
    async fn an_answer_that_its_reader_dropped_lets_go_of_its_watchman() {
        let (session, right) = session();
        let (rows, let_go) = slow();
        drop(Leash::of(&session, rows));
        let_go.cancelled().await;
        drop(session);
        // The watchman held the right: with it gone, this is the last one.
        while Arc::strong_count(&right) > 1 {
            tokio::task::yield_now().await;
        }
    }
}

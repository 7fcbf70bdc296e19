//! Threads for connections: each connection stays on one of them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The most threads. A connection takes a few GB/s of one; more than this many
/// busy ones meet the limit of the link first.
const MAX_WORKERS: usize = 16;

/// A thread for each processor, on which connections live, those of callers and
/// those to partners: what reads a connection, decrypts it, counts and hashes
/// its messages runs on its thread and nowhere else.
///
/// On a runtime that moves tasks between threads every frame of HTTP/2 wakes
/// somebody on another one, which took a fifth of the processor's time of a
/// large answer (`bench/stream.md`). Statements are planned and computed on the
/// threads of the engine, so that a connection is not held up by a query.
///
/// The threads end when the last who holds this drops it, and with them what lives
/// there. Connections hold it too, by what serves them: they end before.
#[derive(Debug)]
pub struct Workers {
    first: Arc<Worker>,
    others: Vec<Arc<Worker>>,
    _stop: DropGuard,
}

/// One thread.
#[derive(Debug)]
pub(super) struct Worker {
    number: usize,
    handle: Handle,
    connections: AtomicUsize,
}

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives no thread, or no way to wait for sockets.
    pub fn start() -> io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self::of(processors.min(MAX_WORKERS) - 1)
    }

    /// One more than `others`.
    fn of(others: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let start = |number| Worker::start(number, stop.clone()).map(Arc::new);
        Ok(Self {
            first: start(0)?,
            others: (1..=others).map(start).collect::<io::Result<_>>()?,
            _stop: stop.clone().drop_guard(),
        })
    }

    /// Every thread, in the order of their numbers.
    pub(super) fn each(&self) -> impl Iterator<Item = &Arc<Worker>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// A place on the thread with the fewest connections.
    pub(super) fn seat(&self) -> Seat {
        let fewest = self.others.iter().fold(&self.first, |fewest, other| {
            match other.taken() < fewest.taken() {
                true => other,
                false => fewest,
            }
        });
        fewest.connections.fetch_add(1, Ordering::Relaxed);
        Seat(Arc::clone(fewest))
    }
}

impl Worker {
    fn start(number: usize, stop: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new()
            .name(format!("comity-net-{number}"))
            .spawn(move || runtime.block_on(stop.cancelled()))?;
        Ok(Self {
            number,
            handle,
            connections: AtomicUsize::new(0),
        })
    }

    /// Which of them it is, from 0.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    fn taken(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Runs `work` on this thread.
    pub(super) fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.handle.spawn(work)
    }
}

/// One connection's place on its thread, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<Worker>);

impl Seat {
    /// The thread.
    pub(super) fn worker(&self) -> &Arc<Worker> {
        &self.0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_are_shared_out_and_stay_on_their_threads() {
        let workers = Workers::of(1).unwrap();
        let name = async || thread::current().name().map(str::to_owned);
        let mut seats: Vec<_> = (0..4).map(|_| workers.seat()).collect();
        let taken: Vec<_> = seats.iter().map(|s| s.worker().number()).collect();
        assert_eq!(taken, [0, 1, 0, 1]);
        for seat in &seats {
            for _ in 0..3 {
                let found = seat.worker().spawn(name()).await.unwrap();
                assert_eq!(
                    found,
                    Some(format!("comity-net-{}", seat.worker().number()))
                );
            }
        }
        // Whoever leaves makes room there.
        seats.pop();
        assert_eq!(workers.seat().worker().number(), 1);
    }

    #[tokio::test]
    async fn what_lives_there_ends_with_the_threads() {
        let workers = Workers::of(0).unwrap();
        let endless = workers.seat().worker().spawn(std::future::pending::<()>());
        drop(workers);
        assert!(endless.await.unwrap_err().is_cancelled());
    }
}

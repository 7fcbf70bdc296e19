//! Places for running queries, given out fairly (`spec/5-data-plane.md#D-137`).
//!
//! Nobody who asks a lot keeps the others out: a part of the places is never
//! one caller's, and a place that becomes free goes to whoever of those who
//! wait has the fewest, and among them to who came first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// The most queries that wait; more are refused at once.
const MAX_WAITING: usize = 1024;
/// The most of them of one caller.
const MAX_WAITING_OF_ONE: usize = 64;
/// One of so many places is kept for callers who have few.
const KEPT_FOR_OTHERS: usize = 4;

/// The places of one engine.
#[derive(Debug)]
pub(super) struct Queue {
    places: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// How many of them by whom.
    running: HashMap<Arc<str>, usize>,
    /// Oldest first.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    caller: Arc<str>,
    given: oneshot::Sender<Place>,
}

/// Room for one running query, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    queue: Arc<Queue>,
    caller: Arc<str>,
}

impl Queue {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            places: places.max(1),
            state: Mutex::default(),
        })
    }

    /// A place for `caller`, if there is one within `wait`.
    pub(super) async fn place(
        self: &Arc<Self>,
        caller: &Arc<str>,
        wait: Duration,
    ) -> Option<Place> {
        let turn = {
            let mut state = self.lock();
            if self.has_room(&state, caller) {
                return Some(self.give(&mut state, caller));
            }
            // Those who gave up are forgotten here, so that they fill nothing.
            state.waiting.retain(|w| !w.given.is_closed());
            let own = state.waiting.iter().filter(|w| w.caller == *caller);
            if own.count() >= MAX_WAITING_OF_ONE || state.waiting.len() >= MAX_WAITING {
                return None;
            }
            let (given, turn) = oneshot::channel();
            let caller = Arc::clone(caller);
            state.waiting.push_back(Waiting { caller, given });
            turn
        };
        tokio::time::timeout(wait, turn).await.ok()?.ok()
    }

    /// Whether `caller` may have one more now.
    fn has_room(&self, state: &State, caller: &Arc<str>) -> bool {
        let own = state.running.get(caller).copied().unwrap_or(0);
        state.taken < self.places && own < self.places - self.places / KEPT_FOR_OTHERS
    }

    fn give(self: &Arc<Self>, state: &mut State, caller: &Arc<str>) -> Place {
        state.taken += 1;
        *state.running.entry(Arc::clone(caller)).or_default() += 1;
        Place {
            queue: Arc::clone(self),
            caller: Arc::clone(caller),
        }
    }

    /// Who is next, and its place.
    fn next(self: &Arc<Self>) -> Option<(oneshot::Sender<Place>, Place)> {
        let mut state = self.lock();
        let own = |w: &Waiting| state.running.get(&w.caller).copied().unwrap_or(0);
        let (at, _) = state
            .waiting
            .iter()
            .enumerate()
            .filter(|(_, w)| !w.given.is_closed() && self.has_room(&state, &w.caller))
            .min_by_key(|(_, w)| own(w))?;
        let waiting = state.waiting.remove(at)?;
        let place = self.give(&mut state, &waiting.caller);
        Some((waiting.given, place))
    }

    // What a panic left behind is whole: no step of the above can fail in between.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut state = self.queue.lock();
            state.taken -= 1;
            if let Some(own) = state.running.get_mut(&self.caller) {
                *own -= 1;
                if *own == 0 {
                    state.running.remove(&self.caller);
                }
            }
        }
        // Whoever gave up meanwhile drops its place, which looks for the next one.
        while let Some((given, place)) = self.queue.next() {
            if given.send(place).is_ok() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);
    const NOT: Duration = Duration::ZERO;

    fn caller(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    #[tokio::test]
    async fn one_caller_leaves_places_for_others() {
        let queue = Queue::new(4);
        let (greedy, other) = (caller("greedy"), caller("other"));
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(queue.place(&greedy, NOT).await.unwrap());
        }
        assert!(queue.place(&greedy, NOT).await.is_none());
        held.push(queue.place(&other, NOT).await.unwrap());
        assert!(queue.place(&other, NOT).await.is_none(), "all are taken");
        held.clear();
        assert!(queue.lock().running.is_empty() && queue.lock().taken == 0);
        // A single place is anybody's.
        let one = Queue::new(1);
        let place = one.place(&greedy, NOT).await.unwrap();
        assert!(one.place(&other, NOT).await.is_none());
        drop(place);
        one.place(&other, NOT).await.unwrap();
    }

    #[tokio::test]
    async fn a_free_place_goes_to_who_has_the_fewest_and_came_first() {
        let queue = Queue::new(2);
        let [a, b, c] = ["a", "b", "c"].map(caller);
        let first = queue.place(&a, NOT).await.unwrap();
        let second = queue.place(&a, NOT).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for (n, who) in [&a, &b, &b, &c].into_iter().enumerate() {
            let (line, who, order) = (Arc::clone(&queue), Arc::clone(who), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let place = line.place(&who, SOON).await.unwrap();
                order.lock().unwrap().push(who.to_string());
                place
            }));
            while queue.lock().waiting.len() <= n {
                tokio::task::yield_now().await;
            }
        }
        let mut held = vec![first, second];
        for done in 0..4 {
            held.remove(0);
            while order.lock().unwrap().len() <= done {
                tokio::task::yield_now().await;
            }
            // What was given is kept, so that it counts for its caller.
            let at = tasks.iter().position(tokio::task::JoinHandle::is_finished);
            held.push(tasks.remove(at.unwrap()).await.unwrap());
        }
        assert_eq!(*order.lock().unwrap(), ["b", "a", "b", "c"]);
    }

    #[tokio::test]
    async fn who_gave_up_takes_no_place_and_the_next_one_gets_it() {
        let queue = Queue::new(1);
        let [a, b, c] = ["a", "b", "c"].map(caller);
        let held = queue.place(&a, NOT).await.unwrap();
        let (gone, next) = (Arc::clone(&queue), Arc::clone(&queue));
        let gone = tokio::spawn(async move { gone.place(&b, SOON).await });
        while queue.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        let next = tokio::spawn(async move { next.place(&c, SOON).await });
        while queue.lock().waiting.len() < 2 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.is_err());
        drop(held);
        assert!(next.await.unwrap().is_some());
        assert_eq!(queue.lock().taken, 0);
    }

    #[tokio::test]
    async fn no_caller_fills_the_line() {
        let queue = Queue::new(1);
        let (many, other) = (caller("many"), caller("other"));
        let _held = queue.place(&many, NOT).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..MAX_WAITING_OF_ONE {
            let (queue, many) = (Arc::clone(&queue), Arc::clone(&many));
            tasks.spawn(async move { queue.place(&many, SOON).await });
        }
        while queue.lock().waiting.len() < MAX_WAITING_OF_ONE {
            tokio::task::yield_now().await;
        }
        // Refused at once, though it would wait.
        assert!(queue.place(&many, Duration::MAX).await.is_none());
        let (line, waits) = (Arc::clone(&queue), Arc::clone(&other));
        tasks.spawn(async move { line.place(&waits, SOON).await });
        while queue.lock().waiting.len() <= MAX_WAITING_OF_ONE {
            tokio::task::yield_now().await;
        }
    }
}

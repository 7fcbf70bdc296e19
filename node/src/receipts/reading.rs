//! Answers of partners that are being read here, and what came of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use comity_identity::{Digest, OrgId};

use crate::clock;
use crate::flight::{End, Moved, Taker};
use crate::ledger::{Ledger, Received, Record};

/// The characters of a trace that the asker chooses.
const OWN_CHARS: usize = 16;

/// Which answers are being read, by the half of their trace that this node chose.
#[derive(Debug)]
pub struct Reading {
    ledger: Arc<Ledger>,
    under_way: Mutex<BTreeMap<String, usize>>,
}

/// One question to a partner, from before it is asked until what came of it is
/// written down (`spec/5-data-plane.md#D-123`).
#[derive(Debug)]
pub struct Receiving {
    place: Arc<Place>,
    org: OrgId,
    agreement: Digest,
    grant: Digest,
    query: Digest,
    subject: String,
}

/// Given back when it is dropped.
#[derive(Debug)]
struct Place {
    of: Arc<Reading>,
    own: String,
}

impl Reading {
    /// What comes is written to `ledger`.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Self {
            ledger,
            under_way: Mutex::default(),
        }
    }

    /// A question with the trace half `own` is about to be asked of `org`.
    /// `subject` is what the partner knows the member as.
    pub fn begin(
        self: &Arc<Self>,
        own: &str,
        org: OrgId,
        (agreement, grant, query): (Digest, Digest, Digest),
        subject: String,
    ) -> Receiving {
        let own = own.to_ascii_lowercase();
        *self.lock().entry(own.clone()).or_default() += 1;
        Receiving {
            place: Arc::new(Place {
                of: Arc::clone(self),
                own,
            }),
            org,
            agreement,
            grant,
            query,
            subject,
        }
    }

    /// Whether the answer with this trace may still be read
    /// (`spec/4-negotiation.md#N-66`): nobody knows yet what came of it.
    pub fn is_under_way(&self, trace: &str) -> bool {
        let own = trace.get(..OWN_CHARS);
        own.is_some_and(|own| self.lock().contains_key(own))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.of.lock();
        if let Some(count) = under_way.get_mut(&self.own) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.own);
            }
        }
    }
}

impl Taker for Receiving {
    fn took(&self, trace: String, moved: Moved, end: End) {
        let received = Received {
            trace,
            org: self.org,
            agreement: self.agreement,
            grant: self.grant,
            subject: self.subject.clone(),
            query: self.query,
            rows: moved.rows,
            bytes: moved.bytes,
            content: moved.content.unwrap_or_else(|| Digest::of(b"")),
            ended: match end {
                End::Whole => None,
                End::Failed => Some("failed".to_owned()),
                End::Dropped => Some("dropped".to_owned()),
            },
            at: clock::now(),
        };
        // A stream may be dropped outside of the runtime, when the node ends.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        // The place is given back when it is written down, and not before.
        let place = Arc::clone(&self.place);
        runtime.spawn(async move {
            if let Err(error) = place.of.ledger.commit(&Record::Received(received)).await {
                tracing::error!(%error, "what a partner delivered could not be written down");
            }
            drop(place);
        });
    }
}

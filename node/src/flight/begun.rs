//! Deliveries that are written down as begun, until there is a stream that ends them.

use std::sync::Arc;

use super::session::{Recorder, Served, Session};
use super::tally::Moved;

/// A delivery that has begun in the journal and has no messages yet. Its asker
/// may go away while it is planned, and then the call is dropped wherever it
/// waits: without an end in the journal it would look as if the node had crashed
/// in it.
pub(super) struct Begun {
    recorder: Arc<dyn Recorder>,
    /// None once something else ends it.
    served: Option<Served>,
}

impl Begun {
    /// To be made before the beginning is written: a call that is dropped while
    /// it is written may have begun.
    pub(super) fn new(session: &Session, served: &Served) -> Self {
        Self {
            recorder: Arc::clone(&session.recorder),
            served: Some(served.clone()),
        }
    }

    /// It did not begin, or is ended by its messages.
    pub(super) fn done(mut self) {
        self.served = None;
    }

    /// It ended before anything moved.
    pub(super) fn failed(mut self, code: &'static str) {
        self.end(code);
    }

    fn end(&mut self, code: &'static str) {
        if let Some(served) = self.served.take() {
            self.recorder.ended(&served, Moved::nothing(), Some(code));
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.end("cancelled");
    }
}

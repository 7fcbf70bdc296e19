//! Counting what is on the wire, the same at both ends (`spec/5-data-plane.md#D-125`).

use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::ipc::root_as_message;
use comity_identity::Digest;
use futures::{Stream, StreamExt as _};

use super::message::Parts;

/// The largest count that a receipt can state: what every JSON reader holds exactly.
const MAX_COUNT: u64 = (1 << 53) - 1;

/// What moved in one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The rows of its record batches.
    pub rows: u64,
    /// The bytes of the bodies of record batches and dictionaries.
    pub bytes: u64,
    /// The digest of these messages; none where nobody else counts.
    pub content: Option<Digest>,
}

impl Moved {
    /// Of an answer that ended before anything moved.
    pub fn nothing() -> Self {
        Tally::hashing().end()
    }
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it moved, and it ended well.
    Whole,
    /// It ended with an error.
    Failed,
    /// Whoever reads it went away.
    Dropped,
}

/// Counts messages.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    rows: u64,
    bytes: u64,
    content: Option<Content>,
}

/// The hash of the headers, and of the bodies. Apart, because bodies come in
/// whole blocks, which are hashed sixteen at a time; between headers of any
/// length they would not.
#[derive(Clone, Debug, Default)]
struct Content {
    headers: blake3::Hasher,
    bodies: blake3::Hasher,
}

impl Content {
    fn end(self) -> Digest {
        let [headers, bodies] = [self.headers, self.bodies].map(|h| *h.finalize().as_bytes());
        Digest::of(&[headers, bodies].concat())
    }
}

impl Tally {
    /// Counts, and hashes what it counts.
    pub(super) fn hashing() -> Self {
        Self {
            content: Some(Content::default()),
            ..Self::counting()
        }
    }

    /// Only counts: nobody at the other end compares.
    pub(super) fn counting() -> Self {
        Self {
            rows: 0,
            bytes: 0,
            content: None,
        }
    }

    /// Counts `message`, if it holds a record batch or a dictionary. One whose
    /// header cannot be read holds none.
    pub(super) fn add(&mut self, message: &impl Parts) {
        let Ok(header) = root_as_message(message.header()) else {
            return;
        };
        let rows = match header.header_as_record_batch() {
            Some(batch) => u64::try_from(batch.length()).unwrap_or(0),
            None if header.header_as_dictionary_batch().is_some() => 0,
            None => return,
        };
        let bytes = message.body().iter().map(|part| part.len() as u64).sum();
        self.rows = self.rows.saturating_add(rows).min(MAX_COUNT);
        self.bytes = self.bytes.saturating_add(bytes).min(MAX_COUNT);
        if let Some(content) = &mut self.content {
            // The lengths: else bytes could move from one to the other, or to the next.
            let header = message.header();
            content
                .headers
                .update(&u64::to_be_bytes(header.len() as u64));
            content.headers.update(header);
            content.headers.update(&u64::to_be_bytes(bytes));
            for part in message.body() {
                content.bodies.update(part);
            }
        }
    }

    /// What was counted.
    pub(super) fn end(self) -> Moved {
        Moved {
            rows: self.rows,
            bytes: self.bytes,
            content: self.content.map(Content::end),
        }
    }
}

/// Told once what moved and how it ended.
type OnEnd = Box<dyn FnOnce(Moved, End) + Send>;

/// A stream of messages that counts them, and tells at its end, which may be
/// that it is dropped.
pub(super) struct Tallied<S> {
    messages: S,
    tally: Tally,
    on_end: Option<OnEnd>,
}

impl<S> Tallied<S> {
    /// Counts `messages` with `tally`.
    pub(super) fn new(
        messages: S,
        tally: Tally,
        on_end: impl FnOnce(Moved, End) + Send + 'static,
    ) -> Self {
        Self {
            messages,
            tally,
            on_end: Some(Box::new(on_end)),
        }
    }

    fn tell(&mut self, end: End) {
        if let Some(on_end) = self.on_end.take() {
            on_end(self.tally.clone().end(), end);
        }
    }
}

impl<M: Parts, E, S: Stream<Item = Result<M, E>> + Unpin> Stream for Tallied<S> {
    type Item = Result<M, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.messages.poll_next_unpin(cx);
        match &next {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(message))) => self.tally.add(message),
            Poll::Ready(Some(Err(_))) => self.tell(End::Failed),
            Poll::Ready(None) => self.tell(End::Whole),
        }
        next
    }
}

impl<S> Drop for Tallied<S> {
    fn drop(&mut self) {
        self.tell(End::Dropped);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use arrow::array::{Int64Array, RecordBatch};
    use arrow_flight::FlightData;
    use arrow_flight::utils::batches_to_flight_data;
    use futures::executor::block_on;

    use super::*;

    fn messages() -> Vec<FlightData> {
        let numbers = Arc::new(Int64Array::from_iter_values(0..600)) as _;
        let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        batches_to_flight_data(&batch.schema(), vec![batch.clone(), batch]).unwrap()
    }

    fn counted(messages: &[FlightData]) -> Moved {
        let mut tally = Tally::hashing();
        messages.iter().for_each(|m| tally.add(m));
        tally.end()
    }

    #[test]
    fn rows_and_bodies_count_and_the_schema_does_not() {
        let messages = messages();
        assert_eq!(messages.len(), 3);
        let all = counted(&messages);
        assert_eq!(all.rows, 1200);
        let bodies: usize = messages.iter().map(|m| m.data_body.len()).sum();
        assert_eq!(all.bytes, bodies as u64);
        assert_eq!(all, counted(&messages[1..]), "the schema");
        assert_ne!(all, counted(&messages[1..2]));
        assert_eq!(counted(&messages[..1]), Moved::nothing());
        // As anybody computes it, who has the messages (spec/5-data-plane.md#D-125).
        let (mut headers, mut bodies) = (Vec::new(), Vec::new());
        for FlightData {
            data_header,
            data_body,
            ..
        } in &messages[1..]
        {
            headers.extend((data_header.len() as u64).to_be_bytes());
            headers.extend_from_slice(data_header);
            headers.extend((data_body.len() as u64).to_be_bytes());
            bodies.extend_from_slice(data_body);
        }
        let hashes = [headers, bodies].map(|bytes| *blake3::hash(&bytes).as_bytes());
        let content = Digest::of(&hashes.concat());
        assert_eq!(all.content, Some(content));
    }

    #[test]
    fn one_changed_bit_or_another_order_is_another_content() {
        let messages = messages();
        let honest = counted(&messages);
        let mut changed = messages;
        let mut body = changed[1].data_body.to_vec();
        body[8] ^= 1;
        changed[1].data_body = body.into();
        let changed = counted(&changed);
        assert_eq!((changed.rows, changed.bytes), (honest.rows, honest.bytes));
        assert_ne!(changed.content, honest.content);
    }

    #[test]
    fn the_end_is_told_once_however_it_comes() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tallied = |items: Vec<Result<FlightData, ()>>| {
            let told = Arc::clone(&told);
            let stream = futures::stream::iter(items);
            Tallied::new(stream, Tally::hashing(), move |moved, end| {
                told.lock().unwrap().push((moved.rows, end));
            })
        };
        let good = || messages().into_iter().map(Ok);
        let mut whole = tallied(good().collect());
        while block_on(whole.next()).is_some() {}
        drop(whole);
        let mut failed = tallied(good().take(2).chain([Err(())]).collect());
        while block_on(failed.next()).is_some() {}
        drop(failed);
        let mut dropped = tallied(good().collect());
        block_on(dropped.next());
        drop(dropped);
        let told = told.lock().unwrap();
        let expected = [(1200, End::Whole), (600, End::Failed), (0, End::Dropped)];
        assert_eq!(*told, expected);
    }
}

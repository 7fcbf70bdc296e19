//! From a response to messages, each body in one aligned buffer: gRPC's own codec
//! puts a message together once, and the decoder of Arrow a second time, because
//! a body that begins anywhere is not where numbers may lie.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use arrow::buffer::MutableBuffer;
use arrow_flight::FlightData;
use bytes::{Buf as _, Bytes};
use futures::Stream;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tonic::Status;
use tonic::body::Body;

use super::MAX_MESSAGE_BYTES;
use super::message::{BODY_TAG, HEADER_TAG, METADATA_TAG, Owned, PREFIX};

/// The most bytes of one message: some more than a node sends, for its header.
const MAX_BYTES: usize = MAX_MESSAGE_BYTES + 1024 * 1024;

/// The most bytes of a number in a message (protobuf's varint).
const MAX_VARINT: usize = 10;

/// The low bits of a tag that say that a length follows.
const WITH_LENGTH: u64 = 2;

/// The messages of one response, read as they come; everything in it is what
/// another organization sent (`spec/5-data-plane.md#D-119`).
///
/// An answer that does not end as gRPC ends them is an error: part of an answer
/// must not look like all of it.
#[derive(Debug)]
pub(super) struct Received {
    body: Body,
    parser: Parser,
    whole: VecDeque<FlightData>,
    ended: bool,
}

impl Received {
    /// The answer to a call, unless it is a refusal.
    pub(super) fn of(response: http::Response<Body>) -> Result<Self, Status> {
        let (head, body) = response.into_parts();
        // An answer without a body has the headers of its end at its beginning.
        let ended = Status::from_header_map(&head.headers);
        let ended = ended.map(ok).transpose()?.is_some();
        if head.status != http::StatusCode::OK {
            return Err(Status::unknown(format!("HTTP status {}", head.status)));
        }
        Ok(Self {
            body,
            parser: Parser::default(),
            whole: VecDeque::new(),
            ended,
        })
    }

    fn end(&self, trailers: Option<&HeaderMap>) -> Result<(), Status> {
        let status = trailers.and_then(Status::from_header_map);
        ok(status.ok_or_else(cut_off)?)?;
        match self.parser.is_between() {
            true => Ok(()),
            false => Err(cut_off()),
        }
    }
}

fn ok(status: Status) -> Result<(), Status> {
    match status.code() {
        tonic::Code::Ok => Ok(()),
        _ => Err(status),
    }
}

fn cut_off() -> Status {
    Status::unknown("the answer ends in its middle")
}

impl Stream for Received {
    type Item = Result<FlightData, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(message) = self.whole.pop_front() {
                return Poll::Ready(Some(Ok(message)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            let read = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let this = &mut *self;
                        this.parser.read(data, &mut this.whole)
                    }
                    Err(frame) => {
                        self.ended = true;
                        self.end(frame.trailers_ref())
                    }
                },
                Some(Err(error)) => Err(error),
                None => self.end(None),
            };
            if let Err(status) = read {
                self.ended = true;
                self.whole.clear();
                return Poll::Ready(Some(Err(status)));
            }
        }
    }
}

/// Reads messages out of parts that are cut anywhere.
#[derive(Debug, Default)]
struct Parser {
    /// What is read now.
    at: At,
    /// Bytes of the message that are not read yet.
    left: usize,
    message: FlightData,
}

#[derive(Debug)]
enum At {
    /// The flag and the length in front of a message.
    Prefix(Short),
    /// A field's tag.
    Tag(Short),
    /// The length of the field with this tag.
    Length(u64, Short),
    /// The value of the field with this tag.
    Value(u64, Value),
}

impl Default for At {
    fn default() -> Self {
        Self::Prefix(Short::default())
    }
}

/// The beginning of something short that may be cut.
#[derive(Clone, Copy, Debug, Default)]
struct Short {
    bytes: [u8; MAX_VARINT],
    len: usize,
}

/// A value of a known length.
#[derive(Debug)]
struct Value {
    missing: usize,
    /// Aligned as the decoder wants it; none for what is not looked at.
    bytes: Option<MutableBuffer>,
}

impl Parser {
    /// Whether nothing of a message is missing.
    fn is_between(&self) -> bool {
        matches!(&self.at, At::Prefix(short) if short.len == 0)
    }

    /// Reads `data`, and puts the messages there that end in it.
    fn read(&mut self, mut data: Bytes, whole: &mut VecDeque<FlightData>) -> Result<(), Status> {
        while data.has_remaining() {
            match &mut self.at {
                At::Prefix(short) => {
                    short.push(data.get_u8());
                    if short.len < PREFIX {
                        continue;
                    }
                    let [flag, a, b, c, d, ..] = short.bytes;
                    if flag != 0 {
                        return Err(malformed("it is compressed"));
                    }
                    self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                    if self.left > MAX_BYTES {
                        return Err(malformed("it is longer than a message may be"));
                    }
                    self.at = At::Tag(Short::default());
                }
                At::Tag(short) => {
                    self.left = self.left.checked_sub(1).ok_or_else(too_short)?;
                    if let Some(tag) = short.varint(data.get_u8())? {
                        if tag & 7 != WITH_LENGTH {
                            return Err(malformed("it has a field without a length"));
                        }
                        self.at = At::Length(tag, Short::default());
                    }
                }
                At::Length(tag, short) => {
                    self.left = self.left.checked_sub(1).ok_or_else(too_short)?;
                    if let Some(len) = short.varint(data.get_u8())? {
                        let missing = usize::try_from(len).map_err(|_| too_short())?;
                        self.left = self.left.checked_sub(missing).ok_or_else(too_short)?;
                        let kept = [HEADER_TAG, METADATA_TAG, BODY_TAG].contains(tag);
                        let bytes = kept.then(|| MutableBuffer::with_capacity(missing));
                        self.at = At::Value(*tag, Value { missing, bytes });
                    }
                }
                At::Value(_, value) => {
                    let part = data.split_to(data.len().min(value.missing));
                    value.missing -= part.len();
                    if let Some(bytes) = &mut value.bytes {
                        bytes.extend_from_slice(&part);
                    }
                }
            }
            self.step(whole);
        }
        Ok(())
    }

    /// Goes on where something ended, which may be of no bytes.
    fn step(&mut self, whole: &mut VecDeque<FlightData>) {
        if let At::Value(tag, value) = &mut self.at
            && value.missing == 0
        {
            let bytes = value
                .bytes
                .take()
                .map(|bytes| Bytes::from_owner(Owned(bytes.into())));
            match (*tag, bytes) {
                (HEADER_TAG, Some(bytes)) => self.message.data_header = bytes,
                (METADATA_TAG, Some(bytes)) => self.message.app_metadata = bytes,
                (BODY_TAG, Some(bytes)) => self.message.data_body = bytes,
                _ => {}
            }
            self.at = At::Tag(Short::default());
        }
        if self.left == 0 && matches!(&self.at, At::Tag(short) if short.len == 0) {
            whole.push_back(std::mem::take(&mut self.message));
            self.at = At::default();
        }
    }
}

impl Short {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// Takes one more byte of a number, and gives the number when it was the last.
    fn varint(&mut self, byte: u8) -> Result<Option<u64>, Status> {
        if self.len == MAX_VARINT {
            return Err(malformed("it has a number without an end"));
        }
        self.push(byte);
        if byte & 0x80 != 0 {
            return Ok(None);
        }
        let mut bytes = self.bytes.get(..self.len).unwrap_or_default();
        let number = prost::encoding::decode_varint(&mut bytes);
        number
            .map(Some)
            .map_err(|_| malformed("it has a number that is none"))
    }
}

fn too_short() -> Status {
    malformed("a field is longer than it")
}

fn malformed(why: &str) -> Status {
    Status::data_loss(format!("a message cannot be read: {why}"))
}

/// The body of a call: one message in gRPC's frame.
pub(super) fn request_body(message: &impl prost::Message) -> Body {
    let bytes = message.encode_to_vec();
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let framed = [&[0][..], &len.to_be_bytes(), &bytes].concat();
    Body::new(http_body_util::Full::new(Bytes::from(framed)).map_err(|never| match never {}))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use futures::executor::block_on;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn data() -> impl Strategy<Value = FlightData> {
        let bytes = |most| proptest::collection::vec(any::<u8>(), 0..most);
        (bytes(90), bytes(5), bytes(900)).prop_map(|(header, metadata, body)| FlightData {
            flight_descriptor: None,
            data_header: header.into(),
            app_metadata: metadata.into(),
            data_body: body.into(),
        })
    }

    fn framed(message: &FlightData) -> Vec<u8> {
        let bytes = message.encode_to_vec();
        [&[0][..], &(bytes.len() as u32).to_be_bytes(), &bytes].concat()
    }

    /// An answer of these parts, which ends with `trailers` or without any.
    fn answer(parts: &[&[u8]], trailers: Option<Status>) -> Received {
        let parts = parts.iter().map(|p| Frame::data(Bytes::copy_from_slice(p)));
        let trailers = trailers.map(|status| {
            let mut headers = HeaderMap::new();
            status.add_header(&mut headers).unwrap();
            Frame::trailers(headers)
        });
        let frames: Vec<_> = parts.chain(trailers).map(Ok::<_, Status>).collect();
        let body = Body::new(StreamBody::new(futures::stream::iter(frames)));
        Received::of(http::Response::new(body)).unwrap()
    }

    fn read(received: Received) -> Vec<Result<FlightData, tonic::Code>> {
        let all = received.map(|message| message.map_err(|status| status.code()));
        block_on(all.collect())
    }

    proptest! {
        #[test]
        fn messages_are_read_however_they_are_cut(
            messages in proptest::collection::vec(data(), 0..4),
            cut in 1usize..300,
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(framed).collect();
            let parts: Vec<_> = bytes.chunks(cut).collect();
            let found = read(answer(&parts, Some(Status::ok(""))));
            let found = found.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
            // A body of no bytes is not sent as a field, and lies nowhere.
            let mut bodies = found.iter().map(|m| &m.data_body).filter(|b| !b.is_empty());
            prop_assert!(bodies.all(|body| (body.as_ptr() as usize).is_multiple_of(64)));
            prop_assert_eq!(&found, &messages);
            // Cut short, whatever came before is no whole answer.
            for end in 0..bytes.len() {
                let short = read(answer(&[&bytes[..end]], Some(Status::ok(""))));
                let whole = short.iter().all(Result::is_ok);
                prop_assert!(!whole || messages.len() > short.len());
            }
        }

        #[test]
        fn nothing_that_comes_makes_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 1usize..50,
        ) {
            let parts: Vec<_> = bytes.chunks(cut).collect();
            read(answer(&parts, None));
            let len = (bytes.len() as u32).to_be_bytes();
            let framed = [&[0][..], &len, &bytes].concat();
            read(answer(&[&framed], Some(Status::ok(""))));
        }
    }

    #[test]
    fn an_answer_ends_as_it_says() {
        let message = FlightData::default().with_data_header(vec![1]);
        let bytes = framed(&message);
        let whole = read(answer(&[&bytes], Some(Status::ok(""))));
        assert_eq!(whole, [Ok(message.clone())]);
        let refused = read(answer(
            &[&bytes],
            Some(Status::permission_denied("revoked")),
        ));
        assert_eq!(
            refused,
            [Ok(message.clone()), Err(tonic::Code::PermissionDenied)]
        );
        let broken_off = read(answer(&[&bytes], None));
        assert_eq!(broken_off, [Ok(message), Err(tonic::Code::Unknown)]);
    }

    #[test]
    fn a24_what_a_message_says_of_itself_is_not_believed() {
        let with = |tag: u64, rest: &[u8]| {
            let mut fields = Vec::new();
            prost::encoding::encode_varint(tag, &mut fields);
            fields.extend_from_slice(rest);
            [&[0][..], &(fields.len() as u32).to_be_bytes(), &fields].concat()
        };
        let long = [0xff_u8; 11];
        for hostile in [
            // Compressed, and longer than any message.
            vec![1, 0, 0, 0, 0],
            vec![0, 0xff, 0xff, 0xff, 0xff],
            // A field that is longer than its message, by far or by one byte.
            with(
                BODY_TAG,
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            ),
            with(BODY_TAG, &[2, 0]),
            // Numbers without an end, and a field without a length.
            with(BODY_TAG, &long),
            [&[0, 0, 0, 0, 11][..], &long].concat(),
            with(3 << 3, &[1]),
        ] {
            let found = read(answer(&[&hostile], Some(Status::ok(""))));
            assert_eq!(found, [Err(tonic::Code::DataLoss)], "{hostile:?}");
        }
        // What is not known is not kept, and what comes twice counts once.
        let strange = with(77 << 3 | WITH_LENGTH, &[2, 9, 9]);
        let found = read(answer(&[&strange], Some(Status::ok(""))));
        assert_eq!(found, [Ok(FlightData::default())]);
        let twice = with(HEADER_TAG, &[1, 7])[PREFIX..].repeat(2);
        let twice = [&[0, 0, 0, 0, twice.len() as u8][..], &twice].concat();
        let found = read(answer(&[&twice], Some(Status::ok(""))));
        assert_eq!(found, [Ok(FlightData::default().with_data_header(vec![7]))]);
    }
}

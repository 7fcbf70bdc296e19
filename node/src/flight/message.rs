//! One Flight message in the parts in which it leaves: nothing of a batch is
//! copied to be sent.

use std::collections::VecDeque;

use arrow::buffer::Buffer;
use arrow_flight::FlightData;
use bytes::{BufMut as _, Bytes, BytesMut};
use prost::encoding::{encode_varint, encoded_len_varint};

/// Bytes in front of each message: a flag for compression, and the length.
pub(super) const PREFIX: usize = 5;

/// The tag of `FlightData.data_header`: field 2, with a length (Flight.proto).
pub(super) const HEADER_TAG: u64 = 2 << 3 | 2;
/// The tag of `FlightData.app_metadata`: field 3, with a length.
pub(super) const METADATA_TAG: u64 = 3 << 3 | 2;
/// The tag of `FlightData.data_body`: field 1000, with a length.
pub(super) const BODY_TAG: u64 = 1000 << 3 | 2;

/// Parts that are shorter are put together: each part is a write of its own, and
/// HTTP/2 copies short ones anyway.
const MIN_PART: usize = 4 * 1024;

/// A message of an answer. Its descriptor, which only requests have, is left out.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    header: Bytes,
    metadata: Bytes,
    /// The body, in order. Large parts are those of the arrays themselves.
    body: Vec<Bytes>,
}

impl Message {
    /// A message whose body is `body`, one after the other.
    pub(super) fn new(header: Bytes, body: impl IntoIterator<Item = Buffer>) -> Self {
        let mut parts = Vec::new();
        let mut short = BytesMut::new();
        for part in body {
            if part.len() < MIN_PART {
                short.extend_from_slice(&part);
                continue;
            }
            if !short.is_empty() {
                parts.push(short.split().freeze());
            }
            parts.push(Bytes::from_owner(Owned(part)));
        }
        if !short.is_empty() {
            parts.push(short.freeze());
        }
        Self {
            header,
            metadata: Bytes::new(),
            body: parts,
        }
    }

    /// The bytes of a gRPC message, in order: the same as those that prost
    /// writes for a [`FlightData`].
    pub(super) fn into_frames(self) -> VecDeque<Bytes> {
        let body: usize = self.body.iter().map(Bytes::len).sum();
        let small = [(HEADER_TAG, self.header), (METADATA_TAG, self.metadata)];
        // An empty field is not written.
        let field = |tag: u64, len: usize| match len {
            0 => 0,
            len => encoded_len_varint(tag) + encoded_len_varint(len as u64) + len,
        };
        let written = small.iter().map(|(tag, value)| field(*tag, value.len()));
        let message = written.sum::<usize>() + field(BODY_TAG, body);
        let mut head = BytesMut::with_capacity(PREFIX + message - body);
        head.put_u8(0);
        // Bounded by the size of a message (spec/5-data-plane.md#D-105).
        head.put_u32(u32::try_from(message).unwrap_or(u32::MAX));
        for (tag, value) in small {
            if !value.is_empty() {
                encode_varint(tag, &mut head);
                encode_varint(value.len() as u64, &mut head);
                head.put(value);
            }
        }
        if body > 0 {
            encode_varint(BODY_TAG, &mut head);
            encode_varint(body as u64, &mut head);
        }
        let parts = self.body.into_iter().filter(|part| !part.is_empty());
        std::iter::once(head.freeze()).chain(parts).collect()
    }
}

/// What is counted of a message, whichever way it goes.
pub(super) trait Parts {
    /// The header: what the body is.
    fn header(&self) -> &[u8];
    /// The body, in order.
    fn body(&self) -> &[Bytes];
}

impl Parts for Message {
    fn header(&self) -> &[u8] {
        &self.header
    }

    fn body(&self) -> &[Bytes] {
        &self.body
    }
}

impl Parts for FlightData {
    fn header(&self) -> &[u8] {
        &self.data_header
    }

    fn body(&self) -> &[Bytes] {
        std::slice::from_ref(&self.data_body)
    }
}

impl From<FlightData> for Message {
    fn from(data: FlightData) -> Self {
        Self {
            header: data.data_header,
            metadata: data.app_metadata,
            body: vec![data.data_body],
        }
    }
}

impl From<Message> for FlightData {
    /// With a body in one piece, which is a copy.
    fn from(message: Message) -> Self {
        let body = match <[Bytes; 1]>::try_from(message.body) {
            Ok([whole]) => whole,
            Err(parts) => parts.concat().into(),
        };
        Self {
            flight_descriptor: None,
            data_header: message.header,
            app_metadata: message.metadata,
            data_body: body,
        }
    }
}

/// An Arrow buffer as the owner of bytes.
pub(super) struct Owned(pub(super) Buffer);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    proptest! {
        #[test]
        fn frames_are_what_prost_writes(
            header in proptest::collection::vec(any::<u8>(), 0..300),
            metadata in proptest::collection::vec(any::<u8>(), 0..3),
            parts in proptest::collection::vec(0usize..9_000, 0..5),
        ) {
            let body = parts.iter().map(|len| Buffer::from(vec![7u8; *len]));
            let mut message = Message::new(header.into(), body);
            message.metadata = metadata.into();
            let data = FlightData::from(message.clone());
            let written = message.into_frames().into_iter().collect::<Vec<_>>().concat();
            prop_assert_eq!(data.data_body.len(), parts.iter().sum::<usize>());
            prop_assert_eq!(&written[PREFIX..], &data.encode_to_vec()[..]);
            let len = u32::from_be_bytes(written[1..PREFIX].try_into().unwrap());
            prop_assert_eq!((written[0], len as usize), (0, data.encoded_len()));
        }
    }
}

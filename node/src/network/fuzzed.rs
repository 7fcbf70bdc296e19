//! The law of messages between nodes (A47): what is read is written and read again
//! as the same, no answer is taken for a request, and nothing else comes through.
//!
//! The first byte: `a` to `e` a request of each kind as it arrives, `A` to `E` an
//! answer, `j` and `J` a request and an answer in JSON, to be written first.

use comity_protocol::wire::{MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, Request, Response};
use futures::executor::block_on;
use futures::io::Cursor;
use libp2p::request_response::Codec as _;

use super::codec::{Arrived, Codec, Kind};

const KINDS: [Kind; 5] = [
    Kind::Hello,
    Kind::Fetch,
    Kind::Negotiate,
    Kind::Revoke,
    Kind::Receipt,
];

pub(crate) fn law(data: &[u8]) {
    let Some((first, body)) = data.split_first() else {
        return;
    };
    match first {
        b'j' => {
            if let Ok(request) = serde_json::from_slice::<Request>(body) {
                crosses(&request);
            }
        }
        b'J' => {
            if let Ok(response) = serde_json::from_slice::<Response>(body) {
                let _ = KINDS.map(|kind| answers(kind, &response));
            }
        }
        b'a'..=b'e' => {
            let kind = KINDS[usize::from(first - b'a')];
            if let Some(request) = read(kind, body) {
                assert!(body.len() as u64 <= MAX_REQUEST_BYTES);
                crosses(&request);
            }
        }
        b'A'..=b'E' => {
            let kind = KINDS[usize::from(first - b'A')];
            let mut io = body;
            let (mut codec, protocol) = (Codec::new(kind), kind.protocol());
            if let Ok(response) = block_on(codec.read_response(&protocol, &mut io)) {
                assert!(body.len() as u64 <= MAX_RESPONSE_BYTES);
                assert!(
                    answers(kind, &response),
                    "it was an answer, and now is none"
                );
            }
        }
        _ => {}
    }
}

/// What arrives on the protocol of `kind`, if it is a request.
fn read(kind: Kind, bytes: &[u8]) -> Option<Request> {
    let mut io = bytes;
    let mut codec = Codec::new(kind);
    match block_on(codec.read_request(&kind.protocol(), &mut io)) {
        Ok(Arrived::Request(request)) => {
            assert_eq!(
                Kind::of(&request),
                kind,
                "a request on another kind's protocol"
            );
            Some(request)
        }
        // Bytes in memory break no connection: garbage arrives as garbage.
        Ok(Arrived::Garbage(_)) => None,
        Err(error) => panic!("the connection is fine: {error}"),
    }
}

/// A request is the same at the other end, and nowhere else.
fn crosses(request: &Request) {
    let kind = Kind::of(request);
    let mut body = Cursor::new(Vec::new());
    let arrived = Arrived::Request(request.clone());
    let (mut codec, protocol) = (Codec::new(kind), kind.protocol());
    if block_on(codec.write_request(&protocol, &mut body, arrived)).is_err() {
        return; // larger than a request may be
    }
    let bytes = body.into_inner();
    for other in KINDS {
        let arrived = read(other, &bytes);
        assert_eq!(arrived.as_ref(), (other == kind).then_some(request));
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(read(kind, &longer).is_none_or(|r| r == *request));
}

/// Whether `response` arrives at who asked for `kind`; then it is the same.
fn answers(kind: Kind, response: &Response) -> bool {
    let protocol = kind.protocol();
    let mut body = Cursor::new(Vec::new());
    let mut codec = Codec::new(kind);
    block_on(codec.write_response(&protocol, &mut body, response.clone())).expect("memory");
    assert!(body.get_ref().len() as u64 <= MAX_RESPONSE_BYTES);
    let mut io = body.get_ref().as_slice();
    match block_on(codec.read_response(&protocol, &mut io)) {
        Ok(read) => {
            assert_eq!(read, *response);
            true
        }
        Err(_) => false,
    }
}

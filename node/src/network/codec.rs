//! Requests and answers as bytes: one protocol id for each kind of request
//! (`spec/4-negotiation.md`).
//!
//! libp2p's CBOR codec cuts a body at its limit and reports what is left as a
//! decoding error, sends bodies of any length, and believes whatever variant
//! arrives. This one measures both ways and lets each protocol carry its own
//! kind only.

use std::io;

use comity_protocol::wire::{
    MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, Refusal, RefusalCode, Request, Response,
};
use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Cursor};
use libp2p::StreamProtocol;
use libp2p::request_response::{self, cbor};

/// What a request is about. Each kind has its own protocol, streams and quota,
/// so that a flood of one leaves the others working.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Hello,
    Fetch,
    Negotiate,
    Revoke,
    Receipt,
}

impl Kind {
    /// The kind of `request`.
    pub(super) fn of(request: &Request) -> Self {
        match request {
            Request::Hello(_) => Self::Hello,
            Request::Fetch(_) => Self::Fetch,
            Request::Negotiate(_) => Self::Negotiate,
            Request::Revoke(_) => Self::Revoke,
            Request::Receipt(_) => Self::Receipt,
        }
    }

    /// The protocol that carries this kind.
    pub(super) const fn protocol(self) -> StreamProtocol {
        StreamProtocol::new(match self {
            Self::Hello => "/comity/hello/1",
            Self::Fetch => "/comity/fetch/1",
            Self::Negotiate => "/comity/negotiate/1",
            Self::Revoke => "/comity/revoke/1",
            Self::Receipt => "/comity/receipt/1",
        })
    }

    /// Whether `response` can answer a request of this kind.
    fn is_answered_by(self, response: &Response) -> bool {
        match response {
            Response::Hello(_) => self == Self::Hello,
            Response::Fetch(_) => self == Self::Fetch,
            Response::Negotiate(_) => self == Self::Negotiate,
            Response::Revoked => self == Self::Revoke,
            Response::Receipt(_) | Response::ProveFrom(_) => self == Self::Receipt,
            Response::Refused(_) => true,
        }
    }
}

/// A request as it arrived.
///
/// libp2p says nothing of a request that cannot be read, so a peer could send
/// garbage for ever. Here it arrives like any other, is refused and counted.
#[derive(Debug)]
pub(super) enum Arrived {
    /// It can be read.
    Request(Request),
    /// It is too long, does not decode or is of another kind.
    Garbage(io::Error),
}

/// The codec of one kind.
///
/// Errors of this node's own requests speak through their [`io::ErrorKind`]:
/// `FileTooLarge` is a body over its limit, `InvalidData` an answer that does
/// not decode or is of another kind.
#[derive(Clone)]
pub(super) struct Codec {
    kind: Kind,
    cbor: cbor::codec::Codec<Request, Response>,
}

impl Codec {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            cbor: cbor::codec::Codec::default()
                .set_request_size_maximum(MAX_REQUEST_BYTES)
                .set_response_size_maximum(MAX_RESPONSE_BYTES),
        }
    }
}

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Arrived;
    type Response = Response;

    async fn read_request<T>(&mut self, p: &StreamProtocol, io: &mut T) -> io::Result<Arrived>
    where
        T: AsyncRead + Unpin + Send,
    {
        let bytes = match read_bounded(io, MAX_REQUEST_BYTES).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Ok(Arrived::Garbage(error));
            }
            // The connection's fault: an honest peer may have crashed.
            Err(error) => return Err(error),
        };
        let read = self.cbor.read_request(p, &mut bytes.as_slice()).await;
        Ok(match read {
            Ok(request) if Kind::of(&request) == self.kind => Arrived::Request(request),
            Ok(_) => Arrived::Garbage(invalid("a request on the protocol of another kind")),
            Err(error) => Arrived::Garbage(error),
        })
    }

    async fn read_response<T>(&mut self, p: &StreamProtocol, io: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        let bytes = read_bounded(io, MAX_RESPONSE_BYTES).await?;
        if bytes.is_empty() {
            // The peer dropped the stream: it refuses or goes away, and sent no nonsense.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let read = self.cbor.read_response(p, &mut bytes.as_slice()).await;
        let response = read.map_err(invalid)?;
        if !self.kind.is_answered_by(&response) {
            return Err(invalid("an answer of another kind"));
        }
        Ok(response)
    }

    async fn write_request<T>(
        &mut self,
        p: &StreamProtocol,
        io: &mut T,
        request: Arrived,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let request = match request {
            Arrived::Request(request) => request,
            Arrived::Garbage(error) => return Err(error),
        };
        let mut body = Cursor::new(Vec::new());
        self.cbor.write_request(p, &mut body, request).await?;
        let body = body.into_inner();
        if body.len() as u64 > MAX_REQUEST_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        io.write_all(&body).await
    }

    async fn write_response<T>(
        &mut self,
        p: &StreamProtocol,
        io: &mut T,
        response: Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let mut body = Cursor::new(Vec::new());
        self.cbor.write_response(p, &mut body, response).await?;
        if body.get_ref().len() as u64 > MAX_RESPONSE_BYTES {
            // Our own fault: the peer gets an answer it can act on, not a broken stream.
            tracing::error!(kind = ?self.kind, "an answer is larger than the protocol allows");
            let refusal = Refusal {
                code: RefusalCode::Unavailable,
                trace: String::new(),
            };
            body = Cursor::new(Vec::new());
            let refused = Response::Refused(refusal);
            self.cbor.write_response(p, &mut body, refused).await?;
        }
        io.write_all(body.get_ref()).await
    }
}

/// Reads a body of at most `max` bytes; memory grows with what arrives, not
/// with what is announced.
async fn read_bounded<T>(io: &mut T, max: u64) -> io::Result<Vec<u8>>
where
    T: AsyncRead + Unpin + Send,
{
    let mut bytes = Vec::new();
    io.take(max + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
pub(super) mod tests {
    use libp2p::request_response::Codec as _;

    use super::*;

    /// A negotiation request whose body has exactly `bytes` bytes.
    pub(in crate::network) fn request_of(bytes: u64) -> Request {
        // A map of one entry: its head, the key with its head, and the text's five-byte head.
        let overhead = 1 + 1 + "negotiate".len() + 5;
        Request::Negotiate("x".repeat(bytes as usize - overhead))
    }

    async fn written(request: Request) -> io::Result<Vec<u8>> {
        let mut body = Cursor::new(Vec::new());
        let kind = Kind::of(&request);
        let protocol = kind.protocol();
        Codec::new(kind)
            .write_request(&protocol, &mut body, Arrived::Request(request))
            .await?;
        Ok(body.into_inner())
    }

    /// What is read: a request, or nothing that is one.
    async fn read(kind: Kind, bytes: &[u8]) -> io::Result<Request> {
        let mut io = bytes;
        let mut codec = Codec::new(kind);
        match codec.read_request(&kind.protocol(), &mut io).await {
            Ok(Arrived::Request(request)) => Ok(request),
            Ok(Arrived::Garbage(error)) => Err(error),
            Err(error) => panic!("the connection is fine: {error}"),
        }
    }

    #[tokio::test]
    async fn the_largest_request_passes_and_one_byte_more_does_not() {
        let largest = request_of(MAX_REQUEST_BYTES);
        let bytes = written(largest.clone()).await.unwrap();
        assert_eq!(bytes.len() as u64, MAX_REQUEST_BYTES);
        assert_eq!(read(Kind::Negotiate, &bytes).await.unwrap(), largest);

        let refused = written(request_of(MAX_REQUEST_BYTES + 1))
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
        let longer = [bytes, vec![0]].concat();
        let refused = read(Kind::Negotiate, &longer).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
    }

    #[tokio::test]
    async fn a_request_on_another_kinds_protocol_is_refused() {
        let bytes = written(Request::Fetch(Vec::new())).await.unwrap();
        assert!(read(Kind::Fetch, &bytes).await.is_ok());
        let refused = read(Kind::Hello, &bytes).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn an_answer_of_another_kind_is_not_one() {
        let protocol = Kind::Fetch.protocol();
        let mut body = Cursor::new(Vec::new());
        let mut codec = Codec::new(Kind::Fetch);
        let other = Response::Negotiate(Vec::new());
        codec
            .write_response(&protocol, &mut body, other)
            .await
            .unwrap();
        let mut io = body.get_ref().as_slice();
        let refused = codec.read_response(&protocol, &mut io).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn an_oversized_answer_of_ours_becomes_a_refusal() {
        let protocol = Kind::Fetch.protocol();
        let mut body = Cursor::new(Vec::new());
        let mut codec = Codec::new(Kind::Fetch);
        let much = Response::Fetch(vec!["x".repeat(MAX_RESPONSE_BYTES as usize)]);
        codec
            .write_response(&protocol, &mut body, much)
            .await
            .unwrap();
        let mut io = body.get_ref().as_slice();
        let read = codec.read_response(&protocol, &mut io).await.unwrap();
        assert!(matches!(read, Response::Refused(r) if r.code == RefusalCode::Unavailable));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_codec_panic(bytes in proptest::collection::vec(0_u8.., 0..512)) {
            for kind in [Kind::Hello, Kind::Fetch, Kind::Negotiate, Kind::Revoke] {
                let _ = futures::executor::block_on(read(kind, &bytes));
            }
        }
    }
}

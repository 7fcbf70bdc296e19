//! Why the network does not do as asked.

use comity_protocol::wire::RefusalCode;

/// Why the host does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The key or a setting is not usable.
    #[error("the network does not start: {0}")]
    Setup(String),
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address}: {reason}; stop what uses the port, or set another in [network] listen"
    )]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        reason: String,
    },
}

/// Why a request got no answer that helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No connection could be made.
    #[error("its node cannot be reached: {0}")]
    Unreachable(String),
    /// The peer closed the connection before it answered: one that does not
    /// allow this node does so without a word, on QUIC in another way than on TCP.
    #[error(
        "its node cannot be reached: it closed the connection; perhaps it does not allow this node"
    )]
    Closed,
    /// No answer in time.
    #[error("its node did not answer in time")]
    Timeout,
    /// The peer refused, with its stable code and a trace id of its log.
    #[error("its node refused: {code} (trace {trace})")]
    Refused {
        /// The code.
        code: RefusalCode,
        /// The trace id.
        trace: String,
    },
    /// The answer is not one to this request.
    #[error("its node answered something else")]
    Unexpected,
    /// The request or the answer is larger than the protocol allows.
    #[error("the request or its answer is larger than the protocol allows")]
    TooLarge,
    /// This node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

impl RequestError {
    /// Whether the peer was not there to answer, so that another of its nodes may.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Closed | Self::Timeout)
    }
}

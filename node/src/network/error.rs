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
    /// No connection could be made or kept, or the peer closed it: a node that does not
    /// allow this one does so without a word.
    #[error("its node cannot be reached: {0}")]
    Unreachable(String),
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

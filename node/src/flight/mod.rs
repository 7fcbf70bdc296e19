//! How data moves: the peer listener, the workbench listener, tickets, encoding.
//!
//! Both listeners serve the same Flight SQL service. They differ in who may
//! call: own members with a token ([`workbench`]) or partners' nodes with
//! mutual TLS, an agreement and a grant ([`peers`]), each on a listener of its
//! own (`spec/5-data-plane.md#D-101`). Each has a [`Gate`] that
//! judges *every* call before the service sees it, metadata calls included, so
//! that a new call cannot be forgotten; the service works with the [`Session`]
//! that the gate made and never with names or tokens of its own.

mod accept;
mod actions;
mod answer;
mod asking;
mod begun;
mod binding;
mod channel;
mod client;
mod encode;
mod ending;
mod face;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzed;
mod gathered;
pub(crate) mod incoming;
mod leash;
mod message;
mod metadata;
mod partitioned;
pub mod peers;
mod prepared;
mod receive;
mod service;
mod serving;
mod session;
mod shares;
pub(crate) mod sql_client;
mod stream;
mod tally;
mod tickets;
pub mod workbench;
mod workers;

pub use accept::{Caller, Connection, HolderConnection, PeerConnection};
pub use asking::{Answered, Taker};
pub use channel::{Asked, PeerChannel};
pub use client::{ClientError, PeerClient};
pub(crate) use client::{epoch_of, leaf_of};
pub use session::{
    Allowance, Denied, Gate, OverLimit, Recorder, Right, Served, Session, Unlimited,
};
pub use sql_client::{Ending, Inquiry, Reply, SqlClient, SqlError};
pub use tally::{End, Moved};
pub use workers::Workers;

/// The header that names the agreement.
pub const AGREEMENT: &str = "comity-agreement";
/// The header that carries the grant chain: compact envelopes, joined by spaces.
pub const GRANT: &str = "comity-grant";
/// The header that carries the proof of possession.
pub const BINDING: &str = "comity-bind-bin";
/// The header that states the purpose.
pub const PURPOSE: &str = "comity-purpose";
/// The header that permits answers without the rows of partners that do not
/// answer: `true`.
pub const PARTIAL: &str = "comity-partial";
/// The header that asks for one partition of an answer: `INDEX/COUNT`.
pub const PARTITION: &str = "comity-partition";
/// The header of a question for a ticket of each partition: how many.
pub const PARTITIONS: &str = "comity-partitions";
/// The header or the trailer that names the states of the sources that an answer reads.
pub const SNAPSHOT: &str = "comity-snapshot";
/// The trailer that says whose rows are missing: `PARTNER CODE`, joined by commas.
pub const MISSING: &str = "comity-missing";
/// The header that carries the trace id, which both nodes log.
pub const TRACE: &str = "comity-trace";
/// The header of an error: its stable code.
pub const CODE: &str = "comity-code";

/// The header of a refusal that ends by itself: after how many seconds to ask again.
pub const RETRY_AFTER: &str = "retry-after";

/// The most bytes of one message (`spec/5-data-plane.md#D-105`). ADBC stops at 16 MiB.
pub const MAX_MESSAGE_BYTES: usize = 14 * 1024 * 1024;

/// The most bytes of one message that a caller may send: a statement with its parameters.
pub const MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;

//! What was delivered, signed by both sides, and each side's journal witnessed
//! by the other (`spec/4-negotiation.md`, section 7).
//!
//! ```text
//! given     the provider: gathers deliveries, states them, waits for answers, pauses
//! taken     the consumer: compares with what it received, countersigns or disputes
//! reading   the consumer: answers that are being read, and what came of them
//! witness   the other's checkpoints: kept, proven, alarmed about
//! ```
//!
//! Nothing here asks a partner: that is the node's, as every errand is.

mod given;
mod reading;
mod taken;
mod witness;

pub(crate) use given::stated;
pub use given::{AnswerError, Given, Sent, Settings, Standing};
pub use reading::{Reading, Receiving};
pub use taken::Taken;
pub(crate) use taken::counted;
pub use witness::{Held, Witnesses};

#[cfg(test)]
mod tests;

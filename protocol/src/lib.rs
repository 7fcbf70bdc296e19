//! What organizations say to one another, and the rules of saying it.
//!
//! Pure as `comity-identity` is: no I/O, no clock, no randomness. Everything an
//! adversary can send is handled here, where a test or a simulator can play the
//! adversary in microseconds.

#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod terms;
pub mod wire;

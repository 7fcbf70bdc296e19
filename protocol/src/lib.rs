//! What organizations say to one another, and the rules of saying it.
//!
//! ```text
//! address      one major version of a product, and the versions that an agreement covers
//! catalog      head ── commits to ──> list of descriptors ──> product (descriptor)
//! invitation   how two organizations meet
//! negotiation  request, offer, accept, agree, verify, finalize ──> a document both signed
//! checkpoint   what a journal was at one moment, signed
//! compatibility  what changed between two versions of a product, and how much its number must rise
//! terms        what a document permits: narrows, intersect
//! revocation   one side takes a document back
//! receipt      what was delivered, signed by both
//! checkpoint   how far an organization's journal goes: its partners are witnesses
//! results      what was measured of a product, beside what is promised
//! wire         how all of it is framed, and how large it may be
//! ```
//!
//! Pure as `comity-identity` is: no I/O, no clock, no randomness. Everything an
//! adversary can send is handled here, where a test or a simulator can play the
//! adversary in microseconds.

#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod address;
pub mod catalog;
pub mod checkpoint;
pub mod compatibility;
pub mod invitation;
pub mod keys;
pub mod names;
pub mod negotiation;
pub mod product;
pub mod receipt;
pub mod results;
pub mod revocation;
pub mod terms;
pub mod version;
pub mod wire;

#[cfg(test)]
mod fixture;

//! One organization's running node.
//!
//! The rooms, in the order in which a query and a product travel through them;
//! `ARCHITECTURE.md` has the map.

#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod access;
pub mod admin;
pub mod audit;
pub mod catalog;
pub mod certificate;
pub mod cli;
pub mod clock;
pub mod config;
pub mod failure;
#[cfg(test)]
mod fixture;
pub mod flight;
pub mod founding;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod home;
pub mod index;
pub mod journal;
pub mod keys;
pub mod lab;
pub mod ledger;
pub mod measure;
pub mod network;
pub mod node;
pub mod notify;
mod outbound;
pub mod own;
pub mod products;
pub mod query;
pub mod receipts;
pub mod renewal;
pub mod sources;

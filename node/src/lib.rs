//! One organization's running node.
//!
//! The rooms, in the order in which a query and a product travel through them;
//! `ARCHITECTURE.md` has the map.

#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod access;
pub mod admin;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod flight;
pub mod index;
pub mod journal;
pub mod keys;
pub mod network;
pub mod products;
pub mod query;
pub mod sources;

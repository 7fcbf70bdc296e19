//! The red-team table, row by row: one test per attack, named by its number
//! (`rows.rs` has the table and finds out when a row lost its tests).
//!
//! Here are the attacks over real nodes: real keys, real agreements, and
//! messages as no node of ours would send them. Every attack stands beside the
//! legal case that it is one step beyond of. Attacks that only one function
//! can show are beside that function, under the same names.

mod credentials;
mod documents;
mod edges;
mod engine;
mod queries;
mod rows;
mod time;

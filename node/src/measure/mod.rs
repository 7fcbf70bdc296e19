//! Measuring: whether a product keeps what its contract promises.
//!
//! ```text
//! public contract ── promises ──> plan ── SQL ──> the query engine
//!                      │                             │ facts
//!                      └──────── verdict <───────────┘
//!                                   │ ok, failed, error
//!                  pipeline ── ingest ──> statement (catalog) ──> head
//! ```
//!
//! The other side has a view of its own: [`Observations`], out of its queries.
//!
//! Promises are read from the public contract, so that both sides of an
//! agreement count the same ones; only the text of rules in SQL comes from the
//! private file. What is stated of a measurement is numbers and verdicts: no
//! query and no name of the warehouse can be part of it, because no field could
//! hold one; and of values the first and last moment alone, and the age that says
//! the same, of columns that are for everybody (`spec/3-catalog.md#C-100`).

mod ingest;
mod observed;
mod plan;
mod promise;
mod run;
mod verdict;
mod view;

#[cfg(test)]
mod tests;

pub use ingest::{MAX_RUN_BYTES, Run, Taken, ingest};
pub use observed::Observations;
pub use promise::{Metric, Promise, freshness, promises};
pub use run::{PROCESS, Verdicts, measure};
pub use view::{history, measured};

//! What a caller may see: governed tables, the barrier, the SQL gate, partner tables.
//!
//! A statement travels one way: [`View`] (what the caller can name) → the gate
//! (what the caller may say) → the plan → the guard (how long and how much) →
//! a stream. Own data sits behind [`GovernedTable`]'s barrier, a partner's
//! behind [`PartnerTable`], which speaks SQL text to the partner's own gate.
//! The rules are in `spec/5-data-plane.md`.

mod barrier;
mod dictionary;
mod engine;
mod error;
mod federation;
mod filter;
mod finished;
mod functions;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzed;
mod gate;
mod governed;
mod guard;
mod mask;
mod partial;
mod partition;
mod partner;
mod parts;
mod predicate;
mod predicate_sql;
mod protection;
mod pushdown;
mod reduction;
mod remote_sql;
mod schema;
mod snapshots;
mod statement;
#[cfg(test)]
mod tests;
mod view;

pub use engine::{Described, Engine, EngineSettings, MAX_PLACES, Prepared};
pub use error::QueryError;
pub(crate) use gate::{MAX_BYTES, readable};
pub use governed::GovernedTable;
pub(crate) use governed::unqualified;
pub use mask::{Salts, enforces};
pub use partial::{Missed, Missing};
pub use partition::{MAX_PARTITIONS, NoPartition, Partition};
pub use partner::{Opened, Partner, PartnerTable, Question, RemoteTable};
pub(crate) use predicate::leak_proof;
pub(crate) use predicate_sql::{Dialect, identifier, text, write as predicate_text};
pub use protection::{Disclosed, KeptError};
pub(crate) use pushdown::{
    Answer, Function, Grouping, JoinKind, Joining, Measure, Pushdown, WithPushdown,
};
pub use reduction::{Egress, KeyForm, KeysTold, Sizes, TableSize};
pub(crate) use remote_sql::predicate as remote_predicate;
pub use schema::advertised;
pub(crate) use schema::row_bytes;
pub use snapshots::Snapshots;
pub(crate) use snapshots::SourceId;
pub(crate) use statement::{Statement, StatementExec};
pub use view::{TableName, View, ViewBuilder};

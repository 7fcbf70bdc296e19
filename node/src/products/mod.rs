//! Authoring: an ODCS file becomes what peers may see of a product.
//!
//! One `*.odcs.yaml` file is the product. [`read`] takes it through four gates,
//! and a [`Contract`] exists only past all of them:
//!
//! ```text
//! bytes ── yaml ──> JSON with places ── schema ──> valid ODCS
//!                                         │ rules: names, types, masks, sources
//!                                         ▼
//!                   public JSON <── public ── Contract ── source, offer ──> node only
//! ```
//!
//! - [`yaml`](self) refuses every text that two parsers read differently;
//! - the official ODCS schema and Comity's own schema for `comity*` properties refuse misspellings;
//! - the rules refuse what the schemas cannot see: a column type without an Arrow type, a restricted
//!   column without a mask, a mask or limit that this version cannot enforce;
//! - the projection is an allow-list, so that a field nobody thought of is private.
//!
//! Every refusal is a [`Problem`]: file, line, column, and what to write instead.
//! A gate reports all its problems at once.

mod contract;
pub mod draft;
pub(crate) mod duration;
mod extension;
mod filter;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzed;
mod odcs;
mod offer;
mod placeholder;
mod problem;
mod promised;
mod public;
mod quality;
mod rules;
mod scalar;
mod schema;
mod source;
mod spelling;
mod table;
mod yaml;

#[cfg(test)]
mod tests;

pub use contract::{Contract, MAX_PUBLIC_BYTES, Status, read, read_copy};
pub use offer::Offer;
pub use problem::{Problem, Problems};
pub use quality::SqlRule;
pub use source::{
    Content, DeltaSpec, FileSpec, FlightSqlDialect, FlightSqlServer, FlightSqlSpec, Format,
    PostgresServer, PostgresSpec, S3Spec, SourceSpec, SqliteSpec, Travel,
};
pub(crate) use spelling::nearest;
pub use table::{Column, Table};
pub use yaml::{MAX_DEPTH, MAX_FILE_BYTES, MAX_NODES};

//! What the admin API says of promises and measurements.

use std::collections::BTreeMap;

use comity_identity::{Digest, Timestamp};
use comity_protocol::address::Address;
use comity_protocol::results::TableExtent;
use serde::{Deserialize, Serialize};

use super::Product;

/// What a product promises, and what was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Every promise that has a number.
    pub promises: Vec<Promised>,
    /// How far its tables reach.
    pub tables: Vec<TableExtent>,
    /// The newest statement of every process that measures it.
    pub statements: Vec<Statement>,
    /// What this node's own queries saw of a partner's product.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub observed: Option<Observed>,
    /// The organization changed what it had stated of this product.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rewritten: Option<Rewritten>,
}

/// What a node's own queries saw of a partner's product: the last ones, a
/// hundred at most. It stays on this node.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Observed {
    /// How many queries.
    pub queries: usize,
    /// Those that failed, by their stable codes.
    pub failed: BTreeMap<String, usize>,
    /// Milliseconds to the first batch, the median.
    pub first_batch_ms: Option<u64>,
    /// Rows a second, the median over answers of a thousand rows and more.
    pub rows_per_second: Option<u64>,
    /// Rows that came.
    pub rows: u64,
    /// When it was asked last.
    pub last: Option<Timestamp>,
    /// The newest moment that came in the column of the promised freshness, in
    /// seconds since the Unix epoch. A query that asks for old rows sees old ones.
    pub newest: Option<i64>,
    /// When that came.
    pub newest_at: Option<Timestamp>,
}

/// A promise with its verdicts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Promised {
    /// Its id.
    pub id: String,
    /// The table or `TABLE.COLUMN` that it is about.
    pub about: String,
    /// What is counted.
    pub metric: String,
    /// What the number must be, in words.
    pub promise: Option<String>,
    /// What the number counts.
    pub unit: Option<String>,
    /// How much it matters, in its author's words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub severity: Option<String>,
    /// The newest verdict of every process that measured it; none of one that
    /// nobody measured.
    pub verdicts: Vec<Verdict>,
}

/// A verdict about a promise.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// `ok`, `failed`, or `error`: nobody can say.
    pub status: String,
    /// The number, where one is told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value: Option<f64>,
    /// Which process measured.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// A signed statement of what was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Statement {
    /// Its number in the chain of the product.
    pub seq: u64,
    /// Its id.
    pub id: Digest,
    /// When it was measured.
    pub at: Timestamp,
    /// By when the next one was announced.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub due: Option<Timestamp>,
    /// Whether the next one should have come.
    pub late: bool,
    /// Which process measured.
    pub by: String,
    /// Its version.
    pub by_version: String,
    /// The version of the product that was measured.
    pub version: String,
    /// Whether the contract has changed since.
    pub other_contract: bool,
    /// Verdicts that found no room in it.
    pub omitted: u64,
}

/// A statement of the chain, in short: `GET …/measurements`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    /// The statement.
    #[serde(flatten)]
    pub statement: Statement,
    /// Promises kept.
    pub ok: usize,
    /// Promises broken.
    pub failed: usize,
    /// Promises of which nobody can say.
    pub error: usize,
    /// Whether the statement before it is here, and the one that it names.
    pub unbroken: bool,
    /// The promises that are not kept, with `failed` or `error`.
    pub failures: BTreeMap<String, String>,
}

/// An organization changed what it had stated of a product.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Rewritten {
    /// The number of the statement that was known.
    pub seq: u64,
    /// When another one came.
    pub at: Timestamp,
}

/// `POST /v1/measurements`: measure an own product now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// The product's address.
    pub product: Address,
}

/// A measurement that was just made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JustMeasured {
    /// The product, with what was measured.
    #[serde(flatten)]
    pub product: Product,
    /// Why there is no verdict, by the promise's id. For the owner alone: it is
    /// not stated to anybody.
    pub reasons: BTreeMap<String, String>,
    /// Numbers that are not stated to anybody, as they would tell moments of
    /// columns that are not for everybody; by the promise's id.
    #[serde(default)]
    pub kept: BTreeMap<String, f64>,
}

/// What `POST /api/test-results` answers: for the owner's pipeline alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResultsTaken {
    /// Verdicts that were taken.
    pub verdicts: usize,
    /// Checks that are about nothing announced.
    pub left_out: u64,
}

/// `GET /v1/results-url`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResultsUrl {
    /// What `datacontract test --publish` is given. Whoever has it can publish results.
    pub url: String,
}

//! What a plan asks of partners, and what came of it: for `EXPLAIN`.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use arrow::array::RecordBatch;
use datafusion::physical_plan::ExecutionPlan;

use super::partner::Asked;
use super::reduction::{KeysTold, Narrowing, Side};
use super::schema::row_bytes;
use super::{Partner, StatementExec, federation};

/// One statement to one partner.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) partner: Arc<dyn Partner>,
    pub(crate) sql: String,
    /// The keys that it is told besides.
    pub(crate) narrowings: Arc<[Narrowing]>,
    /// Whether the answer may be without it.
    pub(crate) missable: bool,
    /// In this run of the plan.
    pub(crate) received: Arc<Received>,
}

/// What a partner sent.
#[derive(Debug, Default)]
pub(crate) struct Received {
    rows: AtomicU64,
    /// In memory, after decoding.
    bytes: AtomicU64,
    /// Milliseconds until the first rows, and one; zero before.
    first: AtomicU64,
    refused: AtomicBool,
    /// How many keys it was told.
    keys: AtomicU64,
}

impl Part {
    pub(crate) fn new(partner: Arc<dyn Partner>, sql: String) -> Self {
        Self {
            partner,
            sql,
            narrowings: Arc::default(),
            missable: false,
            received: Arc::default(),
        }
    }

    pub(crate) fn missable(self, missable: bool) -> Self {
        Self { missable, ..self }
    }

    pub(crate) fn telling(mut self, narrowings: &[Narrowing]) -> Self {
        self.narrowings = narrowings.into();
        self
    }
}

impl Received {
    /// Counts rows that came after the question of `asked`.
    pub(super) fn add(&self, batch: &RecordBatch, asked: Instant) {
        let waited = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
        let first = waited.saturating_add(1);
        let _ = (self.first).compare_exchange(0, first, Ordering::Relaxed, Ordering::Relaxed);
        self.rows
            .fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        self.bytes
            .fetch_add(row_bytes(batch) as u64, Ordering::Relaxed);
    }

    /// Notes that the partner refused to compute it.
    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Counts the keys that it is told.
    pub(super) fn tell(&self, told: &[KeysTold]) {
        let count = told.iter().map(|told| told.count).sum();
        self.keys.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Milliseconds until the first rows, if any came.
    pub(crate) fn first_millis(&self) -> Option<u64> {
        self.first.load(Ordering::Relaxed).checked_sub(1)
    }
}

/// Every statement of a plan to a partner; of one that was refused also those
/// that were asked instead.
pub(crate) fn of(plan: &Arc<dyn ExecutionPlan>) -> Vec<Part> {
    let mut found = Vec::new();
    collect(plan, &mut found);
    found
}

fn collect(plan: &Arc<dyn ExecutionPlan>, found: &mut Vec<Part>) {
    let any: &dyn Any = plan.as_ref();
    if let Some(leaf) = any.downcast_ref::<StatementExec<Asked>>() {
        found.push(leaf.statement().part.clone());
    }
    if let Some(leaf) = any.downcast_ref::<StatementExec<federation::Asked>>() {
        let asked = leaf.statement();
        found.push(asked.part.clone());
        if asked.part.received.is_refused() {
            collect(&asked.here, found);
        }
    }
    if let Some(leaf) = any.downcast_ref::<StatementExec<Side>>() {
        collect(&leaf.statement().plan, found);
    }
    for child in plan.children() {
        collect(child, found);
    }
}

//! How many rows parts of a plan may have, against each other: by the counts that
//! publishers state, and by rules of thumb where nothing is stated. No answer
//! depends on it, only what is asked.

use std::collections::BTreeMap;
use std::fmt;

use datafusion::common::Column;
use datafusion::logical_expr::LogicalPlan;

use super::lineage::{Origins, behind};
use crate::query::{TableName, View};

/// Rows of a table of which nothing is known.
const TABLE: f64 = 1e6;
/// The share of rows that passes a predicate, or that groups have of their rows.
const PASSES: f64 = 0.2;

/// What is known of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSize {
    /// About how many rows it has.
    pub rows: u64,
    /// About how many different values its columns have, where that is known.
    pub distinct: BTreeMap<String, u64>,
}

/// Who knows it; asked for the tables of joins with partners only.
pub trait Sizes: Send + Sync + fmt::Debug {
    /// What is known of a table.
    fn of(&self, table: &TableName) -> Option<TableSize>;
}

/// Rows of a part of a plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    /// How many there may be.
    pub(super) rows: f64,
    /// How many there would be if nothing were left out.
    of: f64,
}

impl Estimate {
    pub(super) fn new(plan: &LogicalPlan, view: &View) -> Self {
        let input = || match plan.inputs().first() {
            Some(input) => Self::new(input, view),
            None => Self::all(1.0),
        };
        match plan {
            LogicalPlan::TableScan(scan) => {
                let all = match behind(scan) {
                    Some(here) => Self::new(&here, view),
                    None => {
                        let size = Origins::table(scan, view).and_then(|t| view.sizes().of(&t));
                        Self::all(size.map_or(TABLE, |size| size.rows as f64))
                    }
                };
                let all = scan.filters.iter().fold(all, |all, _| all.passing());
                all.at_most(scan.fetch)
            }
            LogicalPlan::Filter(_) => input().passing(),
            LogicalPlan::Aggregate(node) if node.group_expr.is_empty() => Self::all(1.0),
            LogicalPlan::Aggregate(_) => input().passing(),
            LogicalPlan::Sort(node) => input().at_most(node.fetch),
            LogicalPlan::Limit(_) => input().at_most(plan.max_rows()),
            // Each side leaves out of the other what it leaves out of itself:
            // joins are mostly of keys with what refers to them.
            LogicalPlan::Join(node) => {
                let (l, r) = (Self::new(&node.left, view), Self::new(&node.right, view));
                let of = l.of.max(r.of);
                let rows = of * (l.rows / l.of) * (r.rows / r.of);
                Self { rows, of }
            }
            LogicalPlan::Union(node) => {
                let all = node.inputs.iter().map(|input| Self::new(input, view));
                let add = |a: Self, b: Self| Self {
                    rows: a.rows + b.rows,
                    of: a.of + b.of,
                };
                all.reduce(add).unwrap_or_else(|| Self::all(1.0))
            }
            _ => input(),
        }
    }

    fn all(rows: f64) -> Self {
        let rows = rows.max(1.0);
        Self { rows, of: rows }
    }

    fn passing(self) -> Self {
        let rows = self.rows * PASSES;
        Self { rows, ..self }
    }

    fn at_most(self, rows: Option<usize>) -> Self {
        let rows = rows.map_or(self.rows, |most| self.rows.min(most as f64));
        Self { rows, ..self }
    }
}

/// About how many different values a column of a plan's tables has; `None` if
/// that is not known.
pub(super) fn distinct(plan: &LogicalPlan, column: &Column, view: &View) -> Option<u64> {
    let (table, column) = Origins::of_one(plan, column, view)?;
    let size = view.sizes().of(&table)?;
    size.distinct.get(&column).copied()
}

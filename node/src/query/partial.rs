//! Answers without the rows of partners that do not answer
//! (`spec/5-data-plane.md#D-230`).
//!
//! Rows may be missing where all that follows is that rows of the answer are:
//! below filters, unions and joins that keep nothing without a pair. A count
//! over fewer rows, or what matches none of them, would be another answer and
//! no part of this one; there a partner that is gone ends the statement.

use std::sync::{Mutex, PoisonError};

use datafusion::common::JoinType;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::{Distinct, LogicalPlan};

use super::QueryError;
use super::reduction::{Leaf, within};

/// What is missing in the answers to one call.
#[derive(Debug, Default)]
pub struct Missing(Mutex<Vec<Missed>>);

/// One part that is missing, or breaks off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The partner's local alias.
    pub partner: String,
    /// Why: the partner's own code, or that of this node.
    pub code: String,
}

impl Missing {
    /// Everything that is missing so far, each once.
    pub fn all(&self) -> Vec<Missed> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }

    /// Notes a partner's failure; an error that is not a partner's is given back.
    pub(super) fn note(&self, partner: &str, error: QueryError) -> Result<(), QueryError> {
        if !["partner-unavailable", "partner-refused"].contains(&error.code()) {
            return Err(error);
        }
        let missed = Missed {
            partner: partner.to_owned(),
            code: error
                .refused_with()
                .unwrap_or_else(|| error.code())
                .to_owned(),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains(&missed) {
            tracing::info!(partner, code = missed.code, "missing in an answer");
            all.push(missed);
        }
        Ok(())
    }
}

/// Lets the parts be missing whose rows may be.
pub(super) fn push(plan: LogicalPlan) -> Result<LogicalPlan> {
    if let LogicalPlan::TableScan(mut scan) = plan {
        let provider = source_as_provider(&scan.source)?;
        if let Some(inner) = within(&provider, push)? {
            scan.source = provider_as_source(inner);
        } else if let Some(leaf) = Leaf::of(&provider) {
            scan.source = provider_as_source(leaf.missable());
        }
        return Ok(LogicalPlan::TableScan(scan));
    }
    let inputs = match &plan {
        LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Distinct(Distinct::All(_)) => vec![true],
        // The first rows of fewer are others.
        LogicalPlan::Sort(sort) => vec![sort.fetch.is_none()],
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => vec![true, true],
            JoinType::Left | JoinType::LeftAnti => vec![true, false],
            JoinType::Right | JoinType::RightAnti => vec![false, true],
            _ => vec![false, false],
        },
        LogicalPlan::Union(union) => vec![true; union.inputs.len()],
        _ => Vec::new(),
    };
    let mut inputs = inputs.into_iter();
    let plan = plan.map_children(|child| match inputs.next() {
        Some(true) => push(child).map(Transformed::yes),
        _ => Ok(Transformed::no(child)),
    })?;
    Ok(plan.data)
}

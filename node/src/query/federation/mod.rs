//! Plans that cross organizations: the parts of a plan that one partner can
//! compute are asked of it in one statement, inside of queries over several
//! partners and own tables too (`spec/5-data-plane.md#D-220`).
//!
//! The optimized plan is walked from its leaves. What lies over tables of one
//! agreement is written down as SQL as far up as every node and expression has
//! a form that means the same there ([`written`]); the largest such part that
//! asks for less than its tables' rows becomes one leaf ([`asked`]). The rest
//! of the plan stays as it is, and so does what cannot be written. The partner
//! plans the statement anew, under its own scope, and computes over what this
//! node would see; what it refuses to compute is computed here, over its rows
//! (`spec/5-data-plane.md#D-222`).

mod asked;
mod expression;
mod written;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

pub(super) use self::asked::{Asked, AskedTable};
use self::written::Written;
use super::pushdown;
use crate::query::finished::FinishedTable;
use crate::query::pushdown::renamed;

/// Replaces what partners can compute in an optimized plan.
pub(super) fn push(plan: LogicalPlan) -> Result<LogicalPlan> {
    below_order(plan, &mut 0)
}

/// What stands above the order of the whole answer stays here, or the partner
/// would have to keep that order.
fn below_order(plan: LogicalPlan, asked: &mut usize) -> Result<LogicalPlan> {
    if !matches!(plan, LogicalPlan::Sort(_)) && is_ordered(&plan) {
        let plan = plan.map_children(|input| below_order(input, asked).map(Transformed::yes))?;
        return in_subqueries(plan.data, asked);
    }
    let (plan, written) = visit(plan, asked)?;
    replaced(plan, written, asked)
}

/// Whether the rows of a plan come in an order that its statement asked for.
fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_) => plan.inputs().into_iter().all(is_ordered),
        _ => false,
    }
}

/// The node with the parts below it replaced that do not belong to one with it,
/// or else the node as it was and its statement.
fn visit(node: LogicalPlan, asked: &mut usize) -> Result<(LogicalPlan, Option<Written>)> {
    let mut below = Vec::new();
    for input in node.inputs() {
        below.push(visit(input.clone(), asked)?);
    }
    let (inputs, written): (Vec<_>, Vec<_>) = below.into_iter().unzip();
    if let Some(whole) = Written::of(&node, &written) {
        return Ok((node, Some(whole)));
    }
    let mut inputs = inputs.into_iter().zip(written);
    let node = node.map_children(|input| {
        let Some((input, written)) = inputs.next() else {
            return Ok(Transformed::no(input));
        };
        Ok(Transformed::yes(replaced(input, written, asked)?))
    })?;
    Ok((in_subqueries(node.data, asked)?, None))
}

/// Queries inside of expressions are queries of their own.
fn in_subqueries(node: LogicalPlan, asked: &mut usize) -> Result<LogicalPlan> {
    let node = node.map_subqueries(|subquery| {
        let LogicalPlan::Subquery(mut subquery) = subquery else {
            return Ok(Transformed::no(subquery));
        };
        let plan = Arc::unwrap_or_clone(subquery.subquery);
        let (plan, written) = visit(plan, asked)?;
        subquery.subquery = Arc::new(replaced(plan, written, asked)?);
        let subquery = LogicalPlan::Subquery(subquery);
        Ok(Transformed::new(subquery, true, TreeNodeRecursion::Jump))
    })?;
    Ok(node.data)
}

fn replaced(plan: LogicalPlan, written: Option<Written>, asked: &mut usize) -> Result<LogicalPlan> {
    let Some(written) = written.filter(|w| w.gains) else {
        return Ok(plan);
    };
    // An answer without columns has no form on the wire.
    if plan.schema().fields().is_empty() {
        return Ok(plan);
    }
    *asked += 1;
    let schema = Arc::clone(plan.schema());
    // spec/5-data-plane.md#D-223. Rows that were chosen by an order are put into it here.
    let again = match &plan {
        LogicalPlan::Sort(sort) => Some(sort.clone()),
        _ => None,
    };
    let here = pushdown::at_sources(plan.clone())?;
    let table = Arc::new(FinishedTable(AskedTable::new(written, plan, here)));
    let leaf = renamed(table, &format!("asked_{asked}"), &schema)?;
    Ok(match again {
        Some(mut sort) => {
            sort.input = Arc::new(leaf);
            LogicalPlan::Sort(sort)
        }
        None => leaf,
    })
}

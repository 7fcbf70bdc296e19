//! Joins that are made where both tables are.
//!
//! Keys and columns are open columns of both tables, compared by equality
//! alone, and every predicate is a policy's or leak-proof. A join that could
//! multiply rows stays here, under this node's budget: one statement of a
//! partner must not keep the owner's database busy (`spec/5-data-plane.md#D-159`).

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use comity_protocol::terms::{RowFilter, TableTerms};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Join, LogicalPlan};

use super::below::Below;
use super::{Pushdown, WithPushdown, numbered, renamed};
use crate::query::GovernedTable;

/// The visible rows of a governed table, at its source.
pub(crate) struct Restricted {
    pub(crate) source: Arc<dyn Pushdown>,
    /// The policy's and leak-proof ones; the columns are without a table's name.
    pub(crate) predicates: Vec<Expr>,
}

/// Which rows a join gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinKind {
    /// Every pair.
    Inner,
    /// Every pair, and the rows on the left that have none.
    Left,
    /// The rows on the left that have a pair.
    Semi,
    /// The rows on the left that have none.
    Anti,
}

/// What a table is joined with, and how.
pub(crate) struct Joining<'a> {
    pub(crate) kind: JoinKind,
    /// Which rows of the table itself, on the left, count.
    pub(crate) predicates: &'a [Expr],
    pub(crate) right: &'a Restricted,
    /// Columns that are equal: on the left, on the right. Nulls are equal to nothing.
    pub(crate) on: &'a [(String, String)],
    /// The columns of the answer, on the left and on the right.
    pub(crate) columns: (&'a [String], &'a [String]),
}

/// Replaces every join that a source can make, from the innermost; whether there was one.
pub(super) fn push(plan: LogicalPlan, kept: &mut Vec<String>) -> Result<(LogicalPlan, bool)> {
    let mut made = 0;
    let pushed = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Join(join) = &node else {
            return Ok(Transformed::no(node));
        };
        match joined(join) {
            Some(Ok(table)) => {
                made += 1;
                Ok(Transformed::yes(replaced(table, join, made)?))
            }
            Some(Err(why)) => {
                kept.push(format!("a join: {why}"));
                Ok(Transformed::no(node))
            }
            None => Ok(Transformed::no(node)),
        }
    })?;
    Ok((pushed.data, made > 0))
}

/// The source's table; `None` if the join is not of two governed tables whose sources compute.
fn joined(join: &Join) -> Option<Result<Arc<dyn Pushdown>, String>> {
    let (left, right) = (Below::of(&join.left)?, Below::of(&join.right)?);
    let (from, with) = (left.provider()?, right.provider()?);
    let from: &GovernedTable = (from.as_ref() as &dyn Any).downcast_ref()?;
    let with: &GovernedTable = (with.as_ref() as &dyn Any).downcast_ref()?;
    if !from.computes() || !with.computes() {
        return None;
    }
    Some(at_source(join, (from, &left), (with, &right)))
}

fn at_source(
    join: &Join,
    (from, left): (&GovernedTable, &Below<'_>),
    (with, right): (&GovernedTable, &Below<'_>),
) -> Result<Arc<dyn Pushdown>, String> {
    let kind = match join.join_type {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        JoinType::LeftSemi => JoinKind::Semi,
        JoinType::LeftAnti if !join.null_aware => JoinKind::Anti,
        other => return Err(format!("a {other} join is made here only")),
    };
    if join.filter.is_some() || join.on.is_empty() {
        return Err("it is not of equal columns alone".to_owned());
    }
    if join.null_equality != NullEquality::NullEqualsNothing {
        return Err("nulls are equal in it".to_owned());
    }
    let on = join.on.iter().map(|(l, r)| {
        let pair = key(l, left).zip(key(r, right));
        pair.ok_or_else(|| "it compares an expression".to_owned())
    });
    let on: Vec<_> = on.collect::<Result<_, _>>()?;
    let lefts = columns(&join.left, left)?;
    let rights = match kind {
        JoinKind::Inner | JoinKind::Left => columns(&join.right, right)?,
        JoinKind::Semi | JoinKind::Anti => Vec::new(),
    };
    let from = from.restricted(
        lefts.iter().chain(on.iter().map(|(l, _)| l)),
        left.predicates()?,
    )?;
    let with = with.restricted(
        rights.iter().chain(on.iter().map(|(_, r)| r)),
        right.predicates()?,
    )?;
    from.source.joined(&Joining {
        kind,
        predicates: &from.predicates,
        right: &with,
        on: &on,
        columns: (&lefts, &rights),
    })
}

/// The column of a key, without a cast that is total and changes no equality.
fn key(expr: &Expr, below: &Below<'_>) -> Option<String> {
    match below.resolved(expr)? {
        Expr::Column(column) => Some(column.name),
        Expr::Cast(cast) => {
            let Expr::Column(column) = *cast.expr else {
                return None;
            };
            let to = cast.field.data_type();
            let widens = |from: &DataType| {
                let both = from.is_signed_integer() && to.is_signed_integer();
                both && from.primitive_width() <= to.primitive_width()
            };
            below.is(&column.name, widens).then_some(column.name)
        }
        _ => None,
    }
}

/// The table's columns that an input of the join has.
fn columns(input: &LogicalPlan, below: &Below<'_>) -> Result<Vec<String>, String> {
    let all = input.schema().iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        below.column(&column)
    });
    all.collect::<Option<_>>()
        .ok_or_else(|| "it is of computed values".to_owned())
}

/// The joined table in the place of the join, under its names. Everything in it
/// is visible: what is not, the source left out.
fn replaced(source: Arc<dyn Pushdown>, join: &Join, number: usize) -> Result<LogicalPlan> {
    let schema = numbered(join.schema.as_arrow());
    let terms = TableTerms {
        columns: schema.fields().iter().map(|f| f.name().clone()).collect(),
        filter: RowFilter::default(),
        masks: BTreeMap::new(),
        protection: None,
    };
    let table = GovernedTable::new(Arc::new(WithPushdown(source)), &terms)?;
    renamed(Arc::new(table), &format!("joined_{number}"), &join.schema)
}

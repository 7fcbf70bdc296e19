//! Joins with a partner's rows that ask for the matching ones only: one side is
//! computed first, and the partner is told its keys, as far as this
//! organization lets them go (`spec/5-data-plane.md#D-225`).
//!
//! A partner sees keys that nobody else guards: whoever joins customers with a
//! partner's table tells the partner which customers it has. So the form in
//! which keys of a column may go to a partner is asked of [`Egress`], for the
//! column itself and for every column that decides which keys there are.
//!
//! The rejected alternative is the engine's own runtime filters: their values
//! exist only inside of a join, in forms that no SQL has, and nothing says of
//! which columns of whose tables they are.

mod egress;
mod estimate;
mod filter;
mod lineage;
mod source;
mod told;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Column, ExprSchema as _, JoinType, NullEquality};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Join, LogicalPlan};

pub use self::egress::{Egress, KeyForm, KeysTold};
use self::estimate::{Estimate, distinct};
pub use self::estimate::{Sizes, TableSize};
use self::filter::is_key;
pub(crate) use self::filter::{NAME as FUNCTION, function};
use self::lineage::step;
pub(super) use self::lineage::{Leaf, within};
pub(crate) use self::source::{Side, Sources};
use self::source::{SourceTable, Telling};
pub(crate) use self::told::{Narrowing, narrowed};
use super::View;
use super::finished::FinishedTable;
use super::pushdown::renamed;

/// Lets partners' parts of a finished plan be told keys.
pub(super) fn push(plan: LogicalPlan, view: &View) -> Result<LogicalPlan> {
    let mut sources = 0;
    let reduced = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Join(join) = node else {
            return Ok(Transformed::no(node));
        };
        match chosen(&join, view) {
            None => Ok(Transformed::no(LogicalPlan::Join(join))),
            Some(choice) => {
                sources += 1;
                let join = reduce(join, choice, sources)?;
                Ok(Transformed::yes(LogicalPlan::Join(join)))
            }
        }
    })?;
    Ok(reduced.data)
}

/// One side of a join tells its keys to a partner who has the other.
struct Choice {
    /// Whether the keys are those of the left side.
    from_left: bool,
    /// The equal columns: the side's own, and the one of the partner's rows.
    key: Column,
    target: Column,
    /// Everybody who learns of them.
    tellings: Vec<Telling>,
    of: String,
    form: KeyForm,
    /// The most keys that are worth telling.
    most: u64,
}

/// Which keys of a join are told, if any may be and it helps.
fn chosen(join: &Join, view: &View) -> Option<Choice> {
    // What is kept without a pair must not be left out by the partner.
    let (to_left, to_right) = match join.join_type {
        JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => (true, true),
        JoinType::Left | JoinType::LeftAnti => (false, true),
        JoinType::Right | JoinType::RightAnti => (true, false),
        _ => return None,
    };
    // One null on the right decides a `NOT IN`; where nulls are equal, they are keys too.
    if join.null_aware || join.null_equality != NullEquality::NullEqualsNothing {
        return None;
    }
    let rows = |side| Estimate::new(side, view).rows;
    let (left, right) = (rows(&join.left), rows(&join.right));
    let mut directions = [(true, to_right), (false, to_left)];
    if right < left {
        directions.reverse();
    }
    let permitted = directions.into_iter().filter(|(_, permitted)| *permitted);
    permitted
        .map(|(from_left, _)| from_left)
        .find_map(|from_left| {
            let pairs = join.on.iter();
            pairs
                .filter_map(|(l, r)| match from_left {
                    true => choice(join, from_left, l, r, view),
                    false => choice(join, from_left, r, l, view),
                })
                .max_by_key(|choice| choice.form)
        })
}

fn choice(join: &Join, from_left: bool, key: &Expr, target: &Expr, view: &View) -> Option<Choice> {
    let (Expr::Column(key), Expr::Column(target)) = (key, target) else {
        return None;
    };
    let (from, to) = match from_left {
        true => (&join.left, &join.right),
        false => (&join.right, &join.left),
    };
    let kind = |plan: &LogicalPlan, column: &Column| {
        let field = plan.schema().field_from_column(column).ok()?;
        Some(field.data_type().clone())
    };
    let kinds = (kind(from, key)?, kind(to, target)?);
    if kinds.0 != kinds.1 || !is_key(&kinds.0) {
        return None;
    }
    let mut crossed = Vec::new();
    let leaf = Leaf::below(to, target, &mut crossed)?;
    let (of, form) = lineage::permitted(from, key, leaf.partner(), view)?;
    // What leaves rows out of a side decides which keys that side tells: whoever
    // is told those learns of these.
    for telling in &crossed {
        let (_, may) = lineage::permitted(from, key, &telling.to, view)?;
        if may < telling.form {
            return None;
        }
    }
    Some(Choice {
        from_left,
        key: key.clone(),
        target: target.clone(),
        of,
        form,
        tellings: {
            let to = leaf.partner().to_owned();
            crossed.push(Telling { to, form });
            crossed
        },
        // Most of all keys would leave out few rows, and tell much.
        most: distinct(to, target, view).map_or(u64::MAX, |all| all / 2),
    })
}

fn reduce(mut join: Join, choice: Choice, source: usize) -> Result<Join> {
    let (from, to) = match choice.from_left {
        true => (&mut join.left, &mut join.right),
        false => (&mut join.right, &mut join.left),
    };
    let schema = Arc::clone(from.schema());
    let Some(key) = schema.maybe_index_of_column(&choice.key) else {
        return Ok(join);
    };
    let plan = std::mem::take(Arc::make_mut(from));
    let table = SourceTable::new(source, plan, choice.tellings.clone());
    let table = Arc::new(FinishedTable(table));
    *from = Arc::new(renamed(table, &format!("source_{source}"), &schema)?);
    let narrowing = |column| Narrowing {
        source,
        key,
        column,
        of: choice.of.clone(),
        form: choice.form,
        most: choice.most,
    };
    let plan = std::mem::take(Arc::make_mut(to));
    *to = Arc::new(narrow(plan, &choice.target, &narrowing)?);
    Ok(join)
}

/// The plan with the leaf that `column` comes from told what `narrowing` says of it.
fn narrow(
    plan: LogicalPlan,
    column: &Column,
    narrowing: &dyn Fn(usize) -> Narrowing,
) -> Result<LogicalPlan> {
    if let LogicalPlan::TableScan(mut scan) = plan {
        let provider = source_as_provider(&scan.source)?;
        let Some(place) = scan.projected_schema.maybe_index_of_column(column) else {
            return Ok(LogicalPlan::TableScan(scan));
        };
        // A side that tells keys may itself be told some: of the rows that it
        // holds, those that match nothing further up have no keys to tell.
        let inner = within(&provider, |plan| match plan.schema().columns().get(place) {
            Some(below) => narrow(plan, below, narrowing),
            None => Ok(plan),
        })?;
        if let Some(inner) = inner {
            scan.source = provider_as_source(inner);
        } else if let Some(leaf) = Leaf::of(&provider) {
            scan.source = provider_as_source(leaf.told(narrowing(place)));
        }
        return Ok(LogicalPlan::TableScan(scan));
    }
    let Some((input, below)) = step(&plan, column) else {
        return Ok(plan);
    };
    let mut at = 0;
    let narrowed = plan.map_children(|child| {
        at += 1;
        match at == input + 1 {
            true => Ok(Transformed::yes(narrow(child, &below, narrowing)?)),
            false => Ok(Transformed::no(child)),
        }
    })?;
    Ok(narrowed.data)
}

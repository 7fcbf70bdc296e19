//! How long the texts of a result can become (`spec/5-data-plane.md#D-19`). The memory pool does not see
//! what a function allocates (A51), and every row of a batch is made at once:
//! a text doubled in each of 32 common table expressions is 4 GiB per byte.

use std::ops::Add;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};

use crate::query::{QueryError, reduction};

/// How many times longer than the texts of its source a text may become.
pub(super) const MAX_TEXT_GROWTH: usize = 64;
/// The most text that a statement itself may put into each row, in bytes.
pub(super) const MAX_ROW_TEXT: usize = 16 * 1024;

/// Refuses a plan whose rows could hold much more text than its sources do.
/// A plan that the walk has passed is small enough to follow by recursion.
pub(super) fn check(plan: &LogicalPlan) -> Result<(), QueryError> {
    of_plan(plan, Length::default()).map(|_| ())
}

/// The longest text: `times` the longest one of a source, and `own` bytes of the statement.
#[derive(Clone, Copy, Debug, Default)]
struct Length {
    times: usize,
    own: usize,
}

impl Length {
    const SOURCE: Self = Self { times: 1, own: 0 };

    fn max(self, other: Self) -> Self {
        Self {
            times: self.times.max(other.times),
            own: self.own.max(other.own),
        }
    }

    fn repeated(self, n: usize) -> Self {
        Self {
            times: self.times.saturating_mul(n),
            own: self.own.saturating_mul(n),
        }
    }

    fn bounded(self) -> Result<Self, QueryError> {
        if self.times > MAX_TEXT_GROWTH {
            return Err(QueryError::too_large(
                "concatenations of texts",
                MAX_TEXT_GROWTH,
            ));
        }
        if self.own > MAX_ROW_TEXT {
            return Err(QueryError::too_large(
                "bytes of text for each row",
                MAX_ROW_TEXT,
            ));
        }
        Ok(self)
    }
}

impl Add for Length {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            times: self.times.saturating_add(other.times),
            own: self.own.saturating_add(other.own),
        }
    }
}

/// The longest text in a row of `plan`; `outer` is that of the query around it.
fn of_plan(plan: &LogicalPlan, outer: Length) -> Result<Length, QueryError> {
    if let LogicalPlan::TableScan(_) = plan {
        return Ok(Length::SOURCE);
    }
    let mut input = outer;
    for child in plan.inputs() {
        input = input.max(of_plan(child, outer)?);
    }
    let mut failure = None;
    let (mut longest, mut computed) = (input, Length::default());
    let rows = !matches!(plan, LogicalPlan::Values(_));
    plan.apply_expressions(|e| {
        match of_expression(e, input) {
            Ok(length) => {
                longest = longest.max(length);
                // Other columns of the row are shared with the input and cost nothing.
                if rows && length.times > input.times {
                    computed.times = computed.times.saturating_add(length.times);
                }
                if rows && !matches!(e.clone().unalias(), Expr::Column(_)) {
                    computed.own = computed.own.saturating_add(length.own);
                }
            }
            Err(e) => failure = failure.take().or(Some(e)),
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(|e| QueryError::of(&e))?;
    if let Some(error) = failure {
        return Err(error);
    }
    computed.bounded()?;
    longest.bounded()
}

fn of_expression(e: &Expr, input: Length) -> Result<Length, QueryError> {
    let longest = |parts: &[&Expr]| {
        parts.iter().try_fold(Length::default(), |all, part| {
            Ok::<_, QueryError>(all.max(of_expression(part, input)?))
        })
    };
    let sum = |parts: &[Expr]| {
        parts.iter().try_fold(Length::default(), |all, part| {
            Ok::<_, QueryError>(all + of_expression(part, input)?)
        })
    };
    let length = match e {
        Expr::Column(_) | Expr::OuterReferenceColumn(..) => input,
        Expr::Literal(value, _) => Length {
            times: 0,
            own: value.try_as_str().flatten().map_or(0, str::len),
        },
        Expr::BinaryExpr(b) => {
            let (left, right) = (
                of_expression(&b.left, input)?,
                of_expression(&b.right, input)?,
            );
            match b.op {
                Operator::StringConcat => left + right,
                _ => Length::default(),
            }
        }
        Expr::ScalarFunction(f) if f.name() == "concat" => sum(&f.args)?,
        // The separator stands between every two of the others.
        Expr::ScalarFunction(f) if f.name() == "concat_ws" => match f.args.split_first() {
            Some((separator, rest)) => {
                sum(rest)? + of_expression(separator, input)?.repeated(rest.len())
            }
            None => Length::default(),
        },
        // A filter that is one literal is not repeated for each row either.
        Expr::ScalarFunction(f) if f.name() == reduction::FUNCTION => match &f.args[..] {
            [value, Expr::Literal(..)] => {
                of_expression(value, input)?;
                Length::default()
            }
            args => sum(args)?,
        },
        Expr::ScalarSubquery(s) => of_plan(&s.subquery, input)?,
        Expr::Exists(Exists { subquery, .. }) => {
            of_plan(&subquery.subquery, input)?;
            Length::default()
        }
        Expr::InSubquery(InSubquery { expr, subquery, .. })
        | Expr::SetComparison(SetComparison { expr, subquery, .. }) => {
            of_expression(expr, input)?;
            of_plan(&subquery.subquery, input)?;
            Length::default()
        }
        // Literals that are only compared with are never repeated for each row.
        Expr::InList(list) => {
            of_expression(&list.expr, input)?;
            Length::default()
        }
        other => {
            let mut children = Vec::new();
            other
                .apply_children(|child| {
                    children.push(child);
                    Ok(TreeNodeRecursion::Continue)
                })
                .map_err(|e| QueryError::of(&e))?;
            longest(&children)?
        }
    };
    length.bounded()
}

//! Aggregates that are answered where the rows are: keys and arguments are
//! open columns, the functions are the five below, and every predicate is the
//! policy's or leak-proof (`spec/5-data-plane.md#D-157`).

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;

use super::below::Below;
use super::{numbered, renamed};
use crate::query::finished::{Finished, FinishedTable};
use crate::query::governed::groups_only;
use crate::query::{GovernedTable, PartnerTable};

/// What is asked of a source instead of its rows.
#[derive(Clone, Debug)]
pub(crate) struct Grouping {
    /// The columns to group by. Without one, all rows are one group, even if there are none.
    pub(crate) keys: Vec<String>,
    /// What is computed of each group.
    pub(crate) measures: Vec<Measure>,
    /// Which rows count; the columns are without a table's name.
    pub(crate) predicates: Vec<Expr>,
    /// The answer: the keys, then the measures.
    pub(crate) schema: SchemaRef,
}

/// One aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Measure {
    pub(crate) function: Function,
    /// Its argument; none for `count(*)`.
    pub(crate) column: Option<String>,
}

/// The aggregates that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Count,
    Sum,
    Avg,
    Min,
    Max,
}

impl Function {
    /// As SQL calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Count, Self::Sum, Self::Avg, Self::Min, Self::Max]
            .into_iter()
            .find(|f| f.name() == name)
    }
}

/// A plan that answers a grouping, or why there is none.
pub(crate) type Answer = Result<Arc<dyn ExecutionPlan>, String>;

/// Replaces every aggregate that a source can answer.
pub(super) fn push(plan: LogicalPlan, kept: &mut Vec<String>) -> Result<LogicalPlan> {
    let mut made = 0;
    let pushed = plan.transform_down_with_subqueries(|node| {
        let LogicalPlan::Aggregate(aggregate) = &node else {
            return Ok(Transformed::no(node));
        };
        if let Some(groups) = guarded(aggregate) {
            let groups = groups.map_err(|why| groups_only(&why))?;
            return Ok(Transformed::yes(replaced(groups, aggregate, &mut made)?));
        }
        match answered(aggregate) {
            Some(Ok(plan)) => {
                let schema = numbered(aggregate.schema.as_arrow());
                let table = Arc::new(FinishedTable(Answered { plan, schema }));
                Ok(Transformed::yes(replaced(table, aggregate, &mut made)?))
            }
            Some(Err(why)) => {
                kept.push(why);
                Ok(Transformed::no(node))
            }
            None => Ok(Transformed::no(node)),
        }
    })?;
    Ok(pushed.data)
}

/// The groups of a table that is read in groups only, or why the aggregate is
/// none that its terms permit (`spec/5-data-plane.md#D-140`); `None` if it is
/// over something else.
fn guarded(aggregate: &Aggregate) -> Option<Result<Arc<dyn TableProvider>, String>> {
    let below = Below::of(&aggregate.input)?;
    let provider = below.provider()?;
    let any = provider.as_ref() as &dyn Any;
    any.downcast_ref::<GovernedTable>()?
        .guarded_groups(|| grouping(aggregate, &below))
}

/// The source's answer; `None` if the aggregate is not over one table whose source computes.
fn answered(aggregate: &Aggregate) -> Option<Answer> {
    let below = Below::of(&aggregate.input)?;
    let provider = below.provider()?;
    let any = provider.as_ref() as &dyn Any;
    let governed = any.downcast_ref::<GovernedTable>();
    let governed = governed.filter(|table| table.computes());
    let partner = any.downcast_ref::<PartnerTable>();
    if governed.is_none() && partner.is_none() {
        return None;
    }
    let grouping = match grouping(aggregate, &below) {
        Ok(grouping) => grouping,
        Err(why) => return Some(Err(why)),
    };
    match (governed, partner) {
        (Some(table), _) => Some(table.grouped(grouping)),
        (None, Some(table)) => Some(table.grouped(&grouping)),
        (None, None) => None,
    }
}

fn grouping(aggregate: &Aggregate, below: &Below<'_>) -> Result<Grouping, String> {
    let predicates = below.predicates()?;
    let key = |expr: &Expr| {
        let column = below.column(expr);
        column.ok_or("it groups by an expression")
    };
    let keys = aggregate.group_expr.iter().map(key);
    let measures = aggregate.aggr_expr.iter().map(|e| measure(e, below));
    Ok(Grouping {
        keys: keys.collect::<Result<_, _>>()?,
        measures: measures.collect::<Result<_, _>>()?,
        predicates,
        schema: numbered(aggregate.schema.as_arrow()),
    })
}

fn measure(expr: &Expr, below: &Below<'_>) -> Result<Measure, String> {
    let mut expr = expr;
    while let Expr::Alias(alias) = expr {
        expr = &alias.expr;
    }
    let Expr::AggregateFunction(call) = expr else {
        return Err("it computes something else than an aggregate".to_owned());
    };
    let name = call.func.name();
    let params = &call.params;
    let plain = !params.distinct
        && params.filter.is_none()
        && params.order_by.is_empty()
        && params.null_treatment.is_none();
    let (Some(function), true, [argument]) = (Function::parse(name), plain, &params.args[..])
    else {
        return Err(format!("{name} in this form is computed by this node only"));
    };
    let column = match below.resolved(argument) {
        Some(Expr::Literal(value, _)) if function == Function::Count && !value.is_null() => None,
        Some(Expr::Column(c)) => Some(c.name),
        // The engine's own widening before `sum` and `avg`: total, and the source's as well.
        Some(Expr::Cast(cast)) => match (*cast.expr, function, cast.field.data_type()) {
            (Expr::Column(c), Function::Sum, DataType::Int64)
            | (Expr::Column(c), Function::Avg, DataType::Float64)
                if below.is(&c.name, DataType::is_signed_integer) =>
            {
                Some(c.name)
            }
            (Expr::Column(c), Function::Sum | Function::Avg, DataType::Float64)
                if below.is(&c.name, |t| *t == DataType::Float32) =>
            {
                Some(c.name)
            }
            _ => return Err(format!("{name} of an expression")),
        },
        _ => return Err(format!("{name} of an expression")),
    };
    Ok(Measure { function, column })
}

/// The answer in the place of the aggregate, under its names.
///
/// Each has a name of its own: two scans of one name are equal to the engine
/// whatever they read, and of two equal subqueries it computes one.
fn replaced(
    table: Arc<dyn TableProvider>,
    aggregate: &Aggregate,
    number: &mut usize,
) -> Result<LogicalPlan> {
    *number += 1;
    renamed(table, &format!("groups_{number}"), &aggregate.schema)
}

/// The groups as a table.
struct Answered {
    /// Holds no state of a run.
    plan: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
}

#[async_trait]
impl Finished for Answered {
    const NAME: &'static str = "groups";

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn plan(&self, _: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::clone(&self.plan))
    }
}

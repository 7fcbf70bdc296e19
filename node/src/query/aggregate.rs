//! Aggregates that are answered where the rows are.
//!
//! A caller's `GROUP BY` over one table would bring every row through the
//! barrier to count it. Where the table's source can answer a grouping exactly
//! as this engine does, the source is asked for the groups, under the same
//! policy: keys and arguments are open columns, the functions are the five
//! below, and every predicate is the policy's or leak-proof. A caller's own
//! expression never runs at the source (`spec/5-data-plane.md#D-157`).

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, Projection, TableScan, TableType,
};
use datafusion::physical_plan::ExecutionPlan;

use super::{GovernedTable, PartnerTable};

/// The most projections between an aggregate and its table.
const MAX_PROJECTIONS: usize = 8;

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

/// A source that can answer groupings.
pub(crate) trait Groups: TableProvider {
    /// The plan that answers exactly as this engine would over the source's rows.
    fn grouped(&self, grouping: &Grouping) -> Answer;
}

/// A source with the knowledge that it is a [`Groups`].
#[derive(Debug)]
pub(crate) struct Grouped(pub(crate) Arc<dyn Groups>);

#[async_trait]
impl TableProvider for Grouped {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        self.0.table_type()
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<datafusion::logical_expr::TableProviderFilterPushDown>> {
        self.0.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.scan(state, projection, filters, limit).await
    }
}

/// Replaces every aggregate of an optimized plan that a source can answer. Of
/// the others it gives why they are computed here, for the owner.
pub(crate) fn push(plan: LogicalPlan) -> Result<(LogicalPlan, Vec<String>)> {
    let mut kept = Vec::new();
    let pushed = plan.transform_down_with_subqueries(|node| {
        let LogicalPlan::Aggregate(aggregate) = &node else {
            return Ok(Transformed::no(node));
        };
        match answered(aggregate) {
            Some(Ok(plan)) => Ok(Transformed::yes(replaced(plan, aggregate)?)),
            Some(Err(why)) => {
                kept.push(why);
                Ok(Transformed::no(node))
            }
            None => Ok(Transformed::no(node)),
        }
    })?;
    Ok((pushed.data, kept))
}

/// The source's answer; `None` if the aggregate is not over one table.
fn answered(aggregate: &Aggregate) -> Option<Answer> {
    let mut projections = Vec::new();
    let mut input = aggregate.input.as_ref();
    let scan = loop {
        match input {
            LogicalPlan::TableScan(scan) => break scan,
            LogicalPlan::Projection(projection) if projections.len() < MAX_PROJECTIONS => {
                projections.push(projection);
                input = &projection.input;
            }
            LogicalPlan::SubqueryAlias(alias) => input = &alias.input,
            // What is left above the scan may not cross the barrier, or not be answered alike.
            LogicalPlan::Filter(_) => {
                return Some(Err("a condition can only be tested here".to_owned()));
            }
            _ => return None,
        }
    };
    let provider = source_as_provider(&scan.source).ok()?;
    let any = provider.as_ref() as &dyn Any;
    let governed = any.downcast_ref::<GovernedTable>();
    let partner = any.downcast_ref::<PartnerTable>();
    if governed.is_none() && partner.is_none() {
        return None;
    }
    let grouping = match grouping(aggregate, &projections, scan) {
        Ok(grouping) => grouping,
        Err(why) => return Some(Err(why)),
    };
    match (governed, partner) {
        (Some(table), _) => Some(table.grouped(grouping)),
        (None, Some(table)) => Some(table.grouped(&grouping)),
        (None, None) => None,
    }
}

fn grouping(
    aggregate: &Aggregate,
    projections: &[&Projection],
    scan: &TableScan,
) -> Result<Grouping, String> {
    if scan.fetch.is_some() {
        return Err("the rows are limited before they are grouped".to_owned());
    }
    let key = |expr: &Expr| match resolved(expr, projections) {
        Some(Expr::Column(c)) => Ok(c.name),
        _ => Err("it groups by an expression".to_owned()),
    };
    let schema = aggregate.schema.as_arrow();
    let measure = |expr: &Expr| measure(expr, projections, scan.projected_schema.as_ref());
    Ok(Grouping {
        keys: aggregate
            .group_expr
            .iter()
            .map(key)
            .collect::<Result<_, _>>()?,
        measures: aggregate
            .aggr_expr
            .iter()
            .map(measure)
            .collect::<Result<_, _>>()?,
        predicates: scan
            .filters
            .iter()
            .map(|f| super::governed::unqualified(f).map_err(|e| e.to_string()))
            .collect::<Result<_, _>>()?,
        schema: numbered(schema),
    })
}

fn measure(expr: &Expr, projections: &[&Projection], schema: &DFSchema) -> Result<Measure, String> {
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
    let column = match resolved(argument, projections) {
        Some(Expr::Literal(value, _)) if function == Function::Count && !value.is_null() => None,
        Some(Expr::Column(c)) => Some(c.name),
        // The engine's own widening before `sum` and `avg`: total, and the source's as well.
        Some(Expr::Cast(cast)) => match (*cast.expr, function, cast.field.data_type()) {
            (Expr::Column(c), Function::Sum, DataType::Int64)
            | (Expr::Column(c), Function::Avg, DataType::Float64)
                if schema
                    .field_with_unqualified_name(&c.name)
                    .is_ok_and(|f| f.data_type().is_signed_integer()) =>
            {
                Some(c.name)
            }
            _ => return Err(format!("{name} of an expression")),
        },
        _ => return Err(format!("{name} of an expression")),
    };
    Ok(Measure { function, column })
}

/// The expression over the table's own columns.
fn resolved(expr: &Expr, projections: &[&Projection]) -> Option<Expr> {
    match expr {
        Expr::Alias(alias) => resolved(&alias.expr, projections),
        Expr::Column(column) => {
            let Some((projection, below)) = projections.split_first() else {
                return Some(expr.clone());
            };
            // A column of a projection is found by its name alone: an alias of
            // the sub-query in between has another qualifier.
            let mut found = projection
                .schema
                .iter()
                .zip(&projection.expr)
                .filter(|((_, field), _)| *field.name() == column.name);
            match (found.next(), found.next()) {
                (Some((_, inner)), None) => resolved(inner, below),
                _ => None,
            }
        }
        Expr::Cast(cast) => {
            let mut cast = cast.clone();
            cast.expr = Box::new(resolved(&cast.expr, projections)?);
            Some(Expr::Cast(cast))
        }
        Expr::Literal(..) => Some(expr.clone()),
        _ => None,
    }
}

/// The fields under names that are columns anywhere: `c0`, `c1`, …
fn numbered(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().enumerate();
    let fields = fields.map(|(i, f)| f.as_ref().clone().with_name(format!("c{i}")));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The answer in the place of the aggregate, under its names.
fn replaced(plan: Arc<dyn ExecutionPlan>, aggregate: &Aggregate) -> Result<LogicalPlan> {
    let schema = numbered(aggregate.schema.as_arrow());
    let names = aggregate.schema.iter().zip(schema.fields());
    let columns: Vec<_> = names
        .map(|((qualifier, field), inner)| {
            Expr::Column(Column::new(Some("groups"), inner.name()))
                .alias_qualified(qualifier.cloned(), field.name())
        })
        .collect();
    let table = Arc::new(Answered { plan, schema });
    let scan = LogicalPlanBuilder::scan("groups", provider_as_source(table), None)?.build()?;
    Ok(LogicalPlan::Projection(Projection::try_new_with_schema(
        columns,
        Arc::new(scan),
        Arc::clone(&aggregate.schema),
    )?))
}

/// The groups as a table.
struct Answered {
    /// Holds no state of a run.
    plan: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for Answered {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // It is put in after the optimizer, which alone narrows a scan. A limit is only a hint.
        if projection.is_some() || !filters.is_empty() {
            return Err(DataFusionError::Internal(
                "a table of groups was narrowed".into(),
            ));
        }
        Ok(Arc::clone(&self.plan))
    }
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

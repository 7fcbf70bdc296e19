//! What is computed where the rows are, instead of here.
//!
//! A caller's `GROUP BY` over one table would bring every row through the
//! barrier to count it, and a join both tables. Where a source can answer
//! exactly as this engine does, it is asked instead, under the same policy: a
//! caller's own expression never runs at a source
//! (`spec/5-data-plane.md#D-157`, `#D-159`).

mod aggregate;
mod below;
mod join;

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchemaRef};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, Projection, TableProviderFilterPushDown, TableType,
};
use datafusion::physical_plan::ExecutionPlan;

use crate::query::governed::groups_only;
use crate::query::{GovernedTable, federation};

pub(crate) use self::aggregate::{Answer, Function, Grouping, Measure};
pub(super) use self::join::Restricted;
pub(crate) use self::join::{JoinKind, Joining};

/// A source that can compute over its own rows.
pub(crate) trait Pushdown: TableProvider {
    /// The plan that answers a grouping exactly as this engine would over the
    /// source's rows; else why not.
    fn grouped(&self, grouping: &Grouping) -> Answer;

    /// The table that joins this one with another, exactly as this engine would,
    /// with the columns `c0`, `c1`, …; else why not.
    fn joined(&self, joining: &Joining<'_>) -> Result<Arc<dyn Pushdown>, String> {
        let _ = joining;
        Err("the source joins nothing".to_owned())
    }
}

/// A source with the knowledge that it is a [`Pushdown`].
#[derive(Debug)]
pub(crate) struct WithPushdown(pub(crate) Arc<dyn Pushdown>);

#[async_trait]
impl TableProvider for WithPushdown {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        self.0.table_type()
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
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

/// Replaces what sources can compute in an optimized plan. Of the rest it gives
/// why it is computed here, for the owner.
pub(super) fn push(plan: LogicalPlan, state: &SessionState) -> Result<(LogicalPlan, Vec<String>)> {
    let mut kept = Vec::new();
    let (plan, joined) = join::push(plan, &mut kept)?;
    // A joined table is a table: what stands above it is narrowed and pushed as over any other.
    let plan = if joined { state.optimize(&plan)? } else { plan };
    let plan = federation::push(plan)?;
    let plan = aggregate::push(plan, &mut kept)?;
    refuse_rows(&plan)?;
    Ok((plan, kept))
}

/// A part of a plan with the aggregates replaced that sources can answer.
pub(super) fn at_sources(plan: LogicalPlan) -> Result<LogicalPlan> {
    aggregate::push(plan, &mut Vec::new())
}

/// A table that is read in groups only is gone from the plan now, or its rows
/// are asked for (`spec/5-data-plane.md#D-140`).
fn refuse_rows(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            let any = provider.as_ref() as &dyn std::any::Any;
            if any
                .downcast_ref::<GovernedTable>()
                .is_some_and(GovernedTable::is_protected)
            {
                return Err(groups_only("it is read row by row").into());
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map(drop)
}

/// `table`, whose columns are called `c0`, `c1`, …, in the place of a node with
/// the columns of `schema`.
pub(super) fn renamed(
    table: Arc<dyn TableProvider>,
    name: &str,
    schema: &DFSchemaRef,
) -> Result<LogicalPlan> {
    let columns = schema.iter().enumerate().map(|(i, (qualifier, field))| {
        Expr::Column(Column::new(Some(name), format!("c{i}")))
            .alias_qualified(qualifier.cloned(), field.name())
    });
    let columns = columns.collect();
    let scan = LogicalPlanBuilder::scan(name, provider_as_source(table), None)?.build()?;
    Ok(LogicalPlan::Projection(Projection::try_new_with_schema(
        columns,
        Arc::new(scan),
        Arc::clone(schema),
    )?))
}

/// The fields under names that are columns anywhere: `c0`, `c1`, …
pub(super) fn numbered(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().enumerate();
    let fields = fields.map(|(i, f)| f.as_ref().clone().with_name(format!("c{i}")));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

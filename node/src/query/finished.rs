//! Tables that are put into a plan after the optimizer, with what they compute.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

/// What such a table computes.
#[async_trait]
pub(super) trait Finished: Send + Sync + 'static {
    /// What a plan shows of it.
    const NAME: &'static str;

    /// Its columns: `c0`, `c1`, … .
    fn schema(&self) -> SchemaRef;

    /// The plan of one run.
    async fn plan(&self, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>>;
}

/// The table.
pub(super) struct FinishedTable<T>(pub(super) T);

#[async_trait]
impl<T: Finished> TableProvider for FinishedTable<T> {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // The optimizer alone narrows a scan. A limit is only a hint.
        if projection.is_some() || !filters.is_empty() {
            let name = T::NAME;
            return Err(DataFusionError::Internal(format!("{name} was narrowed")));
        }
        self.0.plan(state).await
    }
}

impl<T: Finished> fmt::Debug for FinishedTable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::NAME)
    }
}

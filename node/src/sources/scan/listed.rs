//! A table of files, whoever knows which they are.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::{DataFile, Scan};

/// What knows the files of a table.
#[async_trait]
pub(in crate::sources) trait Listing: Debug + Send + Sync {
    /// How the files are read.
    fn scan(&self) -> &Scan;

    /// The files that a statement reads which is planned now, each as it is now.
    async fn now(&self) -> Result<Cow<'_, [DataFile]>>;
}

/// The table of a listing: asked for its files once for each statement, which
/// reads those and no others.
#[derive(Debug)]
pub(crate) struct Listed<L>(pub(in crate::sources) L);

#[async_trait]
impl<L: Listing + 'static> TableProvider for Listed<L> {
    fn schema(&self) -> SchemaRef {
        self.0.scan().schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(self.0.scan().pushdown(filters))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.0.now().await?;
        let scan = self.0.scan();
        scan.plan(state, &files, projection, filters, limit).await
    }
}

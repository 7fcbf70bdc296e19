//! The files of one table, looked at again before each reading.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::sources::scan::{DataFile, Scan, Store};

/// How many files are looked at at a time.
const HEADS: usize = 16;

/// Files that were found to lie within the root. What they are is looked up when
/// a statement is planned, and holds for that statement: a file that is gone,
/// became a link or changes while it is read is an error (A28).
#[derive(Debug)]
pub(super) struct Files {
    scan: Scan,
    store: Store,
    files: Vec<DataFile>,
}

impl Files {
    pub(super) fn new(scan: Scan, store: Store, files: Vec<DataFile>) -> Self {
        Self { scan, store, files }
    }

    async fn now(&self) -> Result<Vec<DataFile>> {
        let heads = self.files.clone().into_iter().map(|file| {
            let store = self.store.clone();
            async move {
                let meta = store.head(&file.meta.location).await?;
                Ok(DataFile { meta, ..file })
            }
        });
        let files = stream::iter(heads).buffered(HEADS).try_collect().await;
        files.map_err(|e: object_store::Error| DataFusionError::ObjectStore(Box::new(e)))
    }
}

#[async_trait]
impl TableProvider for Files {
    fn schema(&self) -> SchemaRef {
        self.scan.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(self.scan.pushdown(filters))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.now().await?;
        let scan = self.scan.plan(state, &files, projection, filters, limit);
        scan.await
    }
}

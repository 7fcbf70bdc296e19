//! The files of one source, checked again before each reading.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::listing::ListingTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

/// A listing of files that were found to lie within the root. The listing itself
/// reads a file that is gone as one without rows, and follows a link that was put
/// in its place (A28); both are errors here.
#[derive(Debug)]
pub(super) struct Files {
    table: ListingTable,
    /// Canonical paths.
    files: Vec<PathBuf>,
}

impl Files {
    pub(super) fn new(table: ListingTable, files: Vec<PathBuf>) -> Self {
        Self { table, files }
    }

    fn unchanged(&self) -> io::Result<()> {
        for file in &self.files {
            let now = file.canonicalize();
            let now =
                now.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", file.display())))?;
            if now != *file {
                return Err(io::Error::other(format!(
                    "{} became a link after it was opened",
                    file.display()
                )));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl TableProvider for Files {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        self.table.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.unchanged().map_err(DataFusionError::IoError)?;
        self.table.scan(state, projection, filters, limit).await
    }
}

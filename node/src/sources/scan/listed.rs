//! A table of files, whoever knows which they are.

use std::borrow::Cow;
use std::fmt::{Debug, Write as _};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use comity_identity::Digest;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::{DataFile, Scan};
use crate::query::{Snapshots, SourceId};

/// What knows the files of a table.
#[async_trait]
pub(in crate::sources) trait Listing: Debug + Send + Sync {
    /// How the files are read.
    fn scan(&self) -> &Scan;

    /// The files that a statement reads which is planned now: as they are now, or
    /// as they were in the state that was named `before`. Where that cannot be
    /// had any more, in the state that they are in.
    async fn read(&self, before: Option<&str>) -> Result<State<'_>>;
}

/// The files of a table at one time.
pub(in crate::sources) struct State<'l> {
    /// Another one whenever the files are others. For this node only.
    pub(in crate::sources) name: String,
    pub(in crate::sources) files: Cow<'l, [DataFile]>,
}

impl<'l> State<'l> {
    /// Of files that have no version: named after what each of them is.
    pub(in crate::sources) fn of(files: Cow<'l, [DataFile]>) -> Self {
        let mut named = String::new();
        for DataFile { meta, .. } in files.iter() {
            let modified = meta.last_modified.timestamp_micros();
            let tag = meta.e_tag.as_deref().unwrap_or_default();
            // To a string, this cannot fail.
            let _ = writeln!(named, "{}\0{modified}\0{}\0{tag}", meta.location, meta.size);
        }
        let name = format!("files {}", Digest::of(named.as_bytes()));
        Self { name, files }
    }
}

/// The table of a listing: asked for its files once for each statement, which
/// reads those and no others, however often it is run.
#[derive(Debug)]
pub(crate) struct Listed<L> {
    pub(in crate::sources) listing: L,
    id: SourceId,
}

impl<L> Listed<L> {
    pub(in crate::sources) fn new(listing: L) -> Self {
        let id = SourceId::next();
        Self { listing, id }
    }
}

#[async_trait]
impl<L: Listing + 'static> TableProvider for Listed<L> {
    fn schema(&self) -> SchemaRef {
        self.listing.scan().schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(self.listing.scan().pushdown(filters))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let snapshots = Snapshots::of(state);
        let before = match &snapshots {
            Some(snapshots) => snapshots.met(self.id)?,
            None => None,
        };
        let read = self.listing.read(before.as_deref()).await?;
        if let Some(snapshots) = snapshots {
            snapshots.meet(self.id, &read.name)?;
        }
        let scan = self.listing.scan();
        scan.plan(state, &read.files, projection, filters, limit)
            .await
    }
}

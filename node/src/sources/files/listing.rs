//! The files of one table, looked at again before each reading.

use std::borrow::Cow;

use async_trait::async_trait;
use datafusion::error::{DataFusionError, Result};
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::sources::scan::{DataFile, Listing, Scan, State, Store};

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
}

#[async_trait]
impl Listing for Files {
    fn scan(&self) -> &Scan {
        &self.scan
    }

    async fn read(&self, _: Option<&str>) -> Result<State<'_>> {
        let heads = self.files.clone().into_iter().map(|file| {
            let store = self.store.clone();
            async move {
                let meta = store.head(&file.meta.location).await?;
                Ok(DataFile { meta, ..file })
            }
        });
        let files = stream::iter(heads).buffered(HEADS).try_collect().await;
        let files: Result<Vec<_>> =
            files.map_err(|e: object_store::Error| DataFusionError::ObjectStore(Box::new(e)));
        Ok(State::of(Cow::Owned(files?)))
    }
}

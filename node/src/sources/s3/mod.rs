//! S3-compatible object stores.

mod access;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::Schema;
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::error::Result;
use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;

pub use self::access::{Access, AccessError};
use super::delta::{self, DeltaError};
pub use super::scan::TableError;
use super::scan::hive::{self, MAX_LEVELS};
use super::scan::{DataFile, Listed, Listing, Scan, State, Store, table};
use crate::products::{Content, Format, S3Spec};

/// The most objects of one table.
const MAX_FILES: usize = 10_000;
/// The most objects that are looked at to find those of a table.
const MAX_LISTED: usize = 100_000;

/// Why objects cannot be read. For the owner: it names servers and buckets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum S3Error {
    /// The server may not be asked.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The server does not answer, or not with what was asked for.
    #[error("s3://{bucket}/{key}: {reason}; check endpointUrl, location and the credentials")]
    Store {
        /// The bucket.
        bucket: String,
        /// The key of the contract.
        key: String,
        /// What the server said.
        reason: String,
    },
    /// No object of the format.
    #[error("s3://{bucket}/{key} has no .{extension} object; put one there or name another folder")]
    Empty {
        /// The bucket.
        bucket: String,
        /// The key of the contract.
        key: String,
        /// The ending that was looked for.
        extension: &'static str,
    },
    /// Too many objects.
    #[error(
        "s3://{bucket}/{key} has more than {MAX_FILES} objects of the table, more than {MAX_LISTED} of all kinds, or folders more than {MAX_LEVELS} levels deep; merge them or split the product"
    )]
    TooMany {
        /// The bucket.
        bucket: String,
        /// The key of the contract.
        key: String,
    },
    /// The objects are not one table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The Delta table.
    #[error(transparent)]
    Delta(#[from] DeltaError),
}

/// Opens the objects of one table; `declared` are the contract's columns.
///
/// Objects are listed now, and each is held to what it is now: one that is
/// replaced later is `source-unavailable` until the source is opened again.
///
/// # Errors
/// Any [`S3Error`].
pub async fn open(
    spec: &S3Spec,
    access: &Access,
    declared: &Schema,
) -> Result<Arc<dyn TableProvider>, S3Error> {
    let store = Store::new(access.connect(spec)?);
    let failed = |reason: String| S3Error::Store {
        bucket: spec.bucket.clone(),
        key: spec.key.clone(),
        reason,
    };
    let key = Path::parse(&spec.key).map_err(|e| failed(e.to_string()))?;
    let format = match spec.content {
        Content::Files(format) => format,
        Content::Delta(travel) => return Ok(delta::open(store, key, travel).await?),
    };
    let found = if of_format(&spec.key, format) {
        let meta = store.head(&key).await.map_err(|e| failed(e.to_string()))?;
        let name = key.filename().unwrap_or_default().to_owned();
        vec![(name, meta)]
    } else {
        list(&store, spec, &key, format).await?
    };
    if let Some((name, _)) = found.iter().find(|(_, meta)| meta.e_tag.is_none()) {
        return Err(failed(format!("the server gives no etag for {name}")));
    }
    let (scan, files) = table(&store, format, found, declared).await?;
    tracing::info!(
        bucket = spec.bucket,
        key = spec.key,
        objects = files.len(),
        "opened objects"
    );
    Ok(Arc::new(Listed::new(Objects { scan, files })))
}

async fn list(
    store: &Store,
    spec: &S3Spec,
    key: &Path,
    format: Format,
) -> Result<Vec<(String, ObjectMeta)>, S3Error> {
    let (bucket, name) = (|| spec.bucket.clone(), || spec.key.clone());
    let mut found = Vec::new();
    let mut listed = store.list(key);
    let mut seen = 0;
    while let Some(meta) = listed.try_next().await.map_err(|e| S3Error::Store {
        bucket: bucket(),
        key: name(),
        reason: e.to_string(),
    })? {
        seen += 1;
        let above = match key.as_ref() {
            "" => 0,
            key => key.len() + 1,
        };
        let relative = meta.location.as_ref().get(above..).unwrap_or_default();
        let mut folders: Vec<_> = relative.split('/').collect();
        let file = folders.pop().unwrap_or_default();
        let ours = folders.iter().all(|f| hive::is_partition(f))
            && !file.starts_with('.')
            && of_format(file, format);
        if seen > MAX_LISTED || found.len() == MAX_FILES || (ours && folders.len() > MAX_LEVELS) {
            return Err(S3Error::TooMany {
                bucket: bucket(),
                key: name(),
            });
        }
        if ours {
            found.push((relative.to_owned(), meta));
        }
    }
    if found.is_empty() {
        return Err(S3Error::Empty {
            bucket: bucket(),
            key: name(),
            extension: format.name(),
        });
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn of_format(name: &str, format: Format) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    ending.is_some_and(|ending| ending.eq_ignore_ascii_case(format.name()))
}

/// Objects as they were when they were listed.
#[derive(Debug)]
struct Objects {
    scan: Scan,
    files: Vec<DataFile>,
}

#[async_trait]
impl Listing for Objects {
    fn scan(&self) -> &Scan {
        &self.scan
    }

    async fn read(&self, _: Option<&str>) -> Result<State<'_>> {
        Ok(State::of(Cow::Borrowed(&self.files)))
    }
}

//! The columns of an Arrow file, out of its footer: the engine's own inference
//! cannot read the files of object stores.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::read_footer_length;
use arrow::ipc::root_as_footer;
use datafusion::error::{DataFusionError, Result};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};

/// The footer's length and the magic word, at the end of a file.
const TRAILER: u64 = 10;
/// The longest footer; it has a few bytes for each batch.
const MAX_FOOTER_BYTES: u64 = 64 << 20;

/// The columns of the file at a pinned address.
pub(super) async fn schema(store: &Arc<dyn ObjectStore>, file: &ObjectMeta) -> Result<SchemaRef> {
    let wrong = |what: &str| {
        let error = ArrowError::ParseError(what.to_owned());
        DataFusionError::ArrowError(Box::new(error), None)
    };
    let end = file.size.checked_sub(TRAILER);
    let end = end.ok_or_else(|| wrong("it is too short for an Arrow file"))?;
    let trailer = store.get_range(&file.location, end..file.size).await?;
    let trailer = trailer.as_ref().try_into();
    let length = read_footer_length(trailer.map_err(|_| wrong("it ended early"))?)?;
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    let begin = end
        .checked_sub(length)
        .filter(|_| length <= MAX_FOOTER_BYTES);
    let begin = begin.ok_or_else(|| wrong("its footer is longer than can be"))?;
    let footer = store.get_range(&file.location, begin..end).await?;
    let footer = root_as_footer(&footer).map_err(|_| wrong("its footer cannot be read"))?;
    let schema = footer.schema().ok_or_else(|| wrong("it has no columns"))?;
    Ok(Arc::new(fb_to_schema(schema)))
}

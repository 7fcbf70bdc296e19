//! The one form of a schema that is announced, pinned and streamed.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

use super::QueryError;

/// The announced form of a schema: every field nullable, no metadata, view
/// types replaced by the plain ones that every client reads (`spec/5-data-plane.md#D-12`).
pub fn advertised(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(fields(schema.fields())))
}

/// The form in which this node's own plans see a table: as it is announced, but
/// for texts that the source decodes as views.
pub(crate) fn planned(columns: &[FieldRef]) -> SchemaRef {
    let columns = columns.iter().map(|column| match column.data_type() {
        DataType::Utf8View => Arc::new(Field::new(column.name(), DataType::Utf8View, true)),
        _ => field(column),
    });
    Arc::new(Schema::new(columns.collect::<Fields>()))
}

/// Relabels a batch to the announced schema. A batch of another shape is an
/// error: the stream never carries a schema other than the announced one.
pub(crate) fn relabel(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, QueryError> {
    if batch.num_columns() != schema.fields().len() {
        return Err(QueryError::internal(
            "a batch has another number of columns than announced",
        ));
    }
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                return Ok(Arc::clone(column));
            }
            if data_type(column.data_type()) != *field.data_type() {
                return Err(QueryError::internal(format!(
                    "column {} is not of the announced type",
                    field.name()
                )));
            }
            cast(column, field.data_type()).map_err(|e| QueryError::internal(e.to_string()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    // A scan of no columns still has rows, which `count(*)` counts.
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|e| QueryError::internal(e.to_string()))
}

/// The bytes that a batch's rows really take. The columns of one that came over
/// a connection lie in one buffer, which each of them would count whole.
pub(crate) fn row_bytes(batch: &RecordBatch) -> usize {
    let column = |c: &ArrayRef| {
        c.to_data()
            .get_slice_memory_size()
            .unwrap_or_else(|_| c.get_array_memory_size())
    };
    batch.columns().iter().map(column).sum()
}

fn fields(fields: &Fields) -> Fields {
    fields.iter().map(|f| field(f)).collect()
}

fn field(field: &Field) -> FieldRef {
    Arc::new(Field::new(field.name(), data_type(field.data_type()), true))
}

fn data_type(from: &DataType) -> DataType {
    match from {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(f) | DataType::ListView(f) => DataType::List(field(f)),
        DataType::LargeList(f) | DataType::LargeListView(f) => DataType::LargeList(field(f)),
        DataType::FixedSizeList(f, n) => DataType::FixedSizeList(field(f), *n),
        DataType::Struct(f) => DataType::Struct(fields(f)),
        DataType::Dictionary(k, v) => DataType::Dictionary(k.clone(), Box::new(data_type(v))),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::array::{Int32Array, Int64Array, StringViewArray};
    use arrow::buffer::{Buffer, ScalarBuffer};

    use super::*;

    #[test]
    fn announced_form_has_no_views_no_metadata_and_is_nullable() {
        let schema = Schema::new(vec![Field::new("a", DataType::Utf8View, false)])
            .with_metadata(HashMap::from([("k".to_owned(), "v".to_owned())]));
        let announced = advertised(&schema);
        assert_eq!(
            *announced,
            Schema::new(vec![Field::new("a", DataType::Utf8, true)])
        );
        let batch = RecordBatch::try_new(
            Arc::new(schema),
            vec![Arc::new(StringViewArray::from(vec!["x"]))],
        )
        .unwrap();
        assert_eq!(relabel(&batch, &announced).unwrap().schema(), announced);
    }

    #[test]
    fn a_batch_of_another_type_is_refused() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, true)]));
        let batch =
            RecordBatch::try_new(schema, vec![Arc::new(Int32Array::from(vec![1]))]).unwrap();
        let other = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        assert_eq!(relabel(&batch, &other).unwrap_err().code(), "internal");
    }

    /// Regression: a side of a join that came over a connection was counted once for
    /// each of its columns, and found too large to be held.
    #[test]
    fn columns_in_one_buffer_are_not_counted_whole_each() {
        let body = Buffer::from(vec![0_i64; 30]);
        let columns = (0..3).map(|n| {
            let values = ScalarBuffer::<i64>::new(body.clone(), n * 10, 10);
            (
                n.to_string(),
                Arc::new(Int64Array::new(values, None)) as ArrayRef,
            )
        });
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        assert_eq!(row_bytes(&batch), 3 * 10 * 8);
        assert!(batch.get_array_memory_size() > 3 * 30 * 8);
    }
}

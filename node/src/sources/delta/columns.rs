//! The columns of a Delta table (the Delta protocol, "Schema Serialization Format").

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::scalar::ScalarValue;
use serde::Deserialize;
use serde_json::Value;

use super::DeltaError;
use super::action::{Add, Metadata};

/// The columns of one version of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// Those that stand in the files.
    pub(super) stored: SchemaRef,
    /// Those that stand in the log.
    pub(super) partitions: Vec<FieldRef>,
}

#[derive(Deserialize)]
struct Struct {
    fields: Vec<Column>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    r#type: Value,
    nullable: bool,
}

impl Columns {
    /// Columns of nested and of unknown types are left out: a contract that names
    /// one is refused, and no other needs it.
    pub(super) fn read(metadata: &Metadata) -> Result<Self, DeltaError> {
        let read: Struct = serde_json::from_str(&metadata.schema_string)
            .map_err(|e| DeltaError::Log(format!("the schema is not readable: {e}")))?;
        let named = |name: &String| {
            let column = read.fields.iter().find(|c| c.name == *name);
            let kind = column.and_then(|c| arrow_type(&c.r#type));
            let kind = kind.filter(|k| *k != DataType::Binary);
            kind.map(|kind| Arc::new(Field::new(name, kind, true)))
                .ok_or_else(|| DeltaError::feature(format!("the partition column {name}")))
        };
        let partitions = metadata.partition_columns.iter().map(named);
        let stored = read
            .fields
            .iter()
            .filter(|c| !metadata.partition_columns.contains(&c.name))
            .filter_map(|c| Some(Field::new(&c.name, arrow_type(&c.r#type)?, c.nullable)));
        Ok(Self {
            partitions: partitions.collect::<Result<_, _>>()?,
            stored: Arc::new(Schema::new(stored.collect::<Fields>())),
        })
    }

    /// The values of the partition columns of a file.
    pub(super) fn values(&self, add: &Add) -> Result<Vec<ScalarValue>, DeltaError> {
        let value = |column: &FieldRef| {
            let kind = column.data_type();
            let text = add.partition_values.get(column.name());
            let text = text.ok_or_else(|| self.misfit(add, column))?;
            // The protocol: an empty string is null, of whatever type.
            let value = match text.as_deref() {
                None | Some("") => ScalarValue::try_from(kind),
                Some(text) => ScalarValue::try_from_string(text.to_owned(), kind),
            };
            let value = value.map_err(|_| self.misfit(add, column))?;
            if value.is_null() && text.as_deref().is_some_and(|t| !t.is_empty()) {
                return Err(self.misfit(add, column));
            }
            Ok(value)
        };
        self.partitions.iter().map(value).collect()
    }

    /// Whether a table that was opened with `self` can be read with the columns of
    /// `newer`: columns may have come, none may have gone or changed.
    pub(super) fn readable_as(&self, newer: &Self) -> bool {
        let kept = |field: &FieldRef| {
            let found = newer.stored.field_with_name(field.name());
            found.is_ok_and(|f| {
                f.data_type() == field.data_type() && (field.is_nullable() || !f.is_nullable())
            })
        };
        self.partitions == newer.partitions && self.stored.fields().iter().all(kept)
    }

    fn misfit(&self, add: &Add, column: &FieldRef) -> DeltaError {
        DeltaError::Log(format!(
            "{} has no {} of type {}",
            add.path,
            column.name(),
            column.data_type()
        ))
    }
}

fn arrow_type(kind: &Value) -> Option<DataType> {
    Some(match kind.as_str()? {
        "string" => DataType::Utf8,
        "long" => DataType::Int64,
        "integer" => DataType::Int32,
        "short" => DataType::Int16,
        "byte" => DataType::Int8,
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "binary" => DataType::Binary,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "timestamp_ntz" => DataType::Timestamp(TimeUnit::Microsecond, None),
        other => {
            let parameters = other.strip_prefix("decimal(")?.strip_suffix(')')?;
            let (precision, scale) = parameters.split_once(',')?;
            let precision = precision.trim().parse().ok()?;
            let scale = scale.trim().parse().ok()?;
            (1..=38).contains(&precision).then_some(())?;
            DataType::Decimal128(precision, scale)
        }
    })
}

//! Between the types of descriptors and those of Arrow.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use comity_protocol::product::{ColumnType, Table};

/// The Arrow type of a descriptor's column.
pub fn to_arrow(kind: &ColumnType) -> DataType {
    match kind {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Int8 => DataType::Int8,
        ColumnType::Int16 => DataType::Int16,
        ColumnType::Int32 => DataType::Int32,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::UInt8 => DataType::UInt8,
        ColumnType::UInt16 => DataType::UInt16,
        ColumnType::UInt32 => DataType::UInt32,
        ColumnType::UInt64 => DataType::UInt64,
        ColumnType::Float32 => DataType::Float32,
        ColumnType::Float64 => DataType::Float64,
        ColumnType::Utf8 => DataType::Utf8,
        ColumnType::Binary => DataType::Binary,
        ColumnType::Date32 => DataType::Date32,
        ColumnType::TimestampMicros => DataType::Timestamp(TimeUnit::Microsecond, None),
        ColumnType::TimestampMicrosUtc => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        ColumnType::Decimal128 { precision, scale } => {
            DataType::Decimal128(*precision, i8::try_from(*scale).unwrap_or(i8::MAX))
        }
        ColumnType::TimeMicros => DataType::Time64(TimeUnit::Microsecond),
        ColumnType::List { item } => {
            DataType::List(Arc::new(Field::new("item", to_arrow(item), true)))
        }
    }
}

/// The descriptor's type of an Arrow column, if it may cross between organizations.
pub fn from_arrow(kind: &DataType) -> Option<ColumnType> {
    Some(match kind {
        DataType::Boolean => ColumnType::Boolean,
        DataType::Int8 => ColumnType::Int8,
        DataType::Int16 => ColumnType::Int16,
        DataType::Int32 => ColumnType::Int32,
        DataType::Int64 => ColumnType::Int64,
        DataType::UInt8 => ColumnType::UInt8,
        DataType::UInt16 => ColumnType::UInt16,
        DataType::UInt32 => ColumnType::UInt32,
        DataType::UInt64 => ColumnType::UInt64,
        DataType::Float32 => ColumnType::Float32,
        DataType::Float64 => ColumnType::Float64,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ColumnType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => ColumnType::Binary,
        DataType::Date32 => ColumnType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, None) => ColumnType::TimestampMicros,
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == "UTC" => {
            ColumnType::TimestampMicrosUtc
        }
        DataType::Decimal128(precision, scale) => ColumnType::Decimal128 {
            precision: *precision,
            scale: u8::try_from(*scale).ok()?,
        },
        DataType::Time64(TimeUnit::Microsecond) => ColumnType::TimeMicros,
        // A consumer expects an item of this name: the schema is compared whole.
        DataType::List(field) if field.name() == "item" => match from_arrow(field.data_type())? {
            ColumnType::List { .. } => return None,
            item => ColumnType::List {
                item: Box::new(item),
            },
        },
        _ => return None,
    })
}

/// What the owner can do about a column whose type has no place on the wire.
pub fn instead_of(kind: &DataType) -> &'static str {
    match kind {
        DataType::Null => "it has no value that tells its type: name it in the contract",
        DataType::Decimal128(..) | DataType::Decimal256(..) => {
            "store it with at most 38 digits and no negative scale"
        }
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => {
            "store its parts as columns of their own, or leave it out of the contract"
        }
        DataType::List(_) => "store the inner lists as texts, or leave it out of the contract",
        DataType::Duration(_) | DataType::Interval(_) => "store it as a number with a unit",
        _ => "store it in another type, or leave it out of the contract",
    }
}

/// The type's name, for people.
pub fn shown(kind: &ColumnType) -> String {
    match kind {
        ColumnType::Decimal128 { precision, scale } => format!("decimal({precision},{scale})"),
        ColumnType::TimestampMicros => "timestamp".to_owned(),
        ColumnType::TimestampMicrosUtc => "timestamp utc".to_owned(),
        ColumnType::Date32 => "date".to_owned(),
        ColumnType::Utf8 => "text".to_owned(),
        ColumnType::TimeMicros => "time".to_owned(),
        ColumnType::List { item } => format!("list of {}", shown(item)),
        kind => format!("{kind:?}").to_lowercase(),
    }
}

/// The Arrow schema of a descriptor's table, with only the columns that `keep`
/// holds. Every field is nullable, as on the wire.
pub fn schema(table: &Table, keep: impl Fn(&str) -> bool) -> SchemaRef {
    let columns = table.columns.iter().filter(|c| keep(&c.name));
    let fields: Vec<Field> = columns
        .map(|c| Field::new(&c.name, to_arrow(&c.kind), true))
        .collect();
    Arc::new(Schema::new(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wire_type_survives_the_way_to_arrow_and_back() {
        use ColumnType as C;
        for kind in [
            C::Boolean,
            C::Int8,
            C::Int16,
            C::Int32,
            C::Int64,
            C::UInt8,
            C::UInt16,
            C::UInt32,
            C::UInt64,
            C::Float32,
            C::Float64,
            C::Utf8,
            C::Binary,
            C::Date32,
            C::TimestampMicros,
            C::TimestampMicrosUtc,
            C::Decimal128 {
                precision: 38,
                scale: 9,
            },
            C::TimeMicros,
            C::List {
                item: Box::new(C::Utf8),
            },
        ] {
            assert_eq!(from_arrow(&to_arrow(&kind)), Some(kind));
        }
        assert_eq!(from_arrow(&DataType::Float16), None);
    }
}

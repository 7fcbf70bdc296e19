//! The contract's words for a type.

use arrow::datatypes::{DataType, TimeUnit};

/// Logical type, physical type, whether a timestamp has a zone, and what a list is of.
pub(super) struct Typed {
    pub(super) logical: &'static str,
    pub(super) physical: String,
    pub(super) zone: Option<bool>,
    pub(super) items: Option<Box<Self>>,
}

/// The inverse of how a contract is read; `None` for what a contract cannot say.
pub(super) fn typed(kind: &DataType) -> Option<Typed> {
    let mut zone = None;
    let (logical, physical) = match kind {
        DataType::Boolean => ("boolean", "boolean"),
        DataType::Int8 => ("integer", "tinyint"),
        DataType::Int16 | DataType::UInt8 => ("integer", "smallint"),
        DataType::Int32 | DataType::UInt16 => ("integer", "int"),
        DataType::Int64 | DataType::UInt32 => ("integer", "bigint"),
        DataType::Float32 => ("number", "real"),
        DataType::Float64 => ("number", "double"),
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            ("number", &*format!("decimal({precision},{scale})"))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ("string", "varchar"),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => ("string", "binary"),
        DataType::Date32 => ("date", "date"),
        DataType::Time64(TimeUnit::Microsecond) => ("time", "time"),
        DataType::Timestamp(TimeUnit::Microsecond, found) => {
            zone = Some(found.is_some());
            ("timestamp", "timestamp")
        }
        DataType::List(item) => {
            let item = typed(item.data_type())?;
            let physical = format!("{}[]", item.physical);
            return Some(Typed {
                logical: "array",
                physical,
                zone,
                items: Some(Box::new(item)),
            });
        }
        _ => return None,
    };
    Some(Typed {
        logical,
        physical: physical.to_owned(),
        zone,
        items: None,
    })
}

/// The type behind a database's name for it, as far as several databases agree.
pub(super) fn of_database(name: &str) -> Option<DataType> {
    let name = name.trim().to_ascii_lowercase();
    let (plain, parameters) = match name.split_once('(') {
        Some((plain, rest)) => (plain.trim(), rest.split_once(')')),
        None => (&*name, None),
    };
    let moment =
        |zone: bool| DataType::Timestamp(TimeUnit::Microsecond, zone.then(|| "UTC".into()));
    Some(match plain {
        "boolean" | "bool" => DataType::Boolean,
        "smallint" | "int2" => DataType::Int16,
        "integer" | "int" | "int4" => DataType::Int32,
        "bigint" => DataType::Int64,
        "real" | "float4" => DataType::Float32,
        "double precision" | "double" | "float8" => DataType::Float64,
        "numeric" | "decimal" => {
            let (precision, scale) = parameters?.0.split_once(',')?;
            DataType::Decimal128(precision.trim().parse().ok()?, scale.trim().parse().ok()?)
        }
        "text" | "varchar" | "character varying" | "char" | "character" | "string" | "uuid"
        | "json" | "jsonb" => DataType::Utf8,
        "bytea" | "binary" | "blob" => DataType::Binary,
        "date" => DataType::Date32,
        "time" | "time without time zone" => DataType::Time64(TimeUnit::Microsecond),
        "timestamptz" | "timestamp with time zone" => moment(true),
        "timestamp without time zone" => moment(false),
        // Of a timestamp with digits, what stands behind them says the zone.
        "timestamp" => moment(parameters.is_some_and(|(_, rest)| rest.contains("with time"))),
        _ => return None,
    })
}

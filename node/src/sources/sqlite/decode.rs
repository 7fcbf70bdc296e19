//! Values of SQLite in the contract's types. SQLite has five of its own, and
//! keeps them by value, not by column (`spec/5-data-plane.md#D-196`).

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, Float32Builder, Float64Builder,
    PrimitiveBuilder, StringBuilder,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
};
use rusqlite::types::ValueRef;

use crate::sources::wire::{digits, exactly};

/// The whole numbers that a float tells apart.
const MAX_WHOLE_FLOAT: i64 = 1 << 53;
/// How long `2013-06-01` is.
const DATE: usize = 10;

/// One column of a batch that is being read.
pub(super) struct Values {
    kind: DataType,
    builder: Builder,
}

enum Builder {
    Boolean(BooleanBuilder),
    Int8(PrimitiveBuilder<Int8Type>),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Text(StringBuilder),
    /// A text that is judged when the batch is whole.
    Moment(StringBuilder),
    Bytes(BinaryBuilder),
}

impl Values {
    /// An empty column of a type; `None` where SQLite has no values of it.
    pub(super) fn of(kind: &DataType) -> Option<Self> {
        let builder = match kind {
            DataType::Boolean => Builder::Boolean(BooleanBuilder::new()),
            DataType::Int8 => Builder::Int8(PrimitiveBuilder::new()),
            DataType::Int16 => Builder::Int16(PrimitiveBuilder::new()),
            DataType::Int32 => Builder::Int32(PrimitiveBuilder::new()),
            DataType::Int64 => Builder::Int64(PrimitiveBuilder::new()),
            DataType::Float32 => Builder::Float32(Float32Builder::new()),
            DataType::Float64 => Builder::Float64(Float64Builder::new()),
            DataType::Decimal128(precision, scale) => {
                let builder = Decimal128Builder::new().with_data_type(kind.clone());
                Builder::Decimal(builder, *precision, *scale)
            }
            DataType::Utf8 => Builder::Text(StringBuilder::new()),
            DataType::Date32
            | DataType::Time64(TimeUnit::Microsecond)
            | DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Builder::Moment(StringBuilder::new())
            }
            DataType::Binary => Builder::Bytes(BinaryBuilder::new()),
            _ => return None,
        };
        let kind = kind.clone();
        Some(Self { kind, builder })
    }

    /// Takes one value, and gives its size in bytes; or what it is instead, without it.
    pub(super) fn take(&mut self, value: ValueRef<'_>) -> Result<usize, &'static str> {
        let size = match value {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
            _ => size_of::<i64>(),
        };
        let null = matches!(value, ValueRef::Null);
        match &mut self.builder {
            Builder::Boolean(b) => b.append_option(match value {
                ValueRef::Null => None,
                ValueRef::Integer(0) => Some(false),
                ValueRef::Integer(1) => Some(true),
                _ => return Err("a value that is neither 0 nor 1"),
            }),
            Builder::Int8(b) => whole(b, value)?,
            Builder::Int16(b) => whole(b, value)?,
            Builder::Int32(b) => whole(b, value)?,
            Builder::Int64(b) => whole(b, value)?,
            Builder::Float64(b) if null => b.append_null(),
            Builder::Float64(b) => b.append_value(float(value)?),
            Builder::Float32(b) if null => b.append_null(),
            Builder::Float32(b) => {
                let wide = float(value)?;
                let narrow = wide as f32;
                if f64::from(narrow).to_bits() != wide.to_bits() {
                    return Err("a float with more digits");
                }
                b.append_value(narrow);
            }
            Builder::Decimal(b, ..) if null => b.append_null(),
            Builder::Decimal(b, precision, scale) => {
                b.append_value(decimal(value, *precision, *scale)?);
            }
            Builder::Text(b) | Builder::Moment(b) => match value {
                ValueRef::Null => b.append_null(),
                ValueRef::Text(bytes) => {
                    let text =
                        std::str::from_utf8(bytes).map_err(|_| "a text that is not UTF-8")?;
                    if self.kind == DataType::Date32 && text.len() != DATE {
                        return Err("a text that is no date");
                    }
                    b.append_value(text);
                }
                other => return Err(class(other)),
            },
            Builder::Bytes(b) => match value {
                ValueRef::Null => b.append_null(),
                ValueRef::Blob(bytes) => b.append_value(bytes),
                other => return Err(class(other)),
            },
        }
        Ok(size)
    }

    /// The column so far, and an empty one from here on.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, String> {
        Ok(match &mut self.builder {
            Builder::Boolean(b) => Arc::new(b.finish()),
            Builder::Int8(b) => Arc::new(b.finish()),
            Builder::Int16(b) => Arc::new(b.finish()),
            Builder::Int32(b) => Arc::new(b.finish()),
            Builder::Int64(b) => Arc::new(b.finish()),
            Builder::Float32(b) => Arc::new(b.finish()),
            Builder::Float64(b) => Arc::new(b.finish()),
            Builder::Decimal(b, ..) => Arc::new(b.finish()),
            Builder::Text(b) => Arc::new(b.finish()),
            Builder::Bytes(b) => Arc::new(b.finish()),
            Builder::Moment(b) => {
                let texts: ArrayRef = Arc::new(b.finish());
                exactly(&texts, &self.kind).map_err(|e| e.to_string())?
            }
        })
    }
}

fn whole<T>(builder: &mut PrimitiveBuilder<T>, value: ValueRef<'_>) -> Result<(), &'static str>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64>,
{
    match value {
        ValueRef::Null => builder.append_null(),
        ValueRef::Integer(n) => {
            let fits = T::Native::try_from(n);
            builder.append_value(fits.map_err(|_| "a larger number")?);
        }
        other => return Err(class(other)),
    }
    Ok(())
}

fn float(value: ValueRef<'_>) -> Result<f64, &'static str> {
    match value {
        ValueRef::Real(f) => Ok(f),
        // A column without a type keeps `1` as it was written.
        ValueRef::Integer(n) if (-MAX_WHOLE_FLOAT..=MAX_WHOLE_FLOAT).contains(&n) => Ok(n as f64),
        ValueRef::Integer(_) => Err("a whole number that no float is"),
        other => Err(class(other)),
    }
}

/// A decimal is a whole number or a text of digits; a float of SQLite is another
/// number than the one that was meant.
fn decimal(value: ValueRef<'_>, precision: u8, scale: i8) -> Result<i128, &'static str> {
    let owned;
    let text = match value {
        ValueRef::Integer(n) => {
            owned = n.to_string();
            owned.as_str()
        }
        ValueRef::Text(bytes) => {
            std::str::from_utf8(bytes).map_err(|_| "a text that is no number")?
        }
        ValueRef::Real(_) => return Err("a float, which is no exact decimal: store it as text"),
        other => return Err(class(other)),
    };
    digits::decimal(text, precision, scale)
}

fn class(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Null => "null",
        ValueRef::Integer(_) => "an integer",
        ValueRef::Real(_) => "a float",
        ValueRef::Text(_) => "a text",
        ValueRef::Blob(_) => "bytes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_exact_or_refused() {
        let text = |s: &'static str| decimal(ValueRef::Text(s.as_bytes()), 5, 2);
        for (shown, unscaled) in [
            ("1.25", 125),
            ("-0.05", -5),
            ("999.99", 99_999),
            ("7", 700),
            ("1.2500", 125),
            ("0", 0),
        ] {
            assert_eq!(text(shown), Ok(unscaled), "{shown}");
        }
        for wrong in [
            "1.255", "1000.00", "", "-", ".", "1e2", "+1", " 1", "1.2.3", "--1",
        ] {
            assert!(text(wrong).is_err(), "{wrong}");
        }
        assert_eq!(decimal(ValueRef::Integer(-12), 5, 2), Ok(-1_200));
        assert!(decimal(ValueRef::Real(1.25), 5, 2).is_err());
        assert!(decimal(ValueRef::Text("9".repeat(38).as_bytes()), 38, 0).is_ok());
        assert!(decimal(ValueRef::Text("9".repeat(39).as_bytes()), 38, 0).is_err());
    }
}

//! Which types of PostgreSQL are read, and as what (`spec/5-data-plane.md#D-155`).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use tokio_postgres::types::{Kind as Sort, Type};

/// The most digits of a decimal on the wire.
const MAX_DIGITS: u8 = 38;

/// How the values of a column are sent and read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// A decimal of at most so many digits, so many of them after the point.
    Numeric {
        precision: u8,
        scale: i8,
    },
    /// `text` and `varchar`.
    Text,
    /// `name`, which compares otherwise than `text`.
    Name,
    /// `char(n)`: read without the blanks that fill it up, as a cast to `text` gives it.
    Char,
    /// The label.
    Enum,
    /// In its canonical form, 36 lower-case characters.
    Uuid,
    Json,
    Jsonb,
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    /// One dimension of one of the others.
    List(Box<Self>),
}

impl Kind {
    /// The kind of a column of `found` with the modifier of its declaration;
    /// `promised` is the contract's type. What is not read is refused with what
    /// to do instead.
    pub(super) fn of(found: &Type, modifier: i32, promised: &DataType) -> Result<Self, String> {
        match found.kind() {
            Sort::Domain(base) => return Self::of(base, modifier, promised),
            Sort::Enum(_) => return Ok(Self::Enum),
            Sort::Array(item) => {
                let promised = match promised {
                    DataType::List(item) => item.data_type(),
                    other => other,
                };
                return Ok(Self::List(Box::new(Self::of(item, modifier, promised)?)));
            }
            _ => {}
        }
        Ok(match *found {
            Type::BOOL => Self::Bool,
            Type::INT2 => Self::Int2,
            Type::INT4 => Self::Int4,
            Type::INT8 => Self::Int8,
            Type::FLOAT4 => Self::Float4,
            Type::FLOAT8 => Self::Float8,
            Type::NUMERIC => numeric(modifier, promised)?,
            Type::TEXT | Type::VARCHAR => Self::Text,
            Type::NAME => Self::Name,
            Type::BPCHAR => Self::Char,
            Type::UUID => Self::Uuid,
            Type::JSON => Self::Json,
            Type::JSONB => Self::Jsonb,
            Type::BYTEA => Self::Bytea,
            Type::DATE => Self::Date,
            Type::TIME => Self::Time,
            Type::TIMESTAMP => Self::Timestamp,
            Type::TIMESTAMPTZ => Self::Timestamptz,
            _ => {
                return Err(
                    "leave it out of the contract, or publish a view that casts it, for example to text"
                        .to_owned(),
                );
            }
        })
    }

    /// The Arrow type that the column is read as.
    pub(super) fn arrow(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Numeric { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Text
            | Self::Name
            | Self::Char
            | Self::Enum
            | Self::Uuid
            | Self::Json
            | Self::Jsonb => DataType::Utf8,
            Self::Bytea => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::List(item) => DataType::List(Arc::new(Field::new("item", item.arrow(), true))),
        }
    }

    /// Whether a column that is now `found` can still be read as this kind. A
    /// decimal says its digits itself, so that one of another width is as good
    /// as its values.
    pub(super) fn reads(&self, found: &Type) -> bool {
        match Self::of(found, -1, &self.arrow()) {
            Ok(now) => now == *self || self.is_numeric() && now.is_numeric(),
            Err(_) => self.is_numeric() && *found == Type::NUMERIC,
        }
    }

    fn is_numeric(&self) -> bool {
        match self {
            Self::Numeric { .. } => true,
            Self::List(item) => item.is_numeric(),
            _ => false,
        }
    }
}

/// A declared precision is taken; without one the contract has to say it, since
/// any choice of ours would be wrong for some values.
fn numeric(modifier: i32, promised: &DataType) -> Result<Kind, String> {
    let unread = |what: &str| {
        Err(format!(
            "{what}: write physicalType: numeric(P,S) with at most {MAX_DIGITS} digits for it in the contract, values that do not fit exactly are then errors; or publish a view that casts it"
        ))
    };
    if modifier < 4 {
        return match promised {
            DataType::Decimal128(precision, scale) => Ok(Kind::Numeric {
                precision: *precision,
                scale: *scale,
            }),
            _ => unread("it has no precision"),
        };
    }
    // `make_numeric_typmod` of the server: precision above, scale below in 11 bits with a sign.
    let packed = modifier - 4;
    let digits = (packed >> 16) & 0xFFFF;
    let scale = ((packed & 0x7FF) ^ 1024) - 1024;
    // Digits left of a negative scale are zeros, a scale above the precision leaves zeros after the point.
    let (digits, scale) = match scale {
        scale if scale < 0 => (digits - scale, 0),
        scale => (digits.max(scale), scale),
    };
    match (u8::try_from(digits), i8::try_from(scale)) {
        (Ok(precision @ 1..=MAX_DIGITS), Ok(scale)) => Ok(Kind::Numeric { precision, scale }),
        _ => unread("it has more digits than a decimal on the wire"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modifier(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7FF)) + 4
    }

    #[test]
    fn a_declared_precision_is_taken_and_a_missing_one_is_the_contracts() {
        let float = DataType::Float64;
        let numeric = |modifier, promised: &DataType| Kind::of(&Type::NUMERIC, modifier, promised);
        for (declared, precision, scale) in [
            ((12, 2), 12, 2),
            ((38, 38), 38, 38),
            ((5, -2), 7, 0),
            ((3, 5), 5, 5),
        ] {
            let found = numeric(modifier(declared.0, declared.1), &float);
            assert_eq!(found, Ok(Kind::Numeric { precision, scale }));
        }
        numeric(modifier(39, 0), &float).unwrap_err();
        numeric(-1, &float).unwrap_err();
        let promised = DataType::Decimal128(20, 4);
        let found = numeric(-1, &promised).unwrap();
        assert_eq!(found.arrow(), promised);
    }

    #[test]
    fn a_column_of_another_type_is_not_read_as_the_old_one() {
        // Eight bytes both: only the type tells.
        assert!(!Kind::Int8.reads(&Type::FLOAT8));
        assert!(!Kind::Timestamp.reads(&Type::TIMESTAMPTZ));
        assert!(Kind::Text.reads(&Type::VARCHAR));
        let decimal = Kind::Numeric {
            precision: 9,
            scale: 2,
        };
        assert!(decimal.reads(&Type::NUMERIC));
        assert!(!decimal.reads(&Type::FLOAT8));
    }
}

//! Stored columns in the types that cross between organizations, value by value
//! (`spec/5-data-plane.md#D-190`).
//!
//! Arrow's own casts cut digits off without a word; these say which column has
//! a value without an exact place.

pub(super) mod digits;
mod moment;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, ListArray, PrimitiveArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, ArrowTimestampType, DataType, Date32Type, Date64Type, Decimal128Type,
    Decimal256Type, Field, Schema, SchemaRef, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_plan::PhysicalExpr;

use crate::products::Format;
use crate::query::QueryError;

/// The most digits of a decimal on the wire.
const MAX_DIGITS: u8 = 38;

/// The columns of a file as they are asked of its reader, and as they leave, when
/// it says `inferred` and the contract says `declared`. A type without a place on
/// the wire stays what it is, and is refused by its name when the product is
/// published.
pub(super) fn columns(
    inferred: &Schema,
    declared: &Schema,
    format: Format,
) -> (SchemaRef, SchemaRef) {
    let fields = inferred.fields().iter().map(|field| {
        let declared = declared.field_with_name(field.name()).ok();
        let declared = declared.map(|f| f.data_type());
        let (stored, shown) = column(field.data_type(), declared, format);
        let typed = |kind| field.as_ref().clone().with_data_type(kind);
        (typed(stored), typed(shown))
    });
    let (stored, shown): (Vec<_>, Vec<_>) = fields.unzip();
    (Arc::new(Schema::new(stored)), Arc::new(Schema::new(shown)))
}

fn column(
    inferred: &DataType,
    declared: Option<&DataType>,
    format: Format,
) -> (DataType, DataType) {
    use DataType as D;
    let moment = declared.filter(|d| matches!(d, D::Timestamp(..)));
    match (format, inferred) {
        // A column of nothing but nulls says no type.
        (_, D::Null) => (D::Null, declared.unwrap_or(inferred).clone()),
        // JSON has texts for them.
        (Format::Json, D::Utf8) => match declared {
            Some(D::Timestamp(..) | D::Date32) => (D::Utf8, declared.unwrap_or(inferred).clone()),
            _ => (D::Utf8, D::Utf8),
        },
        // What the first rows have for a number may be a text of digits: `00123`.
        (Format::Csv, _) if declared == Some(&D::Utf8) => (D::Utf8, D::Utf8),
        // A float is another number than the one that was written.
        (Format::Csv, D::Int64 | D::Float64) if matches!(declared, Some(D::Decimal128(..))) => {
            (D::Utf8, declared.unwrap_or(inferred).clone())
        }
        // The unit is guessed from the first rows, and the reader cuts off what
        // later ones have more: read as text and judged here.
        (Format::Csv, D::Timestamp(..)) => {
            let local = D::Timestamp(TimeUnit::Microsecond, None);
            (D::Utf8, moment.cloned().unwrap_or(local))
        }
        // Decoded as views, whose texts are not copied for each step of a plan; they
        // are plain again when they leave (spec/5-data-plane.md#D-12).
        (Format::Parquet, D::Utf8 | D::Utf8View) => (D::Utf8View, D::Utf8View),
        _ => (inferred.clone(), plain(inferred)),
    }
}

/// What a stored type is read as: the type on the wire in which its values, or all
/// but some, have an exact place; else the type itself.
pub(super) fn plain(stored: &DataType) -> DataType {
    use DataType as D;
    match stored {
        D::Timestamp(_, zone) => {
            D::Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| "UTC".into()))
        }
        D::Time32(_) | D::Time64(_) => D::Time64(TimeUnit::Microsecond),
        D::Date64 => D::Date32,
        D::Float16 => D::Float32,
        D::Decimal32(precision, scale) | D::Decimal64(precision, scale) if *scale >= 0 => {
            D::Decimal128(*precision, *scale)
        }
        D::Decimal256(precision, scale) if *precision <= MAX_DIGITS && *scale >= 0 => {
            D::Decimal128(*precision, *scale)
        }
        D::LargeUtf8 | D::Utf8View => D::Utf8,
        D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => D::Binary,
        D::Dictionary(_, value) => plain(value),
        D::List(item)
        | D::LargeList(item)
        | D::ListView(item)
        | D::LargeListView(item)
        | D::FixedSizeList(item, _) => {
            D::List(Field::new("item", plain(item.data_type()), true).into())
        }
        other => other.clone(),
    }
}

/// A column of a file as the wire's type, or an error.
pub(super) struct Exact {
    input: Arc<dyn PhysicalExpr>,
    column: Arc<str>,
    to: DataType,
}

impl Exact {
    pub(super) fn new(input: Arc<dyn PhysicalExpr>, column: &str, to: DataType) -> Self {
        let column = column.into();
        Self { input, column, to }
    }
}

impl PhysicalExpr for Exact {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        self.input.nullable(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let stored = self.input.evaluate(batch)?.into_array(batch.num_rows())?;
        let read = read(&stored, &self.column, &self.to)?;
        Ok(ColumnarValue::Array(read))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let input = children.pop().unwrap_or_else(|| Arc::clone(&self.input));
        Ok(Arc::new(Self::new(input, &self.column, self.to.clone())))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exactly({}, {})", self.input, self.to)
    }
}

impl fmt::Debug for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        self.input.eq(&other.input) && self.column == other.column && self.to == other.to
    }
}

impl Eq for Exact {}

impl Hash for Exact {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.column.hash(state);
        self.to.hash(state);
    }
}

/// A column's values in the type that was published, or why not.
pub(super) fn read(stored: &ArrayRef, column: &str, to: &DataType) -> Result<ArrayRef, QueryError> {
    exactly(stored, to).map_err(|e| {
        let stored = stored.data_type();
        QueryError::source_unavailable(format!(
            "column {column} is stored as {stored} and holds a value that has no exact place in {to}: {e}; correct the value, or store the column as {to}"
        ))
    })
}

/// The same values in another type, or an error. Never another value.
pub(super) fn exactly(stored: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    use DataType as D;
    use TimeUnit as U;
    let from = stored.data_type();
    if from == to {
        return Ok(Arc::clone(stored));
    }
    Ok(match (from, to) {
        (D::Dictionary(_, value), to) => exactly(&cast(stored, value)?, to)?,
        (D::Timestamp(unit, _), D::Timestamp(U::Microsecond, zone)) => {
            let micros = match unit {
                U::Second => times::<TimestampSecondType>(stored, 1_000_000)?,
                U::Millisecond => times::<TimestampMillisecondType>(stored, 1_000)?,
                U::Microsecond => stored.as_primitive::<TimestampMicrosecondType>().clone(),
                U::Nanosecond => divided::<TimestampNanosecondType, _>(stored, 1_000)?,
            };
            Arc::new(micros.with_timezone_opt(zone.clone()))
        }
        (D::Time64(U::Nanosecond), D::Time64(U::Microsecond)) => Arc::new(divided::<
            Time64NanosecondType,
            Time64MicrosecondType,
        >(stored, 1_000)?),
        (D::Time32(U::Millisecond), D::Time64(U::Microsecond)) => Arc::new(
            stored
                .as_primitive::<Time32MillisecondType>()
                .unary::<_, Time64MicrosecondType>(|v| i64::from(v) * 1_000),
        ),
        (D::Time32(U::Second), D::Time64(U::Microsecond)) => Arc::new(
            stored
                .as_primitive::<Time32SecondType>()
                .unary::<_, Time64MicrosecondType>(|v| i64::from(v) * 1_000_000),
        ),
        (D::Date64, D::Date32) => {
            const DAY: i64 = 86_400_000;
            let days = stored.as_primitive::<Date64Type>().try_unary(|v| {
                let days = (v % DAY == 0).then_some(v / DAY);
                days.and_then(|d| i32::try_from(d).ok()).ok_or_else(lost)
            })?;
            let days: PrimitiveArray<Date32Type> = days;
            Arc::new(days)
        }
        (D::Decimal256(..), D::Decimal128(precision, scale)) => {
            let digits = stored.as_primitive::<Decimal256Type>();
            let digits: PrimitiveArray<Decimal128Type> =
                digits.try_unary(|v| v.to_i128().ok_or_else(lost))?;
            let digits = digits.with_precision_and_scale(*precision, *scale)?;
            // A file may hold more digits than it says.
            digits.validate_decimal_precision(*precision)?;
            Arc::new(digits)
        }
        (D::Utf8, D::Timestamp(U::Microsecond, zone)) => moment::timestamps(stored, zone.clone())?,
        (D::Utf8, D::Decimal128(precision, scale)) => digits::decimals(stored, *precision, *scale)?,
        (D::Utf8, D::Time64(U::Microsecond)) => moment::times(stored)?,
        (
            D::List(_)
            | D::LargeList(_)
            | D::ListView(_)
            | D::LargeListView(_)
            | D::FixedSizeList(..),
            D::List(item),
        ) => {
            let stored_item = Field::new("item", item_type(from)?.clone(), true);
            let lists = cast(stored, &D::List(stored_item.into()))?;
            let (_, offsets, values, nulls) = lists.as_list::<i32>().clone().into_parts();
            let values = exactly(&values, item.data_type())?;
            Arc::new(ListArray::try_new(
                Arc::clone(item),
                offsets,
                values,
                nulls,
            )?)
        }
        // Every value has its place, or arrow's own cast says that it has none.
        (D::Null, _)
        | (D::LargeUtf8 | D::Utf8View, D::Utf8)
        | (D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_), D::Binary)
        | (D::Float16, D::Float32)
        | (D::Decimal32(..) | D::Decimal64(..), D::Decimal128(..))
        | (D::Utf8, D::Date32) => cast(stored, to)?,
        (from, to) => {
            let message = format!("{from} is not read as {to}");
            return Err(ArrowError::CastError(message));
        }
    })
}

fn cast(stored: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    // Not "safe": that one makes nulls of what does not fit.
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(stored, to, &options)
}

fn item_type(list: &DataType) -> Result<&DataType, ArrowError> {
    match list {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Ok(item.data_type()),
        other => Err(ArrowError::CastError(format!("{other} is no list"))),
    }
}

fn times<T: ArrowTimestampType>(
    stored: &ArrayRef,
    by: i64,
) -> Result<PrimitiveArray<TimestampMicrosecondType>, ArrowError> {
    let micros = stored.as_primitive::<T>();
    micros.try_unary(|v| v.checked_mul(by).ok_or_else(lost))
}

fn divided<T, To>(stored: &ArrayRef, by: i64) -> Result<PrimitiveArray<To>, ArrowError>
where
    T: ArrowPrimitiveType<Native = i64>,
    To: ArrowPrimitiveType<Native = i64>,
{
    let exact = |v: i64| (v % by == 0).then_some(v / by).ok_or_else(lost);
    stored.as_primitive::<T>().try_unary(exact)
}

fn lost() -> ArrowError {
    ArrowError::CastError("digits would be lost".to_owned())
}

//! Counts, sums and means of groups, from those of their cells, as the engine
//! itself would compute them over the rows.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, PrimitiveArray,
    UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float64Type, Int64Type, UInt64Type,
};
use datafusion::error::Result;

use super::cells::wrong;
use crate::query::pushdown::Function;

/// One measure of each of `groups`, which are rows of `counts` and `sums`.
/// Sums are null where nothing was counted.
pub(super) fn computed(
    function: Function,
    counts: &ArrayRef,
    sums: Option<&ArrayRef>,
    groups: &[Vec<u64>],
    shown: &DataType,
) -> Result<ArrayRef> {
    let counts = counts.as_primitive::<Int64Type>();
    let counted: Vec<i64> = groups
        .iter()
        .map(|group| added::<Int64Type>(counts, group))
        .collect();
    if function == Function::Count {
        return Ok(Arc::new(Int64Array::from(counted)));
    }
    let sums = sums.ok_or_else(|| wrong("a sum is missing"))?;
    let some = |(sum, n): (_, &i64)| (*n > 0).then_some(sum);
    let sum: ArrayRef = match sums.data_type() {
        DataType::Int64 => {
            let sums = groups
                .iter()
                .map(|g| added::<Int64Type>(sums.as_primitive(), g));
            Arc::new(
                sums.zip(&counted)
                    .map(|(s, n)| (*n > 0).then_some(s))
                    .collect::<Int64Array>(),
            )
        }
        DataType::UInt64 => {
            let sums = groups
                .iter()
                .map(|g| added::<UInt64Type>(sums.as_primitive(), g));
            Arc::new(
                sums.zip(&counted)
                    .map(|(s, n)| (*n > 0).then_some(s))
                    .collect::<UInt64Array>(),
            )
        }
        DataType::Float64 => {
            let of = sums.as_primitive::<Float64Type>();
            let values = |g: &Vec<u64>| g.iter().map(|i| value(of, *i).unwrap_or(0.0)).sum::<f64>();
            let sums = groups.iter().map(values).zip(&counted).map(some);
            Arc::new(sums.collect::<Float64Array>())
        }
        DataType::Decimal128(precision, scale) => {
            let of = sums.as_primitive::<Decimal128Type>();
            let sums = groups.iter().map(|g| added::<Decimal128Type>(of, g));
            let sums: Decimal128Array = sums
                .zip(&counted)
                .map(|(s, n)| (*n > 0).then_some(s))
                .collect();
            Arc::new(sums.with_precision_and_scale(*precision, *scale)?)
        }
        _ => return Err(wrong("a sum of this type is not known")),
    };
    match function {
        Function::Sum => Ok(sum),
        _ => mean(&sum, &counted, shown),
    }
}

fn mean(sums: &ArrayRef, counted: &[i64], shown: &DataType) -> Result<ArrayRef> {
    if let DataType::Decimal128(precision, scale) = shown {
        // As the engine: more digits behind the point, what is beyond them cut off.
        let wide = cast(sums, &DataType::Decimal128(38, *scale))?;
        let wide = wide.as_primitive::<Decimal128Type>();
        let means = wide.iter().zip(counted).map(|(sum, n)| {
            let sum = sum?;
            sum.checked_div(i128::from(*n))
        });
        let means: Decimal128Array = means.collect();
        return Ok(Arc::new(
            means.with_precision_and_scale(*precision, *scale)?,
        ));
    }
    let sums = cast(sums, &DataType::Float64)?;
    let sums = sums.as_primitive::<Float64Type>();
    let means = sums
        .iter()
        .zip(counted)
        .map(|(sum, n)| Some(sum? / *n as f64));
    Ok(Arc::new(means.collect::<Float64Array>()))
}

/// Whole numbers are added as the engine adds them: around the end.
fn added<T: ArrowPrimitiveType>(of: &PrimitiveArray<T>, rows: &[u64]) -> T::Native
where
    T::Native: arrow::array::ArrowNativeTypeOp,
{
    use arrow::array::ArrowNativeTypeOp as _;
    let values = rows.iter().filter_map(|i| value(of, *i));
    values.fold(T::Native::ZERO, |sum, v| sum.add_wrapping(v))
}

/// The value in a row; nothing where it is null.
pub(super) fn value<T: ArrowPrimitiveType>(of: &PrimitiveArray<T>, row: u64) -> Option<T::Native> {
    let row = usize::try_from(row).ok()?;
    (row < of.len() && of.is_valid(row)).then(|| of.value(row))
}

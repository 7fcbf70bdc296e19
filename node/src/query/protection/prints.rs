//! Fingerprints of values inside a plan: added up over the rows of a unit they
//! show whether anything changed, whatever the order of the rows.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Keyed anew in each process, so that nobody can make two sets of values look alike.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The fingerprint of something that can be hashed.
pub(super) fn print(of: impl std::hash::Hash) -> u64 {
    KEY.hash_one(of)
}

/// The fingerprint of a column's value as a whole number; null stays null.
pub(super) fn print_of(value: Expr) -> Expr {
    static PRINT: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Print::new())));
    PRINT.call(vec![value])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Print {
    signature: Signature,
}

impl Print {
    fn new() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Print {
    fn name(&self) -> &str {
        ".print"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let prints = columns.first().map(prints).transpose()?;
        Ok(ColumnarValue::Array(prints.unwrap_or_else(|| {
            Arc::new(Int64Array::new_null(args.number_rows))
        })))
    }
}

fn prints(column: &ArrayRef) -> Result<ArrayRef> {
    let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())])?;
    let rows = converter.convert_columns(std::slice::from_ref(column))?;
    let prints = rows.iter().enumerate().map(|(i, row)| {
        let print = print(row.as_ref());
        column
            .is_valid(i)
            .then_some(i64::from_ne_bytes(print.to_ne_bytes()))
    });
    Ok(Arc::new(prints.collect::<Int64Array>()))
}

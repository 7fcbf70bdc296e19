//! Fingerprints of values inside a plan: added up over the rows of a unit they
//! show whether anything changed, whatever the order of the rows.

use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher as _, RandomState};
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use siphasher::sip::SipHasher13;

/// Takes fingerprints. The same key gives the same ones in every process; without
/// it nobody can make two sets of values look alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Prints([u8; 16]);

impl Prints {
    pub(super) fn keyed(key: [u8; 16]) -> Self {
        Self(key)
    }

    /// With a key that nobody knows, and that is gone with the process.
    pub(super) fn of_this_process() -> Self {
        static KEY: LazyLock<[u8; 16]> = LazyLock::new(|| {
            let half = || RandomState::new().hash_one(()).to_ne_bytes();
            let mut key = [0; 16];
            key[..8].copy_from_slice(&half());
            key[8..].copy_from_slice(&half());
            key
        });
        Self(*KEY)
    }

    /// The fingerprint of something that can be hashed.
    pub(super) fn print(&self, of: impl Hash) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        of.hash(&mut hasher);
        hasher.finish()
    }

    /// The fingerprint of a column's value as a whole number; null stays null.
    pub(super) fn print_of(self, value: Expr) -> Expr {
        let print = Print {
            prints: self,
            signature: Signature::any(1, Volatility::Immutable),
        };
        Arc::new(ScalarUDF::from(print)).call(vec![value])
    }
}

impl fmt::Debug for Prints {
    /// With the key values could be found that look like others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prints")
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Print {
    prints: Prints,
    signature: Signature,
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
        let prints = columns.first().map(|c| self.of(c)).transpose()?;
        Ok(ColumnarValue::Array(prints.unwrap_or_else(|| {
            Arc::new(Int64Array::new_null(args.number_rows))
        })))
    }
}

impl Print {
    fn of(&self, column: &ArrayRef) -> Result<ArrayRef> {
        let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())])?;
        let rows = converter.convert_columns(std::slice::from_ref(column))?;
        let prints = rows.iter().enumerate().map(|(i, row)| {
            let print = self.prints.print(row.as_ref());
            column
                .is_valid(i)
                .then_some(i64::from_ne_bytes(print.to_ne_bytes()))
        });
        Ok(Arc::new(prints.collect::<Int64Array>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_prints_alike_in_every_process() {
        // A fixed value: what was told before an upgrade must be known after it.
        let prints = Prints::keyed([7; 16]);
        assert_eq!(prints.print(b"cell".as_slice()), PRINTED);
        assert_ne!(Prints::keyed([8; 16]).print(b"cell".as_slice()), PRINTED);
    }

    const PRINTED: u64 = 14_671_925_353_451_681_020;
}

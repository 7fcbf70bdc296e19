//! Masks: what leaves in the place of a value (`spec/5-data-plane.md#D-20`).
//!
//! The nine actions of Iceberg's `read-restrictions`, as its reference code
//! carries them out, and one of Comity's own. Every mask is a total function of
//! the value alone: it cannot fail, and null stays null. A pattern or a cast
//! that can fail would tell of the value by its error (A18).

mod values;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use comity_identity::Digest;
use comity_protocol::terms::Mask;
use data_encoding::HEXLOWER;
use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
    lit,
};
use datafusion::scalar::ScalarValue;

use super::QueryError;

/// Bytes of a salt; Iceberg asks for at least 16.
const SALT_BYTES: usize = 32;

/// Hex digits of a snapshot's name: 16 bytes, which nobody meets by chance.
const SNAPSHOT_CHARS: usize = 32;

/// What hashes of one view are salted with: nobody without the salts can try
/// values until the hashes meet.
#[derive(Clone)]
pub struct Salts {
    query: [u8; SALT_BYTES],
    agreement: [u8; SALT_BYTES],
}

impl Salts {
    /// Salts of one request under `agreement`. That of the query is drawn
    /// anew; that of the agreement follows from `key`, a secret of this
    /// organization, and is the same for every request under it.
    ///
    /// # Errors
    /// `internal` if the system has no randomness.
    pub fn draw(key: &[u8], agreement: Option<&Digest>) -> std::result::Result<Self, QueryError> {
        let mut query = [0; SALT_BYTES];
        getrandom::fill(&mut query).map_err(|_| QueryError::internal("no randomness"))?;
        let named = agreement.map_or(&[][..], |id| &id.as_bytes()[..]);
        let agreement = Digest::keyed(key, &[b"comity-mask-v1", named]);
        Ok(Self {
            query,
            agreement: *agreement.as_bytes(),
        })
    }

    /// What a partner is told of the states in which sources were read
    /// (`spec/5-data-plane.md#D-148`): the same
    /// states have the same name under one agreement. Without the secret nobody
    /// can try what times, counts and tags of files hash to it (A19).
    pub fn snapshot_name(&self, names: &str) -> String {
        let name = Digest::keyed(&self.agreement, &[b"comity-snapshot-v1", names.as_bytes()]);
        let name = HEXLOWER.encode(name.as_bytes());
        format!("s:{}", name.get(..SNAPSHOT_CHARS).unwrap_or_default())
    }

    /// What `mask` hashes in front of a value.
    pub(super) fn of(&self, mask: Mask) -> Vec<u8> {
        match mask {
            Mask::Sha256QueryLocal => self.query.to_vec(),
            Mask::Sha256AgreementLocal => self.agreement.to_vec(),
            _ => Vec::new(),
        }
    }
}

impl fmt::Debug for Salts {
    /// A salt in a log would undo every hash made with it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salts")
    }
}

/// Whether `mask` can be applied to values of `kind`: the types that Iceberg
/// lists for the action. Contracts that ask for another are refused when they
/// are published; terms that do, when they are used.
pub fn enforces(mask: Mask, kind: &DataType) -> bool {
    let kind = plain(kind);
    let text = matches!(
        kind,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    );
    let binary = matches!(
        kind,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    );
    match mask {
        Mask::ReplaceWithNull => true,
        Mask::MaskToFixedValue => values::fixed(kind).is_some(),
        Mask::MaskAlphanum | Mask::ShowFirst4 | Mask::ShowLast4 => text,
        Mask::TruncateToYear | Mask::TruncateToMonth => matches!(
            kind,
            DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, _)
        ),
        Mask::Sha256Global | Mask::Sha256QueryLocal | Mask::Sha256AgreementLocal => {
            text || binary || matches!(kind, DataType::Int32 | DataType::Int64)
        }
    }
}

/// What leaves in the place of the column `name`, as `shown`.
pub(super) fn masked(
    name: &str,
    mask: Mask,
    shown: &DataType,
    salts: &Salts,
) -> std::result::Result<Expr, QueryError> {
    if !enforces(mask, shown) {
        return Err(QueryError::terms_mismatch(format!(
            "the mask that the terms ask for on column {name} is not one for {shown}"
        )));
    }
    if mask == Mask::ReplaceWithNull {
        return ScalarValue::try_from(shown).map(lit).map_err(|_| {
            QueryError::terms_mismatch(format!("column {name} has a type that cannot be masked"))
        });
    }
    let kind = plain(shown);
    let masking = Masking {
        mask,
        salt: salts.of(mask),
        signature: Signature::exact(vec![kind.clone()], Volatility::Immutable),
    };
    // A dictionary is masked as the values that it stands for.
    let column = cast(Expr::Column(Column::new_unqualified(name)), kind.clone());
    let value = Arc::new(ScalarUDF::from(masking)).call(vec![column]);
    Ok(match kind == shown {
        true => value,
        false => cast(value, shown.clone()),
    })
}

/// `column` masked, without an engine.
#[cfg(test)]
pub(super) fn applied(
    mask: Mask,
    salts: &Salts,
    column: &arrow::array::ArrayRef,
) -> arrow::array::ArrayRef {
    values::apply(mask, &salts.of(mask), column).expect("a mask for the type")
}

/// The type of the values behind a dictionary.
fn plain(kind: &DataType) -> &DataType {
    match kind {
        DataType::Dictionary(_, value) => value,
        other => other,
    }
}

/// One mask, as the engine calls it.
#[derive(PartialEq, Eq, Hash)]
struct Masking {
    mask: Mask,
    salt: Vec<u8>,
    signature: Signature,
}

impl fmt::Debug for Masking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Masking").field(&self.mask).finish()
    }
}

impl ScalarUDFImpl for Masking {
    fn name(&self) -> &str {
        "mask"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        // The type is kept: a masked column fits the announced schema.
        Ok(kinds.first().cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [column] = arrays.as_slice() else {
            return datafusion::common::internal_err!("a mask takes one column");
        };
        let masked = values::apply(self.mask, &self.salt, column);
        masked.map(ColumnarValue::Array).ok_or_else(|| {
            datafusion::error::DataFusionError::Internal(
                "a mask met a type that it is not for".to_owned(),
            )
        })
    }
}

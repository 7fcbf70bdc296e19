//! A set of keys as a Bloom filter, and the SQL function that asks it
//! (`spec/5-data-plane.md#D-226`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, UInt64Type};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use siphasher::sip128::{Hasher128 as _, SipHasher24};

/// What the function is called in statements.
pub(crate) const NAME: &str = "key_filter";

/// Bytes of the salt: fresh for each filter, so that two of them cannot be
/// compared, nor a table of hashes made in advance (`spec/5-data-plane.md#D-227`).
const SALT_BYTES: usize = 16;

/// The most bytes of bits. As text it is 214 KiB of the longest statement
/// ([`MAX_BYTES`](crate::query::gate::MAX_BYTES)); the part itself has 32.
const MAX_BYTES: usize = 160 * 1024;

/// Bits for each key where there is room: about one stranger in a hundred passes.
const BITS_OF_KEY: usize = 10;

/// The most keys: with two bits for each, two strangers in five pass. With less
/// the filter would cost more than it saves.
pub(super) const MAX_KEYS: usize = MAX_BYTES * 8 / 2;

/// The most hashes of one key.
const MAX_HASHES: usize = 7;

/// A Bloom filter: whoever is in the set passes, and a few who are not.
#[derive(Debug)]
pub(super) struct KeyFilter {
    salt: [u8; SALT_BYTES],
    hashes: u8,
    bits: Vec<u8>,
}

impl KeyFilter {
    /// An empty filter for `keys` keys; none if they are too many, or without randomness.
    pub(super) fn sized(keys: usize) -> Option<Self> {
        if keys > MAX_KEYS {
            return None;
        }
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).ok()?;
        let bytes = (keys.max(1) * BITS_OF_KEY).div_ceil(8).min(MAX_BYTES);
        // ln 2 times the bits of a key lets the fewest strangers pass.
        let hashes = (bytes * 8 * 7 / (keys.max(1) * 10)).clamp(1, MAX_HASHES);
        Some(Self {
            salt,
            hashes: u8::try_from(hashes).unwrap_or(1),
            bits: vec![0; bytes],
        })
    }

    /// Puts a key in.
    pub(super) fn add(&mut self, key: &[u8]) {
        for place in self.places(key) {
            if let Some(byte) = self.bits.get_mut(place / 8) {
                *byte |= 1 << (place % 8);
            }
        }
    }

    /// Whether a key may be in.
    pub(super) fn may_have(&self, key: &[u8]) -> bool {
        let set = |place: usize| {
            let byte = self.bits.get(place / 8).copied().unwrap_or(0);
            byte >> (place % 8) & 1 == 1
        };
        self.places(key).all(set)
    }

    fn places(&self, key: &[u8]) -> impl Iterator<Item = usize> + use<> {
        let mut hasher = SipHasher24::new_with_key(&self.salt);
        std::hash::Hasher::write(&mut hasher, key);
        let hash = hasher.finish128();
        let bits = (self.bits.len() as u64 * 8).max(1);
        let place = move |n: u64| hash.h1.wrapping_add(n.wrapping_mul(hash.h2)) % bits;
        // Below the number of bits of a vector in memory.
        (0..u64::from(self.hashes)).map(move |n| place(n) as usize)
    }

    /// As the text that [`NAME`] reads: hashes, salt, bits, in base64url.
    pub(super) fn text(&self) -> String {
        let bytes = [&[self.hashes][..], &self.salt, &self.bits].concat();
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads such a text, which somebody else wrote.
    fn read(text: &str) -> Option<Self> {
        let longest = (1 + SALT_BYTES + MAX_BYTES).div_ceil(3) * 4;
        if text.len() > longest {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (hashes, rest) = bytes.split_first()?;
        let (salt, bits) = rest.split_first_chunk::<SALT_BYTES>()?;
        let sound = (1..=MAX_HASHES).contains(&usize::from(*hashes)) && !bits.is_empty();
        sound.then(|| Self {
            salt: *salt,
            hashes: *hashes,
            bits: bits.to_vec(),
        })
    }
}

/// Whether values of a type can be keys: those of which equal values have equal
/// bytes. Floating point numbers are not among them.
pub(super) fn is_key(kind: &DataType) -> bool {
    kind.is_integer()
        || matches!(
            kind,
            DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Date32
                | DataType::Date64
                | DataType::Timestamp(..)
                | DataType::Decimal128(..)
        )
}

/// Calls `each` with every value's bytes, or with nothing for null. Integers,
/// dates and moments are 8 bytes, decimals 16, little-endian; texts UTF-8.
pub(super) fn each_key(
    values: &ArrayRef,
    mut each: impl FnMut(usize, Option<&[u8]>),
) -> Result<()> {
    let plain = |to: DataType| arrow::compute::cast(values, &to);
    match values.data_type() {
        DataType::Dictionary(_, kind) => return each_key(&plain(kind.as_ref().clone())?, each),
        DataType::Utf8View | DataType::LargeUtf8 => return each_key(&plain(DataType::Utf8)?, each),
        DataType::Utf8 => {
            let texts = values.as_string::<i32>().iter().enumerate();
            texts.for_each(|(row, text)| each(row, text.map(str::as_bytes)));
        }
        DataType::Decimal128(..) => {
            let numbers = values.as_primitive::<Decimal128Type>().iter().enumerate();
            numbers
                .for_each(|(row, n)| each(row, n.map(i128::to_le_bytes).as_ref().map(|b| &b[..])));
        }
        DataType::UInt64 => {
            let numbers = values.as_primitive::<UInt64Type>().iter().enumerate();
            numbers
                .for_each(|(row, n)| each(row, n.map(u64::to_le_bytes).as_ref().map(|b| &b[..])));
        }
        kind if is_key(kind) => {
            // A date is a number of its own width first.
            let numbers = match kind {
                DataType::Date32 => {
                    arrow::compute::cast(&plain(DataType::Int32)?, &DataType::Int64)?
                }
                _ => plain(DataType::Int64)?,
            };
            let numbers = numbers.as_primitive::<Int64Type>().iter().enumerate();
            numbers
                .for_each(|(row, n)| each(row, n.map(i64::to_le_bytes).as_ref().map(|b| &b[..])));
        }
        other => {
            return Err(DataFusionError::Plan(format!("{NAME} takes no {other}")));
        }
    }
    Ok(())
}

/// The function: whether a value may be in the set of a filter. It is total over
/// values of its types, so that it says nothing of rows by failing.
pub(crate) fn function() -> Arc<ScalarUDF> {
    let signature = Signature::any(2, Volatility::Immutable);
    Arc::new(ScalarUDF::from(MayHave(signature)))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MayHave(Signature);

impl ScalarUDFImpl for MayHave {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let value = match arguments.first() {
            Some(DataType::Dictionary(_, kind)) => Some(kind.as_ref()),
            other => other,
        };
        let keys = value.is_some_and(|kind| is_key(kind) || *kind == DataType::Utf8View);
        if !keys || arguments.get(1) != Some(&DataType::Utf8) {
            return Err(DataFusionError::Plan(format!(
                "{NAME} takes a value with exact equality and the text of a filter"
            )));
        }
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [values, ColumnarValue::Scalar(ScalarValue::Utf8(Some(text)))] = &args.args[..] else {
            return Err(DataFusionError::Plan(format!(
                "{NAME} takes a literal filter"
            )));
        };
        let filter = KeyFilter::read(text);
        let filter = filter.ok_or_else(|| DataFusionError::Plan(format!("no filter of {NAME}")))?;
        let values = values.to_array(args.number_rows)?;
        let mut passes = Vec::with_capacity(values.len());
        each_key(&values, |_, key| {
            passes.push(key.is_some_and(|key| filter.may_have(key)));
        })?;
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(passes))))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Int32Array, Int64Array, StringArray, StringViewArray};
    use proptest::prelude::*;

    use super::*;

    fn keys_of(values: ArrayRef) -> Vec<Option<Vec<u8>>> {
        let mut keys = Vec::new();
        each_key(&values, |_, key| keys.push(key.map(<[u8]>::to_vec))).unwrap();
        keys
    }

    proptest! {
        #[test]
        fn whoever_is_in_the_set_passes(keys in proptest::collection::vec(any::<i64>(), 0..300)) {
            let mut filter = KeyFilter::sized(keys.len()).unwrap();
            for key in &keys {
                filter.add(&key.to_le_bytes());
            }
            let read = KeyFilter::read(&filter.text()).unwrap();
            prop_assert!(keys.iter().all(|key| read.may_have(&key.to_le_bytes())));
        }

        #[test]
        fn any_text_is_a_filter_or_none(text in "[A-Za-z0-9_=-]{0,80}") {
            if let Some(filter) = KeyFilter::read(&text) {
                filter.may_have(text.as_bytes());
            }
        }
    }

    #[test]
    fn few_strangers_pass() {
        for (keys, most) in [(1_000, 30), (MAX_KEYS, 450)] {
            let mut filter = KeyFilter::sized(keys).unwrap();
            for key in 0..keys {
                filter.add(&key.to_le_bytes());
            }
            let passes = (1..=1_000).filter(|n| filter.may_have(&(keys + n).to_le_bytes()));
            let passes = passes.count();
            assert!(passes <= most, "{passes} of 1000 pass a filter of {keys}");
        }
        assert!(KeyFilter::sized(MAX_KEYS + 1).is_none());
    }

    /// The vector of the specification.
    #[test]
    fn places_are_those_of_the_specification() {
        let mut filter = KeyFilter {
            salt: std::array::from_fn(|n| n as u8),
            hashes: 3,
            bits: vec![0; 4],
        };
        filter.add(&7_i64.to_le_bytes());
        filter.add("Zürich".as_bytes());
        assert_eq!(filter.text(), "AwABAgMEBQYHCAkKCwwNDg8QGBAg");
    }

    #[test]
    fn equal_values_have_equal_bytes_whatever_holds_them() {
        let texts = ["a", "Zürich"];
        let plain = keys_of(Arc::new(StringArray::from(texts.to_vec())));
        assert_eq!(
            plain,
            keys_of(Arc::new(StringViewArray::from(texts.to_vec())))
        );
        let few: arrow::array::DictionaryArray<arrow::datatypes::Int8Type> =
            texts.into_iter().collect();
        assert_eq!(plain, keys_of(Arc::new(few)));
        let numbers = [Some(-3), None, Some(7)];
        let wide = keys_of(Arc::new(Int64Array::from_iter(
            numbers.map(|n| n.map(i64::from)),
        )));
        assert_eq!(wide, keys_of(Arc::new(Int32Array::from_iter(numbers))));
        assert_eq!(wide, keys_of(Arc::new(Date32Array::from_iter(numbers))));
    }
}

//! Single values in the server's binary form. Each says what it cannot hold
//! (`spec/5-data-plane.md#D-153`), never the value itself.

/// Characters of the canonical form of a UUID.
pub(super) const UUID_CHARS: usize = 36;
/// Days from 1970, where Arrow counts from, to 2000, where the server does.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// Microseconds of a day: 24:00 is a time of day there and none here.
const DAY_MICROS: i64 = 86_400_000_000;
/// What each digit of a `numeric` counts to.
const NUMERIC_BASE: i128 = 10_000;
/// The signs of a `numeric`.
const NUMERIC_NEGATIVE: u16 = 0x4000;
const NUMERIC_NAN: u16 = 0xC000;
const NUMERIC_INFINITY: u16 = 0xD000;
const NUMERIC_NEGATIVE_INFINITY: u16 = 0xF000;

type Value<T> = Result<T, &'static str>;

const SHAPE: &str = "a value of another shape than its type has";

/// Big-endian numbers and counted fields, one after the other.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// How many bytes have not been read.
    pub(super) fn rest(&self) -> usize {
        self.bytes.len()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*head)
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A field with its length before it, -1 for null. An error is a length
    /// that is none, `None` a field that is not there whole.
    pub(super) fn field(&mut self) -> Option<Result<Option<&'a [u8]>, ()>> {
        let length = self.i32()?;
        let Ok(length) = usize::try_from(length) else {
            return Some(if length == -1 { Ok(None) } else { Err(()) });
        };
        let (field, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(Ok(Some(field)))
    }
}

pub(super) fn exactly<const N: usize>(bytes: &[u8]) -> Value<[u8; N]> {
    bytes.try_into().map_err(|_| SHAPE)
}

pub(super) fn boolean(bytes: &[u8]) -> Value<bool> {
    match bytes {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(SHAPE),
    }
}

/// The server knows one NaN, above all numbers; Arrow would tell them apart by their bits.
pub(super) fn float4(bytes: &[u8]) -> Value<f32> {
    let value = f32::from_be_bytes(exactly(bytes)?);
    Ok(if value.is_nan() { f32::NAN } else { value })
}

pub(super) fn float8(bytes: &[u8]) -> Value<f64> {
    let value = f64::from_be_bytes(exactly(bytes)?);
    Ok(if value.is_nan() { f64::NAN } else { value })
}

pub(super) fn text(bytes: &[u8]) -> Value<&str> {
    // A database in SQL_ASCII holds any bytes.
    std::str::from_utf8(bytes).map_err(|_| "a text that is not UTF-8")
}

pub(super) fn jsonb(bytes: &[u8]) -> Value<&str> {
    match bytes.split_first() {
        Some((1, json)) => text(json),
        _ => Err("a jsonb of an unknown version"),
    }
}

pub(super) fn uuid<'a>(bytes: &[u8], form: &'a mut [u8; UUID_CHARS]) -> Value<&'a str> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bytes: [u8; 16] = exactly(bytes)?;
    let mut at = 0;
    for (i, byte) in bytes.into_iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            form[at] = b'-';
            at += 1;
        }
        form[at] = DIGITS[usize::from(byte >> 4)];
        form[at + 1] = DIGITS[usize::from(byte & 15)];
        at += 2;
    }
    std::str::from_utf8(form).map_err(|_| SHAPE)
}

pub(super) fn date(bytes: &[u8]) -> Value<i32> {
    match i32::from_be_bytes(exactly(bytes)?) {
        i32::MAX | i32::MIN => Err("an infinite date"),
        days => days
            .checked_add(EPOCH_DAYS)
            .ok_or("a date beyond what Arrow holds"),
    }
}

pub(super) fn timestamp(bytes: &[u8]) -> Value<i64> {
    match i64::from_be_bytes(exactly(bytes)?) {
        i64::MAX | i64::MIN => Err("an infinite timestamp"),
        micros => micros
            .checked_add(EPOCH_MICROS)
            .ok_or("a timestamp beyond what Arrow holds"),
    }
}

pub(super) fn time(bytes: &[u8]) -> Value<i64> {
    match i64::from_be_bytes(exactly(bytes)?) {
        micros @ 0..DAY_MICROS => Ok(micros),
        DAY_MICROS => Err("the time 24:00, which is no time of a day in Arrow"),
        _ => Err(SHAPE),
    }
}

/// The decimal times ten to the `scale`, exactly.
pub(super) fn numeric(bytes: &[u8], precision: u8, scale: i8) -> Value<i128> {
    const MISFIT: &str = "a numeric that does not fit the digits of its type exactly";
    let mut reader = Reader::new(bytes);
    let mut head = || reader.u16().ok_or(SHAPE);
    let (count, weight, sign, _shown) = (head()?, head()?, head()?, head()?);
    match sign {
        0 | NUMERIC_NEGATIVE => {}
        NUMERIC_NAN => return Err("a numeric that is not a number (NaN)"),
        NUMERIC_INFINITY | NUMERIC_NEGATIVE_INFINITY => return Err("an infinite numeric"),
        _ => return Err(SHAPE),
    }
    let power = |n: i32| u32::try_from(n).ok().and_then(|n| 10_i128.checked_pow(n));
    let shifted = |value: i128, by: i32| power(by).and_then(|p| value.checked_mul(p)).ok_or(MISFIT);
    let mut value: i128 = 0;
    // How many digits of the result are still to come.
    let mut left = (i32::from(weight.cast_signed()) + 1) * 4 + i32::from(scale);
    for _ in 0..count {
        let digits = i128::from(reader.u16().ok_or(SHAPE)?);
        if digits >= NUMERIC_BASE {
            return Err(SHAPE);
        }
        // Of the last four digits some may lie beyond the scale.
        let taken = left.clamp(0, 4);
        let beyond = power(4 - taken).ok_or(MISFIT)?;
        if digits % beyond != 0 {
            return Err(MISFIT);
        }
        value = shifted(value, taken)?
            .checked_add(digits / beyond)
            .ok_or(MISFIT)?;
        left -= 4;
    }
    if value != 0 && left > 0 {
        value = shifted(value, left)?;
    }
    let bound = power(precision.into()).ok_or(MISFIT)?;
    match (value < bound, sign) {
        (false, _) => Err(MISFIT),
        (true, NUMERIC_NEGATIVE) => Ok(-value),
        (true, _) => Ok(value),
    }
}

/// The items of an array of one dimension. Which index its first item has is not kept.
pub(super) fn list(bytes: &[u8]) -> Value<impl Iterator<Item = Value<Option<&[u8]>>>> {
    let mut reader = Reader::new(bytes);
    let dimensions = reader.i32().ok_or(SHAPE)?;
    let (_has_nulls, _item_type) = (reader.i32().ok_or(SHAPE)?, reader.i32().ok_or(SHAPE)?);
    let count = match dimensions {
        0 => 0,
        1 => {
            let (count, _first) = (reader.i32().ok_or(SHAPE)?, reader.i32().ok_or(SHAPE)?);
            count
        }
        _ => return Err("an array of more than one dimension"),
    };
    let count = usize::try_from(count).map_err(|_| SHAPE)?;
    // Each item has its length before it: more cannot be in there.
    if count > reader.rest() / 4 {
        return Err(SHAPE);
    }
    Ok((0..count).map(move |_| match reader.field() {
        Some(Ok(field)) => Ok(field),
        _ => Err(SHAPE),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `digits` of base 10,000, the first of which counts 10,000 to the `weight`.
    fn sent(weight: i16, sign: u16, digits: &[u16]) -> Vec<u8> {
        let count = u16::try_from(digits.len()).unwrap();
        let head = [count, weight.cast_unsigned(), sign, 0];
        head.iter()
            .chain(digits)
            .flat_map(|d| d.to_be_bytes())
            .collect()
    }

    #[test]
    fn a_numeric_is_exact_or_an_error() {
        // 12,345.67
        let value = sent(1, 0, &[1, 2345, 6700]);
        assert_eq!(numeric(&value, 7, 2), Ok(1_234_567));
        assert_eq!(numeric(&value, 9, 4), Ok(123_456_700));
        assert!(numeric(&value, 9, 1).is_err());
        assert!(numeric(&value, 6, 2).is_err());
        assert_eq!(
            numeric(&sent(1, NUMERIC_NEGATIVE, &[1, 2345, 6700]), 7, 2),
            Ok(-1_234_567)
        );
        assert_eq!(numeric(&sent(0, 0, &[]), 1, 0), Ok(0));
        // A hundred millions, whose zeros are not sent; a ten-thousandth.
        assert_eq!(numeric(&sent(2, 0, &[1]), 9, 0), Ok(100_000_000));
        assert_eq!(numeric(&sent(-1, 0, &[1]), 4, 4), Ok(1));
        let nines = [9999; 9];
        let most = 10_i128.pow(36) - 1;
        // Its last four digits reach beyond the scale, and beyond 128 bits.
        let wide = sent(6, 0, &[1234, 5678, 9012, 3456, 7890, 1234, 5678, 0, 0, 100]);
        let expected = 12_345_678_901_234_567_890_123_456_780_000_000_001;
        assert_eq!(numeric(&wide, 38, 10), Ok(expected));
        assert_eq!(numeric(&sent(8, 0, &nines), 36, 0), Ok(most));
        assert!(numeric(&sent(8, 0, &nines), 35, 0).is_err());
        for sign in [NUMERIC_NAN, NUMERIC_INFINITY, NUMERIC_NEGATIVE_INFINITY, 1] {
            assert!(numeric(&sent(0, sign, &[]), 38, 0).is_err());
        }
        assert!(numeric(&value[..9], 38, 2).is_err());
        assert!(numeric(&sent(i16::MAX, 0, &[1]), 38, 2).is_err());
    }
}

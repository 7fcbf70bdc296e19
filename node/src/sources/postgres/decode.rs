//! The binary form of `COPY … TO STDOUT` into Arrow arrays, without a row in between.
//!
//! The form is that of the server's documentation ("COPY", Binary Format): a
//! header, rows of counted fields, and a trailer. A copy without its trailer is
//! not whole, whatever its rows look like (`spec/5-data-plane.md#D-152`).

use std::sync::Arc;

use arrow::array::builder::{
    BinaryBuilder, BooleanBuilder, NullBufferBuilder, PrimitiveBuilder, StringBuilder,
};
use arrow::array::{ArrayRef, ListArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, SchemaRef, Time64MicrosecondType, TimestampMicrosecondType,
};
use bytes::{Buf, BytesMut};

use super::types::Kind;
use super::value::{self, Reader};

/// How a copy begins.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags, length of the extension.
const HEADER: usize = 19;
/// The flags of which a reader must know the meaning; none is known.
const CRITICAL_FLAGS: u32 = 0xFFFF_0000;
/// The most bytes of one row.
const MAX_ROW_BYTES: usize = 64 << 20;
/// The bytes of values after which a batch is full.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// What is wrong with a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A value of the column at this place.
    Value(usize, &'static str),
    /// The copy itself.
    Copy(&'static str),
}

/// Reads one copy.
pub(super) struct Decoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    state: State,
    /// The begin of what has not come whole.
    rest: BytesMut,
    rows: usize,
    bytes: usize,
    max_rows: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    Rows,
    /// The trailer was seen.
    Ended,
}

impl Decoder {
    pub(super) fn new<'a>(
        schema: SchemaRef,
        kinds: impl IntoIterator<Item = &'a Kind>,
        max_rows: usize,
    ) -> Self {
        Self {
            schema,
            columns: kinds.into_iter().map(Column::new).collect(),
            state: State::Header,
            rest: BytesMut::new(),
            rows: 0,
            bytes: 0,
            max_rows: max_rows.max(1),
        }
    }

    /// Takes the next bytes of the copy; they may end anywhere.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.rest.is_empty() {
            let used = self.read(bytes)?;
            self.rest.extend_from_slice(&bytes[used..]);
        } else {
            self.rest.extend_from_slice(bytes);
            let rest = std::mem::take(&mut self.rest);
            let used = self.read(&rest)?;
            self.rest = rest;
            self.rest.advance(used);
        }
        if self.rest.len() > MAX_ROW_BYTES {
            return Err(Fault::Copy("a row of more than 64 MiB"));
        }
        Ok(())
    }

    /// Whether there are enough rows for a batch.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.max_rows || self.bytes >= MAX_BATCH_BYTES
    }

    /// The rows taken since the last batch, if there are any.
    pub(super) fn batch(&mut self) -> Result<Option<RecordBatch>, Fault> {
        if self.rows == 0 {
            return Ok(None);
        }
        let arrays = self.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map(Some)
            .map_err(|_| Fault::Copy("its columns are not those of the plan"))
    }

    /// Whether the copy came whole.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        match self.state {
            State::Ended if self.rest.is_empty() => Ok(()),
            _ => Err(Fault::Copy("it ended before its end")),
        }
    }

    /// Reads what is whole and gives how much that is.
    fn read(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut used = 0;
        if self.state == State::Header {
            let Some(length) = header(bytes)? else {
                return Ok(0);
            };
            used = length;
            self.state = State::Rows;
        }
        while self.state == State::Rows {
            let Some(row) = self.row(&bytes[used..])? else {
                break;
            };
            used += row;
        }
        if self.state == State::Ended && used < bytes.len() {
            return Err(Fault::Copy("it goes on after its end"));
        }
        Ok(used)
    }

    /// Reads one row, if it is whole, or the trailer.
    fn row(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let mut reader = Reader::new(bytes);
        let Some(fields) = reader.i16() else {
            return Ok(None);
        };
        if fields == -1 {
            self.state = State::Ended;
            return Ok(Some(2));
        }
        if usize::try_from(fields) != Ok(self.columns.len()) {
            return Err(Fault::Copy("a row has another number of columns"));
        }
        // Before a value is taken: half a row must not stay in the columns.
        for _ in &self.columns {
            match reader.field() {
                Some(Ok(_)) => {}
                Some(Err(())) => return Err(Fault::Copy("a field of negative length")),
                None => return Ok(None),
            }
        }
        let length = bytes.len() - reader.rest();
        let mut reader = Reader::new(&bytes[2..length]);
        for (at, column) in self.columns.iter_mut().enumerate() {
            let Some(Ok(field)) = reader.field() else {
                return Err(Fault::Copy("a field that is not there"));
            };
            column
                .append(field)
                .map_err(|what| Fault::Value(at, what))?;
        }
        self.rows += 1;
        self.bytes += length;
        Ok(Some(length))
    }
}

/// The length of the header, once it is there.
fn header(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    if bytes.len() < HEADER {
        return Ok(None);
    }
    let mut reader = Reader::new(&bytes[SIGNATURE.len()..]);
    let (flags, extension) = (reader.u32(), reader.u32());
    let known = bytes.starts_with(SIGNATURE)
        && flags.is_some_and(|f| f & CRITICAL_FLAGS == 0)
        && extension == Some(0);
    match known {
        true => Ok(Some(HEADER)),
        false => Err(Fault::Copy("it does not begin as one")),
    }
}

/// The values of one column that have come.
enum Column {
    Bool(BooleanBuilder),
    Int2(PrimitiveBuilder<Int16Type>),
    Int4(PrimitiveBuilder<Int32Type>),
    Int8(PrimitiveBuilder<Int64Type>),
    Float4(PrimitiveBuilder<Float32Type>),
    Float8(PrimitiveBuilder<Float64Type>),
    Numeric(PrimitiveBuilder<Decimal128Type>, u8, i8),
    Text(StringBuilder),
    Char(StringBuilder),
    Uuid(StringBuilder),
    Jsonb(StringBuilder),
    Bytea(BinaryBuilder),
    Date(PrimitiveBuilder<Date32Type>),
    Time(PrimitiveBuilder<Time64MicrosecondType>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    List(Box<List>),
}

struct List {
    field: Arc<Field>,
    values: Column,
    count: usize,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Column {
    fn new(kind: &Kind) -> Self {
        fn of<T: ArrowPrimitiveType>(kind: &Kind) -> PrimitiveBuilder<T> {
            PrimitiveBuilder::new().with_data_type(kind.arrow())
        }
        match kind {
            Kind::Bool => Self::Bool(BooleanBuilder::new()),
            Kind::Int2 => Self::Int2(of(kind)),
            Kind::Int4 => Self::Int4(of(kind)),
            Kind::Int8 => Self::Int8(of(kind)),
            Kind::Float4 => Self::Float4(of(kind)),
            Kind::Float8 => Self::Float8(of(kind)),
            Kind::Numeric { precision, scale } => Self::Numeric(of(kind), *precision, *scale),
            Kind::Text | Kind::Name | Kind::Enum | Kind::Json => Self::Text(StringBuilder::new()),
            Kind::Char => Self::Char(StringBuilder::new()),
            Kind::Uuid => Self::Uuid(StringBuilder::new()),
            Kind::Jsonb => Self::Jsonb(StringBuilder::new()),
            Kind::Bytea => Self::Bytea(BinaryBuilder::new()),
            Kind::Date => Self::Date(of(kind)),
            Kind::Time => Self::Time(of(kind)),
            Kind::Timestamp | Kind::Timestamptz => Self::Timestamp(of(kind)),
            Kind::List(item) => Self::List(Box::new(List {
                field: Arc::new(Field::new("item", item.arrow(), true)),
                values: Self::new(item),
                count: 0,
                offsets: vec![0],
                nulls: NullBufferBuilder::new(0),
            })),
        }
    }

    fn append(&mut self, field: Option<&[u8]>) -> Result<(), &'static str> {
        let Some(bytes) = field else {
            self.append_null();
            return Ok(());
        };
        match self {
            Self::Bool(b) => b.append_value(value::boolean(bytes)?),
            Self::Int2(b) => b.append_value(i16::from_be_bytes(value::exactly(bytes)?)),
            Self::Int4(b) => b.append_value(i32::from_be_bytes(value::exactly(bytes)?)),
            Self::Int8(b) => b.append_value(i64::from_be_bytes(value::exactly(bytes)?)),
            Self::Float4(b) => b.append_value(value::float4(bytes)?),
            Self::Float8(b) => b.append_value(value::float8(bytes)?),
            Self::Numeric(b, precision, scale) => {
                b.append_value(value::numeric(bytes, *precision, *scale)?);
            }
            Self::Text(b) => b.append_value(value::text(bytes)?),
            Self::Char(b) => b.append_value(value::text(bytes)?.trim_end_matches(' ')),
            Self::Uuid(b) => {
                let mut form = [0; value::UUID_CHARS];
                b.append_value(value::uuid(bytes, &mut form)?);
            }
            Self::Jsonb(b) => b.append_value(value::jsonb(bytes)?),
            Self::Bytea(b) => b.append_value(bytes),
            Self::Date(b) => b.append_value(value::date(bytes)?),
            Self::Time(b) => b.append_value(value::time(bytes)?),
            Self::Timestamp(b) => b.append_value(value::timestamp(bytes)?),
            Self::List(list) => list.append(bytes)?,
        }
        Ok(())
    }

    fn append_null(&mut self) {
        match self {
            Self::Bool(b) => b.append_null(),
            Self::Int2(b) => b.append_null(),
            Self::Int4(b) => b.append_null(),
            Self::Int8(b) => b.append_null(),
            Self::Float4(b) => b.append_null(),
            Self::Float8(b) => b.append_null(),
            Self::Numeric(b, ..) => b.append_null(),
            Self::Text(b) | Self::Char(b) | Self::Uuid(b) | Self::Jsonb(b) => b.append_null(),
            Self::Bytea(b) => b.append_null(),
            Self::Date(b) => b.append_null(),
            Self::Time(b) => b.append_null(),
            Self::Timestamp(b) => b.append_null(),
            Self::List(list) => {
                list.offsets.extend(list.offsets.last().copied());
                list.nulls.append_null();
            }
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(b) => Arc::new(b.finish()),
            Self::Int2(b) => Arc::new(b.finish()),
            Self::Int4(b) => Arc::new(b.finish()),
            Self::Int8(b) => Arc::new(b.finish()),
            Self::Float4(b) => Arc::new(b.finish()),
            Self::Float8(b) => Arc::new(b.finish()),
            Self::Numeric(b, ..) => Arc::new(b.finish()),
            Self::Text(b) | Self::Char(b) | Self::Uuid(b) | Self::Jsonb(b) => Arc::new(b.finish()),
            Self::Bytea(b) => Arc::new(b.finish()),
            Self::Date(b) => Arc::new(b.finish()),
            Self::Time(b) => Arc::new(b.finish()),
            Self::Timestamp(b) => Arc::new(b.finish()),
            Self::List(list) => {
                let offsets = std::mem::replace(&mut list.offsets, vec![0]);
                list.count = 0;
                Arc::new(ListArray::new(
                    Arc::clone(&list.field),
                    OffsetBuffer::new(ScalarBuffer::from(offsets)),
                    list.values.finish(),
                    list.nulls.finish(),
                ))
            }
        }
    }
}

impl List {
    fn append(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        for item in value::list(bytes)? {
            self.values.append(item?)?;
            self.count += 1;
        }
        let end = i32::try_from(self.count).map_err(|_| "an array of too many items")?;
        self.offsets.push(end);
        self.nulls.append_non_null();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Schema;

    use super::*;

    fn decoder(kind: &Kind) -> Decoder {
        let field = Field::new("x", kind.arrow(), true);
        Decoder::new(Arc::new(Schema::new(vec![field])), [kind], 100)
    }

    fn copy(fields: &[Option<&[u8]>]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        for field in fields {
            bytes.extend(1_i16.to_be_bytes());
            let length = field.map_or(-1, |f| i32::try_from(f.len()).unwrap());
            bytes.extend(length.to_be_bytes());
            bytes.extend(field.unwrap_or_default());
        }
        bytes.extend((-1_i16).to_be_bytes());
        bytes
    }

    #[test]
    fn a_copy_cut_anywhere_reads_the_same_and_is_whole_only_at_its_end() {
        let bytes = copy(&[Some(b"one"), None, Some("zw\u{f6}lf".as_bytes())]);
        for cut in 0..bytes.len() {
            let mut decoder = decoder(&Kind::Text);
            decoder.take(&bytes[..cut]).unwrap();
            assert!(decoder.finish().is_err(), "{cut}");
            decoder.take(&bytes[cut..]).unwrap();
            decoder.finish().unwrap();
            let batch = decoder.batch().unwrap().unwrap();
            let texts: Vec<_> = batch.column(0).as_string::<i32>().iter().collect();
            assert_eq!(texts, [Some("one"), None, Some("zw\u{f6}lf")]);
        }
    }

    #[test]
    fn what_is_no_copy_is_a_fault() {
        let good = copy(&[Some(b"x")]);
        let mut flagged = good.clone();
        flagged[11] = 1;
        let mut longer = good.clone();
        longer.push(0);
        let mut wider = good.clone();
        wider[HEADER + 1] = 2;
        let mut negative = good;
        negative[HEADER + 2..HEADER + 6].copy_from_slice(&(-2_i32).to_be_bytes());
        for bytes in [
            &b"PGCOPY, but not really.".to_vec(),
            &flagged,
            &longer,
            &wider,
            &negative,
        ] {
            let fault = decoder(&Kind::Text).take(bytes).unwrap_err();
            assert!(matches!(fault, Fault::Copy(_)), "{fault:?}");
        }
    }

    #[test]
    fn a_value_of_another_shape_is_a_fault_of_its_column() {
        for (kind, bytes) in [
            (Kind::Int4, &[0; 8][..]),
            (Kind::Bool, &[2]),
            (Kind::Text, &[0xFF]),
            (Kind::Jsonb, b"\x02{}"),
            (Kind::Date, &i32::MAX.to_be_bytes()),
            (Kind::Timestamp, &i64::MIN.to_be_bytes()),
            (Kind::Time, &86_400_000_000_i64.to_be_bytes()),
            (Kind::List(Box::new(Kind::Int4)), &[0; 3]),
        ] {
            let fault = decoder(&kind).take(&copy(&[Some(bytes)])).unwrap_err();
            assert!(matches!(fault, Fault::Value(0, _)), "{kind:?} {fault:?}");
        }
    }
}

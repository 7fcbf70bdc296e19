//! What a descriptor says of a table.

use arrow::datatypes::SchemaRef;
use comity_protocol::product::{Column, ColumnType, Table as TableShape};

use super::types::{from_arrow, instead_of};
use crate::products;

/// The descriptor's shape of a table: the contract says which columns exist,
/// the source says how they look on the wire, and both must agree in kind.
pub(super) fn shape(table: &products::Table, source: &SchemaRef) -> Result<TableShape, String> {
    let name = table
        .name
        .parse()
        .map_err(|e| format!("table {}: {e}", table.name))?;
    let mut columns = Vec::new();
    for column in &table.columns {
        let at = format!("table {}, column {}", table.name, column.name);
        let field = source
            .field_with_name(&column.name)
            .map_err(|_| format!("{at}: the data has no such column"))?;
        let found = from_arrow(field.data_type()).ok_or_else(|| {
            format!(
                "{at}: {} cannot cross between organizations; {}",
                field.data_type(),
                instead_of(field.data_type())
            )
        })?;
        let promised = from_arrow(&column.arrow)
            .ok_or_else(|| format!("{at}: {} cannot cross between organizations", column.arrow))?;
        if family(&found) != family(&promised) {
            return Err(format!(
                "{at}: the contract promises {}, the data holds {}",
                column.arrow,
                field.data_type()
            ));
        }
        columns.push(Column {
            name: column.name.clone(),
            kind: found,
            description: column.description.clone(),
            classification: column.classification.clone(),
        });
    }
    Ok(TableShape { name, columns })
}

/// Kinds of values that a contract's logical type does not tell apart.
fn family(kind: &ColumnType) -> (bool, u8) {
    use ColumnType as C;
    let family = match kind {
        C::Boolean => 0,
        C::Int8 | C::Int16 | C::Int32 | C::Int64 | C::UInt8 | C::UInt16 | C::UInt32 | C::UInt64 => {
            1
        }
        C::Float32 | C::Float64 | C::Decimal128 { .. } => 2,
        C::Utf8 => 3,
        C::Binary => 4,
        C::Date32 => 5,
        C::TimestampMicros | C::TimestampMicrosUtc => 6,
        C::TimeMicros => 7,
        C::List { item } => return (true, family(item).1),
    };
    (false, family)
}

//! The tables of a product and the Arrow type of every column.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde_json::Value;

use super::problem::Problem;
use super::rules::{self, Text};
use super::yaml::{Document, child};

/// The most tables of one product.
pub(super) const MAX_TABLES: usize = 64;
/// The most columns of one table.
pub(super) const MAX_COLUMNS: usize = 2_000;

/// One table of a product: what the contract lists, and nothing else, is ever served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name within the product: `[a-z][a-z0-9_-]{0,62}`.
    pub name: String,
    /// What one row is, in words.
    pub description: Option<String>,
    /// Its columns, in the contract's order.
    pub columns: Vec<Column>,
    /// How read restrictions name the table: its stable `id`, else its name.
    pub(super) id: String,
    /// Its name in the warehouse. Private.
    pub(super) physical_name: Option<String>,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name: `[A-Za-z_][A-Za-z0-9_-]{0,62}`, unique within the table in any case.
    pub name: String,
    /// Its type on the wire.
    pub arrow: DataType,
    /// Whether a value may be null.
    pub nullable: bool,
    /// What it holds, in words.
    pub description: Option<String>,
    /// How sensitive it is, as the owner says: `public`, `internal`, `confidential`, `restricted`, …
    pub classification: Option<String>,
    /// How read restrictions name the column: its stable `id`, else its name.
    pub(super) id: String,
    /// The mask of `comityMask`, for every role that names no other.
    pub(super) default_mask: Option<String>,
}

impl Table {
    /// The Arrow schema that the contract promises.
    pub fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self
            .columns
            .iter()
            .map(|column| Field::new(&column.name, column.arrow.clone(), column.nullable))
            .collect();
        Schema::new(fields).into()
    }

    /// Its name in the warehouse. Private.
    pub(crate) fn physical_name(&self) -> &str {
        self.physical_name.as_ref().unwrap_or(&self.name)
    }

    /// The column that a read restriction names.
    pub(super) fn column(&self, id: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.id == id)
    }
}

impl Column {
    /// Whether the owner classified the column as one that must not leave as it is.
    pub(super) fn restricted(&self) -> bool {
        self.classification
            .as_deref()
            .is_some_and(|class| class.eq_ignore_ascii_case("restricted"))
    }
}

/// The tables of a document that passed both schemas.
pub(super) fn tables(document: &Document, found: &mut Vec<Problem>) -> Vec<Table> {
    let objects = document.value().list("schema");
    if objects.is_empty() {
        let instead = "schema: [ { name: …, properties: [ … ] } ]".to_owned();
        found.push(document.problem(
            "/schema",
            "a product needs at least one table",
            Some(instead),
        ));
    }
    if objects.len() > MAX_TABLES {
        found.push(document.problem(
            "/schema",
            format!("a product has at most {MAX_TABLES} tables"),
            None,
        ));
    }
    let tables: Vec<Table> = objects
        .iter()
        .enumerate()
        .map(|(index, object)| {
            table(
                object,
                &child("/schema", &index.to_string()),
                document,
                found,
            )
        })
        .collect();
    let names = tables
        .iter()
        .map(|table| (table.name.as_str(), table.id.as_str()));
    rules::unique(names, "table", "/schema", document, found);
    tables
}

fn table(object: &Value, at: &str, document: &Document, found: &mut Vec<Problem>) -> Table {
    let name = object.text("name").unwrap_or_default();
    if !rules::is_product_name(name) {
        let message = format!("a table's name is [a-z][a-z0-9_-]{{0,62}}, not {name}");
        found.push(document.problem(&child(at, "name"), message, rules::slug(name)));
    }
    let list = child(at, "properties");
    let properties = object.list("properties");
    if properties.is_empty() {
        found.push(document.problem(
            &list,
            "a table needs at least one column under properties",
            None,
        ));
    }
    if properties.len() > MAX_COLUMNS {
        found.push(document.problem(
            &list,
            format!("a table has at most {MAX_COLUMNS} columns"),
            None,
        ));
    }
    // spec/3-catalog.md#C-50
    let columns: Vec<Column> = properties
        .iter()
        .enumerate()
        .filter(|(_, property)| !under_review(property))
        .map(|(index, property)| {
            column(property, &child(&list, &index.to_string()), document, found)
        })
        .collect();
    if columns.is_empty() && !properties.is_empty() {
        found.push(document.problem(
            &list,
            "every column is under review, so there is nothing to serve",
            Some("decide on a column, then take its comityReview out".to_owned()),
        ));
    }
    let names = columns
        .iter()
        .map(|column| (column.name.as_str(), column.id.as_str()));
    rules::unique(names, "column", &list, document, found);
    Table {
        name: name.to_owned(),
        description: object.text("description").map(str::to_owned),
        columns,
        id: object.text("id").unwrap_or(name).to_owned(),
        physical_name: object.text("physicalName").map(str::to_owned),
    }
}

/// Every column that is under review, with its table.
pub(super) fn reviews(contract: &Value) -> Vec<(String, String)> {
    let name = |value: &Value| value.text("name").unwrap_or_default().to_owned();
    let tables = contract.list("schema").iter();
    tables
        .flat_map(|table| {
            let columns = table.list("properties").iter();
            columns
                .filter(|column| under_review(column))
                .map(move |column| (name(table), name(column)))
        })
        .collect()
}

/// Whether somebody has to look at a column before it is served.
pub(super) fn under_review(property: &Value) -> bool {
    rules::custom(property, "comityReview").is_some()
}

fn column(property: &Value, at: &str, document: &Document, found: &mut Vec<Problem>) -> Column {
    let name = property.text("name").unwrap_or_default();
    if !rules::is_column_name(name) {
        let message = format!("a column's name is [A-Za-z_][A-Za-z0-9_-]{{0,62}}, not {name}");
        found.push(document.problem(&child(at, "name"), message, None));
    }
    if let Some(physical) = property
        .text("physicalName")
        .filter(|physical| *physical != name)
    {
        let message = format!("this release cannot rename a column of the source, here {physical}");
        found.push(document.problem(
            &child(at, "physicalName"),
            message,
            Some(format!("name: {physical}")),
        ));
    }
    let arrow = arrow_type(property).unwrap_or_else(|(key, message, instead)| {
        found.push(document.problem(&child(at, key), message, Some(instead)));
        DataType::Null
    });
    Column {
        name: name.to_owned(),
        arrow,
        nullable: property.get("required") != Some(&Value::Bool(true)),
        description: property.text("description").map(str::to_owned),
        classification: property.text("classification").map(str::to_owned),
        id: property.text("id").unwrap_or(name).to_owned(),
        default_mask: rules::custom(property, "comityMask")
            .and_then(Value::as_str)
            .map(str::to_owned),
    }
}

/// The key at fault, what is wrong, and what to write instead.
type Untyped = (&'static str, String, String);

/// The Arrow type of a column: `logicalType` says the kind, `physicalType` the width.
fn arrow_type(property: &Value) -> Result<DataType, Untyped> {
    let physical = property
        .text("physicalType")
        .map(|text| text.trim().to_ascii_lowercase());
    let (width, parameters) = match physical.as_deref().and_then(|text| text.split_once('(')) {
        Some((width, rest)) => (Some(width.trim()), rest.strip_suffix(')')),
        None => (physical.as_deref(), None),
    };
    let unknown = |kinds: &str| {
        let message = format!(
            "physicalType {} has no known width here",
            width.unwrap_or_default()
        );
        Err(("physicalType", message, format!("one of {kinds}")))
    };
    Ok(match property.text("logicalType") {
        // ODCS has no logical type for bytes; the physical one says it.
        Some("string") => match width {
            Some("bytea" | "binary" | "varbinary" | "blob" | "bytes") => DataType::Binary,
            _ => DataType::Utf8,
        },
        Some("boolean") => DataType::Boolean,
        // ODCS had no logical type for moments before v3.1.0.
        Some("date") if width.is_some_and(is_moment) => moment(property, width),
        Some("date") => DataType::Date32,
        Some("time") => DataType::Time64(TimeUnit::Microsecond),
        Some("timestamp") => moment(property, width),
        Some("integer") => match width {
            Some("tinyint") => DataType::Int8,
            Some("smallint" | "int2" | "int16") => DataType::Int16,
            Some("int" | "integer" | "int4" | "int32") => DataType::Int32,
            Some("bigint" | "long" | "int64") => DataType::Int64,
            None => match property
                .pointer("/logicalTypeOptions/format")
                .and_then(Value::as_str)
            {
                Some("i8") => DataType::Int8,
                Some("i16") => DataType::Int16,
                Some("i32") => DataType::Int32,
                _ => DataType::Int64,
            },
            // 64 bits in PostgreSQL, 8 bits in Arrow.
            Some("int8") => {
                let message = "int8 is 8 bytes to some systems and 8 bits to others".to_owned();
                return Err(("physicalType", message, "bigint or tinyint".to_owned()));
            }
            Some(_) => return unknown("tinyint, smallint, int, bigint"),
        },
        Some("number") => match width {
            None | Some("double" | "double precision" | "float8" | "float64") => DataType::Float64,
            Some("real" | "float" | "float4" | "float32") => DataType::Float32,
            Some("decimal" | "numeric") => decimal(parameters)?,
            Some(_) => return unknown("double, real, decimal(P,S)"),
        },
        Some("array") => match property.get("items").map(arrow_type).transpose()? {
            Some(item) if !matches!(item, DataType::List(_)) => {
                DataType::List(Field::new("item", item, true).into())
            }
            _ => {
                let message = "an array needs the type of its items, which is no array".to_owned();
                let instead = "items: { logicalType: … }".to_owned();
                return Err(("logicalType", message, instead));
            }
        },
        Some(other) => {
            let message = format!("this release cannot serve a column of type {other}");
            return Err((
                "logicalType",
                message,
                "flat columns, or leave the column out".to_owned(),
            ));
        }
        None => {
            let message = "every column needs a logicalType".to_owned();
            let instead =
                "logicalType: string, date, timestamp, time, number, integer or boolean".to_owned();
            return Err(("logicalType", message, instead));
        }
    })
}

/// Whether a physical type is one of date and time together.
fn is_moment(width: &str) -> bool {
    width.starts_with("timestamp") || width == "datetime"
}

/// The type of a moment: with a time zone, which is UTC on the wire, or without one.
fn moment(property: &Value, width: Option<&str>) -> DataType {
    let zone = match width {
        Some("timestamptz" | "timestamp with time zone" | "timestamp_tz") => true,
        Some("timestamp_ntz" | "timestamp without time zone" | "datetime") => false,
        // ODCS: without a word about it, a timestamp is in UTC.
        _ => property.pointer("/logicalTypeOptions/timezone") != Some(&Value::Bool(false)),
    };
    DataType::Timestamp(TimeUnit::Microsecond, zone.then(|| "UTC".into()))
}

fn decimal(parameters: Option<&str>) -> Result<DataType, Untyped> {
    let parsed = parameters.and_then(|text| {
        let (precision, scale) = text.split_once(',').unwrap_or((text, "0"));
        let precision: u8 = precision
            .trim()
            .parse()
            .ok()
            .filter(|p| (1..=38).contains(p))?;
        let scale: i8 = scale.trim().parse().ok().filter(|s| (0..=38).contains(s))?;
        (scale.unsigned_abs() <= precision).then_some(DataType::Decimal128(precision, scale))
    });
    parsed.ok_or_else(|| {
        let message = "a decimal needs its precision (1 to 38) and scale".to_owned();
        ("physicalType", message, "\"decimal(12,2)\"".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn logical_and_physical_type_give_one_arrow_type() {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        for (property, expected) in [
            (
                json!({"logicalType": "string", "physicalType": "VARCHAR(2)"}),
                DataType::Utf8,
            ),
            (json!({"logicalType": "integer"}), DataType::Int64),
            (
                json!({"logicalType": "integer", "physicalType": "INT"}),
                DataType::Int32,
            ),
            (json!({"logicalType": "number"}), DataType::Float64),
            (
                json!({"logicalType": "number", "physicalType": "numeric(12, 2)"}),
                DataType::Decimal128(12, 2),
            ),
            (json!({"logicalType": "timestamp"}), utc),
            (
                json!({"logicalType": "timestamp", "logicalTypeOptions": {"timezone": false}}),
                DataType::Timestamp(TimeUnit::Microsecond, None),
            ),
        ] {
            assert_eq!(arrow_type(&property), Ok(expected), "{property}");
        }
    }

    #[test]
    fn a_type_without_one_meaning_is_refused() {
        for property in [
            json!({}),
            json!({"logicalType": "object"}),
            json!({"logicalType": "integer", "physicalType": "int8"}),
            json!({"logicalType": "integer", "physicalType": "serial"}),
            json!({"logicalType": "number", "physicalType": "decimal"}),
            json!({"logicalType": "number", "physicalType": "decimal(39,2)"}),
            json!({"logicalType": "number", "physicalType": "decimal(4,5)"}),
        ] {
            assert!(arrow_type(&property).is_err(), "{property}");
        }
    }
}

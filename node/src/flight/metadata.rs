//! Metadata calls, answered from the caller's own view.
//!
//! Column names, types and nullability are exact: clients compare them (ADBC)
//! or read by name (JDBC). What this node has nothing of is an empty answer
//! with the right schema, never "unimplemented".

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::sql::metadata::{
    GetCatalogsBuilder, SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData,
    XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
    CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes,
    CommandGetTables, CommandGetXdbcTypeInfo, Nullable, Searchable, SqlInfo, SqlNullOrdering,
    SqlSupportedCaseSensitivity, SqlSupportedTransaction, XdbcDataType,
};
use tonic::{Code, Status};

use super::session::{Session, status};

/// The one type of table that there is.
const TABLE: &str = "TABLE";

/// A metadata command that knows its answer.
pub(super) trait Answer {
    /// The answer for this caller.
    fn answer(self, session: &Session) -> Result<RecordBatch, Status>;
}

impl Answer for CommandGetCatalogs {
    fn answer(self, session: &Session) -> Result<RecordBatch, Status> {
        let mut builder: GetCatalogsBuilder = self.into_builder();
        let mut catalogs: Vec<&str> = session
            .view
            .tables()
            .map(|(name, _)| name.catalog.as_str())
            .collect();
        catalogs.dedup();
        catalogs.into_iter().for_each(|c| builder.append(c));
        builder.build().map_err(|e| broken(&e))
    }
}

impl Answer for CommandGetDbSchemas {
    fn answer(self, session: &Session) -> Result<RecordBatch, Status> {
        let mut builder = self.into_builder();
        let mut schemas: Vec<(&str, &str)> = session
            .view
            .tables()
            .map(|(name, _)| (name.catalog.as_str(), name.schema.as_str()))
            .collect();
        schemas.dedup();
        schemas.into_iter().for_each(|(c, s)| builder.append(c, s));
        builder.build().map_err(|e| broken(&e))
    }
}

impl Answer for CommandGetTables {
    fn answer(self, session: &Session) -> Result<RecordBatch, Status> {
        let mut builder = self.into_builder();
        for (name, schema) in session.view.tables() {
            builder
                .append(&name.catalog, &name.schema, &name.table, TABLE, &schema)
                .map_err(|e| broken(&e))?;
        }
        builder.build().map_err(|e| broken(&e))
    }
}

impl Answer for CommandGetTableTypes {
    fn answer(self, _: &Session) -> Result<RecordBatch, Status> {
        let mut builder = self.into_builder();
        builder.append(TABLE);
        builder.build().map_err(|e| broken(&e))
    }
}

impl Answer for CommandGetSqlInfo {
    fn answer(self, _: &Session) -> Result<RecordBatch, Status> {
        self.into_builder(&SQL_INFO).build().map_err(|e| broken(&e))
    }
}

impl Answer for CommandGetXdbcTypeInfo {
    fn answer(self, _: &Session) -> Result<RecordBatch, Status> {
        self.into_builder(&XDBC_INFO)
            .build()
            .map_err(|e| broken(&e))
    }
}

impl Answer for CommandGetPrimaryKeys {
    fn answer(self, _: &Session) -> Result<RecordBatch, Status> {
        Ok(RecordBatch::new_empty(Arc::new(Schema::new(vec![
            nullable("catalog_name"),
            nullable("db_schema_name"),
            required("table_name", DataType::Utf8),
            required("column_name", DataType::Utf8),
            nullable("key_name"),
            required("key_sequence", DataType::Int32),
        ]))))
    }
}

/// No foreign keys are announced: the three commands have one empty answer.
macro_rules! no_foreign_keys {
    ($($command:ty),*) => {$(
        impl Answer for $command {
            fn answer(self, _: &Session) -> Result<RecordBatch, Status> {
                Ok(RecordBatch::new_empty(foreign_keys()))
            }
        }
    )*};
}

no_foreign_keys!(
    CommandGetExportedKeys,
    CommandGetImportedKeys,
    CommandGetCrossReference
);

fn foreign_keys() -> SchemaRef {
    let side = |p: &str| {
        [
            nullable(&format!("{p}_catalog_name")),
            nullable(&format!("{p}_db_schema_name")),
            required(&format!("{p}_table_name"), DataType::Utf8),
            required(&format!("{p}_column_name"), DataType::Utf8),
        ]
    };
    let mut fields: Vec<Field> = side("pk").into_iter().chain(side("fk")).collect();
    fields.extend([
        required("key_sequence", DataType::Int32),
        nullable("fk_key_name"),
        nullable("pk_key_name"),
        required("update_rule", DataType::UInt8),
        required("delete_rule", DataType::UInt8),
    ]);
    Arc::new(Schema::new(fields))
}

fn nullable(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn required(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, false)
}

fn broken(error: &dyn std::fmt::Display) -> Status {
    tracing::error!(%error, "a metadata answer could not be built");
    status(
        Code::Internal,
        "internal",
        "the metadata could not be read",
        "",
    )
}

static SQL_INFO: LazyLock<SqlInfoData> = LazyLock::new(|| {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "Comity");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    info.append(SqlInfo::FlightSqlServerReadOnly, true);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(
        SqlInfo::FlightSqlServerTransaction,
        SqlSupportedTransaction::None as i32,
    );
    info.append(SqlInfo::FlightSqlServerCancel, true);
    info.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    info.append(SqlInfo::FlightSqlServerStatementTimeout, 0i32);
    info.append(SqlInfo::FlightSqlServerTransactionTimeout, 0i32);
    info.append(SqlInfo::SqlDdlCatalog, false);
    info.append(SqlInfo::SqlDdlSchema, false);
    info.append(SqlInfo::SqlDdlTable, false);
    let case = SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32;
    info.append(SqlInfo::SqlIdentifierCase, case);
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    let quoted = SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32;
    info.append(SqlInfo::SqlQuotedIdentifierCase, quoted);
    info.append(SqlInfo::SqlAllTablesAreSelectable, true);
    info.append(
        SqlInfo::SqlNullOrdering,
        SqlNullOrdering::SqlNullsSortedHigh as i32,
    );
    info.append(
        SqlInfo::SqlKeywords,
        &["select", "from", "where", "group", "order", "limit"] as &[&str],
    );
    let functions: &[(SqlInfo, &[&str])] = &[
        (
            SqlInfo::SqlNumericFunctions,
            &["abs", "ceil", "floor", "round", "sqrt"],
        ),
        (
            SqlInfo::SqlStringFunctions,
            &["character_length", "lower", "substr", "trim", "upper"],
        ),
        (SqlInfo::SqlDatetimeFunctions, &["date_part", "date_trunc"]),
        (SqlInfo::SqlSystemFunctions, &[]),
    ];
    for (name, list) in functions {
        info.append(*name, *list);
    }
    info.append(SqlInfo::SqlSearchStringEscape, "\\");
    info.append(SqlInfo::SqlExtraNameCharacters, "");
    info.append(SqlInfo::SqlSupportsColumnAliasing, true);
    info.append(SqlInfo::SqlNullPlusNullIsNull, true);
    info.append(SqlInfo::SqlSupportsTableCorrelationNames, true);
    info.append(SqlInfo::SqlSupportsDifferentTableCorrelationNames, false);
    info.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
    info.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
    info.append(SqlInfo::SqlSupportsLikeEscapeClause, true);
    info.append(SqlInfo::SqlSupportsNonNullableColumns, false);
    info.append(SqlInfo::SqlSchemaTerm, "product");
    info.append(SqlInfo::SqlProcedureTerm, "");
    info.append(SqlInfo::SqlCatalogTerm, "organization");
    info.append(SqlInfo::SqlCatalogAtStart, true);
    info.append(SqlInfo::SqlSelectForUpdateSupported, false);
    info.append(SqlInfo::SqlStoredProceduresSupported, false);
    info.append(SqlInfo::SqlCorrelatedSubqueriesSupported, true);
    for name in [
        SqlInfo::SqlMaxBinaryLiteralLength,
        SqlInfo::SqlMaxCharLiteralLength,
        SqlInfo::SqlMaxColumnNameLength,
        SqlInfo::SqlMaxColumnsInGroupBy,
        SqlInfo::SqlMaxColumnsInIndex,
        SqlInfo::SqlMaxColumnsInOrderBy,
        SqlInfo::SqlMaxColumnsInSelect,
        SqlInfo::SqlMaxColumnsInTable,
        SqlInfo::SqlMaxConnections,
        SqlInfo::SqlMaxCursorNameLength,
        SqlInfo::SqlMaxIndexLength,
        SqlInfo::SqlDbSchemaNameLength,
        SqlInfo::SqlMaxProcedureNameLength,
        SqlInfo::SqlMaxCatalogNameLength,
        SqlInfo::SqlMaxRowSize,
        SqlInfo::SqlMaxStatementLength,
        SqlInfo::SqlMaxStatements,
        SqlInfo::SqlMaxTableNameLength,
        SqlInfo::SqlMaxTablesInSelect,
        SqlInfo::SqlMaxUsernameLength,
    ] {
        // Zero says "no limit that is known", as JDBC reads it.
        info.append(name, 0i64);
    }
    info.append(SqlInfo::SqlMaxRowSizeIncludesBlobs, false);
    info.append(SqlInfo::SqlDefaultTransactionIsolation, 0i32);
    info.append(SqlInfo::SqlTransactionsSupported, false);
    info.append(SqlInfo::SqlDataDefinitionCausesTransactionCommit, false);
    info.append(SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false);
    info.append(SqlInfo::SqlBatchUpdatesSupported, false);
    info.append(SqlInfo::SqlSavepointsSupported, false);
    info.append(SqlInfo::SqlNamedParametersSupported, false);
    info.append(SqlInfo::SqlLocatorsUpdateCopy, false);
    info.append(SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported, false);
    info.build()
        .expect("every value above has the type that its code demands")
});

static XDBC_INFO: LazyLock<XdbcTypeInfoData> = LazyLock::new(|| {
    let mut builder = XdbcTypeInfoDataBuilder::new();
    for (name, kind, size, quote) in [
        ("BOOLEAN", XdbcDataType::XdbcBit, 1, None),
        ("INTEGER", XdbcDataType::XdbcInteger, 32, None),
        ("BIGINT", XdbcDataType::XdbcBigint, 64, None),
        ("DOUBLE", XdbcDataType::XdbcDouble, 53, None),
        ("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX, Some("'")),
        ("DATE", XdbcDataType::XdbcDate, 10, Some("'")),
        ("TIMESTAMP", XdbcDataType::XdbcTimestamp, 26, Some("'")),
    ] {
        builder.append(XdbcTypeInfo {
            type_name: name.to_owned(),
            data_type: kind,
            column_size: Some(size),
            literal_prefix: quote.map(str::to_owned),
            literal_suffix: quote.map(str::to_owned),
            create_params: None,
            nullable: Nullable::NullabilityNullable,
            case_sensitive: true,
            searchable: Searchable::Full,
            unsigned_attribute: None,
            fixed_prec_scale: false,
            auto_increment: None,
            local_type_name: Some(name.to_owned()),
            minimum_scale: None,
            maximum_scale: None,
            sql_data_type: kind,
            datetime_subcode: None,
            num_prec_radix: Some(2),
            interval_precision: None,
        });
    }
    builder
        .build()
        .expect("every row above has the columns that the specification demands")
});

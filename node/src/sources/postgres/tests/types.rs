//! Every type that is read, and what is refused.

use super::*;

/// Column, its type in the database and in the contract, a value and how it is shown.
const TYPES: [(&str, &str, &str, &str, &str); 25] = [
    ("b", "boolean", "logicalType: boolean", "true", "true"),
    ("i2", "smallint", "logicalType: integer", "-32768", "-32768"),
    (
        "i4",
        "integer",
        "logicalType: integer",
        "2147483647",
        "2147483647",
    ),
    (
        "i8",
        "bigint",
        "logicalType: integer",
        "-9223372036854775808",
        "-9223372036854775808",
    ),
    (
        "f4",
        "real",
        "logicalType: number, physicalType: real",
        "'-1.5'",
        "-1.5",
    ),
    (
        "f8",
        "double precision",
        "logicalType: number",
        "'1e300'",
        "1e300",
    ),
    (
        "n",
        "numeric(38,10)",
        "logicalType: number",
        "-1234567890123456789012345678.0000000001",
        "-1234567890123456789012345678.0000000001",
    ),
    (
        "nu",
        "numeric",
        "logicalType: number, physicalType: 'numeric(20,4)'",
        "12.5",
        "12.5000",
    ),
    (
        "s",
        "text",
        "logicalType: string",
        "'Zürich 🦀'",
        "Zürich 🦀",
    ),
    ("v", "varchar(9)", "logicalType: string", "''", ""),
    ("c", "char(5)", "logicalType: string", "'ab'", "ab"),
    (
        "nm",
        "name",
        "logicalType: string",
        "'pg_class'",
        "pg_class",
    ),
    (
        "u",
        "uuid",
        "logicalType: string",
        "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ),
    (
        "j",
        "json",
        "logicalType: string",
        "'{\"a\":  1}'",
        "{\"a\":  1}",
    ),
    (
        "jb",
        "jsonb",
        "logicalType: string",
        "'{\"a\":  1}'",
        "{\"a\": 1}",
    ),
    (
        "y",
        "bytea",
        "logicalType: string, physicalType: bytea",
        "'\\x00ff'",
        "00ff",
    ),
    (
        "d",
        "date",
        "logicalType: date",
        "'0044-03-15 BC'",
        "-0043-03-15",
    ),
    (
        "t",
        "time",
        "logicalType: time",
        "'23:59:59.999999'",
        "23:59:59.999999",
    ),
    (
        "ts",
        "timestamp",
        "logicalType: timestamp, physicalType: datetime",
        "'1969-12-31 23:59:59.999999'",
        "1969-12-31T23:59:59.999999",
    ),
    (
        "tz",
        "timestamptz",
        "logicalType: timestamp",
        "'2013-07-01 02:00:00+02'",
        "2013-07-01T00:00:00Z",
    ),
    ("e", "mood", "logicalType: string", "'sad'", "sad"),
    ("dom", "positive", "logicalType: integer", "7", "7"),
    (
        "li",
        "integer[]",
        "logicalType: array, items: { logicalType: integer, physicalType: int }",
        "'{1,NULL,3}'",
        "[1, , 3]",
    ),
    (
        "lt",
        "text[]",
        "logicalType: array, items: { logicalType: string }",
        "'{}'",
        "[]",
    ),
    (
        "ln",
        "numeric(6,2)[]",
        "logicalType: array, items: { logicalType: number, physicalType: 'numeric(6,2)' }",
        "'{1.25}'",
        "[1.25]",
    ),
];

fn columns() -> Vec<(&'static str, &'static str)> {
    TYPES
        .iter()
        .map(|(name, _, odcs, ..)| (*name, *odcs))
        .collect()
}

fn create(postgres: &Postgres) {
    let columns: Vec<_> = TYPES
        .iter()
        .map(|(name, kind, ..)| format!("{name} {kind}"))
        .collect();
    let values: Vec<_> = TYPES.iter().map(|(_, _, _, value, _)| *value).collect();
    let nulls = vec!["NULL"; TYPES.len()].join(", ");
    postgres
        .sql(&format!(
            "CREATE TYPE mood AS ENUM ('sad', 'happy'); \
             CREATE DOMAIN positive AS integer CHECK (VALUE > 0); \
             CREATE TABLE t ({}); INSERT INTO t VALUES ({}), ({nulls})",
            columns.join(", "),
            values.join(", ")
        ))
        .unwrap();
}

#[tokio::test]
async fn every_type_is_read_as_it_is_and_null_as_null() {
    let postgres = Postgres::start().unwrap();
    create(&postgres);
    let source = open(&postgres, &columns()).await.unwrap();
    let view = view(&source, RowFilter::default());
    let names: Vec<_> = TYPES
        .iter()
        .map(|(name, ..)| format!("\"{name}\""))
        .collect();
    let sql = format!("SELECT {} FROM t ORDER BY b NULLS LAST", names.join(", "));
    let expected: Vec<_> = TYPES.iter().map(|(.., shown)| *shown).collect();
    let nulls = vec![""; TYPES.len()].join("|");
    assert_eq!(
        rows(&view, &sql).await.unwrap(),
        [expected.join("|"), nulls]
    );
    // No column at all has rows as well, and is asked without one.
    assert_eq!(rows(&view, "SELECT 1 FROM t").await.unwrap(), ["1", "1"]);
    let asked = postgres.copies().pop().unwrap();
    assert_eq!(asked, "SELECT  FROM \"public\".\"t\"");
}

#[tokio::test]
async fn what_arrow_cannot_hold_is_an_error_and_nothing_else() {
    let postgres = Postgres::start().unwrap();
    create(&postgres);
    let source = open(&postgres, &columns()).await.unwrap();
    let view = view(&source, RowFilter::default());
    for (column, value) in [
        ("nu", "'NaN'"),
        ("nu", "'Infinity'"),
        ("nu", "0.00001"),
        ("nu", "1e17"),
        ("d", "'infinity'"),
        ("ts", "'-infinity'"),
        ("tz", "'infinity'"),
        ("t", "'24:00'"),
        ("li", "'{{1,2},{3,4}}'"),
    ] {
        postgres
            .sql(&format!("UPDATE t SET {column} = {value} WHERE b"))
            .unwrap();
        let error = rows(&view, &format!("SELECT \"{column}\" FROM t"))
            .await
            .unwrap_err();
        assert_eq!(error.code(), "source-unavailable", "{column} {value}");
        let detail = error.owner_detail().unwrap();
        assert!(detail.contains(&format!("column {column} ")), "{detail}");
        postgres
            .sql(&format!("UPDATE t SET {column} = NULL"))
            .unwrap();
    }
}

#[tokio::test]
async fn what_is_not_read_is_refused_with_its_name_and_what_to_do() {
    let postgres = Postgres::start().unwrap();
    postgres
        .sql("CREATE TABLE t (p point, r int4range, i interval, n numeric, w numeric(50,2), x int)")
        .unwrap();
    for (column, kind, instead) in [
        ("p", "logicalType: string", "leave it out"),
        ("r", "logicalType: string", "leave it out"),
        ("i", "logicalType: string", "publish a view"),
        ("n", "logicalType: number", "numeric(P,S)"),
        ("w", "logicalType: number", "at most 38 digits"),
        ("gone", "logicalType: number", "does not exist"),
    ] {
        let error = open(&postgres, &[(column, kind)])
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(column) && error.contains(instead), "{error}");
    }
}

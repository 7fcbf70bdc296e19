//! Over real files: what is read, what is refused, and what is asked.

use std::path::PathBuf;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use comity_protocol::terms::RowFilter;
use datafusion::logical_expr::{col, lit};
use proptest::prelude::*;
use rusqlite::Connection;

use super::*;
use crate::query::QueryError;
use crate::sources::fixture::{rows, view};

struct File {
    folder: tempfile::TempDir,
}

impl File {
    fn new(sql: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = Self { folder };
        file.write(sql);
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("t.sqlite")
    }

    fn write(&self, sql: &str) {
        let connection = Connection::open(self.path()).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    async fn open(&self, columns: &[(&str, &str)]) -> Result<Arc<dyn TableProvider>, SqliteError> {
        self.open_as(Source::default(), columns).await
    }

    async fn open_as(
        &self,
        access: Source,
        columns: &[(&str, &str)],
    ) -> Result<Arc<dyn TableProvider>, SqliteError> {
        let columns: Vec<_> = columns
            .iter()
            .map(|(name, kind)| format!("      - {{ name: {name}, {kind} }}\n"))
            .collect();
        let text = format!(
            "apiVersion: v3.1.0
kind: DataContract
id: t-1
name: t
version: \"1.0.0\"
status: active
servers:
  - server: shop
    type: custom
    path: ./t.sqlite
    customProperties: [ {{ property: comityProtocol, value: sqlite }} ]
schema:
  - name: t
    properties:
{}",
            columns.concat()
        );
        let path = self.folder.path().join("t.odcs.yaml");
        std::fs::write(&path, text).unwrap();
        let contract = crate::products::read(&path).unwrap_or_else(|e| panic!("{e}"));
        let crate::products::SourceSpec::Sqlite(spec) = &contract.sources()["t"] else {
            panic!("the server is a SQLite file");
        };
        let databases = Databases::new(BTreeMap::from([("shop".to_owned(), access)]));
        databases
            .open(spec, &contract.tables()[0], contract.folder())
            .await
    }
}

const INT: &str = "logicalType: integer, physicalType: int";
const LONG: &str = "logicalType: integer";
const TEXT: &str = "logicalType: string";

async fn ask(source: &Arc<dyn TableProvider>, sql: &str) -> Result<Vec<String>, QueryError> {
    rows(&view(source, RowFilter::default()), sql).await
}

#[tokio::test]
async fn every_type_of_a_contract_is_read() {
    let file = File::new(
        "CREATE TABLE t (i INTEGER, small INT, f REAL, b BOOLEAN, s TEXT, d DATE, c TIME, at TIMESTAMP, \
         seen, price, raw BLOB) ;
         INSERT INTO t VALUES (-9223372036854775808, -2147483648, 0.5, 1, 'Äpfel', '2013-06-01', '12:30:01.000005', \
         '2013-06-01 12:00:00.123456', '2013-06-01T12:00:00+02:00', '-12.50', x'00ff');
         INSERT INTO t VALUES (9223372036854775807, 2147483647, 3, 0, '', '9999-12-31', '00:00:00', \
         '0001-01-01 00:00:00', '2013-06-01T12:00:00Z', 7, x'');
         INSERT INTO t VALUES (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);",
    );
    let source = file
        .open(&[
            ("i", LONG),
            ("small", INT),
            ("f", "logicalType: number"),
            ("b", "logicalType: boolean"),
            ("s", TEXT),
            ("d", "logicalType: date"),
            ("c", "logicalType: time"),
            (
                "at",
                "logicalType: timestamp, logicalTypeOptions: { timezone: false }",
            ),
            ("seen", "logicalType: timestamp"),
            (
                "price",
                "logicalType: number, physicalType: \"decimal(10,2)\"",
            ),
            ("raw", "logicalType: string, physicalType: blob"),
        ])
        .await
        .unwrap();
    assert_eq!(
        ask(&source, "SELECT * FROM t").await.unwrap(),
        [
            "-9223372036854775808|-2147483648|0.5|true|Äpfel|2013-06-01|12:30:01.000005|2013-06-01T12:00:00.123456|2013-06-01T10:00:00Z|-12.50|00ff",
            "9223372036854775807|2147483647|3.0|false||9999-12-31|00:00:00|0001-01-01T00:00:00|2013-06-01T12:00:00Z|7.00|",
            "||||||||||",
        ]
    );
    assert_eq!(ask(&source, "SELECT count(*) FROM t").await.unwrap(), ["3"]);
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error_whatever_is_asked() {
    for (kind, fine, wrong) in [
        (INT, "1", "2147483648"),
        (LONG, "1", "'1'"),
        (LONG, "1", "1.0"),
        (TEXT, "'1'", "1"),
        (TEXT, "'a'", "CAST(x'ff' AS TEXT)"),
        ("logicalType: boolean", "1", "2"),
        ("logicalType: number", "1", "9007199254740993"),
        ("logicalType: number, physicalType: real", "0.5", "0.1"),
        (
            "logicalType: number, physicalType: \"decimal(4,2)\"",
            "'99.99'",
            "0.1",
        ),
        ("logicalType: date", "'2013-06-01'", "'2013-06-31'"),
        ("logicalType: date", "'2013-06-01'", "'2013-06-01T00:00:00'"),
        ("logicalType: date", "'2013-06-01'", "15857"),
        ("logicalType: time", "'12:00:00'", "'43200'"),
        (
            "logicalType: timestamp",
            "'2013-06-01 12:00:00'",
            "'2013-06-01 12:00:00.1234567'",
        ),
        (
            "logicalType: timestamp",
            "'2013-06-01 12:00:00'",
            "1370088000",
        ),
    ] {
        let file = File::new(&format!(
            "CREATE TABLE t (id INTEGER, v); INSERT INTO t VALUES (1, {fine})"
        ));
        let source = file.open(&[("id", LONG), ("v", kind)]).await.unwrap();
        assert_eq!(
            ask(&source, "SELECT v FROM t").await.unwrap().len(),
            1,
            "{kind} {fine}"
        );
        file.write(&format!("INSERT INTO t VALUES (2, {wrong})"));
        for sql in ["SELECT v FROM t", "SELECT id FROM t WHERE v IS NOT NULL"] {
            let error = ask(&source, sql).await.unwrap_err();
            assert_eq!(error.code(), "source-unavailable", "{kind} {wrong}");
            let said = error.owner_detail().unwrap();
            assert!(
                said.contains("column v") && !said.contains("'43200'"),
                "{said}"
            );
        }
        // Rows without it are read.
        assert_eq!(ask(&source, "SELECT id FROM t").await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn predicates_travel_and_come_back_with_what_does_not_fit() {
    let file = File::new(
        "CREATE TABLE t (id INTEGER, s TEXT COLLATE NOCASE);
         INSERT INTO t VALUES (1, 'a'), (2, 'A'), (3, NULL), (4, 'it''s'), (5, 'b')",
    );
    let source = file.open(&[("id", INT), ("s", TEXT)]).await.unwrap();
    for (filter, ids) in [
        ("s = 'a'", vec!["1"]),
        ("s <> 'a'", vec!["2", "4", "5"]),
        ("s IN ('A', 'it''s')", vec!["2", "4"]),
        ("s IS NULL", vec!["3"]),
        ("s > 'a'", vec!["4", "5"]),
        ("id BETWEEN 2 AND 3 OR s = 'b'", vec!["2", "3", "5"]),
        ("NOT (id > 2)", vec!["1", "2"]),
    ] {
        let sql = format!("SELECT id FROM t WHERE {filter} ORDER BY id");
        assert_eq!(ask(&source, &sql).await.unwrap(), ids, "{filter}");
    }
    let schema = source.schema();
    let asked = |expr| sql::predicate(&expr, &schema);
    assert_eq!(
        asked(col("id").gt(lit(2_i32))).unwrap(),
        "(\"id\" > 2) OR typeof(\"id\") NOT IN ('integer', 'null') OR \"id\" NOT BETWEEN -2147483648 AND 2147483647"
    );
    assert_eq!(
        asked(col("s").eq(lit("it's"))).unwrap(),
        "(\"s\" COLLATE BINARY = 'it''s') OR typeof(\"s\") NOT IN ('text', 'null')"
    );
    assert!(asked(col("s").gt(lit("a"))).is_none());
    assert!(asked(col("s").eq(lit("a\0"))).is_none());
    // A text among the numbers is found by whatever looks at them.
    file.write("INSERT INTO t VALUES ('six', 'x')");
    for filter in ["id > 2", "id < 2", "id = 2", "id IN (1, 2)", "NOT (id > 2)"] {
        let error = ask(
            &source,
            &format!("SELECT s FROM t WHERE {filter} LIMIT 100"),
        )
        .await;
        assert!(error.is_err(), "{filter}");
    }
}

#[tokio::test]
async fn what_is_no_such_table_is_said_when_it_is_opened() {
    let file = File::new("CREATE TABLE t (id INTEGER)");
    let refused = |columns: &'static [(&str, &str)]| {
        let file = &file;
        async move { file.open(columns).await.unwrap_err().to_string() }
    };
    let missing = refused(&[("id", LONG), ("other", LONG)]).await;
    assert!(missing.contains("no such column"), "{missing}");
    let list = refused(&[("id", "logicalType: array, items: { logicalType: string }")]).await;
    assert!(list.contains("column id"), "{list}");
    std::fs::write(file.path(), "not a database, but a text of some length").unwrap();
    let text = refused(&[("id", LONG)]).await;
    assert!(text.contains("not a database"), "{text}");
    std::fs::remove_file(file.path()).unwrap();
    let none = refused(&[("id", LONG)]).await;
    assert!(none.contains("unable to open"), "{none}");
    assert!(!file.path().exists(), "reading made a file");
}

#[tokio::test]
async fn a_column_that_goes_is_never_answered_with_its_name() {
    let file = File::new("CREATE TABLE t (id INTEGER, s TEXT); INSERT INTO t VALUES (1, 'a')");
    let source = file.open(&[("id", LONG), ("s", TEXT)]).await.unwrap();
    file.write("ALTER TABLE t DROP COLUMN s");
    let error = ask(&source, "SELECT s FROM t").await.unwrap_err();
    assert_eq!(error.code(), "source-unavailable");
    assert!(
        error.owner_detail().unwrap().contains("no such column"),
        "{error:?}"
    );
}

#[tokio::test]
async fn nothing_is_written_and_nothing_beyond_the_file_is_read() {
    let file = File::new("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1)");
    let connection = read::open(&file.path()).unwrap();
    for sql in [
        "INSERT INTO t VALUES (2)",
        "CREATE TEMP TABLE x (id)",
        "ATTACH ':memory:' AS other",
        "PRAGMA writable_schema = 1; DELETE FROM sqlite_master",
    ] {
        assert!(connection.execute_batch(sql).is_err(), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_ends_at_its_time_and_when_nobody_reads() {
    // A view that never ends.
    let file = File::new(
        "CREATE VIEW t AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id FROM n",
    );
    let access = |timeout_seconds, connections| Source {
        timeout_seconds,
        connections,
        ..Source::default()
    };
    let never = file.open_as(access(1, 1), &[("id", LONG)]).await.unwrap();
    let error = ask(&never, "SELECT id FROM t WHERE id < 0")
        .await
        .unwrap_err();
    assert_eq!(error.code(), "budget");
    assert!(
        error.owner_detail().unwrap().contains("time limit"),
        "{error:?}"
    );
    // With room for one, the second only comes because the first one was given up.
    let one = file.open_as(access(300, 1), &[("id", LONG)]).await.unwrap();
    for _ in 0..3 {
        assert_eq!(
            ask(&one, "SELECT id FROM t LIMIT 2").await.unwrap(),
            ["1", "2"]
        );
        let first = ask(
            &one,
            "SELECT count(*) FROM (SELECT id FROM t WHERE id > 5 LIMIT 3)",
        )
        .await;
        assert_eq!(first.unwrap(), ["3"]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Filters at the file find what this engine finds.
    #[test]
    fn the_files_answer_is_the_engines(
        values in prop::collection::vec(prop::option::of(prop_oneof![-2_i64..3, any::<i64>()]), 0..8),
        literal in prop_oneof![-2_i64..3, Just(i64::MIN), Just(i64::MAX)],
        op in prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]),
    ) {
        let mut sql = "CREATE TABLE t (id INTEGER);".to_owned();
        for value in &values {
            let value = value.map_or("NULL".to_owned(), |v| v.to_string());
            sql.push_str(&format!("INSERT INTO t VALUES ({value});"));
        }
        let holds = |v: i64| match op {
            "=" => v == literal,
            "<>" => v != literal,
            "<" => v < literal,
            "<=" => v <= literal,
            ">" => v > literal,
            _ => v >= literal,
        };
        let mut expected: Vec<_> = values.iter().flatten().copied().filter(|v| holds(*v)).collect();
        expected.sort_unstable();
        let expected: Vec<_> = expected.iter().map(i64::to_string).collect();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let found = runtime.block_on(async {
            let file = File::new(&sql);
            let source = file.open(&[("id", LONG)]).await.unwrap();
            ask(&source, &format!("SELECT id FROM t WHERE id {op} {literal} ORDER BY id")).await
        });
        prop_assert_eq!(found.unwrap(), expected);
    }
}

#[test]
fn types_without_values_are_known() {
    let list = DataType::new_list(DataType::Utf8, true);
    let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
    for kind in [list, nanos, DataType::UInt64, DataType::Null] {
        assert!(Values::of(&kind).is_none(), "{kind}");
    }
    let none = sql::select(&Schema::empty(), "t\"x", &[], None);
    assert_eq!(none, "SELECT 1 FROM \"t\"\"x\"");
}

#[tokio::test]
async fn a_table_is_described_by_its_values() {
    let file = File::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT NOT NULL, amount DECIMAL(8,2), \
         paid BOOLEAN, day DATE, at TIMESTAMP, odd ANY, empty, raw BLOB, later DATE); \
         INSERT INTO t VALUES (1, '007', 1, 0, '2025-01-31', '2025-01-31 10:00:00', 'x', NULL, x'00', 'soon'), \
         (2, '008', 2.5, 1, NULL, '2025-02-01T10:00:00', 7, NULL, NULL, '2025-01-31'); \
         CREATE VIEW v AS SELECT id FROM t",
    );
    let spec = |table: &str| SqliteSpec {
        server: "shop".to_owned(),
        path: file.path(),
        table: table.to_owned(),
    };
    let databases = Databases::default();
    let found = databases.describe(&spec("t")).await.unwrap();
    let schema = found.table.schema();
    let types: Vec<_> = schema
        .fields()
        .iter()
        .map(|f| (f.name().as_str(), f.data_type().clone()))
        .collect();
    let expected = [
        ("id", DataType::Int64),
        ("code", DataType::Utf8),
        ("amount", DataType::Float64),
        ("paid", DataType::Boolean),
        ("day", DataType::Date32),
        ("at", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("raw", DataType::Binary),
        ("later", DataType::Utf8),
    ];
    assert_eq!(types, expected);
    let unread: Vec<_> = found.unread.iter().map(|(c, _)| c.as_str()).collect();
    assert_eq!(unread, ["odd", "empty"]);
    assert_eq!(found.primary_key, ["id"]);
    assert_eq!(found.never_null, ["id", "code"].map(str::to_owned).into());
    let read = ask(&found.table, "SELECT code, at FROM t ORDER BY id").await;
    assert_eq!(read.unwrap().len(), 2);

    assert!(databases.describe(&spec("v")).await.is_ok());
    let refused = databases.describe(&spec("T2")).await.unwrap_err();
    assert!(refused.to_string().contains("it has t, v"), "{refused}");
    let quoted = databases.describe(&spec("t\"; DROP TABLE t; --")).await;
    assert!(matches!(quoted, Err(SqliteError::NoTable { .. })));
}

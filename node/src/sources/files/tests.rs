//! Files and folders as governed tables: what is read, and what is refused.

use std::collections::BTreeMap;
use std::fs;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field};
use arrow::util::display::array_value_to_string;
use comity_protocol::terms::RowFilter;
use datafusion::physical_plan::displayable;
use datafusion::prelude::SessionContext;
use tempfile::TempDir;

use super::*;
use crate::query::{QueryError, advertised};
use crate::sources::fixture::{self, write};

const FORMATS: [Format; 4] = [Format::Parquet, Format::Csv, Format::Json, Format::Arrow];

fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.clone()));
    let name: ArrayRef = Arc::new(StringArray::from_iter_values(
        ids.clone().map(|i| format!("n, {i}")),
    ));
    let share: ArrayRef = Arc::new(Float64Array::from_iter_values(ids.map(|i| i as f64 + 0.5)));
    RecordBatch::try_from_iter([("id", id), ("name", name), ("share", share)]).unwrap()
}

fn spec(format: Format, path: impl Into<PathBuf>) -> FileSpec {
    FileSpec {
        format,
        path: path.into(),
    }
}

/// The rows that a governed table over the source shows, in the order of `id`.
async fn rows(spec: FileSpec, root: &Path) -> Result<Vec<String>, QueryError> {
    let source = open(&spec, root, &Schema::empty()).await.unwrap();
    let view = fixture::view(&source, RowFilter::default());
    fixture::rows(&view, "SELECT id, name, share FROM t ORDER BY id").await
}

async fn refused(spec: FileSpec, root: &Path) -> FileError {
    open(&spec, root, &Schema::empty())
        .await
        .map(|_| ())
        .unwrap_err()
}

#[tokio::test]
async fn files_and_folders_of_each_format_are_read_whole() {
    let root = TempDir::new().unwrap();
    for format in FORMATS {
        let folder = root.path().join(format.name());
        fs::create_dir(&folder).unwrap();
        let named = |name: &str| folder.join(format!("{name}.{}", format.name()));
        write(&named("a"), format, &batch(0..2));
        write(&named("b"), format, &batch(2..3));
        write(&named(".hidden"), format, &batch(7..8));
        fs::create_dir(folder.join("inner")).unwrap();
        fs::write(folder.join("README.txt"), "no data").unwrap();

        let one = PathBuf::from(format.name()).join(format!("a.{}", format.name()));
        let expected = ["0|n, 0|0.5", "1|n, 1|1.5", "2|n, 2|2.5"];
        let file = rows(spec(format, one), root.path()).await;
        assert_eq!(file.unwrap(), expected[..2], "{format:?}");
        let all = rows(spec(format, format.name()), root.path()).await;
        assert_eq!(all.unwrap(), expected, "{format:?}");

        let source = open(&spec(format, format.name()), root.path(), &Schema::empty())
            .await
            .unwrap();
        let types: BTreeMap<_, _> = advertised(&source.schema())
            .fields()
            .iter()
            .map(|f| (f.name().clone(), f.data_type().to_string()))
            .collect();
        let expected = [("id", "Int64"), ("name", "Utf8"), ("share", "Float64")];
        let expected = expected.map(|(n, t)| (n.to_owned(), t.to_owned()));
        assert_eq!(types, BTreeMap::from(expected), "{format:?}");
    }
}

#[tokio::test]
async fn signs_of_patterns_and_addresses_in_names_are_only_names() {
    let root = TempDir::new().unwrap();
    for name in [
        "a[b]*?", "a b#c", "%2e%2e", "größe", "{x,y}", "a'b\"c", "x:y;z",
    ] {
        let folder = root.path().join(name);
        fs::create_dir(&folder).unwrap();
        let file = format!("{name}.csv");
        write(&folder.join(&file), Format::Csv, &batch(0..1));
        write(&root.path().join("ab.csv"), Format::Csv, &batch(5..6));
        for path in [PathBuf::from(name), Path::new(name).join(&file)] {
            let read = rows(spec(Format::Csv, path), root.path()).await.unwrap();
            assert_eq!(read, ["0|n, 0|0.5"], "{name}");
        }
    }
}

/// A28.
#[tokio::test]
async fn a28_no_path_and_no_link_leads_out_of_the_root() {
    let (outside, root) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let secret = outside.path().join("secret.csv");
    write(&secret, Format::Csv, &batch(0..1));
    let link =
        |to: &Path, name: &str| std::os::unix::fs::symlink(to, root.path().join(name)).unwrap();
    link(&secret, "link.csv");
    link(outside.path(), "linked");
    fs::create_dir(root.path().join("folder")).unwrap();
    link(&secret, "folder/link.csv");
    let beside = format!(
        "../{}/secret.csv",
        outside.path().file_name().unwrap().display()
    );
    for path in [
        secret.to_str().unwrap(),
        outside.path().to_str().unwrap(),
        "link.csv",
        "linked",
        "linked/secret.csv",
        "folder",
        "folder/../link.csv",
        "..",
        &beside,
    ] {
        let error = refused(spec(Format::Csv, path), root.path()).await;
        assert!(
            matches!(error, FileError::Outside { .. }),
            "{path}: {error}"
        );
    }
    for path in [
        "%2e%2e/secret.csv",
        "file:///etc/passwd",
        "http://localhost/x.csv",
        "\0",
    ] {
        let error = refused(spec(Format::Csv, path), root.path()).await;
        assert!(
            matches!(error, FileError::Missing { .. }),
            "{path}: {error}"
        );
    }
    // Links and dots within the root are the owner's own affair.
    write(&root.path().join("own.csv"), Format::Csv, &batch(0..1));
    link(&root.path().join("own.csv"), "own-link.csv");
    for path in ["own-link.csv", "folder/../own.csv"] {
        rows(spec(Format::Csv, path), root.path()).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_there_or_empty_is_named() {
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join("empty")).unwrap();
    let error = refused(spec(Format::Csv, "none.csv"), root.path()).await;
    assert!(matches!(error, FileError::Missing { .. }), "{error}");
    let error = refused(spec(Format::Csv, "empty"), root.path()).await;
    assert!(matches!(error, FileError::Empty { .. }), "{error}");
    let error = refused(spec(Format::Csv, "x"), &root.path().join("none")).await;
    assert!(matches!(error, FileError::Missing { .. }), "{error}");
}

#[tokio::test]
async fn files_of_another_format_are_refused_when_they_are_opened() {
    let root = TempDir::new().unwrap();
    for is in FORMATS {
        let path = root.path().join("data");
        write(&path, is, &batch(0..3));
        // Anything is text with commas, and is judged by its columns.
        for said in FORMATS
            .into_iter()
            .filter(|f| *f != is && *f != Format::Csv)
        {
            let error = refused(spec(said, "data"), root.path()).await;
            assert!(
                matches!(error, FileError::Unreadable { .. }),
                "{is:?} as {said:?}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn a_truncated_file_is_an_error_and_never_fewer_rows() {
    let root = TempDir::new().unwrap();
    for format in FORMATS {
        let path = root.path().join("data");
        write(&path, format, &batch(0..200));
        let whole = fs::read(&path).unwrap();
        // Text is cut within a value: a file that ends at a line is a whole file.
        let cut = whole.len() - 7;
        fs::write(&path, &whole[..cut]).unwrap();
        match open(&spec(format, "data"), root.path(), &Schema::empty()).await {
            Err(FileError::Unreadable { .. }) => {}
            Err(error) => panic!("{format:?}: {error}"),
            Ok(_) => {
                let error = rows(spec(format, "data"), root.path())
                    .await
                    .expect_err(format.name());
                assert_eq!(error.code(), "source-unavailable", "{format:?}: {error:?}");
            }
        }
    }
}

/// A28: the swap after the check.
#[tokio::test]
async fn a_file_that_goes_away_or_becomes_a_link_is_an_error_and_never_no_rows() {
    let (outside, root) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for format in FORMATS {
        let path = root.path().join("data");
        let elsewhere = outside.path().join("data");
        write(&path, format, &batch(0..3));
        write(&elsewhere, format, &batch(5..8));
        let source = open(&spec(format, "data"), root.path(), &Schema::empty())
            .await
            .unwrap();
        let context = SessionContext::new();
        let read = async || {
            let table = context.read_table(Arc::clone(&source)).unwrap();
            table.collect().await
        };
        read().await.unwrap();
        fs::remove_file(&path).unwrap();
        let gone = read().await.unwrap_err();
        assert_eq!(
            QueryError::of(&gone).code(),
            "source-unavailable",
            "{format:?}"
        );
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let link = read().await.unwrap_err();
        assert_eq!(
            QueryError::of(&link).code(),
            "source-unavailable",
            "{format:?}"
        );
        fs::remove_file(&path).unwrap();
    }
}

#[tokio::test]
async fn files_of_one_folder_must_have_the_same_columns() {
    let root = TempDir::new().unwrap();
    for format in FORMATS {
        let folder = root.path().join(format.name());
        fs::create_dir(&folder).unwrap();
        let named = |name: &str| folder.join(format!("{name}.{}", format.name()));
        let first = batch(0..2);
        write(&named("a"), format, &first);
        let reordered = batch(2..3).project(&[1, 0, 2]).unwrap();
        let fewer = batch(2..3).project(&[0, 1]).unwrap();
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let typed = RecordBatch::try_from_iter([
            ("id", Arc::clone(&texts)),
            ("name", Arc::clone(&texts)),
            ("share", texts),
        ])
        .unwrap();
        for (other, differs) in [
            (&reordered, format != Format::Json),
            (&fewer, format != Format::Json),
            (&typed, matches!(format, Format::Parquet | Format::Arrow)),
        ] {
            write(&named("b"), format, other);
            if differs {
                let error = refused(spec(format, format.name()), root.path()).await;
                assert!(
                    matches!(error, FileError::Differs { .. }),
                    "{format:?}: {error}"
                );
            }
        }
        if matches!(format, Format::Csv | Format::Json) {
            // A text says of its type only what its values say, when they are read.
            let error = rows(spec(format, format.name()), root.path()).await;
            assert_eq!(
                error.unwrap_err().code(),
                "source-unavailable",
                "{format:?}"
            );
        }
        if format == Format::Json {
            write(&named("b"), format, &reordered);
            let read = rows(spec(format, "json"), root.path()).await.unwrap();
            assert_eq!(read.last().unwrap(), "2|n, 2|2.5");
        }
        write(&named("b"), format, &batch(2..3));
        assert_eq!(
            rows(spec(format, format.name()), root.path())
                .await
                .unwrap()
                .len(),
            3
        );
    }
}

fn declared() -> Schema {
    Schema::new(vec![
        Field::new("year", DataType::Int32, false),
        Field::new("month", DataType::Int8, false),
        Field::new("id", DataType::Int64, false),
    ])
}

/// `year=…/month=…` with one file each, whose ids are `100 * (year - 2000) + month`.
fn tree(root: &Path, format: Format) -> PathBuf {
    let folder = root.join(format.name());
    for (year, month) in [(2012, "12"), (2013, "01"), (2013, "06")] {
        let inner = folder.join(format!("year={year}/month={month}"));
        fs::create_dir_all(inner.join("_temporary")).unwrap();
        let id = (year - 2000) * 100 + month.parse::<i64>().unwrap();
        let file = inner.join(format!("part-0.{}", format.name()));
        write(&file, format, &batch(id..id + 1));
        let hidden = inner.join(format!("_temporary/part-1.{}", format.name()));
        write(&hidden, format, &batch(7..8));
    }
    fs::create_dir_all(folder.join("_delta_log")).unwrap();
    folder
}

async fn selected(source: &Arc<dyn TableProvider>, filter: &str) -> (Vec<String>, String) {
    let context = SessionContext::new();
    context.register_table("t", Arc::clone(source)).unwrap();
    let sql = format!("SELECT id, year, month FROM t WHERE {filter} ORDER BY id");
    let plan = context.sql(&sql).await.unwrap();
    let batches = plan.clone().collect().await.unwrap();
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter();
            let values = values.map(|c| array_value_to_string(c, row).unwrap());
            rows.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    let plan = plan.create_physical_plan().await.unwrap();
    (rows, displayable(plan.as_ref()).indent(true).to_string())
}

#[tokio::test]
async fn folders_that_are_columns_are_read_and_pruned() {
    let root = TempDir::new().unwrap();
    for format in FORMATS {
        tree(root.path(), format);
        let spec = spec(format, format.name());
        let source = open(&spec, root.path(), &declared()).await.unwrap();
        let year = source.schema().field_with_name("year").unwrap().clone();
        assert_eq!(year.data_type(), &DataType::Int32);
        for (filter, expected, files) in [
            (
                "true",
                &["1212|2012|12", "1301|2013|1", "1306|2013|6"][..],
                3,
            ),
            ("year = 2013", &["1301|2013|1", "1306|2013|6"], 2),
            ("year > 2012 AND month BETWEEN 2 AND 7", &["1306|2013|6"], 1),
            (
                "month = 6 OR year = 2012",
                &["1212|2012|12", "1306|2013|6"],
                2,
            ),
            ("year = 2013 AND id = 1301", &["1301|2013|1"], 2),
            ("year = month", &[], 0),
        ] {
            let (rows, plan) = selected(&source, filter).await;
            assert_eq!(rows, expected, "{format:?} {filter}");
            assert_eq!(
                plan.matches("part-0").count(),
                files,
                "{format:?} {filter}: {plan}"
            );
        }
    }
}

/// A28.
#[tokio::test]
async fn no_folder_of_a_partitioned_table_leads_out_of_it() {
    let (outside, root) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let beside = tree(outside.path(), Format::Parquet);
    for (name, to) in [
        ("year=2014", beside.join("year=2012")),
        ("year=2013/month=07", beside.join("year=2013/month=06")),
        (
            "year=2013/month=06/link.parquet",
            beside.join("year=2013/month=06/part-0.parquet"),
        ),
        // Within the root, and another table.
        ("year=2015", root.path().join("other/year=2015")),
    ] {
        let table = tree(root.path(), Format::Parquet);
        fs::create_dir_all(root.path().join("other/year=2015/month=01")).unwrap();
        std::os::unix::fs::symlink(to, table.join(name)).unwrap();
        let error = refused(spec(Format::Parquet, "parquet"), root.path()).await;
        assert!(
            matches!(error, FileError::Outside { .. }),
            "{name}: {error}"
        );
        fs::remove_dir_all(table).unwrap();
    }
}

#[tokio::test]
async fn folders_are_bounded_in_depth() {
    let root = TempDir::new().unwrap();
    for (levels, reads) in [(MAX_LEVELS, true), (MAX_LEVELS + 1, false)] {
        let mut folder = root.path().join(levels.to_string());
        for level in 0..levels {
            folder.push(format!("l{level}=1"));
        }
        fs::create_dir_all(&folder).unwrap();
        write(&folder.join("a.csv"), Format::Csv, &batch(0..1));
        let opened = open(
            &spec(Format::Csv, levels.to_string()),
            root.path(),
            &declared(),
        )
        .await;
        assert_eq!(opened.is_ok(), reads, "{levels}");
    }
}

#[tokio::test]
async fn a_column_in_both_places_and_uneven_folders_are_refused() {
    let root = TempDir::new().unwrap();
    let table = tree(root.path(), Format::Csv);
    write(&table.join("a.csv"), Format::Csv, &batch(0..1));
    let open = || async {
        let opened = open(&spec(Format::Csv, "csv"), root.path(), &declared()).await;
        opened.map(|_| ()).unwrap_err()
    };
    let error = open().await;
    assert!(error.to_string().contains("same names"), "{error}");
    fs::remove_dir_all(&table).unwrap();
    fs::create_dir_all(table.join("id=1")).unwrap();
    write(&table.join("id=1/a.csv"), Format::Csv, &batch(0..1));
    let error = open().await;
    assert!(error.to_string().contains("leave it out"), "{error}");
}

/// What was planned is what is read.
#[tokio::test]
async fn a_file_that_changes_between_planning_and_reading_is_an_error() {
    let root = TempDir::new().unwrap();
    for format in FORMATS {
        let path = root.path().join("data");
        write(&path, format, &batch(0..3));
        let source = open(&spec(format, "data"), root.path(), &declared()).await;
        let context = SessionContext::new();
        let table = context.read_table(source.unwrap()).unwrap();
        let plan = table.create_physical_plan().await.unwrap();
        // Of the same size, under another inode.
        let other = root.path().join("other");
        write(&other, format, &batch(3..6));
        fs::rename(&other, &path).unwrap();
        let error = datafusion::physical_plan::collect(plan, context.task_ctx());
        let error = QueryError::of(&error.await.unwrap_err());
        assert_eq!(error.code(), "source-unavailable", "{format:?}: {error:?}");
    }
}

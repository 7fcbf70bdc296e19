//! Tables written by the `deltalake` package, read by this reader.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use arrow::util::display::array_value_to_string;
use datafusion::catalog::TableProvider;
use datafusion::physical_plan::displayable;
use datafusion::prelude::SessionContext;
use tempfile::TempDir;

use super::*;
use crate::query::QueryError;

static TABLES: LazyLock<TempDir> = LazyLock::new(tables);

fn tables() -> TempDir {
    let folder = TempDir::new().unwrap();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/lakes/delta_tables.py"
    );
    let python = std::env::var("COMITY_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let done = Command::new(&python)
        .arg(script)
        .arg(folder.path())
        .status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "{python} could not write the tables: 'make unit' installs the package and sets COMITY_PYTHON"
    );
    folder
}

fn table(name: &str) -> PathBuf {
    TABLES.path().join(name)
}

/// A copy that a test may change.
pub(in crate::sources) fn copy(name: &str) -> TempDir {
    let (to, from) = (TempDir::new().unwrap(), table(name));
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        fs::create_dir_all(to.path().join(&folder)).unwrap();
        for entry in fs::read_dir(from.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let below = folder.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(below),
                false => drop(fs::copy(entry.path(), to.path().join(below)).unwrap()),
            }
        }
    }
    to
}

pub(in crate::sources) fn commit(number: u64) -> String {
    format!("_delta_log/{number:020}.json")
}

async fn query(table: &Arc<Listed<DeltaTable>>, sql: &str) -> Result<Vec<String>, QueryError> {
    let context = SessionContext::new();
    let source = Arc::clone(table) as Arc<dyn TableProvider>;
    context.register_table("t", source).unwrap();
    let read = async { context.sql(sql).await?.collect().await };
    let batches = read.await.map_err(|e| QueryError::of(&e))?;
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter();
            let values = values.map(|c| array_value_to_string(c, row).unwrap());
            rows.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    Ok(rows)
}

async fn ids(path: &Path, travel: Travel) -> Vec<String> {
    let table = open_local(path, travel).await.unwrap();
    query(&table, "SELECT id FROM t ORDER BY id").await.unwrap()
}

fn numbers(range: impl IntoIterator<Item = u64>) -> Vec<String> {
    range.into_iter().map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn every_version_shows_its_own_rows() {
    let plain = table("plain");
    for version in 0..=12 {
        let read = ids(&plain, Travel::Version(version)).await;
        assert_eq!(read, numbers(0..=version), "version {version}");
    }
    let kept = |gone: &'static [u64]| numbers((0..=12).filter(move |n| !gone.contains(n)));
    assert_eq!(ids(&plain, Travel::Version(13)).await, kept(&[3]));
    assert_eq!(ids(&plain, Travel::Newest).await, kept(&[3, 11]));
    let error = open_local(&plain, Travel::Version(15)).await.unwrap_err();
    assert!(
        matches!(error, DeltaError::NoVersion { newest: 14, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_checkpoint_stands_for_the_commits_before_it() {
    let plain = copy("plain");
    for version in 0..10 {
        fs::remove_file(plain.path().join(commit(version))).unwrap();
    }
    assert_eq!(
        ids(plain.path(), Travel::Version(12)).await,
        numbers(0..=12)
    );
    let error = open_local(plain.path(), Travel::Version(9))
        .await
        .unwrap_err();
    assert!(matches!(error, DeltaError::Gap { number: 0 }), "{error}");
    // Without the checkpoint the rest of the log is not a table with fewer rows.
    let checkpoint = format!("_delta_log/{:020}.checkpoint.parquet", 10);
    fs::remove_file(plain.path().join(checkpoint)).unwrap();
    let error = open_local(plain.path(), Travel::Newest).await.unwrap_err();
    assert!(matches!(error, DeltaError::Gap { number: 0 }), "{error}");
}

#[tokio::test]
async fn a_missing_commit_is_an_error_and_never_a_smaller_table() {
    let plain = copy("plain");
    fs::remove_file(plain.path().join(commit(12))).unwrap();
    let error = open_local(plain.path(), Travel::Newest).await.unwrap_err();
    assert!(matches!(error, DeltaError::Gap { number: 12 }), "{error}");
}

#[tokio::test]
async fn the_time_chooses_the_version() {
    let plain = copy("plain");
    for version in 0..=14 {
        let file = plain.path().join(commit(version));
        let file = fs::File::options().append(true).open(file).unwrap();
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000 * (version + 1));
        file.set_modified(at).unwrap();
    }
    for (seconds, version) in [
        (1_000, 0),
        (1_999, 0),
        (5_000, 4),
        (11_500, 10),
        (99_999, 14),
    ] {
        let table = open_local(plain.path(), Travel::Timestamp(seconds * 1_000)).await;
        assert_eq!(
            table.unwrap().listing.last_read().number,
            version,
            "{seconds}"
        );
    }
    let error = open_local(plain.path(), Travel::Timestamp(999_999))
        .await
        .unwrap_err();
    assert!(matches!(error, DeltaError::TooEarly), "{error}");
}

#[tokio::test]
async fn a_table_reads_the_newest_version_at_each_statement_unless_one_is_named() {
    let plain = copy("plain");
    let late = [commit(13), commit(14)].map(|c| plain.path().join(c));
    let later = TempDir::new().unwrap();
    for file in &late {
        fs::rename(file, later.path().join(file.file_name().unwrap())).unwrap();
    }
    let newest = open_local(plain.path(), Travel::Newest).await.unwrap();
    let pinned = open_local(plain.path(), Travel::Version(12)).await.unwrap();
    let count = async |t| query(t, "SELECT count(*) FROM t").await.unwrap();
    assert_eq!(count(&newest).await, ["13"]);
    for (file, (rows, version)) in late.iter().zip([("12", 13), ("11", 14)]) {
        fs::rename(later.path().join(file.file_name().unwrap()), file).unwrap();
        assert_eq!(count(&newest).await, [rows]);
        assert_eq!(newest.listing.last_read().number, version);
        assert_eq!(count(&pinned).await, ["13"]);
    }
    assert_eq!(pinned.listing.last_read().number, 12);
}

#[tokio::test]
async fn a_table_that_was_made_anew_is_not_mixed_with_the_one_before() {
    let plain = copy("plain");
    let table = open_local(plain.path(), Travel::Newest).await.unwrap();
    fs::remove_dir_all(plain.path().join("_delta_log")).unwrap();
    let other = copy("plain");
    // One file instead of three, under the numbers of commits that were there.
    fs::create_dir(plain.path().join("_delta_log")).unwrap();
    for number in 0..=15 {
        let from = other.path().join(commit(if number == 0 { 0 } else { 14 }));
        let text = match number {
            0 => fs::read_to_string(from).unwrap(),
            _ => r#"{"commitInfo":{}}"#.to_owned(),
        };
        fs::write(plain.path().join(commit(number)), text).unwrap();
    }
    let rows = query(&table, "SELECT id FROM t").await.unwrap();
    assert_eq!(rows, ["0"]);
}

#[tokio::test]
async fn partition_columns_have_their_types_and_decide_which_files_are_read() {
    let table = open_local(&table("parted"), Travel::Newest).await.unwrap();
    let all = query(
        &table,
        "SELECT id, year + 1, day, city, at FROM t ORDER BY id",
    )
    .await;
    let at = "2013-06-01T12:30:00Z";
    let expected = [
        format!("1|2013|2012-01-01|Lyon|{at}"),
        format!("2|2014|2013-06-01|a/b %:=é|{at}"),
        format!("3|2014|2013-06-02||{at}"),
        format!("4|2014|2013-06-02|Lyon|{at}"),
    ];
    assert_eq!(all.unwrap(), expected);
    for (filter, ids, files) in [
        ("year = 2013", &["2", "3", "4"][..], 3),
        ("day > '2013-06-01' AND city IS NULL", &["3"], 1),
        ("city = 'a/b %:=é'", &["2"], 1),
        ("city <> 'Lyon'", &["2"], 1),
        ("year = 2013 AND id < 4", &["2", "3"], 3),
        ("year = 1999", &[], 0),
    ] {
        let sql = format!("SELECT id FROM t WHERE {filter} ORDER BY id");
        assert_eq!(query(&table, &sql).await.unwrap(), ids, "{filter}");
        let context = SessionContext::new();
        let source = Arc::clone(&table) as Arc<dyn TableProvider>;
        context.register_table("t", source).unwrap();
        let statement = context.sql(&sql).await.unwrap();
        let plan = statement.create_physical_plan().await.unwrap();
        let plan = displayable(plan.as_ref()).indent(true).to_string();
        assert_eq!(plan.matches(".parquet").count(), files, "{filter}: {plan}");
    }
    // Nested columns are not served; a contract that names one finds none.
    assert!(table.schema().field_with_name("tags").is_err());
}

#[tokio::test]
async fn a_column_that_came_later_is_null_before() {
    let path = table("evolved");
    let newest = open_local(&path, Travel::Newest).await.unwrap();
    let rows = query(&newest, "SELECT id, note FROM t ORDER BY id")
        .await
        .unwrap();
    assert_eq!(rows, ["1|", "2|new"]);
    let first = open_local(&path, Travel::Version(0)).await.unwrap();
    assert!(query(&first, "SELECT note FROM t").await.is_err());

    // Opened before the column came; then a commit takes the column `id` away.
    let path = copy("evolved");
    let second = fs::read_to_string(path.path().join(commit(1))).unwrap();
    fs::remove_file(path.path().join(commit(1))).unwrap();
    let open = open_local(path.path(), Travel::Newest).await.unwrap();
    fs::write(path.path().join(commit(1)), &second).unwrap();
    let rows = query(&open, "SELECT * FROM t ORDER BY id").await.unwrap();
    assert_eq!(rows, ["1", "2"]);
    let renamed = second.lines().find(|l| l.contains("metaData")).unwrap();
    let renamed = renamed.replace(r#"\"name\":\"id\""#, r#"\"name\":\"key\""#);
    assert!(renamed.contains("key"));
    fs::write(path.path().join(commit(2)), renamed).unwrap();
    let error = query(&open, "SELECT id FROM t").await.unwrap_err();
    assert_eq!(error.code(), "source-unavailable");
    assert!(
        error.owner_detail().unwrap().contains("version 2"),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_the_reader_does_not_know_is_refused_by_name() {
    for (name, feature) in [
        ("deleted", "deletionVectors"),
        ("mapped", "columnMapping"),
        ("future", "timeCrystals"),
    ] {
        let error = open_local(&table(name), Travel::Newest).await.unwrap_err();
        let named = matches!(&error, DeltaError::Feature { feature: f } if f.contains(feature));
        assert!(named, "{name}: {error}");
        assert_eq!(ids(&table(name), Travel::Version(0)).await, ["1", "2"]);
    }
    // The feature is on, and no file of this version uses it.
    assert_eq!(ids(&table("deleted"), Travel::Version(1)).await, ["1", "2"]);

    // A table that was opened before it began to use one.
    let path = copy("deleted");
    let late = path.path().join(commit(2));
    let text = fs::read(&late).unwrap();
    fs::remove_file(&late).unwrap();
    let open = open_local(path.path(), Travel::Newest).await.unwrap();
    fs::write(&late, text).unwrap();
    let error = query(&open, "SELECT id FROM t").await.unwrap_err();
    assert_eq!(error.code(), "source-unavailable");
}

/// A28.
#[tokio::test]
async fn no_file_outside_the_table_is_read() {
    let outside = copy("evolved");
    let secret = fs::read_dir(outside.path())
        .unwrap()
        .map(|e| e.unwrap().path());
    let secret = secret.into_iter().find(|p| p.is_file()).unwrap();
    for link in [false, true] {
        for name in [
            format!("../{}/x", outside.path().display()),
            "a/../../x".to_owned(),
            "%2e%2e/x".to_owned(),
            secret.display().to_string(),
            format!("file://{}", secret.display()),
        ] {
            let path = copy("plain");
            let name = if link {
                "link.parquet".to_owned()
            } else {
                name
            };
            if link {
                std::os::unix::fs::symlink(&secret, path.path().join(&name)).unwrap();
            }
            let size = fs::metadata(&secret).unwrap().len();
            let add = serde_json::json!({"add": {"path": name, "partitionValues": {}, "size": size, "modificationTime": 1, "dataChange": true}});
            fs::write(path.path().join(commit(15)), add.to_string()).unwrap();
            match open_local(path.path(), Travel::Newest).await {
                Err(error) => assert!(matches!(error, DeltaError::Outside { .. }), "{error}"),
                Ok(table) => {
                    assert!(link, "{name}");
                    let error = query(&table, "SELECT id FROM t").await.unwrap_err();
                    assert_eq!(error.code(), "source-unavailable", "{error:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_is_gone_or_replaced_is_an_error_and_never_fewer_rows() {
    let path = copy("plain");
    let table = open_local(path.path(), Travel::Newest).await.unwrap();
    let file = table
        .listing
        .last_read()
        .files
        .keys()
        .next()
        .unwrap()
        .clone();
    let file = path.path().join(file);
    let whole = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let gone = query(&table, "SELECT id FROM t").await.unwrap_err();
    assert_eq!(gone.code(), "source-unavailable", "{gone:?}");
    fs::write(&file, [&whole[..], b"more"].concat()).unwrap();
    let other = query(&table, "SELECT id FROM t").await.unwrap_err();
    assert_eq!(other.code(), "source-unavailable", "{other:?}");
    fs::write(&file, whole).unwrap();
    assert_eq!(query(&table, "SELECT id FROM t").await.unwrap().len(), 11);
}

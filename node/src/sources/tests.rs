//! The states of sources, over several runs of one question.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use comity_protocol::terms::RowFilter;
use datafusion::catalog::TableProvider;
use tempfile::TempDir;

use super::delta::{self, tests::commit, tests::copy};
use super::files;
use super::fixture::{rows, rows_in, view};
use crate::products::{FileSpec, Format, Travel};
use crate::query::Snapshots;

fn all_rows() -> RowFilter {
    RowFilter(BTreeSet::new())
}

async fn delta_table(path: &Path) -> Arc<dyn TableProvider> {
    delta::open_local(path, Travel::Newest).await.unwrap()
}

#[tokio::test]
async fn a_question_reads_the_version_that_it_met_first() {
    let plain = copy("plain");
    let late = [commit(13), commit(14)].map(|c| plain.path().join(c));
    let later = TempDir::new().unwrap();
    let away = |file: &Path| later.path().join(file.file_name().unwrap());
    for file in &late {
        fs::rename(file, away(file)).unwrap();
    }
    let table = delta_table(plain.path()).await;
    let seen = view(&table, all_rows());
    let sql = "SELECT count(*) FROM t";
    let first = Arc::new(Snapshots::default());
    let count = async |snapshots: &Arc<Snapshots>| {
        let rows = rows_in(&seen, sql, Arc::clone(snapshots)).await;
        rows.map(|r| r.concat())
    };
    assert_eq!(count(&first).await.unwrap(), "13");
    let mut names = vec![first.names().unwrap()];
    for (file, now) in late.iter().zip(["12", "11"]) {
        fs::rename(away(file), file).unwrap();
        assert_eq!(count(&first).await.unwrap(), "13", "the same question");
        let other = Arc::new(Snapshots::default());
        assert_eq!(count(&other).await.unwrap(), now, "a new one");
        assert_eq!(count(&other).await.unwrap(), now);
        names.push(other.names().unwrap());
    }
    names.dedup();
    assert_eq!(names.len(), 3, "three states have three names: {names:?}");
    // Without the version in the log there is no answer, and not that of another.
    fs::remove_file(plain.path().join(commit(12))).unwrap();
    assert!(count(&first).await.is_err());
    // A source that was opened anew is not the one that was met.
    let other_copy = copy("plain");
    let anew = view(&delta_table(other_copy.path()).await, all_rows());
    let other = Arc::new(Snapshots::default());
    assert!(rows_in(&anew, sql, Arc::clone(&other)).await.is_ok());
    let error = count(&other).await.unwrap_err();
    assert_eq!(error.code(), "terms-mismatch");
}

#[tokio::test]
async fn a_question_over_files_that_changed_is_asked_again() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("t.csv");
    fs::write(&file, "id\n1\n2\n").unwrap();
    let spec = FileSpec {
        path: "t.csv".into(),
        format: Format::Csv,
    };
    let declared = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
    let table = files::open(&spec, folder.path(), &declared).await.unwrap();
    let seen = view(&table, all_rows());
    let sql = "SELECT a.id FROM t a JOIN t b ON a.id = b.id ORDER BY 1";
    let first = Arc::new(Snapshots::default());
    for _ in 0..2 {
        let read = rows_in(&seen, sql, Arc::clone(&first)).await.unwrap();
        assert_eq!(read, ["1", "2"]);
    }
    fs::write(&file, "id\n1\n2\n3\n").unwrap();
    let error = rows_in(&seen, sql, Arc::clone(&first)).await.unwrap_err();
    assert_eq!(error.code(), "terms-mismatch", "{error}");
    assert_eq!(rows(&seen, sql).await.unwrap(), ["1", "2", "3"]);
}

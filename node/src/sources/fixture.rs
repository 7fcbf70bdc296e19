//! A source as a governed table of an engine, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use comity_protocol::terms::{RowFilter, TableTerms};
use datafusion::catalog::TableProvider;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use futures::TryStreamExt as _;

use crate::products::Format;
use crate::query::{Engine, EngineSettings, GovernedTable, QueryError, Snapshots, TableName, View};

pub(super) static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::start(EngineSettings::default()).unwrap());

/// A view in which everything of `source` is shown as `t`, under `filter`.
pub(super) fn view(source: &Arc<dyn TableProvider>, filter: RowFilter) -> Arc<View> {
    governed(source, &all(source, filter))
}

/// A view in which `terms` show `source` as `t`.
pub(super) fn governed(source: &Arc<dyn TableProvider>, terms: &TableTerms) -> Arc<View> {
    tables([("t", source, terms)])
}

/// A view in which terms show each source under its name.
pub(super) fn tables<'a>(
    tables: impl IntoIterator<Item = (&'a str, &'a Arc<dyn TableProvider>, &'a TableTerms)>,
) -> Arc<View> {
    let mut view = View::builder("own");
    for (table, source, terms) in tables {
        let name = TableName {
            catalog: "own".into(),
            schema: "p".into(),
            table: table.into(),
        };
        let governed = GovernedTable::new(Arc::clone(source), terms).unwrap();
        view = view.governed(name, governed);
    }
    view.build()
}

/// Everything of `source`, under `filter`.
pub(super) fn all(source: &Arc<dyn TableProvider>, filter: RowFilter) -> TableTerms {
    let columns = source.schema();
    let columns = columns.fields().iter().map(|f| f.name().clone());
    TableTerms {
        columns: columns.collect::<BTreeSet<_>>(),
        filter,
        masks: BTreeMap::new(),
        protection: None,
    }
}

async fn batches(
    view: &Arc<View>,
    sql: &str,
    snapshots: Arc<Snapshots>,
) -> Result<Vec<RecordBatch>, QueryError> {
    let prepared = ENGINE.prepare(Arc::clone(view), sql).await?;
    let stream = prepared.run_in(snapshots).await?;
    stream.try_collect().await.map_err(|e| QueryError::of(&e))
}

/// The rows of an answer as text, values parted by a bar.
pub(super) async fn rows(view: &Arc<View>, sql: &str) -> Result<Vec<String>, QueryError> {
    rows_in(view, sql, Arc::default()).await
}

/// As [`rows`], over the states of the sources that are named.
pub(super) async fn rows_in(
    view: &Arc<View>,
    sql: &str,
    snapshots: Arc<Snapshots>,
) -> Result<Vec<String>, QueryError> {
    let mut rows = Vec::new();
    for batch in batches(view, sql, snapshots).await? {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter();
            let values: Vec<_> = values
                .map(|c| array_value_to_string(c, row).unwrap())
                .collect();
            rows.push(values.join("|"));
        }
    }
    Ok(rows)
}

/// Writes a file of a table. One of Parquet has groups of a hundred rows.
pub(crate) fn write(path: &Path, format: Format, batch: &RecordBatch) {
    let file = File::create(path).unwrap();
    match format {
        Format::Parquet => {
            let small = WriterProperties::builder().set_max_row_group_row_count(Some(100));
            let small = Some(small.build());
            let mut writer = ArrowWriter::try_new(file, batch.schema(), small).unwrap();
            writer.write(batch).unwrap();
            writer.close().unwrap();
        }
        Format::Csv => arrow::csv::Writer::new(file).write(batch).unwrap(),
        Format::Json => {
            let mut writer = arrow::json::LineDelimitedWriter::new(file);
            writer.write(batch).unwrap();
            writer.finish().unwrap();
        }
        Format::Arrow => {
            let mut writer =
                arrow::ipc::writer::FileWriter::try_new(file, &batch.schema()).unwrap();
            writer.write(batch).unwrap();
            writer.finish().unwrap();
        }
    }
}
